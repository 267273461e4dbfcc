"""The data folder: that it is ours, of our version, whose it is, and that one server has it.

Everything in it belongs to one user, its owner; a program started as root
becomes that user before it opens anything inside (DESIGN.md, Processes).
Refused: a folder of another version, one that holds something else, one that
belongs to another user, and a second server.
"""

from __future__ import annotations

import encodings
import fcntl
import importlib
import os
import pkgutil
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from postane.problem import Problem

FORMAT = 1
"""Rises when an older program could no longer read the folder."""

_VERSION = "postane.format"
_LOCK = "run/server.lock"
_ROOMS = ("accounts", "incoming", "queue", "run", "tls", "trace")
# What may lie there before we come: the settings, and what file systems put into an empty volume.
_HARMLESS = frozenset({"postane.toml", "lost+found", ".gitkeep"})


@dataclass(frozen=True, slots=True)
class DataFolder:
    path: Path
    uid: int
    gid: int
    is_new: bool

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def tls(self) -> Path:
        """Where the self-signed certificate is kept."""
        return self.path / "tls"

    @contextmanager
    def as_owner(self) -> Iterator[None]:
        """Root acts as the owner for a moment, so that no link in the folder leads it elsewhere."""
        if os.geteuid() != 0 or self.uid == 0:
            yield
            return
        _read_ahead()
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)

    def become_owner(self) -> None:
        """For good: what this process does from here on is the owner's doing."""
        if os.geteuid() == 0 and self.uid != 0:
            _read_ahead()
            with suppress(KeyError):
                os.environ["HOME"] = pwd.getpwuid(self.uid).pw_dir
            os.setgroups([])
            os.setgid(self.gid)
            os.setuid(self.uid)


_READ_LATE = (
    "cryptography.hazmat.backends.openssl.backend",
    "dns._asyncio_backend",
    *(f"dns.rdtypes.ANY.{kind}" for kind in ("CNAME", "MX", "NS", "OPT", "PTR", "SOA", "TLSA", "TXT")),
    *(f"dns.rdtypes.IN.{kind}" for kind in ("A", "AAAA")),
    "uvloop",
)
"""What libraries import by themselves when they first need it."""


@cache
def _read_ahead() -> None:
    """Codecs and such are read when they are first wanted; the owner may not be allowed to enter where they lie."""
    codecs = [module.name for module in pkgutil.iter_modules(encodings.__path__, "encodings.")]
    for name in (*codecs, *_READ_LATE):
        with suppress(ImportError):
            importlib.import_module(name)


def open_folder(path: Path, *, create: bool) -> DataFolder:
    """Checks the folder, and makes it (0700) or its missing rooms where `create` is set."""
    path = path.absolute()
    if not path.exists():
        if not create:
            raise Problem(
                f"There is no data folder {path}.", "Name it with --data or POSTANE_DATA, or `postane serve` makes it."
            )
        with _told(path, "cannot be made"):
            path.mkdir(mode=0o700, parents=True)
    with _told(path, "cannot be read"):
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise Problem(f"The data folder {path} is not a folder.", "Name another with --data.")
        if os.geteuid() not in (0, status.st_uid):
            owner = _name(status.st_uid)
            raise Problem(f"The data folder {path} belongs to {owner}.", f"Run this as {owner}, or as root.")
        is_new = _check_version(path)
        folder = DataFolder(path, status.st_uid, status.st_gid, is_new)
        if is_new and not create:
            raise Problem(f"{path} is not a data folder yet.", "`postane serve --data` makes one of it.")
        with folder.as_owner():
            _make_rooms(path)
    return folder


def _check_version(path: Path) -> bool:
    """Whether the folder is new; refuses what is neither new nor ours."""
    try:
        written = (path / _VERSION).read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        others = sorted(one.name for one in path.iterdir() if one.name not in (*_HARMLESS, *_ROOMS))
        if others:
            raise Problem(
                f"{path} is not a Postane data folder: it holds {', '.join(others[:3])}.",
                "Name an empty or a new folder with --data.",
            ) from None
        return True
    if written != str(FORMAT):
        raise Problem(
            f"The data folder {path} has format {written[:40]!r}; this program knows format {FORMAT}.",
            "Use the program that wrote it, or restore a backup from before it was upgraded.",
        )
    return False


def _make_rooms(path: Path) -> None:
    for room in _ROOMS:
        (path / room).mkdir(mode=0o700, exist_ok=True)
    if not (path / _VERSION).exists():
        (path / _VERSION).write_text(f"{FORMAT}\n")


@contextmanager
def lock(folder: DataFolder) -> Iterator[None]:
    """Held by the one server of a folder; gone with its process, however that ends."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with folder.as_owner(), _told(folder.path, "cannot be written"):
        descriptor = os.open(folder.path / _LOCK, flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            raise Problem(
                f"Another server, process {holder or '?'}, runs on the data folder {folder.path}.",
                "Stop it first, or name another folder with --data.",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Problem(
            f"The data folder {path} {what}: {error.strerror}.", "Name another with --data, or mend its permissions."
        ) from error


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
