"""One SMTP, submission or LMTP connection: events of `postane.proto.smtp.command` in, answers out.

The three differ in little: port 25 knows no login, submission (587 and 465, the
same checks on both) wants one before MAIL (RFC 6409 4.3), LMTP answers the end
of the message once a recipient (RFC 2033 4.2).  Who may send what to whom is
`postane.flow.receive`'s to say.  VRFY tells nothing (RFC 5321 7.3).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from postane.core.dialogue import Closed, Endpoint, Hangup, Opened, Secured, StartTls, TimedOut
from postane.core.listener import Listener, Service
from postane.core.status import Condition, MailError, Reply
from postane.flow.accounts import Attempt, Identity
from postane.flow.receive import Origin, Receiver, Reception
from postane.proto import sasl
from postane.proto.smtp.command import (
    Auth,
    AuthResponse,
    Challenge,
    Chunk,
    Data,
    EndOfChunk,
    EndOfMessage,
    Hello,
    Help,
    Mail,
    Mode,
    Noop,
    Proceed,
    Quit,
    Rcpt,
    Reset,
    StartTlsCommand,
    Verify,
    Welcome,
)
from postane.session.services import Services

MODES = {
    Service.SMTP: Mode.SMTP,
    Service.LMTP: Mode.LMTP,
    Service.SUBMISSION: Mode.SUBMISSION,
    Service.SUBMISSIONS: Mode.SUBMISSION,
}

_OK = Reply(250, "2.0.0", "Ok")
_SENDER_OK = Reply(250, "2.1.0", "Ok")
_RECIPIENT_OK = Reply(250, "2.1.5", "Ok")
_CANNOT_VERIFY = Reply(252, "2.0.0", "Cannot say; send a message and see (RFC 5321 3.5.3)")
_HELP = {
    Mode.SMTP: "Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS\n"
    "This port takes mail from other servers for the people here (RFC 5321).\n"
    "To send mail with a mail client, log in on port 465 (TLS) or 587 (STARTTLS).",
    Mode.SUBMISSION: "Commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\n"
    "This port takes mail from the people here, after they have logged in (RFC 6409).\n"
    "The user name is the full address; MAIL must name an address of the account.",
    Mode.LMTP: "Commands: LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS\n"
    "This port takes mail from a mail server in front (RFC 2033); one answer a recipient.",
}


class SmtpSession:
    """Implements `postane.core.dialogue.Session`."""

    def __init__(self, services: Services, receiver: Receiver, listener: Listener) -> None:
        self._services = services
        self._receiver = receiver
        self._listener = listener
        self._mode = MODES[listener.service]
        self._limits = services.limits.smtp
        self._peer = Endpoint("", 0)
        self._ring: Callable[[], None] = lambda: None
        self._opened_at = 0.0
        self._secured: Secured | None = None
        self._hello = Hello("", is_extended=False)
        self._identity: Identity | None = None
        self._unwatch: Callable[[], None] | None = None
        self._is_doubted = False
        self._exchange: sasl.Mechanism | None = None
        self._reception: Reception | None = None
        self._in_body = False

    @property
    def timeout(self) -> float:
        return self._limits.body_idle if self._in_body else self._limits.idle

    async def handle(self, event: object) -> AsyncIterator[object]:
        try:
            if self._has_lasted_too_long(event):
                raise MailError(Condition.TIMED_OUT, "this session has lasted too long; good-bye")
            if isinstance(event, EndOfMessage):
                async for reply in self._end_of_message(event):
                    yield reply
            else:
                for answer in await self._answers(event):
                    yield answer
        except MailError as refused:
            yield refused.reply
            if refused.condition.code == 421:
                yield Hangup()

    async def pushed(self) -> AsyncIterator[object]:
        if self._is_doubted and self._identity:
            self._is_doubted = False
            if not await self._services.accounts.still_valid(self._identity):
                yield Reply(421, "4.7.0", "your account was changed; log in again")
                yield Hangup()

    async def aclose(self) -> None:
        await self._drop_reception()
        self._log_out()

    def _has_lasted_too_long(self, event: object) -> bool:
        if isinstance(event, Opened | Closed | Chunk):
            return False
        return self._services.clock.monotonic() - self._opened_at > self._limits.session

    async def _answers(self, event: object) -> tuple[object, ...]:
        """To everything but the end of a message."""
        match event:
            case Chunk():
                self._in_body = True
                await self._current.write(event.data)
                return ()
            case Rcpt():
                await self._current.add_recipient(event.recipient, event.notify, event.orcpt)
                return (_RECIPIENT_OK,)
            case Mail():
                return (await self._mail(event),)
            case Data():
                self._in_body = True
                return (Proceed(),)
            case EndOfChunk():
                return (self._end_of_chunk(event),)
            case Hello():
                return (await self._welcome(event),)
            case Reset():
                await self._drop_reception()
                return (_OK,)
            case Auth() | AuthResponse():
                return (await self._authenticate(event),)
            case _:
                return self._answers_at_once(event)

    def _answers_at_once(self, event: object) -> tuple[object, ...]:
        match event:
            case Opened():
                return (self._greet(event),)
            case Secured():
                # RFC 3207 4.2: what the client said before is forgotten, its login too.
                self._log_out()
                self._secured = event
                return ()
            case StartTlsCommand():
                return self._start_tls(), StartTls()
            case Noop():
                return (_OK,)
            case Verify():
                return (_CANNOT_VERIFY,)
            case Help():
                return (Reply(214, "2.0.0", _HELP[self._mode]),)
            case Quit():
                return Reply(221, "2.0.0", f"{self._services.host_name} says good-bye"), Hangup()
            case TimedOut():
                raise MailError(Condition.TIMED_OUT, "nothing was said for too long; good-bye")
            case Closed(shutdown=True):
                raise MailError(Condition.SHUTTING_DOWN, "the server is stopping; try again in a moment")
            case Closed():
                return ()
            case _:
                raise TypeError(f"{event!r} is no event of SMTP")

    # ------------------------------------------------------------ the connection

    def _greet(self, opened: Opened) -> Reply:
        self._peer = opened.peer
        self._secured = opened.secured
        self._ring = opened.ring
        self._opened_at = self._services.clock.monotonic()
        protocol = "LMTP" if self._mode is Mode.LMTP else "ESMTP"
        return Reply(220, "", f"{self._services.host_name} {protocol} Postane")

    async def _welcome(self, event: Hello) -> Welcome:
        await self._drop_reception()
        self._hello = event
        mechanisms = () if self._identity or not self._may_log_in() else sasl.NAMES
        return Welcome(self._services.host_name, self._secured is None, mechanisms)

    def _start_tls(self) -> Reply:
        if self._secured:
            raise MailError(Condition.BAD_SEQUENCE, "TLS is on already")
        return Reply(220, "2.0.0", "Ready to start TLS")

    # ------------------------------------------------------------ login

    def _may_log_in(self) -> bool:
        return self._services.accounts.may_offer_login(self._listener, self._peer, self._secured is not None)

    async def _authenticate(self, event: Auth | AuthResponse) -> Reply | Challenge:
        """RFC 4954 4; one step of an exchange."""
        if isinstance(event, Auth):
            self._exchange = sasl.mechanism(event.mechanism)
            if self._exchange is None:
                return Reply(504, "5.5.4", f"the mechanisms here are {' and '.join(sasl.NAMES)}")
            if event.initial is None and not self._may_log_in():
                # No challenge, so no password is sent; `login` refuses before it looks, and says what to choose.
                await self._log_in(sasl.Credentials("", "", ""))
        if self._exchange is None:
            raise MailError(Condition.BAD_SEQUENCE, "say AUTH first")
        step = self._exchange.step(event.initial if isinstance(event, Auth) else event.data)
        if isinstance(step, bytes):
            return Challenge(step)
        self._exchange = None
        await self._log_in(step)
        return Reply(235, "2.7.0", "You are logged in")

    async def _log_in(self, said: sasl.Credentials) -> None:
        identity = await self._services.accounts.login(
            Attempt(
                user=said.user,
                password=said.password,
                peer=self._peer,
                is_secured=self._secured is not None,
                listener=self._listener,
                protocol="smtp",
                authorization=said.authorization,
            )
        )
        account_id = identity.account.ref.id
        if not self._services.connections.enter(account_id):
            raise MailError(Condition.TOO_MANY_CONNECTIONS, "too many connections of this account")
        self._identity = identity
        self._unwatch = self._services.hints.watch(account_id, lambda: None, self._doubt)

    def _log_out(self) -> None:
        if self._unwatch:
            self._unwatch()
            self._unwatch = None
        if self._identity:
            self._services.connections.leave(self._identity.account.ref.id)
            self._identity = None

    def _doubt(self) -> None:
        self._is_doubted = True
        self._ring()

    # ------------------------------------------------------------ the transaction

    @property
    def _current(self) -> Reception:
        """The engine lets RCPT and all that follows through only after a MAIL that was accepted."""
        assert self._reception is not None
        return self._reception

    async def _drop_reception(self) -> None:
        self._in_body = False
        if self._reception:
            reception, self._reception = self._reception, None
            await reception.abort()

    async def _mail(self, event: Mail) -> Reply:
        await self._drop_reception()
        origin = Origin(self._mode, self._peer, self._hello, self._secured, self._identity)
        self._reception = await self._receiver.begin(origin, event)
        return _SENDER_OK

    def _end_of_chunk(self, event: EndOfChunk) -> Reply:
        failure = event.flaw or self._current.failure
        if failure:
            raise failure
        return Reply(250, "2.0.0", f"{event.total} octets received")

    async def _end_of_message(self, event: EndOfMessage) -> AsyncIterator[Reply]:
        """One answer; by LMTP one a recipient, in the order of the RCPTs, each as soon as it is known."""
        reception, self._reception = self._current, None
        self._in_body = False
        try:
            async for result in reception.accept(event.flaw):
                yield result.reply if result else Reply(250, "2.0.0", f"Ok: {reception.trace_id}")
        finally:
            await reception.abort()
