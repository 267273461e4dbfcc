"""Proves that counters, rows and bytes of an account agree.

Looked at: SQLite's own structure; counters of mailboxes and account, UIDNEXT,
modseq and id counters against the rows; entry to message to blob; every blob's
size and SHA-256.  Repair sets counters right.  It removes nothing: what could
be mail stays, however damaged.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor

from postane.core.status import MailError
from postane.store import sql_check
from postane.store.api import SLICE, AccountRef, Finding
from postane.store.blob_fs import FileBlobs
from postane.store.commands.account import begin
from postane.store.script import Row, Rows, Script, just
from postane.store.sqlite import Database

_STEP = 1 << 20
_MAILBOX_COUNTERS = ("messages", "unseen", "deleted", "bytes", "deleted bytes", "uidnext", "highest modseq")
_ACCOUNT_COUNTERS = (
    "messages",
    "bytes",
    "undelete messages",
    "undelete bytes",
    "modseq",
    "next id",
    "next uidvalidity",
)
_RISING = frozenset({"uidnext", "highest modseq", "modseq", "next id", "next uidvalidity"})
"""Counters that may be above what is there, but never below."""


async def check(
    account: AccountRef,
    open_: Callable[[AccountRef], Database],
    blobs: FileBlobs,
    pool: Executor,
    *,
    repair: bool,
) -> AsyncIterator[Finding]:
    """A database that cannot be read is a finding too: whoever looks at many accounts goes on to the next."""
    try:
        async for finding in _findings(account, open_, blobs, pool, repair):
            yield finding
    except MailError as error:
        yield Finding("the database file", f"not all of it can be read: {error.detail or error.text}")


async def _findings(
    account: AccountRef,
    open_: Callable[[AccountRef], Database],
    blobs: FileBlobs,
    pool: Executor,
    repair: bool,
) -> AsyncIterator[Finding]:
    for problem in await open_(account).integrity():
        yield Finding("the database file", problem)
    # Mailboxes before the account, whose counters are summed from theirs.
    for counters in (_mailbox_counters, _account_counters, _blob_uses):
        found = await open_(account).read(counters(account), in_pool=True)
        if found and repair:
            found = await open_(account).write(_repaired(account, counters))
        for finding in found:
            yield finding
    for row in await open_(account).read(just(sql_check.BROKEN_ENTRIES, (account.id,)), in_pool=True):
        yield _broken_entry(row)
    async for finding in _blob_findings(account, open_, blobs, pool):
        yield finding


Counters = Callable[..., Script[list[Finding]]]


def _repaired(account: AccountRef, counters: Counters) -> Script[list[Finding]]:
    """Counts again where nothing can change meanwhile."""
    yield from begin(account)
    return (yield from counters(account, repair=True))


def _mailbox_counters(account: AccountRef, repair: bool = False) -> Script[list[Finding]]:
    findings: list[Finding] = []
    rows = yield sql_check.MAILBOX_COUNTERS, (account.id,)
    for id_, name, *numbers in rows:
        count = len(_MAILBOX_COUNTERS)
        kept, there = numbers[:count], numbers[count:]
        right = _right(_MAILBOX_COUNTERS, kept, there)
        findings += _differences(f"mailbox {name!r} ({id_})", _MAILBOX_COUNTERS, kept, right, repair)
        if right != kept and repair:
            yield sql_check.SET_MAILBOX_COUNTERS, (*right, account.id, id_)
    return findings


def _account_counters(account: AccountRef, repair: bool = False) -> Script[list[Finding]]:
    rows = yield sql_check.ACCOUNT_COUNTERS, (account.id,)
    if not rows:
        return [Finding("the account", "its row is missing")]
    count = len(_ACCOUNT_COUNTERS)
    kept, there = list(rows[0][:count]), list(rows[0][count:])
    right = _right(_ACCOUNT_COUNTERS, kept, there)
    if right != kept and repair:
        yield sql_check.SET_ACCOUNT_COUNTERS, (*right, account.id)
    return list(_differences("the account", _ACCOUNT_COUNTERS, kept, right, repair))


def _blob_uses(account: AccountRef, repair: bool = False) -> Script[list[Finding]]:
    """How many messages have a blob.  One that none has is kept, to be looked at by a person."""
    findings: list[Finding] = []
    rows = yield sql_check.BLOB_USES, (account.id, account.id)
    for id_, kept, there in rows:
        is_mendable = repair and there is not None
        findings.append(Finding(f"blob {id_}", f"messages says {kept}, it is {there or 0}", is_mendable))
        if is_mendable:
            yield sql_check.SET_BLOB_USES, (there, account.id, id_)
    return findings


def _right(names: tuple[str, ...], kept: list[int], there: list[int]) -> list[int]:
    return [max(has, is_) if name in _RISING else is_ for name, has, is_ in zip(names, kept, there, strict=True)]


def _differences(
    where: str, names: tuple[str, ...], kept: list[int], right: list[int], repaired: bool
) -> Iterator[Finding]:
    for name, has, should in zip(names, kept, right, strict=True):
        if has != should:
            yield Finding(where, f"{name} says {has}, it is {should}", repaired)


def _broken_entry(row: Row) -> Finding:
    mailbox, uid, message, size, message_size, whole_size, header = row
    where = f"mailbox {mailbox}, UID {uid}"
    if message is None:
        return Finding(where, "its message is missing")
    if whole_size is None:
        return Finding(where, "its blob is missing")
    if header is None:
        return Finding(where, "its header is missing")
    return Finding(where, f"sizes differ: {size} in the entry, {message_size} in the message, {whole_size} in the blob")


async def _blob_findings(
    account: AccountRef, open_: Callable[[AccountRef], Database], blobs: FileBlobs, pool: Executor
) -> AsyncIterator[Finding]:
    last = 0
    while True:
        rows: Rows = await open_(account).read(just(sql_check.BLOBS, (account.id, last, SLICE)))
        if not rows:
            return
        for id_, size, sha256, place, encoding in rows:
            if encoding != "raw":
                continue
            where = f"blob {id_}" + (f" ({blobs.folder / place})" if place else "")
            body: Rows = []
            if not place:
                body = await open_(account).read(just(sql_check.BODY, (account.id, id_)))
            problem = await asyncio.get_running_loop().run_in_executor(
                pool, _blob_problem, blobs, size, sha256, place, body
            )
            if problem:
                yield Finding(where, problem)
        last = rows[-1][0]


def _blob_problem(blobs: FileBlobs, size: int, sha256: bytes, place: str, body: Rows) -> str:
    """What is wrong with a blob's bytes, or ""."""
    if not place and not body:
        return "its bytes are missing"
    digest, length = hashlib.sha256(), 0
    try:
        for piece in _pieces(blobs, place) if place else (body[0][0],):
            digest.update(piece)
            length += len(piece)
    except MailError as error:
        return f"it cannot be read: {error.detail}"
    if length != size:
        return f"it has {length} bytes instead of {size}"
    return "" if digest.digest() == sha256 else "its bytes are not those that were stored (SHA-256 differs)"


def _pieces(blobs: FileBlobs, place: str) -> Iterator[bytes]:
    start = 0
    while piece := blobs.read(place, start, _STEP):
        yield piece
        start += len(piece)
