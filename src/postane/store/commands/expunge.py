"""Expunge marks entries; purge removes for good what was marked long enough ago, and raises the floors."""

from __future__ import annotations

from collections import defaultdict

from postane.core.flags import Flag
from postane.store import sql
from postane.store.api import AccountRef, Expunge, Purge, Purged
from postane.store.commands.account import Context, Done, begin, numbers
from postane.store.commands.counting import Counts
from postane.store.script import Row, Rows, Script

YOUNGEST_PURGED = 86_400
"""No mark younger than a day is removed, whatever the settings say (STORE.md rule 4)."""
DELIVERED_KEPT = 30 * 86_400
"""How long a delivery id is remembered: longer than any lease lives."""


def expunge(account: AccountRef, command: Expunge, context: Context) -> Script[Done[tuple[int, ...]]]:
    begun = yield from begin(account)
    uids = command.uids
    if uids is None:
        every = sql.DELETED_UIDS if command.only_deleted else sql.LIVING_UIDS
        uids = [row[0] for row in (yield every, (account.id, command.mailbox))]
    rows = yield sql.LIVING, (account.id, command.mailbox, numbers(uids))
    if command.only_deleted:
        rows = [row for row in rows if row[2] & Flag.DELETED]
    yield from mark(account, command.mailbox, rows, begun.modseq, context.now)
    return Done(tuple(row[0] for row in rows), begun.modseq)


def mark(account: AccountRef, mailbox: int, rows: Rows, modseq: int, now: int) -> Script[None]:
    """Marks living entries (rows of sql.LIVING) as gone; their bytes leave the quota for the undelete share."""
    if not rows:
        return
    counts = Counts()
    for row in rows:
        counts.take(row[2], row[4])
    yield sql.MARK_ENTRIES, (modseq, now, modseq, account.id, mailbox, numbers(row[0] for row in rows))
    yield sql.COUNT_CHANGES, (*counts.values(), modseq, modseq, account.id, mailbox)
    yield sql.MARK_BYTES, (len(rows), -counts.bytes, len(rows), -counts.bytes, account.id)


def purge(account: AccountRef, command: Purge, context: Context) -> Script[Done[Purged]]:
    """Call again until it finds nothing: `messages` and `bytes` count the entries removed."""
    begun = yield from begin(account)
    before = min(command.marked_before, context.now - YOUNGEST_PURGED)
    rows = yield sql.MARKED_BEFORE, (account.id, before, command.limit)
    yield from _remove_entries(account, rows)
    if len(rows) < command.limit:
        more = yield sql.IN_MAILBOXES_MARKED_BEFORE, (account.id, before, command.limit - len(rows))
        yield from _remove_entries(account, more)
        rows += more
    dropped = yield from _remove_messages(account, rows)
    gone = yield sql.DELETE_MAILBOXES, (account.id, before)
    floor = max((row[-1] for row in rows + gone), default=0)
    size = sum(row[3] for row in rows)
    yield sql.FORGET_BYTES, (len(rows), size, floor, account.id)
    yield sql.FORGET_DELIVERED, (account.id, context.now - DELIVERED_KEPT)
    return Done(Purged(len(rows), size), begun.modseq, dropped)


def _remove_entries(account: AccountRef, rows: Rows) -> Script[None]:
    by_mailbox: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_mailbox[row[0]].append(row)
    for mailbox, its_rows in by_mailbox.items():
        yield sql.DELETE_ENTRIES, (account.id, mailbox, numbers(row[1] for row in its_rows))
        yield sql.RAISE_FLOOR, (max(row[4] for row in its_rows), account.id, mailbox)


def _remove_messages(account: AccountRef, rows: Rows) -> Script[tuple[str, ...]]:
    """Messages that no entry names, with their threads and blobs; returns the files to remove after the commit."""
    found = yield sql.MESSAGES_WITHOUT_ENTRY, (account.id, numbers({row[2] for row in rows}))
    if not found:
        return ()
    yield sql.DELETE_MESSAGES, (account.id, numbers(row[0] for row in found))
    for row in found:
        yield sql.RELEASE_BLOB, (account.id, row[1])
    places = yield sql.DELETE_BLOBS, (account.id, numbers({row[1] for row in found}))
    threads = yield sql.DELETE_THREADS, (account.id, numbers({row[2] for row in found}))
    if threads:
        yield sql.DELETE_REFERENCES, (account.id, numbers(row[0] for row in threads))
    return tuple(row[0] for row in places if row[0])
