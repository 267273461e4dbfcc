"""Copy and Move: a further entry for the same message, so that its EMAILID and thread stay (RFC 8474 4)."""

from __future__ import annotations

from collections.abc import Sequence

from postane.core.ids import new_id
from postane.core.status import Condition, MailError
from postane.store import sql
from postane.store.api import AccountRef, Copied, Copy, Move
from postane.store.commands.account import Context, Done, begin, charge, numbers, take_ids
from postane.store.commands.counting import Counts
from postane.store.commands.expunge import mark
from postane.store.script import Row, Rows, Script


def copy(account: AccountRef, command: Copy, context: Context) -> Script[Done[Copied]]:
    """A UID that is not living fails the whole (EXPUNGE_ISSUED): all or nothing."""
    begun = yield from begin(account)
    rows = yield sql.LIVING, (account.id, command.mailbox, numbers(command.uids))
    if len(rows) != len(set(command.uids)):
        raise MailError(Condition.EXPUNGE_ISSUED, "some of these messages are no longer there; nothing was copied")
    yield from charge(account, len(rows), sum(row[4] for row in rows))
    copied = yield from enter(account, rows, command.target, begun.modseq, context.now)
    return Done(copied, begun.modseq)


def move(account: AccountRef, command: Move, context: Context) -> Script[Done[Copied]]:
    begun = yield from begin(account)
    rows = yield sql.LIVING, (account.id, command.mailbox, numbers(command.uids))
    copied = yield from move_rows(account, rows, command.mailbox, command.target, begun.modseq, context.now)
    return Done(copied, begun.modseq)


def move_rows(account: AccountRef, rows: Rows, source: int, target: int, modseq: int, now: int) -> Script[Copied]:
    """Living entries of `source` (rows of sql.LIVING) become entries of `target`."""
    # The marks come first, so that a mailbox moved onto itself does not seem to hold its messages already.
    yield from mark(account, source, rows, modseq, now)
    yield sql.CHARGE, (len(rows), sum(row[4] for row in rows), account.id)
    return (yield from enter(account, rows, target, modseq, now))


def enter(account: AccountRef, rows: Rows, target: int, modseq: int, now: int) -> Script[Copied]:
    """New entries in `target`; TRY_CREATE where it is not there."""
    counts = Counts()
    for row in rows:
        counts.add(row[2], row[4])
    taken = yield sql.TAKE_UIDS, (len(rows), *counts.values(), modseq, modseq, account.id, target)
    if not taken:
        raise MailError(Condition.TRY_CREATE, "there is no such mailbox to put them in")
    _, uidnext, uidvalidity = taken[0]
    messages = yield from _messages_for(account, rows, target, modseq)
    targets = range(uidnext - len(rows), uidnext)
    for uid, row, message_id in zip(targets, rows, messages, strict=True):
        yield sql.INSERT_ENTRY, _entry(account, target, uid, message_id, row, modseq, now)
    return Copied(uidvalidity, tuple(row[0] for row in rows), tuple(targets), modseq)


def _entry(
    account: AccountRef, target: int, uid: int, message_id: int, row: Row, modseq: int, now: int
) -> tuple[int | str, ...]:
    _, _, flags, keywords, size, _ = row
    return (account.id, target, uid, message_id, flags, keywords, size, modseq, modseq, now, new_id())


def _messages_for(account: AccountRef, rows: Rows, target: int, modseq: int) -> Script[Sequence[int]]:
    """For each row the message its new entry names: the same, or a new one where `target` already holds it."""
    messages = [row[1] for row in rows]
    held_rows = yield sql.HELD, (numbers(messages), account.id, target)
    held = {row[0] for row in held_rows}
    if not held:
        return messages
    new = yield from take_ids(account, len(held))
    for index, message_id in enumerate(messages):
        if message_id in held:
            yield sql.COPY_MESSAGE, (new, new_id(), modseq, modseq, account.id, message_id)
            yield sql.COPY_HEADER, (new, account.id, message_id)
            yield sql.USE_BLOB_OF, (account.id, account.id, message_id)
            messages[index] = new
            new += 1
    return messages
