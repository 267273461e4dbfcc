"""What every write shares: taking the modseq, charging the quota, knowing keywords.

The first statement of a write takes the next modseq by updating the account's
row, which also is the fence: under an older generation no row is found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from postane.core import flags as flag_names
from postane.core.limits import ImapLimits
from postane.core.status import Condition, MailError
from postane.store import sql
from postane.store.api import AccountRef, SetQuota
from postane.store.script import Row, Script

T = TypeVar("T")

ROWS = 4096
"""The most entries that one commit changes, COPY excepted (STORE.md rule 5)."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a write knows besides its command: `now` in seconds since the epoch; `place`, the file of a large body."""

    now: int
    limits: ImapLimits
    place: str = ""


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """A write's answer, the account's modseq after it, and the blob files that no row names any more."""

    result: T
    modseq: int
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Begun:
    """This write's modseq, the first of the ids that it asked for, and what the account holds with what it adds."""

    modseq: int
    first_id: int
    usage: Row


def begin(account: AccountRef, ids: int = 0, *, messages: int = 0, size: int = 0) -> Script[Begun]:
    """Counts `messages` of `size` bytes as added; who adds any calls `check_quota`."""
    rows = yield sql.BEGIN_WRITE, (ids, messages, size, account.generation, account.id, account.generation)
    if not rows:
        raise MailError(
            Condition.ACCOUNT_BUSY,
            "this account cannot be changed now, try again later",
            f"account {account.id}: generation {account.generation} is over, or there is no such account here",
        )
    modseq, next_id, *usage = rows[0]
    return Begun(modseq, next_id - ids, tuple(usage))


def take_ids(account: AccountRef, count: int) -> Script[int]:
    """The first of `count` new ids."""
    rows = yield sql.TAKE_IDS, (count, account.id)
    return int(rows[0][0]) - count


def charge(account: AccountRef, messages: int, size: int) -> Script[None]:
    """Counts what is added; OVER_QUOTA where that is too much."""
    rows = yield sql.CHARGE, (messages, size, account.id)
    check_quota(rows[0])


def check_quota(usage: Row) -> None:
    """`usage` as sql.CHARGE and sql.BEGIN_WRITE give it; OVER_QUOTA."""
    has_messages, has_bytes, quota_messages, quota_bytes = usage
    if quota_messages and has_messages > quota_messages:
        raise MailError(Condition.OVER_QUOTA, f"the mailbox is full: it may hold {quota_messages} messages")
    if quota_bytes and has_bytes > quota_bytes:
        raise MailError(Condition.OVER_QUOTA, f"the mailbox is full: it may hold {quota_bytes} bytes")


def set_quota(account: AccountRef, command: SetQuota, context: Context) -> Script[Done[None]]:
    begun = yield from begin(account)
    yield sql.SET_QUOTA, (command.messages, command.bytes, account.id)
    return Done(None, begun.modseq)


def known_keywords(account: AccountRef, names: Sequence[str]) -> Script[dict[str, str]]:
    """Of `names`, those the account has: folded -> in the spelling first used."""
    if not names:
        return {}
    folded = sorted({name.lower() for name in names})
    rows = yield sql.KNOWN_KEYWORDS, (account.id, json.dumps(folded))
    return {row[0]: row[1] for row in rows}


def learn_keywords(account: AccountRef, names: Sequence[str], limit: int) -> Script[tuple[str, ...]]:
    """`names` in the spelling first used, each once, sorted; new ones are kept, up to `limit` in all."""
    known = yield from known_keywords(account, names)
    new = {name.lower(): name for name in reversed(names) if name.lower() not in known}
    if new:
        for name in new.values():
            if not name.isascii() or not flag_names.is_keyword(name.encode()):
                raise MailError(Condition.BAD_ARGUMENT, f"{name!r} is no keyword")
        count = yield sql.KEYWORD_COUNT, (account.id,)
        if count[0][0] + len(new) > limit:
            raise MailError(Condition.KEYWORD_LIMIT, f"this account may use {limit} keywords and has them all")
        first = yield from take_ids(account, len(new))
        for number, (folded, name) in enumerate(sorted(new.items()), first):
            yield sql.INSERT_KEYWORD, (account.id, folded, number, name)
    return tuple(sorted({*known.values(), *new.values()}))


def numbers(values: Iterable[int]) -> str:
    """Integers as the one value that a statement takes for a list."""
    return f"[{','.join(map(str, values))}]"
