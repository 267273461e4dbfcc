"""What the store asks of a file system: one small port, so that a test can record it or make it fail.

Durability has two halves: `sync` makes a file's bytes last, `sync_folder` makes
its name last.  All methods block; they are called in the pool.
"""

from __future__ import annotations

import os
from errno import EDQUOT, EIO, ENOSPC
from pathlib import Path
from typing import Protocol

from postane.core.status import Condition, MailError


class Files(Protocol):
    def create(self, path: Path) -> int:
        """A new file, open for writing; it must not be there yet."""

    def open(self, path: Path) -> int:
        """An existing file, open for reading."""

    def write(self, file: int, data: bytes | memoryview) -> None:
        """All of it, at the end."""

    def read(self, file: int, start: int, length: int) -> bytes: ...

    def sync(self, file: int) -> None: ...

    def close(self, file: int) -> None: ...

    def link(self, source: Path, target: Path) -> None: ...

    def rename(self, source: Path, target: Path) -> None: ...

    def unlink(self, path: Path) -> None:
        """Gone already is as good."""

    def make_folder(self, path: Path) -> None: ...

    def sync_folder(self, path: Path) -> None: ...


class SystemFiles:
    """The real thing.  Files are for their owner only."""

    def create(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def write(self, file: int, data: bytes | memoryview) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]

    def read(self, file: int, start: int, length: int) -> bytes:
        pieces = []
        while length > 0:
            piece = os.pread(file, length, start)
            if not piece:
                break
            pieces.append(piece)
            start, length = start + len(piece), length - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def sync(self, file: int) -> None:
        os.fsync(file)

    def close(self, file: int) -> None:
        os.close(file)

    def link(self, source: Path, target: Path) -> None:
        os.link(source, target, follow_symlinks=False)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> None:
        path.mkdir(mode=0o700)

    def sync_folder(self, path: Path) -> None:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def make_folders(files: Files, path: Path) -> None:
    """`path` and what is missing above it, each name durable."""
    if path.is_dir():
        return
    make_folders(files, path.parent)
    try:
        files.make_folder(path)
    except FileExistsError:
        pass  # another process was first; its name must last before ours is said to
    files.sync_folder(path.parent)


def failure(error: OSError) -> MailError:
    """What the file system says -> what the house says."""
    if error.errno in (ENOSPC, EDQUOT, EIO):
        return MailError(Condition.DISK_FULL, "there is no space left on the server's disk", str(error))
    return MailError(Condition.TEMPORARY, "the server cannot reach its files now", str(error))
