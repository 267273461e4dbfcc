"""What a sender is told about a message that was accepted here: failed, delayed, delivered, relayed.

RFC 3461 5.2 says who hears of what (NOTIFY), RFC 3464 how; `postane.mime.report`
composes it.  A notice has the null reverse-path and goes by the same queue.
Fills the port `postane.flow.relay.ports.Bounces`.

Refused: a bounce of a bounce.  What fails under the null reverse-path is told to
the postmaster of this server, once: that notice asks for none itself (NOTIFY=NEVER).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from postane.core.address import Address
from postane.core.clock import Clock
from postane.core.ids import new_id
from postane.core.limits import MimeLimits
from postane.core.status import MailError
from postane.core.xtext import decode_xtext
from postane.flow.accounts import Accounts, Local
from postane.flow.relay.ports import End, Report
from postane.mime.compose import field
from postane.mime.header import envelope, message_ids
from postane.mime.report import (
    MAX_RETURNED_HEADER,
    Action,
    Composed,
    DeliveryReport,
    Letter,
    RecipientStatus,
    Returned,
    compose,
    returned,
)
from postane.mime.report_text import english
from postane.mime.words import decode_words
from postane.store.api import (
    NewMessage,
    NewRecipient,
    QueuedMessage,
    QueueStore,
    Staged,
    Staging,
    Trace,
    TraceEvent,
)

_ACTIONS = {
    End.FAILED: Action.FAILED,
    End.DELAYED: Action.DELAYED,
    End.DELIVERED: Action.DELIVERED,
    End.RELAYED: Action.RELAYED,
}
_KEYWORDS = {End.FAILED: "FAILURE", End.DELAYED: "DELAY", End.DELIVERED: "SUCCESS", End.RELAYED: "SUCCESS"}
_UNASKED = frozenset({End.FAILED, End.DELAYED})
"""RFC 3461 5.2.5 (b), 5.2.6 (c): told where NOTIFY was not given."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """The message that is reported on: its header, as far as the report wants it, and what goes back."""

    title: str
    message_id: str
    content: Returned


class Bouncer:
    """`host_name` is who reports."""

    def __init__(
        self,
        host_name: str,
        accounts: Accounts,
        queue: QueueStore,
        staging: Staging,
        trace: Trace,
        clock: Clock,
        limits: MimeLimits,
    ) -> None:
        self._host_name = host_name
        self._accounts = accounts
        self._queue = queue
        self._staging = staging
        self._trace = trace
        self._clock = clock
        self._limits = limits

    async def notices(self, message: QueuedMessage, reports: Sequence[Report]) -> Sequence[NewMessage]:
        """One for each kind of news that somebody wants to hear.  Whoever asked closes their `staged`.

        DISK_FULL, TEMPORARY: then none is made, and what was staged for others is let go of.
        """
        wanted = [report for report in reports if is_wanted(message, report)]
        made: list[NewMessage] = []
        try:
            for end in dict.fromkeys(report.end for report in wanted):
                about = [report for report in wanted if report.end is end]
                made += await (self._notice(message, end, about) if message.sender else self._double(message, about))
        except BaseException:
            for notice in made:
                await notice.staged.close()
            raise
        return made

    async def _notice(self, message: QueuedMessage, end: End, about: Sequence[Report]) -> list[NewMessage]:
        # RFC 3461 4.3: the whole message goes back with a failure alone.
        wants_whole = end is End.FAILED and message.ret.upper() == "FULL"
        report, subject = await self._report(message, _ACTIONS[end], about, wants_whole=wants_whole)
        notice = await self._post(message.sender, report, subject, (NewRecipient(message.sender, message.sender, ""),))
        self._note(message, notice, f"told-{end.value}", message.sender)
        return [notice]

    async def _double(self, message: QueuedMessage, about: Sequence[Report]) -> list[NewMessage]:
        addresses = await self._postmasters()
        if not addresses:
            event = TraceEvent(
                self._clock.now(), message.trace_id, "nobody-to-tell", 0, {"recipients": str(len(about))}
            )
            self._trace.note(event)
            return []
        report, subject = await self._report(message, Action.FAILED, about, wants_whole=False, is_double=True)
        recipients = tuple(NewRecipient(address, "postmaster", "", notify="NEVER") for address in addresses)
        notice = await self._post(f"postmaster@{self._host_name}", report, subject, recipients)
        self._note(message, notice, "told-postmaster", " ".join(addresses))
        return [notice]

    async def _postmasters(self) -> tuple[str, ...]:
        try:
            ends = await self._accounts.resolve(Address("postmaster", ""))
        except MailError:
            return ()
        return tuple(end.account.address for end in ends if isinstance(end, Local))

    # ------------------------------------------------------------ the report

    async def _report(
        self,
        message: QueuedMessage,
        action: Action,
        about: Sequence[Report],
        *,
        wants_whole: bool,
        is_double: bool = False,
    ) -> tuple[DeliveryReport, _Subject]:
        subject = await self._subject(message, wants_whole)
        report = DeliveryReport(
            action=action,
            host=self._host_name,
            recipients=tuple(map(_status, about)),
            arrived_at=message.arrived_at,
            attempted_at=self._clock.now(),
            log_id=message.trace_id,
            envelope_id=_decoded(message.envid),
            subject=subject.title,
            is_double=is_double,
        )
        return report, subject

    async def _subject(self, message: QueuedMessage, wants_whole: bool) -> _Subject:
        content = await self._returned(message, wants_whole)
        said = envelope(content.data[:MAX_RETURNED_HEADER], self._limits)
        ids = message_ids(said.message_id) if said.message_id else ()
        own_id = f"<{ids[0].decode('ascii', 'replace')}>" if ids else ""
        is_plain = own_id.isascii() and own_id.isprintable() and " " not in own_id and len(own_id) <= 250
        return _Subject(decode_words(said.subject) if said.subject else "", own_id if is_plain else "", content)

    async def _returned(self, message: QueuedMessage, wants_whole: bool) -> Returned:
        """What we added alone where the rest cannot be read: the report matters more."""
        # BINARYMIME does not fit into message/rfc822 (RFC 3030 3).
        wants_whole = wants_whole and message.body != "BINARYMIME"
        nothing = returned(b"", prefix=message.prefix, wants_whole=False, utf8=message.utf8)
        try:
            staged = await self._queue.staged(message)
        except MailError:
            return nothing
        try:
            return returned(staged.view(), prefix=message.prefix, wants_whole=wants_whole, utf8=message.utf8)
        except (MailError, OSError):
            return nothing
        finally:
            await staged.close()

    # ------------------------------------------------------------ the post

    async def _post(
        self, to: str, report: DeliveryReport, subject: _Subject, recipients: tuple[NewRecipient, ...]
    ) -> NewMessage:
        now = self._clock.now()
        trace_id = new_id()
        letter = Letter(to, trace_id, now, subject.message_id)
        composed = compose(letter, report, english(report), subject.content)
        staged = await self._stage(composed)
        return NewMessage(
            trace_id=trace_id,
            sender="",
            prefix=field("Return-Path", "<>"),
            staged=staged,
            recipients=tuple(
                NewRecipient(each.address, each.original, new_id(), each.notify, due=int(now)) for each in recipients
            ),
            arrived_at=int(now),
            utf8=composed.needs_utf8,
            body="8BITMIME" if composed.is_8bit else "7BIT",
        )

    async def _stage(self, composed: Composed) -> Staged:
        writer = self._staging.begin()
        try:
            await writer.write(composed.data)
            return await writer.finish()
        except BaseException:
            await writer.abort()
            raise

    def _note(self, message: QueuedMessage, notice: NewMessage, what: str, to: str) -> None:
        """In the story of both: each leads to the other."""
        now = self._clock.now()
        self._trace.note(TraceEvent(now, message.trace_id, what, 0, {"to": to, "notice": notice.trace_id}))
        self._trace.note(TraceEvent(now, notice.trace_id, "report", 0, {"to": to, "about": message.trace_id}))


def is_wanted(message: QueuedMessage, report: Report) -> bool:
    """RFC 3461 5.2.  Under the null reverse-path only a failure is, and by the postmaster."""
    if report.end is End.RELAYED and report.verdict.passes_dsn:
        return False  # 5.2.1: the next server tells
    if not message.sender and report.end is not End.FAILED:
        return False
    notify = report.recipient.notify.upper()
    if not notify:
        return report.end in _UNASKED
    return _KEYWORDS[report.end] in notify.split(",")


def _status(report: Report) -> RecipientStatus:
    verdict = report.verdict
    return RecipientStatus(
        address=report.recipient.address,
        status=verdict.status,
        words=verdict.words,
        host=verdict.host,
        original=report.recipient.orcpt,
        retry_until=report.retry_until,
    )


def _decoded(envid: str) -> str:
    """RFC 3461 6.3: the envelope id stands in a report without its xtext."""
    try:
        return decode_xtext(envid)
    except ValueError:
        return ""
