"""A message coming in by SMTP, LMTP or submission: who may, what it weighs, where it goes.

`Receiver.begin` opens a `Reception` at MAIL; recipients are added, chunks
written, and `accept` says of the whole, or by LMTP of each recipient, that it is
durable, or why not.  What receipt adds (RFC 5321 4.4) becomes the prefix; the
bytes are kept as they came but for what `flow.header_gate` takes out.

Recipients elsewhere go into the queue: at submission any, at the other ports
those whom an alias of ours leads to, with the sender kept.  What they ask to be
told (RFC 3461) goes along.

Refused: relaying for strangers, senders that the account does not own, recipients
who are unknown, disabled or full, loops (RFC 5321 6.3).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from postane.core.address import Address
from postane.core.clock import Clock
from postane.core.dialogue import Endpoint, Secured
from postane.core.ids import new_id
from postane.core.limits import Limits
from postane.core.status import Condition, MailError
from postane.flow.accounts import Accounts, Destination, Identity, Local, Remote
from postane.flow.deliver import Filing
from postane.flow.header_gate import HeaderGate
from postane.flow.queue import LEASE_SECONDS, HandOver
from postane.flow.recipients import Recipient, Target, targets_of
from postane.mime.compose import prefix, received, with_keyword
from postane.proto.smtp.command import Hello, Mail, Mode
from postane.store.api import (
    Account,
    Facts,
    MailStore,
    NewMessage,
    NewRecipient,
    QueueStore,
    Role,
    Staged,
    Staging,
    StagingWriter,
    Trace,
    TraceEvent,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message comes from: the dialogue, the peer, what it called itself, TLS, and who has logged in."""

    mode: Mode
    peer: Endpoint
    hello: Hello
    secured: Secured | None
    identity: Identity | None


