"""The queue's statements, once: scripts for any driver.

A lease is a token on a recipient, and its `next_attempt` moved to the end of
the lease.  A result counts only under the token that the row still carries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from postane.store.api import (
    Leased,
    NewMessage,
    NewRecipient,
    Outcome,
    QueueCounts,
    QueuedMessage,
    QueuedRecipient,
    QueueFilter,
    RecipientResult,
)
from postane.store.script import Row, Rows, Script, Statement, just

HIGHEST_PRIORITY = 9
SLICE_OF_CHANGES = 1000
"""Recipients that one commit holds, releases, retries or drops (STORE.md rule 5)."""

_MESSAGE = "id, trace_id, sender, prefix, size, arrived_at, utf8, body, envid, ret, expires"
_RECIPIENT = (
    "id, message_id, address, original, delivery_id, attempts, next_attempt, state, last_error, lease_token, domain,"
    " priority, notify, orcpt, last_code, last_host, noticed"
)


@dataclass(frozen=True, slots=True)
class Finished:
    """`blobs` are needed by nothing any more; `has_counted` where one result at least was heard."""

    blobs: list[str]
    has_counted: bool


def enqueue(message: NewMessage, blob: str, token: str, lease_end: int) -> Script[Leased]:
    """All recipients at once; those not due later are leased under `token`.  `blob` is as in `_add`."""
    number = yield from _add(message, blob, token, lease_end)
    rows = yield f"SELECT {_MESSAGE} FROM message WHERE id = ?", (number,)  # noqa: S608  # a constant
    leased = yield from _recipients("message_id = ? AND lease_token = ?", (number, token))
    return Leased(_message(rows[0]), tuple(leased))


def _add(message: NewMessage, blob: str, token: str, lease_end: int) -> Script[int]:
    """`blob` names the file, or is "" where the body is small."""
    count = len(message.recipients)
    rows = yield "UPDATE queue_state SET last_id = last_id + ? RETURNING last_id", (count + 1,)
    number: int = rows[0][0] - count
    staged = message.staged
    yield (
        f"INSERT INTO message ({_MESSAGE}, sha256, blob, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (
            number,
            message.trace_id,
            message.sender,
            message.prefix,
            staged.size,
            message.arrived_at,
            int(message.utf8),
            message.body,
            message.envid,
            message.ret,
            message.expires,
            staged.sha256,
            blob,
            staged.small,
        ),
    )
    for offset, recipient in enumerate(message.recipients, 1):
        lease = (1, lease_end, token) if recipient.due is None else (0, recipient.due, "")
        yield _insert(number + offset, number, recipient, message.priority, lease)
    return number


def _insert(
    number: int, message: int, recipient: NewRecipient, priority: int, lease: tuple[int, int, str]
) -> Statement:
    """`lease`: attempts, the next one, the token."""
    return (
        "INSERT INTO recipient (id, message_id, address, domain, original, delivery_id, notify, orcpt, priority,"
        " attempts, next_attempt, lease_token) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            message,
            recipient.address,
            recipient.address.rpartition("@")[2],
            recipient.original,
            recipient.delivery_id,
            recipient.notify,
            recipient.orcpt,
            priority,
            *lease,
        ),
    )


def lease_due(
    now: int, token: str, lease_end: int, limit: int, avoid: Collection[str] = ()
) -> Script[tuple[Leased, ...]]:
    """The most urgent first, of those the longest due."""
    elsewhere = f"AND domain NOT IN ({', '.join('?' * len(avoid))})" if avoid else ""
    found: list[QueuedRecipient] = []
    priority = HIGHEST_PRIORITY + 1
    while len(found) < limit:
        rows = yield "SELECT max(priority) FROM recipient WHERE state = 'waiting' AND priority < ?", (priority,)
        if rows[0][0] is None:
            break
        priority = rows[0][0]
        rows = yield (
            "UPDATE recipient SET lease_token = ?, next_attempt = ?, attempts = attempts + 1 WHERE id IN"  # noqa: S608
            f" (SELECT id FROM recipient WHERE state = 'waiting' AND priority = ? AND next_attempt <= ? {elsewhere}"
            f" ORDER BY next_attempt, domain, id LIMIT ?) RETURNING {_RECIPIENT}",
            (token, lease_end, priority, now, *avoid, limit - len(found)),
        )
        found += map(_recipient, rows)
    return (yield from _with_messages(found))


def renew(held: Iterable[tuple[int, str]], lease_end: int) -> Script[None]:
    """`held` are messages with the token of some of their recipients."""
    for message, token in held:
        yield (
            "UPDATE recipient SET next_attempt = ? WHERE message_id = ? AND lease_token = ?",
            (lease_end, message, token),
        )


def next_due() -> Script[int | None]:
    """One look at the index for each priority that there is."""
    found: list[int] = []
    priority = HIGHEST_PRIORITY + 1
    while True:
        rows = yield "SELECT max(priority) FROM recipient WHERE state = 'waiting' AND priority < ?", (priority,)
        priority = rows[0][0]
        if priority is None:
            return min(found, default=None)
        rows = yield "SELECT min(next_attempt) FROM recipient WHERE state = 'waiting' AND priority = ?", (priority,)
        found.append(rows[0][0])


def finish(
    held: dict[int, str], results: Iterable[RecipientResult], notices: Iterable[tuple[NewMessage, str]] = ()
) -> Script[Finished]:
    """`held` has the token of each recipient; `notices` come with the name of their blob."""
    messages: dict[int, None] = {}
    for result in results:
        statement = _conclude(result, held.get(result.recipient, ""))
        messages.update((row[0], None) for row in (yield statement))
    if messages:
        for notice, blob in notices:
            yield from _add(notice, blob, "", notice.arrived_at)
    return Finished((yield from _forget_done(messages)), bool(messages))


def _conclude(result: RecipientResult, token: str) -> Statement:
    fence = "WHERE id = ? AND lease_token = ? AND lease_token <> '' RETURNING message_id"
    key = (result.recipient, token)
    if result.outcome is not Outcome.RETRY:
        return f"DELETE FROM recipient {fence}", key  # noqa: S608  # a constant
    change = "lease_token = '', next_attempt = ?, last_error = ?, last_code = ?, last_host = ?, noticed = noticed | ?"
    values = (result.next_attempt, result.error, result.code, result.host, int(result.noticed))
    return f"UPDATE recipient SET {change} {fence}", (*values, *key)  # noqa: S608  # constants


def _forget_done(messages: Iterable[int]) -> Script[list[str]]:
    """Removes those that nobody waits for; returns the blobs that nothing needs any more."""
    blobs = []
    for message in messages:
        rows = yield (
            "DELETE FROM message WHERE id = ? AND NOT EXISTS (SELECT 1 FROM recipient WHERE message_id = ?)"
            " RETURNING blob",
            (message, message),
        )
        blobs += [row[0] for row in rows if row[0]]
    return blobs


def bytes_of(message: int) -> Script[Row | None]:
    """(sha256, blob, bytes), or None where it has left the queue."""
    rows = yield "SELECT sha256, blob, bytes FROM message WHERE id = ?", (message,)
    return rows[0] if rows else None


def blobs() -> Script[set[str]]:
    """Every blob that a message still needs."""
    rows = yield "SELECT blob FROM message WHERE blob <> ''", ()
    return {row[0] for row in rows}


# ---------------------------------------------------------------- for people


def messages(after: int, limit: int, where: QueueFilter) -> Script[tuple[Leased, ...]]:
    fitting, values = _fitting(where)
    recipients = yield from _recipients(
        f"{fitting} AND message_id IN (SELECT DISTINCT message_id FROM recipient WHERE {fitting} AND message_id > ?"  # noqa: S608
        " ORDER BY message_id LIMIT ?)",
        (*values, *values, after, limit),
    )
    return (yield from _with_messages(recipients))


def counts(now: int, where: QueueFilter) -> Script[QueueCounts]:
    fitting, values = _fitting(where)
    rows = yield (
        "SELECT count(DISTINCT message_id), count(*),"  # noqa: S608  # constants
        " count(*) FILTER (WHERE state = 'waiting' AND next_attempt <= ?),"
        " count(*) FILTER (WHERE lease_token <> '' AND next_attempt > ?),"
        f" count(*) FILTER (WHERE state = 'held'), min(message_id) FROM recipient WHERE {fitting}",
        (now, now, *values),
    )
    messages, recipients, due, leased, held, first = rows[0]
    rows = yield "SELECT arrived_at FROM message WHERE id = ?", (first,)
    return QueueCounts(messages, recipients, due, leased, held, rows[0][0] if rows else 0)


def hold(where: QueueFilter) -> Script[int]:
    return (yield from _change(where, "state = 'held'", (), "state <> 'held'", ()))


def release(where: QueueFilter, now: int) -> Script[int]:
    due = "CASE WHEN lease_token <> '' AND next_attempt > ? THEN next_attempt ELSE ? END"
    return (yield from _change(where, f"state = 'waiting', next_attempt = {due}", (now, now), "state = 'held'", ()))


def retry_now(where: QueueFilter, now: int) -> Script[int]:
    idle = "state = 'waiting' AND lease_token = '' AND next_attempt > ?"
    return (yield from _change(where, "next_attempt = ?", (now,), idle, (now,)))


def _change(
    where: QueueFilter, change: str, values: Sequence[object], who: str, who_values: Sequence[object]
) -> Script[int]:
    """At most a slice of those who fit and are `who`, which none is any more afterwards; says how many."""
    fitting, fitting_values = _fitting(where)
    rows = yield (
        f"UPDATE recipient SET {change} WHERE id IN (SELECT id FROM recipient WHERE {fitting} AND {who} LIMIT ?)"  # noqa: S608
        " RETURNING id",
        (*values, *fitting_values, *who_values, SLICE_OF_CHANGES),
    )
    return len(rows)


def drop(where: QueueFilter) -> Script[tuple[int, list[str]]]:
    """At most a slice; how many, and the blobs that nothing needs any more."""
    fitting, values = _fitting(where)
    rows = yield (
        f"DELETE FROM recipient WHERE id IN (SELECT id FROM recipient WHERE {fitting} LIMIT ?) RETURNING message_id",  # noqa: S608
        (*values, SLICE_OF_CHANGES),
    )
    return len(rows), (yield from _forget_done(dict.fromkeys(row[0] for row in rows)))


def _fitting(where: QueueFilter) -> tuple[str, tuple[object, ...]]:
    """A condition on `recipient` and its values."""
    conditions = list(_conditions(where))
    text = " AND ".join(condition for condition, _ in conditions) or "TRUE"
    return f"({text})", tuple(value for _, value in conditions)


def _conditions(where: QueueFilter) -> Iterator[tuple[str, object]]:
    if where.message is not None:
        yield "message_id = ?", where.message
    if where.recipient is not None:
        yield "id = ?", where.recipient
    if where.trace_id:
        yield "message_id IN (SELECT id FROM message WHERE trace_id = ?)", where.trace_id
    if where.sender:
        sender = "" if where.sender == "<>" else where.sender
        yield "message_id IN (SELECT id FROM message WHERE lower(sender) = lower(?))", sender
    if where.address:
        yield "lower(address) = lower(?)", where.address
    if where.domain:
        yield "domain = lower(?)", where.domain
    if where.state is not None:
        yield "state = ?", where.state.value


# ---------------------------------------------------------------- rows and values


def _recipients(where: str, values: Sequence[object]) -> Script[list[QueuedRecipient]]:
    rows: Rows = yield from just(f"SELECT {_RECIPIENT} FROM recipient WHERE {where}", values)  # noqa: S608  # constants
    return [_recipient(row) for row in rows]


def _with_messages(recipients: list[QueuedRecipient]) -> Script[tuple[Leased, ...]]:
    leased = []
    in_order = sorted(recipients, key=lambda recipient: (recipient.message, recipient.id))
    for number, group in groupby(in_order, key=lambda recipient: recipient.message):
        rows = yield f"SELECT {_MESSAGE} FROM message WHERE id = ?", (number,)  # noqa: S608  # a constant
        leased.append(Leased(_message(rows[0]), tuple(group)))
    return tuple(leased)


def _recipient(row: Row) -> QueuedRecipient:
    *values, noticed = row
    return QueuedRecipient(*values, bool(noticed))  # type: ignore[call-arg]  # as many as _RECIPIENT names


def _message(row: Row) -> QueuedMessage:
    number, trace_id, sender, prefix, size, arrived_at, utf8, *others = row
    return QueuedMessage(number, trace_id, sender, prefix, size, arrived_at, bool(utf8), *others)
