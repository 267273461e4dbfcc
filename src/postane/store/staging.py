"""Where messages wait while they come in: small ones in memory, large ones in `incoming/`.

Up to 32 KiB a body stays in memory and goes into the row's own transaction.
Beyond that it is a file with a random name, written in steps as it comes,
hashed on the way and synced at the end.  A write that fails (full disk) leaves
nothing behind but an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import threading
from concurrent.futures import Executor
from pathlib import Path

from postane.core.ids import new_id
from postane.core.limits import KIB
from postane.store.files import Files, SystemFiles, failure, make_folders

SMALL = 32 * KIB
_STEP = 256 * KIB
"""How much is gathered before a thread writes it."""


class StagedMessage:
    """Fills `api.Staged`.  `path` is the file of a large body, None where `small` has it.

    `is_ours` says that the file is removed on close; a store that keeps the file
    elsewhere (the queue) hands it over without.
    """

    __slots__ = ("_files", "_map", "_pool", "_view", "is_ours", "path", "sha256", "size", "small")

    def __init__(
        self,
        *,
        size: int,
        sha256: bytes,
        small: bytes | None = None,
        path: Path | None = None,
        is_ours: bool = True,
        files: Files,
        pool: Executor,
    ) -> None:
        self.size = size
        self.sha256 = sha256
        self.small = small
        self.path = path
        self.is_ours = is_ours
        self._files = files
        self._pool = pool
        self._map: mmap.mmap | None = None
        self._view: memoryview | None = None

    def view(self) -> bytes | memoryview:
        if self.small is not None:
            return self.small
        if self._view is None:
            assert self.path is not None
            file = self._files.open(self.path)
            try:
                self._map = mmap.mmap(file, self.size, access=mmap.ACCESS_READ)
            finally:
                self._files.close(file)
            self._view = memoryview(self._map)
        return self._view

    async def close(self) -> None:
        self._unmap()
        if self.path is not None and self.is_ours:
            path, self.path = self.path, None
            await asyncio.get_running_loop().run_in_executor(self._pool, self._files.unlink, path)

    def _unmap(self) -> None:
        if self._view is not None and self._map is not None:
            self._view.release()
            try:
                self._map.close()
            except BufferError:
                pass  # someone still holds a slice: the map goes with the last of them
        self._view = self._map = None


class FileStaging:
    """Fills `api.Staging`; `root` is the data folder."""

    def __init__(self, root: Path, pool: Executor, files: Files | None = None) -> None:
        self._folder = root / "incoming"
        self._pool = pool
        self._files = files or SystemFiles()
        make_folders(self._files, self._folder)

    def begin(self) -> FileStagingWriter:
        return FileStagingWriter(self._folder, self._pool, self._files)


class FileStagingWriter:
    """Fills `api.StagingWriter`."""

    def __init__(self, folder: Path, pool: Executor, files: Files) -> None:
        self._folder = folder
        self._pool = pool
        self._files = files
        self._hash = hashlib.sha256()
        self._size = 0
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._path: Path | None = None
        self._file = -1
        self._guard = threading.Lock()  # a caller who is cancelled aborts while a thread may still be writing
        self._is_over = False

    async def write(self, chunk: bytes) -> None:
        self._waiting.append(chunk)
        self._waiting_size += len(chunk)
        self._size += len(chunk)
        if self._waiting_size > (SMALL if self._path is None else _STEP):
            await self._in_pool(is_last=False)

    async def finish(self) -> StagedMessage:
        if self._path is None:
            body = b"".join(self._waiting)
            self._waiting.clear()
            sha256 = hashlib.sha256(body).digest()
            return StagedMessage(size=len(body), sha256=sha256, small=body, files=self._files, pool=self._pool)
        await self._in_pool(is_last=True)
        return StagedMessage(
            size=self._size, sha256=self._hash.digest(), path=self._path, files=self._files, pool=self._pool
        )

    async def abort(self) -> None:
        self._waiting.clear()
        if self._path is not None:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._end)

    async def _in_pool(self, *, is_last: bool) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_size = 0
        if self._path is None:
            self._path = self._folder / new_id()
        await asyncio.get_running_loop().run_in_executor(self._pool, self._store, data, is_last)

    def _store(self, data: bytes, is_last: bool) -> None:
        assert self._path is not None
        with self._guard:
            if self._is_over:
                return
            try:
                if self._file < 0:
                    self._file = self._files.create(self._path)
                self._files.write(self._file, data)
                self._hash.update(data)
                if is_last:
                    self._files.sync(self._file)
                    self._close()
            except OSError as error:
                self._remove()
                raise failure(error) from error

    def _end(self) -> None:
        with self._guard:
            self._remove()

    def _close(self) -> None:
        file, self._file = self._file, -1
        self._files.close(file)

    def _remove(self) -> None:
        self._is_over = True
        if self._file >= 0:
            self._close()
        if self._path is not None:
            self._files.unlink(self._path)
