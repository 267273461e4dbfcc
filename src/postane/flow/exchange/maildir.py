"""Maildir folders, in and out: Maildir++ (`.Sent.2019`) and folders within folders, with flags and dates.

A message's flags are the letters behind `:2,` in its name, its date is the
file's.  Keywords are Dovecot's: small letters, named in `dovecot-keywords`.
Subfolders of Maildir++ are in modified UTF-7 or, where that does not decode,
in UTF-8.  Files in `tmp` are not yet messages.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from postane.core.flags import NO_FLAGS, Flag, is_keyword
from postane.core.status import MailError
from postane.flow.exchange.parcel import Parcel
from postane.proto.imap import names

_INFO = re.compile(r"[:;!]2,([A-Za-z]*)\Z")
_BY_LETTER = {"D": Flag.DRAFT, "F": Flag.FLAGGED, "R": Flag.ANSWERED, "S": Flag.SEEN, "T": Flag.DELETED}


def is_maildir(path: Path) -> bool:
    return (path / "cur").is_dir() and (path / "new").is_dir()


class MaildirFolder:
    """A Maildir and all folders in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folders = tuple(_folders(path))

    @property
    def octets(self) -> int:
        return sum(_size(file) for _, folder in self._folders for file in _files(folder))

    def mailboxes(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._folders)

    def parcels(self) -> Iterator[Parcel]:
        for name, folder in self._folders:
            known = _keywords(folder)
            for file in sorted(_files(folder), key=_arrival):
                info = _INFO.search(file.name)
                letters = info[1] if info and file.parent.name == "cur" else ""
                keywords = tuple(known[letter] for letter in letters if letter in known)
                yield Parcel(name, flags_of(letters), keywords, _date(file), str(file), opening(file))


def _folders(path: Path, above: str = "") -> Iterator[tuple[str, Path]]:
    """(full mailbox name, folder); the Maildir itself is ""."""
    if is_maildir(path):
        yield above, path
    for inner in sorted(one for one in path.iterdir() if one.is_dir() and not one.is_symlink()):
        if inner.name in ("cur", "new", "tmp"):
            continue
        if inner.name.startswith("."):
            if is_maildir(inner) and inner.name.strip("."):
                yield "/".join(filter(None, (above, *_levels(inner.name)))), inner
        else:
            yield from _folders(inner, f"{above}/{inner.name}" if above else inner.name)


def _levels(name: str) -> Iterator[str]:
    for level in name.split(".")[1:]:
        try:
            yield names.decode(os.fsencode(level)).replace("/", "_")
        except MailError:
            yield level


def _files(folder: Path) -> Iterator[Path]:
    for room in ("cur", "new"):
        with os.scandir(folder / room) as entries:
            for entry in entries:
                if entry.is_file() and not entry.name.startswith("."):
                    yield Path(entry.path)


def _arrival(file: Path) -> tuple[int, str]:
    """Names begin with the second of their arrival."""
    seconds = file.name.partition(".")[0]
    return (int(seconds) if seconds.isascii() and seconds.isdigit() else _date(file) or 0, file.name)


def _date(file: Path) -> int | None:
    try:
        return int(file.stat().st_mtime)
    except OSError:
        return None


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _keywords(folder: Path) -> dict[str, str]:
    """Dovecot's `0 $Forwarded`: keyword 0 is the letter a."""
    try:
        lines = (folder / "dovecot-keywords").read_text("ascii", "replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split(" ", 1) for line in lines if " " in line)
    return {
        chr(ord("a") + int(number)): word
        for number, word in pairs
        if number.isdigit() and int(number) < 26 and is_keyword(word.encode("ascii", "replace"))
    }


@contextmanager
def _open(file: Path) -> Iterator[BinaryIO]:
    with file.open("rb") as opened:
        yield opened


def opening(file: Path) -> AbstractContextManager[BinaryIO]:
    """Opens the file only when its turn comes."""
    return _open(file)


def flags_of(letters: str) -> Flag:
    flags = NO_FLAGS
    for letter in letters:
        flags |= _BY_LETTER.get(letter, NO_FLAGS)
    return flags


def letters_of(flags: Flag) -> str:
    """In the order of the alphabet, as the format asks."""
    return "".join(letter for letter, flag in _BY_LETTER.items() if flag & flags)


def folder_name(mailbox: str) -> str:
    """`Sent/2019` -> `.Sent.2019`; a dot within a name would be a level, so it becomes an underscore."""
    return "".join("." + names.encode(level.replace(".", "_")).decode("ascii") for level in mailbox.split("/"))
