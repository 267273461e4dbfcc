"""Bodies over 32 KiB: a file each, in the account's `blobs/`, named at random.

A file is there, whole and durable under its name, before any row names it; it
is removed only after no row does.  What a crash leaves between is swept: files
that no row names and that are a day old.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

from postane.core.ids import new_id
from postane.store.api import Staged
from postane.store.files import Files, failure
from postane.store.staging import StagedMessage

_STEP = 1 << 20
SWEPT_AFTER = 86_400
"""A file nobody names may belong to a write that is just being made; after a day it does not."""


class FileBlobs:
    """The `blobs/` of one account.  All methods block."""

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder = folder
        self._files = files

    def adopt(self, staged: Staged) -> str:
        """Gives the body a lasting name here, by a link where the file system allows it; returns the place."""
        place = new_id()
        try:
            self._put(staged, self.folder / place)
            self._files.sync_folder(self.folder)
        except OSError as error:
            self.drop(place)
            raise failure(error) from error
        return place

    def _put(self, staged: Staged, target: Path) -> None:
        if isinstance(staged, StagedMessage) and staged.path is not None:
            try:
                self._files.link(staged.path, target)
                return
            except FileNotFoundError:
                raise
            except OSError:
                pass  # another file system, or one without links: a copy does
        self._copy(staged.view(), target)

    def _copy(self, data: bytes | memoryview, target: Path) -> None:
        file = self._files.create(target)
        try:
            for start in range(0, len(data), _STEP):
                self._files.write(file, data[start : start + _STEP])
            self._files.sync(file)
        finally:
            self._files.close(file)

    def read(self, place: str, start: int, length: int) -> bytes:
        try:
            file = self._files.open(self.folder / place)
            try:
                return self._files.read(file, start, length)
            finally:
                self._files.close(file)
        except OSError as error:
            raise failure(error) from error

    def drop(self, place: str) -> None:
        """What cannot be removed now, the sweep removes later."""
        try:
            self._files.unlink(self.folder / place)
        except OSError:
            pass

    def places(self) -> Iterator[Path]:
        yield from self.folder.iterdir()

    def sweep(self, named: Container[str], now: float) -> int:
        """Removes files that are not `named` and a day old; returns how many."""
        return sweep_folder(self._files, self.folder, now, named)


def sweep_folder(files: Files, folder: Path, now: float, named: Container[str] = ()) -> int:
    """Removes from a flat folder what is not `named` and a day old; returns how many."""
    removed = 0
    for path in folder.iterdir():
        if path.name in named:
            continue
        try:
            if path.stat().st_ctime < now - SWEPT_AFTER:
                files.unlink(path)
                removed += 1
        except FileNotFoundError:
            continue
    return removed
