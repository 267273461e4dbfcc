"""From the queue into mailboxes here: each recipient once, whatever crashes in between.

A hand-over carries the recipient's `delivery_id`; filing it a second time does
nothing (STORE.md rule 7).  So a worker may die after filing and before it says
so: the lease runs out, the next one files again, and the account knows it.

Temporary failures are tried again, less and less often, for `GIVE_UP_SECONDS`
(RFC 5321 4.5.4.1: at least 4 to 5 days).  What failed for good stays in the
queue, with the reason, for the operator to see.
"""

from __future__ import annotations

import asyncio

from postane.core.address import BadAddress, parse
from postane.core.clock import Clock
from postane.core.log import Log, NullLog
from postane.core.status import Condition, MailError
from postane.flow.accounts import Accounts, Local
from postane.flow.deliver import Filing
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

LEASE_SECONDS = 300
FIRST_RETRY_SECONDS = 60
LAST_RETRY_SECONDS = 4 * 3600
GIVE_UP_SECONDS = 5 * 86_400
AT_ONCE = 16
"""Recipients of one message that are filed side by side, so that their commits share the wait for the disk."""
DUE_AT_ONCE = 100
"""Recipients leased in one go: few enough to be done long before their lease ends."""


class HandOver:
    def __init__(
        self,
        queue: QueueStore,
        accounts: Accounts,
        filing: Filing,
        trace: Trace,
        clock: Clock,
        log: Log | None = None,
    ) -> None:
        self._queue = queue
        self._accounts = accounts
        self._filing = filing
        self._trace = trace
        self._clock = clock
        self._log = log or NullLog()

    async def deliver(
        self, leased: Leased, staged: Staged | None = None, facts: Facts | None = None
    ) -> list[RecipientResult]:
        """Files the message for each recipient and reports to the queue; one result each, in order.

        `staged` and `facts` spare reading and scanning again what the caller has at hand; `staged` stays open.
        Never raises: the message is the queue's, so what fails now is tried again.
        """
        own = None
        try:
            if staged is None:
                staged = own = await self._queue.staged(leased.message)
            results = await self._file_all(leased, staged, facts or await self._filing.scan(staged))
        except Exception as error:
            failure = self._failure(leased.message, error)
            results = [self._failed(leased, recipient, failure) for recipient in leased.recipients]
        finally:
            if own is not None:
                await own.close()
        try:
            await self._queue.finish(leased, results)
        except Exception as error:
            # Not lost, not doubled: when the lease ends it is filed again under the same delivery_id.
            failure = self._failure(leased.message, error)
            self._note(leased.message, "queue-unreachable", 0, error=failure.text, detail=failure.detail)
        return results

    async def run_due(self) -> int:
        """Delivers everything whose time has come, also what a dead worker left; says how many recipients."""
        count = 0
        while due := await self._queue.lease_due(int(self._clock.now()), LEASE_SECONDS, DUE_AT_ONCE):
            for leased in due:
                await self.deliver(leased)
                count += len(leased.recipients)
        return count

    async def _file_all(self, leased: Leased, staged: Staged, facts: Facts) -> list[RecipientResult]:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(recipient: QueuedRecipient) -> RecipientResult:
            async with places:
                return await self._file_one(leased, recipient, staged, facts)

        return list(await asyncio.gather(*map(one, leased.recipients)))

    async def _file_one(
        self, leased: Leased, recipient: QueuedRecipient, staged: Staged, facts: Facts
    ) -> RecipientResult:
        try:
            for account in await self._accounts_of(recipient):
                await self._file(leased.message, recipient, account, staged, facts)
        except Exception as error:
            return self._failed(leased, recipient, self._failure(leased.message, error))
        return RecipientResult(recipient.id, Outcome.DELIVERED)

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
            prefix=field("Delivered-To", recipient.address) + message.prefix,
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

    def _failed(self, leased: Leased, recipient: QueuedRecipient, failure: MailError) -> RecipientResult:
        now = int(self._clock.now())
        reply = failure.reply
        error = f"{reply.code} {reply.enhanced} {reply.text}"
        facts = {"to": recipient.address, "error": error, "detail": failure.detail}
        if not failure.is_temporary or now - leased.message.arrived_at >= GIVE_UP_SECONDS:
            self._note(leased.message, "failed", 0, **facts)
            return RecipientResult(recipient.id, Outcome.FAILED, error)
        self._note(leased.message, "retry", 0, **facts)
        return RecipientResult(recipient.id, Outcome.RETRY, error, now + retry_after(recipient.attempts))

    def _note(self, message: QueuedMessage, what: str, account: int, **facts: str) -> None:
        self._trace.note(TraceEvent(self._clock.now(), message.trace_id, what, account, facts))


def retry_after(attempts: int) -> int:
    """Seconds to wait after the n-th attempt: a minute, doubled each time, four hours at most."""
    doublings = min(max(attempts, 1) - 1, 10)
    return min(FIRST_RETRY_SECONDS << doublings, LAST_RETRY_SECONDS)
