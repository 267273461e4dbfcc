"""Taking an account's mail out into files: what the owner sees, byte for byte, in bounded memory.

Maildir keeps flags, keywords and dates; mbox (mboxrd) keeps dates; .eml keeps
the bytes alone.  Nothing that exists is overwritten.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from postane.core.flags import Flag
from postane.flow.exchange import maildir, mbox
from postane.store.api import INBOX, SLICE, AccountRef, Column, Mailbox, MailStore

PIECE = 1024 * 1024
_COLUMNS = (
    Column.UID,
    Column.FLAGS,
    Column.KEYWORDS,
    Column.INTERNALDATE,
    Column.PREFIX,
    Column.BLOB,
    Column.BLOB_SIZE,
)


@dataclass(frozen=True, slots=True)
class Taken:
    """One message is out."""

    mailbox: str
    uid: int
    octets: int


class Writer(Protocol):
    """A kind of file to write: `message` gives a file for one message's bytes, whole when the context ends well."""

    def begin(self, mailbox: str) -> None: ...

    def message(
        self, uid: int, flags: Flag, keywords: str, date: int
    ) -> AbstractContextManager[Callable[[bytes], Any]]: ...

    def end(self) -> None: ...


async def take_out(
    mail: MailStore, account: AccountRef, writer: Writer, mailboxes: tuple[Mailbox, ...]
) -> AsyncIterator[Taken]:
    for mailbox in mailboxes:
        await asyncio.to_thread(writer.begin, mailbox.name)
        uids = (await mail.snapshot(account, mailbox.id)).uids
        for start in range(0, len(uids), SLICE):
            for row in await mail.entries(account, mailbox.id, uids[start : start + SLICE], _COLUMNS):
                uid, flags, keywords, date, prefix, blob, size = row
                with writer.message(uid, Flag(flags), keywords, date) as write:
                    write(prefix)
                    for at in range(0, size, PIECE):
                        write(await mail.read(account, blob, at, min(PIECE, size - at)))
                yield Taken(mailbox.name, uid, len(prefix) + size)
        await asyncio.to_thread(writer.end)


class EmlWriter:
    """A folder a mailbox, a file a message, named by its UID."""

    def __init__(self, folder: Path) -> None:
        self._root = folder
        self._folder = folder

    def begin(self, mailbox: str) -> None:
        self._folder = self._root.joinpath(*(_file_name(level) for level in mailbox.split("/")))
        self._folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def message(self, uid: int, flags: Flag, keywords: str, date: int) -> Iterator[Callable[[bytes], Any]]:
        path = self._folder / f"{uid}.eml"
        with path.open("xb") as file:
            yield file.write
        os.utime(path, (date, date))

    def end(self) -> None:
        """Each file is whole already."""


class MaildirWriter:
    """Maildir++: the INBOX is the folder itself."""

    def __init__(self, folder: Path) -> None:
        self._root = folder
        self._folder = folder
        self._keywords: list[str] = []

    def begin(self, mailbox: str) -> None:
        self._folder = self._root if mailbox == INBOX else self._root / maildir.folder_name(mailbox)
        self._keywords = []
        for room in ("cur", "new", "tmp"):
            (self._folder / room).mkdir(parents=True, exist_ok=True)
        if self._folder != self._root:
            (self._folder / "maildirfolder").touch()

    @contextmanager
    def message(self, uid: int, flags: Flag, keywords: str, date: int) -> Iterator[Callable[[bytes], Any]]:
        name = f"{date}.P{os.getpid()}Q{uid:010}.postane"  # readers sort by name what arrived in the same second
        draft = self._folder / "tmp" / name
        with draft.open("xb") as file:
            yield file.write
        os.utime(draft, (date, date))
        draft.rename(self._folder / "cur" / f"{name}:2,{maildir.letters_of(flags)}{self._letters(keywords)}")

    def _letters(self, keywords: str) -> str:
        """A small letter for each; the 27th and later have none."""
        for word in keywords.split():
            if word not in self._keywords and len(self._keywords) < 26:
                self._keywords.append(word)
        return "".join(sorted(chr(ord("a") + i) for i, word in enumerate(self._keywords) if word in keywords.split()))

    def end(self) -> None:
        if self._keywords:
            lines = "".join(f"{number} {word}\n" for number, word in enumerate(self._keywords))
            (self._folder / "dovecot-keywords").write_text(lines, "ascii")


class MboxWriter:
    """A file a mailbox, in mboxrd."""

    def __init__(self, folder: Path) -> None:
        self._root = folder
        self._file: BinaryIO | None = None

    def begin(self, mailbox: str) -> None:
        *above, name = (_file_name(level) for level in mailbox.split("/"))
        folder = self._root.joinpath(*above)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"{name}.mbox").open("xb", buffering=PIECE)

    @contextmanager
    def message(self, uid: int, flags: Flag, keywords: str, date: int) -> Iterator[Callable[[bytes], Any]]:
        assert self._file is not None
        file, quoter, last = self._file, mbox.Quoter(), b"\n"
        file.write(mbox.postmark(date))

        def write(data: bytes) -> None:
            nonlocal last
            file.write(quoter.feed(data))
            last = data[-1:] or last

        yield write
        file.write(quoter.finish())
        file.write(b"\n" if last == b"\n" else b"\n\n")

    def end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _file_name(level: str) -> str:
    """A mailbox's name as a file's: what a file system gives a meaning of its own becomes an underscore."""
    safe = level.replace("/", "_").replace("\0", "_")
    return "_" + safe if safe.startswith(".") else safe
