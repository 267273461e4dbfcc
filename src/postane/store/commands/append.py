"""Append: a message with its facts, its thread, its place in a mailbox."""

from __future__ import annotations

import hashlib
from typing import Any

from postane.core.ids import new_id
from postane.core.status import Condition, MailError
from postane.store import sql
from postane.store.api import AccountRef, Append, Facts, Filed, Role
from postane.store.commands.account import Begun, Context, Done, begin, check_quota, learn_keywords
from postane.store.commands.counting import Counts
from postane.store.script import Script

MAX_REFERENCES = 100
"""Of a message's References the last so many count."""
_IDS = 3  # blob, message, thread


def append(account: AccountRef, command: Append, context: Context) -> Script[Done[Filed]]:
    begun = yield from begin(account, _IDS, messages=1, size=_size(command))
    if command.delivery_id is not None:
        rows = yield sql.DELIVERED, (account.id, command.delivery_id)
        if rows:
            yield sql.CHARGE, (-1, -_size(command), account.id)
            mailbox, uidvalidity, uid, email_id, modseq = rows[0]
            return Done(Filed(mailbox, uidvalidity, uid, email_id, modseq, repeated=True), begun.modseq)
    filed = yield from _take_place(account, command, begun)
    check_quota(begun.usage)
    yield from _insert_message(account, command, context, begun, filed)
    if command.delivery_id is not None:
        yield sql.INSERT_DELIVERED, _delivered_row(account, command.delivery_id, filed, context.now)
    return Done(filed, begun.modseq)


def _size(command: Append) -> int:
    return len(command.prefix) + command.staged.size


def _take_place(account: AccountRef, command: Append, begun: Begun) -> Script[Filed]:
    """In the mailbox, or in the one with the role, INBOX where none has it."""
    counts = Counts()
    counts.add(int(command.flags), _size(command))
    values = (1, *counts.values(), begun.modseq, begun.modseq, account.id)
    if isinstance(command.mailbox, Role):
        rows = yield sql.TAKE_UIDS_OF_ROLE, (*values, command.mailbox.value)
        if not rows:
            rows = yield sql.TAKE_UIDS_OF_ROLE, (*values, Role.INBOX.value)
    else:
        rows = yield sql.TAKE_UIDS, (*values, command.mailbox)
    if not rows:
        raise MailError(Condition.TRY_CREATE, "there is no such mailbox")
    mailbox, uidnext, uidvalidity = rows[0]
    return Filed(mailbox, uidvalidity, uidnext - 1, new_id(), begun.modseq)


def _insert_message(account: AccountRef, command: Append, context: Context, begun: Begun, filed: Filed) -> Script[None]:
    staged, facts = command.staged, command.facts
    blob_id, message_id, new_thread = range(begun.first_id, begun.first_id + _IDS)
    keywords = yield from learn_keywords(account, command.keywords, context.limits.keywords)
    small = None if context.place else staged.small
    yield sql.INSERT_BLOB, (account.id, blob_id, staged.size, staged.sha256, context.place, small)
    thread_id = yield from _thread_of(account, facts, new_thread)
    yield sql.INSERT_MESSAGE, (account.id, message_id, blob_id, thread_id, *_message_row(command, filed))
    yield sql.INSERT_HEADER, (account.id, message_id, command.prefix + facts.header)
    values = _entry_row(command, keywords, filed, context.now)
    yield sql.INSERT_ENTRY, (account.id, filed.mailbox, filed.uid, message_id, *values)


def _message_row(command: Append, filed: Filed) -> tuple[Any, ...]:
    """The values of sql.INSERT_MESSAGE from email_id on."""
    facts = command.facts
    return (
        filed.email_id,
        _size(command),
        command.internal_date,
        command.internal_date if facts.sent_date is None else facts.sent_date,
        filed.modseq,
        filed.modseq,
        facts.parsed_by,
        int(facts.needs_utf8),
        command.prefix,
        facts.envelope,
        facts.bodystructure,
        facts.parts,
        _number(facts.message_id_hash) if facts.message_id_hash else None,
        b"".join(facts.reference_hashes),
        _text(facts.base_subject),
        _text(facts.from_),
        _text(facts.to),
        _text(facts.cc),
        _text(facts.preview),
    )


def _entry_row(command: Append, keywords: tuple[str, ...], filed: Filed, now: int) -> tuple[Any, ...]:
    """The values of sql.INSERT_ENTRY from flags on."""
    flags, size = int(command.flags), _size(command)
    return (flags, " ".join(keywords), size, filed.modseq, filed.modseq, now, new_id())


def _delivered_row(account: AccountRef, delivery_id: str, filed: Filed, now: int) -> tuple[Any, ...]:
    place = (filed.mailbox, filed.uidvalidity, filed.uid, filed.email_id, filed.modseq)
    return (account.id, delivery_id, now, *place)


def _thread_of(account: AccountRef, facts: Facts, new_thread: int) -> Script[int]:
    """RFC 8621 3: with whom it shares a message id and the base subject; what was told first stays."""
    hashes = {_number(octets) for octets in facts.reference_hashes[-MAX_REFERENCES:]}
    if facts.message_id_hash:
        hashes.add(_number(facts.message_id_hash))
    subject = _number(hashlib.sha256(_text(facts.base_subject).encode()).digest()[:8])
    known: dict[int, int] = {}
    for number in hashes:
        rows = yield sql.FIND_THREAD, (account.id, number, subject)
        if rows:
            known[number] = rows[0][0]
    thread_id = min(known.values(), default=new_thread)
    if not known:
        yield sql.INSERT_THREAD, (account.id, thread_id, new_id())
    for number in hashes - known.keys():
        yield sql.INSERT_REFERENCE, (account.id, number, subject, thread_id)
    return thread_id


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big", signed=True)


def _text(text: str) -> str:
    """What any database takes as text: no surrogate, no NUL."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