class Receiver:
    """What every reception of a worker shares.

    `wake` tells whoever works off the queue that something is due; without it nothing is sent elsewhere.
    """

    def __init__(
        self,
        host_name: str,
        accounts: Accounts,
        mail: MailStore,
        staging: Staging,
        filing: Filing,
        queue: QueueStore,
        hand_over: HandOver,
        trace: Trace,
        limits: Limits,
        clock: Clock,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self.host_name = host_name
        self.accounts = accounts
        self.mail = mail
        self.staging = staging
        self.filing = filing
        self.queue = queue
        self.hand_over = hand_over
        self.trace = trace
        self.limits = limits
        self.clock = clock
        self.wake = wake

    async def begin(self, origin: Origin, mail: Mail) -> Reception:
        """AUTH_REQUIRED, SENDER_NOT_OWNED.

        The null reverse-path claims to be nobody, and receipts that a mail client sends have it (RFC 8098 3).
        """
        if origin.mode is Mode.SUBMISSION:
            if origin.identity is None or not await self.accounts.still_valid(origin.identity):
                raise MailError(Condition.AUTH_REQUIRED, "log in first")
            if mail.sender and not await self.accounts.may_send_as(origin.identity, mail.sender):
                own = origin.identity.account.address
                raise MailError(
                    Condition.SENDER_NOT_OWNED, f"<{mail.sender}> is no address of the account {own}; send as <{own}>"
                )
        return Reception(self, origin, mail)


class Reception:
    """One message on its way in.  `trace_id` is what the peer is told and `postane trace` asks for."""

    def __init__(self, receiver: Receiver, origin: Origin, mail: Mail) -> None:
        self.trace_id = new_id()
        self.failure: MailError | None = None
        """Why the message can no longer be accepted; known before its end has come."""
        self._receiver = receiver
        self._origin = origin
        self._mail = mail
        self._recipients: list[Recipient] = []
        submitted_at = receiver.clock.now() if origin.mode is Mode.SUBMISSION else None
        self._gate = HeaderGate(receiver.limits.smtp, receiver.host_name, submitted_at)
        self._writer: StagingWriter | None = None
        self._staged: Staged | None = None

    # ------------------------------------------------------------ recipients

    async def add_recipient(self, address: Address, notify: str = "", orcpt: str = "") -> None:
        """UNKNOWN_RECIPIENT, MAILBOX_DISABLED, ACCOUNT_BUSY, RELAY_DENIED, OVER_QUOTA, TOO_MANY_RECIPIENTS."""
        try:
            if len(self._recipients) >= self._receiver.limits.smtp.recipients:
                raise MailError(Condition.TOO_MANY_RECIPIENTS, "too many recipients; send the others a copy later")
            ends = await self._resolve(address)
            for end in ends:
                if isinstance(end, Local):
                    await self._check_quota(end.account, address)
        except MailError as failure:
            self._note_refused(failure, to=str(address))
            raise
        self._recipients.append(Recipient(address, ends, notify, orcpt))

    async def _resolve(self, address: Address) -> tuple[Destination, ...]:
        ends = await self._receiver.accounts.resolve(address)
        if all(isinstance(end, Local) for end in ends):
            return ends
        is_ours = await self._receiver.accounts.is_local(address.domain)
        if not is_ours and self._origin.mode is not Mode.SUBMISSION:
            text = f"{address.domain} is no domain of this server, and it relays for nobody"
            raise MailError(Condition.RELAY_DENIED, text)
        if self._receiver.wake is None:
            where = "leads to an address on another server" if is_ours else "is on another server"
            raise MailError(Condition.RELAY_DENIED, f"<{address}> {where}, and this one sends nothing there")
        return ends

    async def _check_quota(self, account: Account, address: Address) -> None:
        if not account.quota_bytes and not account.quota_messages:
            return
        usage = await self._receiver.mail.usage(account.ref)
        coming = max(self._mail.size or 0, 1)
        is_full = 0 < usage.quota_bytes < usage.bytes + coming or 0 < usage.quota_messages <= usage.messages
        if is_full:
            raise MailError(Condition.OVER_QUOTA, f"the mailbox of <{address}> is full")

    # ------------------------------------------------------------ the bytes

    async def write(self, chunk: bytes) -> None:
        """Never raises: the rest of a message that can no longer be accepted is passed over (see `failure`)."""
        if self.failure:
            return
        try:
            await self._write(self._gate.feed(chunk))
        except MailError as failure:
            await self._fail(failure)

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        if self._writer is None:
            self._writer = self._receiver.staging.begin()
        await self._writer.write(data)

    async def _fail(self, failure: MailError) -> None:
        self.failure = failure
        await self._abort_writer()

    async def _abort_writer(self) -> None:
        if self._writer:
            writer, self._writer = self._writer, None
            await writer.abort()

    async def abort(self) -> None:
        """Lets go of everything that is not durable yet; repeating it, or calling it after `accept`, is harmless."""
        await self._abort_writer()
        if self._staged:
            staged, self._staged = self._staged, None
            await staged.close()

    # ------------------------------------------------------------ the end

    async def accept(self, flaw: MailError | None = None) -> AsyncIterator[MailError | None]:
        """The message is whole.  One result, by LMTP one a recipient in their order: None where it is durable.

        `flaw` is what the engine found wrong with the bytes.
        """
        everyone = tuple(self._recipients)
        answers = [(one,) for one in everyone] if self._origin.mode is Mode.LMTP else [everyone]
        try:
            staged, facts = await self._complete(flaw)
        except MailError as failure:
            await self._fail(failure)
            self._note_refused(failure)
            for _ in answers:
                yield failure
            return
        for recipients in answers:
            yield await self._deliver(recipients, staged, facts)

    async def _complete(self, flaw: MailError | None) -> tuple[Staged, Facts]:
        failure = flaw or self.failure
        if failure:
            raise failure
        await self._write(self._gate.finish())
        if self._writer is None:
            self._writer = self._receiver.staging.begin()
        self._staged = await self._writer.finish()
        self._writer = None
        size = str(self._staged.size)
        self._note(
            "received", sender=self._sender, peer=str(self._origin.peer), hello=self._origin.hello.name, size=size
        )
        return self._staged, await self._receiver.filing.scan(self._staged)

    async def _deliver(self, recipients: Sequence[Recipient], staged: Staged, facts: Facts) -> MailError | None:
        try:
            self._refuse_loops(recipients)
            targets = targets_of(recipients)
            (first, *others) = targets
            if isinstance(first.end, Local) and not others and not self._waits(first):
                await self._file(first.end.account, first.recipient, staged, facts)
            else:
                await self._enqueue(recipients, targets, staged, facts)
        except MailError as failure:
            self._note_refused(failure, to=recipients[0].text)
            return failure
        return None

    def _refuse_loops(self, recipients: Sequence[Recipient]) -> None:
        for recipient in recipients:
            been = {end.account.address for end in recipient.ends if isinstance(end, Local)}
            if recipient.is_forwarded:
                been.add(recipient.address.key)
            for address in been & self._gate.delivered_to:
                text = f"the message has been delivered to <{address}> before: it is in a loop"
                raise MailError(Condition.MAIL_LOOP, text)

    def _waits(self, target: Target) -> bool:
        """It is for whoever works off the queue: to be sent elsewhere, or to be told of (RFC 3461 5.2.3)."""
        wants_to_hear = self._receiver.wake is not None and "SUCCESS" in target.notify.split(",")
        return wants_to_hear or isinstance(target.end, Remote)

    async def _file(self, account: Account, recipient: Recipient, staged: Staged, facts: Facts) -> None:
        """Straight into the one mailbox."""
        filed = await self._receiver.filing.file(
            account.ref,
            Role.INBOX,
            staged,
            internal_date=int(self._receiver.clock.now()),
            prefix=self._prefix(("Delivered-To", account.address), for_=recipient.text),
            facts=facts,
        )
        self._note("filed", account.ref.id, to=account.address, email_id=filed.email_id)

    async def _enqueue(
        self, recipients: Sequence[Recipient], targets: Sequence[Target], staged: Staged, facts: Facts
    ) -> None:
        """One transaction for all, then the hand-over at once: a crash in between neither loses nor doubles.

        From the commit on the message is the queue's, so what a hand-over could not do now is no refusal.
        """
        now = int(self._receiver.clock.now())
        leased = await self._receiver.queue.enqueue(
            NewMessage(
                trace_id=self.trace_id,
                sender=self._sender,
                prefix=self._queued_prefix(recipients),
                staged=staged,
                recipients=tuple(
                    NewRecipient(
                        address=target.address,
                        original=target.recipient.text,
                        delivery_id=new_id(),
                        notify=target.notify,
                        orcpt=target.recipient.orcpt,
                        due=now if self._waits(target) else None,
                    )
                    for target in targets
                ),
                arrived_at=now,
                utf8=self._mail.utf8,
                body=self._mail.body.value,
                envid=self._mail.envid,
                ret=self._mail.ret,
            ),
            LEASE_SECONDS,
        )
        self._note("queued", recipients=str(len(targets)))
        if self._receiver.wake and len(leased.recipients) < len(targets):
            self._receiver.wake()
        if leased.recipients:
            await self._receiver.hand_over.deliver(leased, staged, facts)

    # ------------------------------------------------------------ what receipt adds

    @property
    def _sender(self) -> str:
        return str(self._mail.sender) if self._mail.sender else ""

    def _queued_prefix(self, recipients: Sequence[Recipient]) -> bytes:
        """A lone forwarded recipient is named, so that a loop is seen; several would learn of each other by it."""
        if len(recipients) > 1:
            return self._prefix()
        (only,) = recipients
        mark = (("Delivered-To", only.address.key),) if only.is_forwarded else ()
        return self._prefix(*mark, for_=only.text)

    def _prefix(self, *delivered_to: tuple[str, str], for_: str | None = None) -> bytes:
        """RFC 5321 4.4: Return-Path first, the newest Received before all others."""
        origin = self._origin
        base = "LMTP" if origin.mode is Mode.LMTP else "ESMTP" if origin.hello.is_extended else "SMTP"
        secured = origin.secured
        stamp = received(
            helo=origin.hello.name,
            peer_host=origin.peer.host,
            by=self._receiver.host_name,
            with_=with_keyword(
                base, utf8=self._mail.utf8, secured=secured is not None, authenticated=origin.identity is not None
            ),
            id=self.trace_id,
            date=self._receiver.clock.now(),
            for_=for_,
            tls=(secured.version, secured.cipher) if secured else None,
        )
        fields = [("Return-Path", f"<{self._sender}>"), *delivered_to, ("Received", stamp)]
        return prefix(fields, self._gate.first_line)

    # ------------------------------------------------------------ the trace

    def _note(self, what: str, account: int = 0, **facts: str) -> None:
        self._receiver.trace.note(TraceEvent(self._receiver.clock.now(), self.trace_id, what, account, facts))

    def _note_refused(self, failure: MailError, **facts: str) -> None:
        reply = failure.reply
        reason = f"{reply.code} {reply.enhanced} {reply.text}"
        peer = str(self._origin.peer)
        self._note("refused", 0, sender=self._sender, peer=peer, reason=reason, detail=failure.detail, **facts)
