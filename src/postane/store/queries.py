"""The reads of the mail store as scripts; each sees one snapshot."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

from postane.core.limits import ImapLimits
from postane.core.status import Condition, MailError
from postane.store import mailbox_name, sql, tree
from postane.store.api import DELIMITER, AccountRef, Changed, Changes, Column, Mailbox, Snapshot, Usage
from postane.store.commands.account import numbers
from postane.store.script import Row, Rows, Script, Statement

_WITHOUT_BOUND = -1  # LIMIT


def missing(account: AccountRef) -> MailError:
    return MailError(
        Condition.TEMPORARY, "this account cannot be opened now", f"account {account.id} is not in its file"
    )


def modseq(account: AccountRef) -> Script[int]:
    rows = yield sql.MODSEQ, (account.id,)
    if not rows:
        raise missing(account)
    return int(rows[0][0])


def usage(account: AccountRef) -> Script[Usage]:
    rows = yield sql.USAGE, (account.id,)
    if not rows:
        raise missing(account)
    return Usage(*rows[0])


def mailbox(account: AccountRef, name: str, limits: ImapLimits) -> Script[Mailbox]:
    try:
        path = mailbox_name.parse(name, limits)
    except MailError as error:
        raise MailError(Condition.MAILBOX_NONEXISTENT, "there is no such mailbox", error.text) from error
    row = yield from tree.get(account, path)
    return tree.mailbox_of(row, DELIMITER.join(path))


def subscriptions(account: AccountRef) -> Script[tuple[str, ...]]:
    rows = yield sql.SUBSCRIPTIONS, (account.id,)
    return tuple(row[0] for row in rows)


def snapshot(account: AccountRef, mailbox_id: int) -> Script[Snapshot]:
    at = yield from modseq(account)
    selected = yield from tree.by_id(account, mailbox_id)
    uids = yield sql.LIVING_UIDS, (account.id, mailbox_id)
    unseen: Rows = []
    if selected.unseen:
        unseen = yield sql.FIRST_UNSEEN, (account.id, mailbox_id)
    keywords = yield sql.KEYWORDS, (account.id,)
    return Snapshot(
        mailbox=selected,
        modseq=at,
        uids=array("I", chain.from_iterable(uids)),
        first_unseen=unseen[0][0] if unseen else 0,
        keywords=tuple(row[0] for row in keywords),
    )


def changes(account: AccountRef, mailbox_id: int, since: int, limit: int | None) -> Script[Changes | None]:
    """None where there are more than `limit`: the caller then asks again without, off the loop."""
    at = yield from modseq(account)
    floor = yield sql.MAILBOX_FLOOR, (account.id, mailbox_id)
    if not floor:
        return Changes(at, (), (), mailbox_gone=True)
    most = _WITHOUT_BOUND if limit is None else limit + 1
    changed = yield sql.CHANGED, (since, account.id, mailbox_id, since, most)
    expunged = yield sql.EXPUNGED, (account.id, mailbox_id, since, since, most)
    if limit is not None and max(len(changed), len(expunged)) > limit:
        return None
    return Changes(
        modseq=at,
        changed=tuple(Changed(uid, flags, names, n, bool(new)) for uid, flags, names, n, new in sorted(changed)),
        expunged=tuple(sorted(row[0] for row in expunged)),
        is_complete=since >= floor[0][0],
    )


def deleted_uids(account: AccountRef, mailbox_id: int) -> Script[tuple[int, ...]]:
    rows = yield sql.DELETED_UIDS, (account.id, mailbox_id)
    return tuple(row[0] for row in rows)


def living_uids(account: AccountRef, mailbox_id: int) -> Script[tuple[int, ...]]:
    rows = yield sql.LIVING_UIDS, (account.id, mailbox_id)
    return tuple(row[0] for row in rows)


def mailbox_by_id(account: AccountRef, mailbox_id: int) -> Script[Mailbox]:
    return (yield from tree.by_id(account, mailbox_id))


def blob(account: AccountRef, blob_id: int, start: int, length: int) -> Script[Row]:
    """(place, encoding, size, bytes): the range's bytes where the database has them."""
    rows = yield sql.READ_BLOB, (start + 1, length, account.id, blob_id)
    if not rows:
        raise MailError(Condition.EXPUNGE_ISSUED, "this message is no longer there", f"no blob {blob_id}")
    return rows[0]


