"""What leaves for good, and when: the janitor's round, run by the process for timed work.

A mark (STORE.md rule 4) is removed when it is older than the undelete setting,
never younger than a day.  Then go files that a crash left behind and trace
segments that are too old.  Work is done in slices, and after each the janitor
rests as long as the slice took, so that neighbours keep half the disk at least.
One account that cannot be cleaned keeps no other from its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from postane.core.clock import Clock
from postane.core.log import Log
from postane.core.status import MailError
from postane.store.api import SLICE, Account, AccountRef, Command, Directory, Purge

T = TypeVar("T")
DAY = 86_400


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """In days.  `undelete` under one day counts as one."""

    undelete: int = 14
    trace: int = 30


@dataclass(frozen=True, slots=True)
class Round:
    """What one round removed, and how many accounts it could not clean."""

    accounts: int = 0
    entries: int = 0
    bytes: int = 0
    files: int = 0
    trace_segments: int = 0
    failed: int = 0


class SweptMail(Protocol):
    """What the janitor asks of the mail store."""

    async def write(self, account: AccountRef, command: Command[T]) -> T: ...

    async def sweep(self, account: AccountRef) -> int: ...

    async def sweep_incoming(self) -> int: ...


class SweptQueue(Protocol):
    async def sweep(self) -> int: ...


class PrunedTrace(Protocol):
    async def prune(self, keep_days: int) -> int: ...


class Janitor:
    def __init__(
        self,
        directory: Directory,
        mail: SweptMail,
        queue: SweptQueue,
        trace: PrunedTrace,
        policy: RetentionPolicy,
        clock: Clock,
        log: Log,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._directory = directory
        self._mail = mail
        self._queue = queue
        self._trace = trace
        self._policy = policy
        self._clock = clock
        self._log = log
        self._rest = rest

    async def run(self) -> Round:
        """One round over everything; once a day is enough.  MailError or OSError where it cannot even begin."""
        done = Round()
        async for account in self._directory.accounts():
            done = await self._clean(account, done)
        files = await self._mail.sweep_incoming() + await self._queue.sweep()
        segments = await self._trace.prune(self._policy.trace)
        done = replace(done, files=done.files + files, trace_segments=segments)
        self._log.info("retention", **{name: getattr(done, name) for name in Round.__dataclass_fields__})
        return done

    async def _clean(self, account: Account, done: Round) -> Round:
        try:
            entries, size = await self._purge(account)
            files = await self._slice(lambda: self._mail.sweep(account.ref))
        except (MailError, OSError) as failure:
            reason = failure.detail or failure.text if isinstance(failure, MailError) else str(failure)
            self._log.warning("retention", account=account.ref.id, failure=reason)
            return replace(done, failed=done.failed + 1)
        return replace(
            done,
            accounts=done.accounts + 1,
            entries=done.entries + entries,
            bytes=done.bytes + size,
            files=done.files + files,
        )

    async def _purge(self, account: Account) -> tuple[int, int]:
        before = int(self._clock.now()) - max(self._policy.undelete, 1) * DAY
        entries = size = 0
        while True:
            purged = await self._slice(lambda: self._mail.write(account.ref, Purge(before, SLICE)))
            if not purged.messages:
                return entries, size
            entries += purged.messages
            size += purged.bytes

    async def _slice(self, work: Callable[[], Awaitable[T]]) -> T:
        started = self._clock.monotonic()
        result = await work()
        await self._rest(self._clock.monotonic() - started)
        return result
