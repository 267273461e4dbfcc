"""The queue's statements, once: scripts for any driver.

A lease is a token on a recipient, and its `next_attempt` moved to the end of
the lease.  A result counts only under the token that the row still carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from postane.store.api import (
    Leased,
    NewMessage,
    NewRecipient,
    Outcome,
    QueuedMessage,
    QueuedRecipient,
    RecipientResult,
)
from postane.store.script import Row, Script, just

_MESSAGE = "id, trace_id, sender, prefix, size, arrived_at, utf8, body"
_RECIPIENT = "id, message_id, address, original, delivery_id, attempts, next_attempt, state, last_error, lease_token"


def enqueue(message: NewMessage, blob: str, token: str, lease_end: int) -> Script[Leased]:
    """All recipients at once, leased under `token`.  `blob` names the file, or is "" where the body is small."""
    count = len(message.recipients)
    rows = yield "UPDATE queue_state SET last_id = last_id + ? RETURNING last_id", (count + 1,)
    number: int = rows[0][0] - count
    staged = message.staged
    yield (
        "INSERT INTO message (id, trace_id, sender, prefix, size, arrived_at, utf8, body, envid, ret, sha256, blob,"
        " bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            staged.sha256,
            blob,
            staged.small,
        ),
    )
    for offset, recipient in enumerate(message.recipients, 1):
        yield _insert(number + offset, number, recipient, token, lease_end)
    (leased,) = yield from _with_messages((yield from _recipients("message_id = ?", (number,))))
    return leased


def _insert(
    number: int, message: int, recipient: NewRecipient, token: str, lease_end: int
) -> tuple[str, Sequence[object]]:
    return (
        "INSERT INTO recipient (id, message_id, address, original, delivery_id, notify, orcpt, attempts, next_attempt,"
        " lease_token) VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
        (
            number,
            message,
            recipient.address,
            recipient.original,
            recipient.delivery_id,
            recipient.notify,
            recipient.orcpt,
            lease_end,
            token,
        ),
    )


def lease_due(now: int, token: str, lease_end: int, limit: int) -> Script[tuple[Leased, ...]]:
    """Those longest due first."""
    rows = yield (
        "UPDATE recipient SET lease_token = ?, next_attempt = ?, attempts = attempts + 1 WHERE id IN"  # noqa: S608
        " (SELECT id FROM recipient WHERE state = 'waiting' AND next_attempt <= ? ORDER BY next_attempt, id LIMIT ?)"
        f" RETURNING {_RECIPIENT}",
        (token, lease_end, now, limit),
    )
    return (yield from _with_messages([QueuedRecipient(*row) for row in rows]))


def finish(held: dict[int, str], results: Iterable[RecipientResult]) -> Script[list[str]]:
    """`held` has the token of each recipient.  Returns the blobs that nothing needs any more."""
    messages: dict[int, None] = {}
    for result in results:
        statement = _conclude(result, held.get(result.recipient, ""))
        messages.update((row[0], None) for row in (yield statement))
    blobs = []
    for message in messages:
        rows = yield (
            "DELETE FROM message WHERE id = ? AND NOT EXISTS (SELECT 1 FROM recipient WHERE message_id = ?)"
            " RETURNING blob",
            (message, message),
        )
        blobs += [row[0] for row in rows if row[0]]
    return blobs


def _conclude(result: RecipientResult, token: str) -> tuple[str, Sequence[object]]:
    fence = "WHERE id = ? AND lease_token = ? AND lease_token <> '' RETURNING message_id"
    key = (result.recipient, token)
    match result.outcome:
        case Outcome.DELIVERED:
            return f"DELETE FROM recipient {fence}", key  # noqa: S608  # a constant
        case Outcome.RETRY:
            change = "UPDATE recipient SET lease_token = '', next_attempt = ?, last_error = ?"
            return f"{change} {fence}", (result.next_attempt, result.error, *key)
        case Outcome.FAILED:
            change = "UPDATE recipient SET lease_token = '', state = 'failed', last_error = ?"
            return f"{change} {fence}", (result.error, *key)


def bytes_of(message: int) -> Script[Row | None]:
    """(sha256, blob, bytes), or None where it has left the queue."""
    rows = yield "SELECT sha256, blob, bytes FROM message WHERE id = ?", (message,)
    return rows[0] if rows else None


def messages(after: int, limit: int) -> Script[tuple[Leased, ...]]:
    recipients = yield from _recipients(
        "message_id IN (SELECT id FROM message WHERE id > ? ORDER BY id LIMIT ?)", (after, limit)
    )
    return (yield from _with_messages(recipients))


def retry_now(message: int, now: int) -> Script[None]:
    """Also those that had failed.  Whoever is being tried this moment is left alone."""
    yield (
        "UPDATE recipient SET state = 'waiting', next_attempt = ?, lease_token = '' WHERE message_id = ?"
        " AND (lease_token = '' OR next_attempt <= ?)",
        (now, message, now),
    )


def drop(message: int) -> Script[list[str]]:
    """Returns the blobs that nothing needs any more."""
    rows = yield "DELETE FROM message WHERE id = ? RETURNING blob", (message,)
    return [row[0] for row in rows if row[0]]


def blobs() -> Script[set[str]]:
    """Every blob that a message still needs."""
    rows = yield "SELECT blob FROM message WHERE blob <> ''", ()
    return {row[0] for row in rows}


def _recipients(where: str, values: Sequence[object]) -> Script[list[QueuedRecipient]]:
    rows = yield from just(f"SELECT {_RECIPIENT} FROM recipient WHERE {where}", values)  # noqa: S608  # constants
    return [QueuedRecipient(*row) for row in rows]


def _with_messages(recipients: list[QueuedRecipient]) -> Script[tuple[Leased, ...]]:
    leased = []
    in_order = sorted(recipients, key=lambda recipient: (recipient.message, recipient.id))
    for number, group in groupby(in_order, key=lambda recipient: recipient.message):
        rows = yield f"SELECT {_MESSAGE} FROM message WHERE id = ?", (number,)  # noqa: S608  # a constant
        leased.append(Leased(_message(rows[0]), tuple(group)))
    return tuple(leased)


def _message(row: Row) -> QueuedMessage:
    number, trace_id, sender, prefix, size, arrived_at, utf8, body = row
    return QueuedMessage(number, trace_id, sender, prefix, size, arrived_at, bool(utf8), body)
