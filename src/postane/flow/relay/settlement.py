"""What becomes of recipients once they were tried: gone, tried again, given up; and who hears of it.

One transaction of the queue holds it all: the rows that go, those that wait, and
the notices to the sender.  So a crash neither swallows a bounce nor sends it twice.
Where a notice cannot be made (a full disk), whoever would have been given up without
a word waits instead; what was delivered is said to be in any case.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from postane.core.clock import Clock
from postane.core.log import Log
from postane.core.status import MailError
from postane.flow.relay.ports import Bounces, End, Report
from postane.flow.relay.verdict import Fate, Verdict
from postane.flow.schedule import Schedule
from postane.store.api import (
    Leased,
    NewMessage,
    Outcome,
    QueuedMessage,
    QueuedRecipient,
    QueueStore,
    RecipientResult,
    Trace,
    TraceEvent,
)


class Settlement:
    def __init__(
        self,
        queue: QueueStore,
        bounces: Bounces,
        trace: Trace,
        clock: Clock,
        log: Log,
        schedule: Schedule | None = None,
        dice: random.Random | None = None,
    ) -> None:
        self._queue = queue
        self._bounces = bounces
        self._trace = trace
        self._clock = clock
        self._log = log
        self._schedule = schedule or Schedule()
        self._dice = dice or random.Random()  # noqa: S311 - it spreads load and keeps no secret

    async def conclude(self, leased: Leased, verdicts: Sequence[Verdict]) -> list[RecipientResult]:
        """One verdict and one result for each recipient, in order.

        MailError where the queue cannot be told: its leases run out then, and everyone is tried again.
        """
        pairs = list(zip(leased.recipients, verdicts, strict=True))
        chance = self._dice.random()  # one for all: who was tried together is tried together again
        decided = [self._decide(leased.message, *pair, chance) for pair in pairs]
        results = [result for result, _ in decided]
        reports = [report for _, report in decided if report is not None]
        notices: Sequence[NewMessage] = ()
        try:
            if reports:
                notices = await self._bounces.notices(leased.message, reports)
        except Exception as error:
            self._log_failure(leased.message, error)
            results = [self._without_notice(*each, chance) for each in zip(pairs, results, strict=True)]
        try:
            await self._queue.finish(leased, results, notices)
        finally:
            for notice in notices:
                await notice.staged.close()
        for (recipient, verdict), result in zip(pairs, results, strict=True):
            self._note(leased.message, recipient, verdict, result)
        return results

    # ------------------------------------------------------------ deciding

    def _decide(
        self, message: QueuedMessage, recipient: QueuedRecipient, verdict: Verdict, chance: float
    ) -> tuple[RecipientResult, Report | None]:
        match verdict.fate:
            case Fate.DELIVERED:
                return RecipientResult(recipient.id, Outcome.DELIVERED), Report(recipient, End.DELIVERED, verdict)
            case Fate.RELAYED:
                report = None if verdict.passes_dsn else Report(recipient, End.RELAYED, verdict)
                return RecipientResult(recipient.id, Outcome.DELIVERED), report
            case Fate.REFUSED:
                return _given_up(recipient, verdict)
            case Fate.DEFERRED:
                return self._defer(message, recipient, verdict, chance)

    def _defer(
        self, message: QueuedMessage, recipient: QueuedRecipient, verdict: Verdict, chance: float
    ) -> tuple[RecipientResult, Report | None]:
        now = int(self._clock.now())
        later = self._schedule.next_attempt(message, recipient.attempts, now, chance)
        if later is None:
            return _given_up(recipient, verdict)
        is_noticed = not recipient.noticed and self._schedule.is_late(message, now)
        result = RecipientResult(
            recipient.id, Outcome.RETRY, verdict.words, later, verdict.code, verdict.host, is_noticed
        )
        until = self._schedule.give_up_at(message)
        return result, Report(recipient, End.DELAYED, verdict, until) if is_noticed else None

    def _without_notice(
        self, pair: tuple[QueuedRecipient, Verdict], result: RecipientResult, chance: float
    ) -> RecipientResult:
        recipient, verdict = pair
        if result.outcome is Outcome.FAILED:
            later = int(self._clock.now()) + self._schedule.wait(recipient.attempts, chance)
            return RecipientResult(recipient.id, Outcome.RETRY, verdict.words, later, verdict.code, verdict.host)
        return replace(result, noticed=False)

    # ------------------------------------------------------------ telling

    def _log_failure(self, message: QueuedMessage, error: Exception) -> None:
        if isinstance(error, MailError):
            self._log.warning(
                "no notice could be made", trace_id=message.trace_id, error=error.text, detail=error.detail
            )
        else:
            self._log.exception("no notice could be made", trace_id=message.trace_id)

    def _note(
        self, message: QueuedMessage, recipient: QueuedRecipient, verdict: Verdict, result: RecipientResult
    ) -> None:
        if verdict.fate is Fate.DELIVERED:
            return  # whoever filed it has said where
        what = {Outcome.DELIVERED: "relayed", Outcome.RETRY: "retry", Outcome.FAILED: "failed"}[result.outcome]
        facts = {
            "to": recipient.address,
            "host": verdict.host,
            "code": str(verdict.code),
            "enhanced": verdict.enhanced,
            "text": verdict.text,
            "tls": verdict.tls,
            "detail": verdict.detail,
            "next": str(result.next_attempt) if result.next_attempt else "",
            "why": "its time is over" if what == "failed" and verdict.fate is Fate.DEFERRED else "",
        }
        facts = {name: value for name, value in facts.items() if value}
        self._trace.note(TraceEvent(self._clock.now(), message.trace_id, what, 0, facts))


def _given_up(recipient: QueuedRecipient, verdict: Verdict) -> tuple[RecipientResult, Report | None]:
    return RecipientResult(recipient.id, Outcome.FAILED), Report(recipient, End.FAILED, verdict)
