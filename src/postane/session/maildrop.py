"""The maildrop of RFC 1939: the INBOX as it was at login, numbered from 1, under an exclusive lock.

It holds a UID and a size a message (12 octets), and which are to be deleted;
everything else is asked of the store when it is wanted, at most 256 rows or
64 KiB at a time; who reads one message after the other has the next small ones
read along.  Nothing here sets \\Seen.  A message that IMAP expunges
meanwhile keeps its number; it can be read as long as the store remembers it.
"""

from __future__ import annotations

import asyncio
import contextlib
from array import array
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from postane.core.dialogue import Body
from postane.core.status import Condition, MailError
from postane.store.api import INBOX, SLICE, AccountRef, Column, Expunge, Lock, MailStore

PIECE = 64 * 1024
"""Octets of a message that are read at a time."""
AHEAD = 16
"""Messages that are read along with one that follows the last, as long as all have no more than PIECE octets."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The first octets of a message, and where in which blob the others are."""

    head: bytes
    blob: int
    start: int
    length: int


class Maildrop:
    """Numbers are those that the client uses.  MailError where one names no message, or a deleted one."""

    __slots__ = ("_account", "_ahead", "_deleted", "_last", "_lock", "_mail", "_mailbox", "_sizes", "_uids")

    def __init__(
        self, mail: MailStore, account: AccountRef, mailbox: int, lock: Lock, uids: array[int], sizes: array[int]
    ) -> None:
        self._mail = mail
        self._account = account
        self._mailbox = mailbox
        self._lock = lock
        self._uids = uids
        self._sizes = sizes
        self._deleted: set[int] = set()
        self._ahead: dict[int, tuple[bytes, int, int, bytes | None]] = {}
        self._last = -1

    @classmethod
    async def open(cls, mail: MailStore, account: AccountRef) -> Maildrop:
        """Locks the INBOX and takes its measure.  MAILBOX_IN_USE where another session holds it."""
        lock = await _acquire(mail, account)
        try:
            mailbox = (await mail.mailbox(account, INBOX)).id
            living = (await mail.snapshot(account, mailbox)).uids
            uids, sizes = array("I"), array("Q")
            for start in range(0, len(living), SLICE):
                wanted = living[start : start + SLICE]
                for uid, size in await mail.entries(account, mailbox, wanted, (Column.UID, Column.SIZE)):
                    uids.append(uid)
                    sizes.append(size)
                await asyncio.sleep(0)  # a large maildrop leaves the others their turn
        except BaseException:
            await lock.release()
            raise
        return cls(mail, account, mailbox, lock, uids, sizes)

    async def close(self) -> None:
        """Lets others in.  What was marked is not deleted."""
        await self._lock.release()

    # ------------------------------------------------------------ listing

    @property
    def count(self) -> int:
        return len(self._uids) - len(self._deleted)

    @property
    def octets(self) -> int:
        return sum(self._sizes) - sum(self._sizes[index] for index in self._deleted)

    def size(self, number: int) -> int:
        return self._sizes[self._index(number)]

    def listing(self) -> Iterator[bytes]:
        """Lines "number size" in pieces."""
        for start in range(0, len(self._uids), SLICE):
            yield b"".join(
                b"%d %d\r\n" % (index + 1, self._sizes[index])
                for index in range(start, min(start + SLICE, len(self._uids)))
                if index not in self._deleted
            )

    async def uidl(self, number: int) -> str:
        uidl: str
        (uidl,) = await self._row(number, Column.UIDL)
        return uidl

    async def uidl_listing(self) -> AsyncIterator[bytes]:
        """Lines "number unique-id" in pieces."""
        for start in range(0, len(self._uids), SLICE):
            uids = self._uids[start : start + SLICE]
            rows = await self._mail.entries(self._account, self._mailbox, uids, (Column.UID, Column.UIDL))
            by_uid: dict[int, str] = dict(rows)
            yield b"".join(
                b"%d %s\r\n" % (start + offset + 1, by_uid[uid].encode("ascii"))
                for offset, uid in enumerate(uids)
                if uid in by_uid and start + offset not in self._deleted
            )

    # ------------------------------------------------------------ reading

    async def message(self, number: int) -> Body:
        """All of it: what receipt added, then the bytes as accepted."""
        index = self._index(number)
        if index not in self._ahead:
            await self._read_ahead(index)
        self._last = index
        if index not in self._ahead:
            raise _gone(number)
        prefix, blob, size, body = self._ahead.pop(index)
        whole = self._read(Opening(prefix, blob, 0, size)) if body is None else _once(prefix + body)
        return Body(len(prefix) + size, whole)

    async def _read_ahead(self, index: int) -> None:
        """The message, and where it follows the last one read, the next few."""
        end, octets = index + 1, self._sizes[index]
        if index == self._last + 1:
            while end < min(index + AHEAD, len(self._sizes)) and octets + self._sizes[end] <= PIECE:
                octets += self._sizes[end]
                end += 1
        uids = self._uids[index:end]
        columns = (Column.UID, Column.PREFIX, Column.BLOB, Column.BLOB_SIZE, Column.BODY)
        rows = {row[0]: row[1:] for row in await self._mail.entries(self._account, self._mailbox, uids, columns)}
        self._ahead = {index + n: rows[uid] for n, uid in enumerate(uids) if uid in rows}

    async def top(self, number: int, lines: int) -> AsyncIterator[bytes]:
        """RFC 1939 7: the header, the empty line, and the first lines of the body.  The store is asked now."""
        columns = (Column.HEADER, Column.PREFIX, Column.BLOB, Column.BLOB_SIZE)
        header, prefix, blob, size = await self._row(number, *columns)
        start = len(header) - len(prefix)
        return self._first_lines(Opening(header, blob, start, size - start), lines)

    async def _first_lines(self, opening: Opening, lines: int) -> AsyncIterator[bytes]:
        yield opening.head
        if not lines:
            return
        async for piece in self._read(Opening(b"", opening.blob, opening.start, opening.length)):
            found = piece.count(b"\n")
            if found >= lines:
                first = piece.split(b"\n", lines)[:lines]
                yield b"\n".join(first) + b"\n"
                return
            yield piece
            lines -= found

    async def _read(self, opening: Opening) -> AsyncIterator[bytes]:
        if not opening.length:
            yield opening.head
            return
        head = opening.head
        for start in range(0, opening.length, PIECE):
            length = min(PIECE, opening.length - start)
            yield head + await self._mail.read(self._account, opening.blob, opening.start + start, length)
            head = b""

    # ------------------------------------------------------------ deleting

    def delete(self, number: int) -> None:
        self._deleted.add(self._index(number))

    def undelete_all(self) -> None:
        self._deleted.clear()

    async def update(self) -> int:
        """RFC 1939 6, the UPDATE state: deletes for good what was marked; how many."""
        if not self._deleted:
            return 0
        uids = [self._uids[index] for index in sorted(self._deleted)]
        gone = await self._mail.write(self._account, Expunge(self._mailbox, uids, only_deleted=False))
        return len(gone)

    def _index(self, number: int) -> int:
        if not 1 <= number <= len(self._uids):
            raise MailError(Condition.BAD_ARGUMENT, f"there is no message {number}; the last is {len(self._uids)}")
        if number - 1 in self._deleted:
            raise MailError(Condition.BAD_ARGUMENT, f"message {number} is deleted; RSET brings it back")
        return number - 1

    async def _row(self, number: int, *columns: Column) -> tuple[Any, ...]:
        uid = self._uids[self._index(number)]
        rows = await self._mail.entries(self._account, self._mailbox, (uid,), columns)
        if not rows:
            raise _gone(number)
        return rows[0]


def _gone(number: int) -> MailError:
    return MailError(Condition.BAD_ARGUMENT, f"message {number} is gone; another client has deleted it")


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _acquire(mail: MailStore, account: AccountRef) -> Lock:
    """Whose client goes while the lock is being taken lets go of it as soon as it is there."""
    taking = asyncio.ensure_future(mail.lock_maildrop(account))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        with contextlib.suppress(MailError):
            await (await taking).release()
        raise
