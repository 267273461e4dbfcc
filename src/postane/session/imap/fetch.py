"""FETCH and UID FETCH (RFC 3501 6.4.5, 6.4.8).

The set becomes UIDs by the view, whose numbers do not move meanwhile; the store
gives just the wanted columns, a slice of rows at a time, each slice goes out as
one Wire, and others have their turn between slices.  \\Seen is set once at the
end, for all that were read.

A message that another client has expunged is still given as long as it is only
marked; one that has been removed for good is passed over, and the command ends
with NO [EXPUNGEISSUED] (RFC 2180 4.1.2, RFC 5530 3).
"""

from __future__ import annotations

from array import array
from asyncio import sleep
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from postane.core.flags import Flag
from postane.core.status import Condition, MailError
from postane.proto.imap.command import Ending, Fetch, FetchItem, Section, Tagged, Wire
from postane.session.imap.change import store_flags
from postane.session.imap.connection import Connection, Stream
from postane.session.imap.items import Item, Lines, item_of
from postane.session.imap.sections import HELD, Cutter, Message, exactly, lines, section_of
from postane.session.imap.view import Access, View
from postane.store.api import SLICE, Column, FlagChange

_OF_BLOBS = (Column.PREFIX, Column.BLOB, Column.BLOB_SIZE, Column.PARTS)
_SEEN = int(Flag.SEEN)  # a plain number: these are compared by the thousand
_SETS_SEEN = frozenset({FetchItem.RFC822, FetchItem.RFC822_TEXT})


class Plan:
    """What is to be read and said for one FETCH."""

    def __init__(self, command: Fetch, view: View, header_bytes: int) -> None:
        items: list[Item] = []
        self.cutters: list[Cutter] = []
        for wanted in command.items:
            item = item_of(wanted, view)
            if item is not None:
                items.append(item)
            else:
                self.cutters.append(Cutter(section_of(wanted), header_bytes))
        self.marks_seen = view.access is Access.READ_WRITE and any(map(_sets_seen, command.items))
        more = (*(_OF_BLOBS if self.cutters else ()), *((Column.FLAGS,) if self.marks_seen else ()))
        self.lines = Lines(items, more, end=b"" if self.cutters else b")\r\n")
        self._flags = self.lines.columns.index(Column.FLAGS) if self.marks_seen else -1
        self._of_blobs = [self.lines.columns.index(column) for column in _OF_BLOBS] if self.cutters else []

    def unseen(self, rows: Sequence[tuple[Any, ...]]) -> list[int]:
        if not self.marks_seen:
            return []
        return [row[0] for row in rows if not row[self._flags] & _SEEN]

    def blob(self, row: tuple[Any, ...]) -> tuple[int, Message]:
        prefix, blob, size, parts = (row[place] for place in self._of_blobs)
        return blob, Message(prefix, size, parts)


def _sets_seen(wanted: FetchItem | Section) -> bool:
    """RFC 3501 6.4.5: BODY[...] does, BODY.PEEK[...] and RFC822.HEADER do not."""
    return not wanted.is_peek if isinstance(wanted, Section) else wanted in _SETS_SEEN


@dataclass(slots=True)
class _Outcome:
    """What is left to do once all lines are out: UIDs that were read and are not \\Seen, and what could not be read."""

    unseen: array[int] = field(default_factory=lambda: array("I"))
    failure: MailError | None = None


async def fetch(connection: Connection, command: Fetch) -> Stream:
    view = connection.selected
    plan = Plan(command, view, connection.services.limits.mime.header_bytes)
    outcome = _Outcome()
    for numbers, uids in view.slices(view.ranges(command.set, command.is_uid)):
        rows = await connection.services.mail.entries(connection.account, view.mailbox.id, uids, plan.lines.columns)
        if len(rows) != len(uids):
            outcome.failure = MailError(Condition.EXPUNGE_ISSUED, "Some of these messages are no longer there")
            numbers = [view.index(row[0]) + 1 for row in rows]
        if plan.cutters:
            async for answer in _one_by_one(connection, plan, numbers, rows, outcome):
                yield answer
        else:
            yield Wire(plan.lines.together(numbers, rows))
            outcome.unseen.extend(plan.unseen(rows))
        if len(uids) == SLICE:
            await sleep(0)
    if outcome.unseen:
        uids = outcome.unseen
        async for line in store_flags(connection, view, uids, FlagChange.ADD, Flag.SEEN, with_uid=command.is_uid):
            yield line
    if outcome.failure is not None:
        raise outcome.failure
    yield Tagged(command.tag, Ending.OK, "FETCH completed")


async def _one_by_one(
    connection: Connection, plan: Plan, numbers: Sequence[int], rows: Sequence[tuple[Any, ...]], outcome: _Outcome
) -> Stream:
    """A message whose octets can't be had is passed over, so that one does not keep a client from all others."""
    mail, account = connection.services.mail, connection.account
    for head, row in zip(plan.lines.apart(numbers, rows), rows, strict=True):
        blob, message = plan.blob(row)
        read = partial(mail.read, account, blob)
        try:
            if message.size * len(plan.cutters) <= HELD:
                octets = await exactly(read, 0, message.size)
                cuts = b" ".join([cutter.cut(message, octets) for cutter in plan.cutters])
                yield Wire(b"%b%b%b)\r\n" % (head, b"" if head.endswith(b"(") else b" ", cuts))
            else:
                async for piece in lines(plan.cutters, head, message, read):
                    yield piece
        except MailError as error:
            outcome.failure = error
        else:
            outcome.unseen.extend(plan.unseen((row,)))