# ---------------------------------------------------------------- entries

# Which table a column needs, and how it is read there.
_EXPRESSIONS = {
    Column.UID: ("e", "e.uid"),
    Column.MESSAGE_ID: ("e", "e.message_id"),
    Column.FLAGS: ("e", "e.flags"),
    Column.KEYWORDS: ("e", "e.keywords"),
    Column.MODSEQ: ("e", "e.changed_modseq"),
    Column.UIDL: ("e", "e.uidl"),
    Column.INTERNALDATE: ("m", "m.internal_date"),
    Column.SAVEDATE: ("e", "e.savedate"),
    Column.SIZE: ("e", "e.size"),
    Column.ENVELOPE: ("m", "m.envelope"),
    Column.BODYSTRUCTURE: ("m", "m.bodystructure"),
    Column.PARTS: ("m", "m.parts"),
    Column.PREFIX: ("m", "m.prefix"),
    Column.BLOB: ("m", "m.blob_id"),
    Column.BLOB_SIZE: ("m", "e.size - length(m.prefix)"),
    Column.HEADER: ("h", "h.bytes"),
    Column.EMAIL_ID: ("m", "m.email_id"),
    Column.THREAD_ID: ("t", "t.public_id"),
    Column.SENT_DATE: ("m", "m.sent_date"),
    Column.BASE_SUBJECT: ("m", "m.base_subject"),
    Column.FROM: ("m", "m.from_folded"),
    Column.TO: ("m", "m.to_folded"),
    Column.CC: ("m", "m.cc_folded"),
    Column.PREVIEW: ("m", "m.preview"),
    Column.NEEDS_UTF8: ("m", "m.needs_utf8"),
    Column.BODY: ("b", "CASE b.encoding WHEN 'raw' THEN b.bytes END"),
}
_JOINS = (
    ("m", "JOIN message m ON m.id = e.message_id AND m.account_id = e.account_id"),
    ("h", "JOIN header h ON h.message_id = e.message_id AND h.account_id = e.account_id"),
    ("t", "JOIN thread t ON t.id = m.thread_id AND t.account_id = m.account_id"),
    ("b", "JOIN blob b ON b.id = m.blob_id AND b.account_id = m.account_id"),
)
_RANGE = "e.uid BETWEEN ? AND ?"
_LIST = "e.uid IN (SELECT value FROM json_each(?))"


@lru_cache(maxsize=512)
def _entries_sql(columns: tuple[Column, ...], condition: str) -> str:
    """Joins only what a column needs: flags and sizes come from the slim table alone."""
    wanted = ", ".join(_EXPRESSIONS[column][1] for column in columns)
    needed = {_EXPRESSIONS[column][0] for column in columns}
    if needed & {"t", "b"}:
        needed.add("m")
    joins = " ".join(join for alias, join in _JOINS if alias in needed)
    return (
        f"SELECT {wanted} FROM entry e {joins} "  # noqa: S608  # only constants of this module
        f"WHERE e.account_id = ? AND e.mailbox_id = ? AND {condition} ORDER BY e.uid"
    )


def entries(account: AccountRef, mailbox_id: int, uids: Sequence[int], columns: tuple[Column, ...]) -> Script[Rows]:
    """A run of UIDs without a hole is one range scan; any other set is a list of keys."""
    if not uids:
        return []
    return (yield _entries_statement(account, mailbox_id, uids, columns))


def _entries_statement(
    account: AccountRef, mailbox_id: int, uids: Sequence[int], columns: tuple[Column, ...]
) -> Statement:
    first, last = uids[0], uids[-1]
    if last - first == len(uids) - 1:
        return _entries_sql(columns, _RANGE), (account.id, mailbox_id, first, last)
    return _entries_sql(columns, _LIST), (account.id, mailbox_id, numbers(uids))
