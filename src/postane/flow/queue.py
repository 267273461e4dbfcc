"""From the queue into mailboxes here: each recipient once, whatever crashes in between.

A hand-over carries the recipient's `delivery_id`; filing it a second time does
nothing (STORE.md rule 7).  So a worker may die after filing and before it says
so: the lease runs out, the next one files again, and the account knows it.

What fails is only told here, as a `Verdict`; `flow.relay.settlement` decides what
becomes of it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from postane.core.address import BadAddress, parse
from postane.core.clock import Clock
from postane.core.log import Log, NullLog
from postane.core.status import Condition, MailError
from postane.flow.accounts import Accounts, Local
from postane.flow.deliver import Filing
from postane.flow.relay.verdict import Fate, Verdict, failed
from postane.flow.schedule import Schedule
from postane.mime.compose import field
from postane.store.api import (
    Account,
    Facts,
    Leased,
    Outcome,
    QueuedMessage,
    QueuedRecipient,
    QueueStore,
    RecipientResult,
    Role,
    Staged,
    Trace,
    TraceEvent,
)

_RETURN_PATH = re.compile(rb"Return-Path:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")
LEASE_SECONDS = 300
AT_ONCE = 16
"""Recipients of one message that are filed side by side, so that their commits share the wait for the disk."""


class HandOver:
    def __init__(
        self,
        queue: QueueStore,
        accounts: Accounts,
        filing: Filing,
        trace: Trace,
        clock: Clock,
        log: Log | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        self._queue = queue
        self._accounts = accounts
        self._filing = filing
        self._trace = trace
        self._clock = clock
        self._log = log or NullLog()
        self._schedule = schedule or Schedule()

    async def deliver(
        self, leased: Leased, staged: Staged | None = None, facts: Facts | None = None
    ) -> list[RecipientResult]:
        """Files a message that has just been queued and reports to the queue; one result each, in order.

        What cannot be filed now, for whatever reason, waits: whoever works off the queue tries it again and decides.
        Never raises: the message is the queue's.
        """
        verdicts = await self.attempt(leased.message, leased.recipients, staged, facts)
        pairs = zip(leased.recipients, verdicts, strict=True)
        results = [self._result(leased.message, recipient, verdict) for recipient, verdict in pairs]
        try:
            await self._queue.finish(leased, results)
        except Exception as error:
            # Not lost, not doubled: when the lease ends it is filed again under the same delivery_id.
            failure = self._failure(leased.message, error)
            self._note(leased.message, "queue-unreachable", 0, error=failure.text, detail=failure.detail)
        return results

    async def attempt(
        self,
        message: QueuedMessage,
        recipients: Sequence[QueuedRecipient],
        staged: Staged | None = None,
        facts: Facts | None = None,
    ) -> list[Verdict]:
        """One try for each recipient, in order; the queue hears nothing of it.

        `staged` and `facts` spare reading and scanning again what the caller has at hand; `staged` stays open.
        """
        own = None
        try:
            if staged is None:
                staged = own = await self._queue.staged(message)
            return await self._file_all(message, recipients, staged, facts or await self._filing.scan(staged))
        except Exception as error:
            return [failed(self._failure(message, error))] * len(recipients)
        finally:
            if own is not None:
                await own.close()

    def _result(self, message: QueuedMessage, recipient: QueuedRecipient, verdict: Verdict) -> RecipientResult:
        if verdict.fate is Fate.DELIVERED:
            return RecipientResult(recipient.id, Outcome.DELIVERED)
        self._note(message, "retry", 0, to=recipient.address, error=verdict.words, detail=verdict.detail)
        later = int(self._clock.now()) + self._schedule.wait(recipient.attempts)
        return RecipientResult(recipient.id, Outcome.RETRY, verdict.words, later, verdict.code)

    async def _file_all(
        self, message: QueuedMessage, recipients: Sequence[QueuedRecipient], staged: Staged, facts: Facts
    ) -> list[Verdict]:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(recipient: QueuedRecipient) -> Verdict:
            async with places:
                return await self._file_one(message, recipient, staged, facts)

        return list(await asyncio.gather(*map(one, recipients)))

    async def _file_one(
        self, message: QueuedMessage, recipient: QueuedRecipient, staged: Staged, facts: Facts
    ) -> Verdict:
        try:
            for account in await self._accounts_of(recipient):
                await self._file(message, recipient, account, staged, facts)
        except Exception as error:
            return failed(self._failure(message, error))
        return Verdict(Fate.DELIVERED, 250, "2.1.5", "in the mailbox")

    async def _accounts_of(self, recipient: QueuedRecipient) -> list[Account]:
        """Usually the one that the address named when it was accepted; what has changed since then counts."""
        try:
            ends = await self._accounts.resolve(parse(recipient.address))
        except BadAddress as error:
            raise MailError(Condition.BAD_RECIPIENT_SYNTAX, str(error)) from error
        accounts = [end.account for end in ends if isinstance(end, Local)]
        if len(accounts) != len(ends):
            raise MailError(Condition.RELAY_DENIED, f"<{recipient.address}> leads elsewhere, and nothing is sent there")
        return accounts

    async def _file(
        self,
        message: QueuedMessage,
        recipient: QueuedRecipient,
        account: Account,
        staged: Staged,
        facts: Facts,
    ) -> None:
        filed = await self._filing.file(
            account.ref,
            Role.INBOX,
            staged,
            internal_date=message.arrived_at,
            prefix=_delivered_to(recipient.address, message.prefix),
            delivery_id=recipient.delivery_id,
            facts=facts,
        )
        what = "filed-before" if filed.repeated else "filed"
        self._note(message, what, account.ref.id, to=recipient.address, email_id=filed.email_id)

    def _failure(self, message: QueuedMessage, error: Exception) -> MailError:
        """A defect is one message's trouble: it is told, tried again later, and keeps no other waiting."""
        if isinstance(error, MailError):
            return error
        self._log.exception("hand-over failed", trace_id=message.trace_id)
        return MailError(Condition.BUG, "the server made a mistake here", repr(error))

    def _note(self, message: QueuedMessage, what: str, account: int, **facts: str) -> None:
        self._trace.note(TraceEvent(self._clock.now(), message.trace_id, what, account, facts))


def _delivered_to(address: str, prefix: bytes) -> bytes:
    """Behind Return-Path, which stands at the message's very beginning (RFC 5321 4.4), and before Received."""
    first = _RETURN_PATH.match(prefix)
    at = first.end() if first else 0
    return prefix[:at] + field("Delivered-To", address) + prefix[at:]
