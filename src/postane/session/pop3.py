"""One POP3 connection: RFC 1939 with STLS (RFC 2595), AUTH (RFC 5034), CAPA (RFC 2449) and response codes (RFC 3206).

The maildrop is the INBOX, locked from login to the end; DELE takes effect at
QUIT and at no other end of the connection (RFC 1939 6).  Refused: a login where
the account has too many connections or another session holds the maildrop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from postane.core.dialogue import Closed, Endpoint, Hangup, Opened, Piece, Secured, StartTls, TimedOut
from postane.core.listener import Listener
from postane.core.status import Condition, MailError
from postane.flow.accounts import Attempt, Identity
from postane.proto import sasl
from postane.proto.pop3 import (
    Answer,
    Auth,
    AuthCancelled,
    AuthResponse,
    Capa,
    Challenge,
    Dele,
    End,
    Err,
    List,
    LoggedIn,
    Multiline,
    Noop,
    Ok,
    Pass,
    Quit,
    Refused,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
)
from postane.session.maildrop import Maildrop
from postane.session.services import Services

# What a busy client asks most: answered without a generator inside the generator.
_OF_ONE_LINE = (Noop, Stat, Dele, Rset, Refused)


class Pop3Session:
    """Implements `postane.core.dialogue.Session`."""

    def __init__(self, services: Services, listener: Listener) -> None:
        self._services = services
        self._listener = listener
        self._limits = services.limits.pop3
        self._peer = Endpoint("", 0)
        self._ring: Callable[[], None] = lambda: None
        self._opened_at = services.clock.monotonic()
        self._secured: Secured | None = None
        self._user = ""
        self._exchange: sasl.Mechanism | None = None
        self._identity: Identity | None = None
        self._maildrop: Maildrop | None = None
        self._unwatch: Callable[[], None] | None = None
        self._is_doubted = False
        self._is_in_listing = False
        self._errors = 0

    @property
    def timeout(self) -> float:
        if self._maildrop is not None:
            return self._limits.idle
        # From the connection's beginning: bytes that trickle in win no time.
        return max(0.0, self._opened_at + self._limits.login - self._services.clock.monotonic())

    async def handle(self, event: object) -> AsyncIterator[object]:
        try:
            if self._is_doubted:
                await self._check_identity()
            if isinstance(event, _OF_ONE_LINE):
                yield self._line(event)
            else:
                async for answer in self._answers(event):
                    yield answer
        except MailError as error:
            if self._is_in_listing:
                raise  # in the middle of an answer there is no way to say it
            yield Err.of(error)
            if error.condition is Condition.SHUTTING_DOWN or self._has_erred_too_often(event):
                yield Hangup()

    async def pushed(self) -> AsyncIterator[object]:
        """POP3 says nothing unasked; whose account has changed is hung up on."""
        if self._is_doubted:
            try:
                await self._check_identity()
            except MailError:
                yield Hangup()

    async def aclose(self) -> None:
        maildrop, self._maildrop = self._maildrop, None
        identity, self._identity = self._identity, None
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if identity is not None:
            self._services.connections.leave(identity.account.ref.id)
        if maildrop is not None:
            await maildrop.close()

    # ------------------------------------------------------------ events

    async def _answers(self, event: object) -> AsyncIterator[object]:
        match event:
            case Retr(number):
                async for answer in self._retrieve(number):
                    yield answer
            case List(int(number)):
                yield Ok(f"{number} {self._drop.size(number)}")
            case Uidl(int(number)):
                yield Ok(f"{number} {await self._drop.uidl(number)}")
            case List() | Uidl() | Top():
                async for answer in self._list(event):
                    yield answer
            case Auth("", _):
                # Outlook asks so; RFC 5034 has CAPA for it.
                for answer in _lines("AUTH knows", sasl.NAMES if self._may_log_in() else ()):
                    yield answer
            case Pass() | Auth() | AuthResponse() | User() | AuthCancelled():
                yield await self._authorize(event)
            case Stls():
                yield self._begin_tls()
                yield StartTls()
            case Capa():
                for answer in _lines("what this server can", self._capabilities()):
                    yield answer
            case Quit():
                yield await self._quit()
            case TimedOut():
                yield Hangup()  # RFC 1939 3: without UPDATE, without a word
            case Closed(shutdown=True):
                raise MailError(Condition.SHUTTING_DOWN, "the server is stopping; try again in a moment")
            case Secured():
                self._secured, self._user = event, ""
            case Opened():
                yield self._greet(event)
            case Closed():
                pass
            case _:
                raise TypeError(f"{event!r} is no event of POP3")

    def _line(self, event: Noop | Stat | Dele | Rset | Refused) -> Answer:
        match event:
            case Noop():
                return Ok("here")
            case Stat():
                return Ok(f"{self._drop.count} {self._drop.octets}")
            case Dele(number):
                self._drop.delete(number)
                return Ok(f"message {number} goes at QUIT")
            case Rset():
                self._drop.undelete_all()
                return Ok(f"{self._drop.count} messages ({self._drop.octets} octets)")
            case Refused(condition, text):
                self._exchange = None
                raise MailError(condition, text)

    # ------------------------------------------------------------ the connection

    def _greet(self, opened: Opened) -> Ok:
        self._peer, self._secured, self._ring = opened.peer, opened.secured, opened.ring
        return Ok(f"{self._services.host_name} POP3 Postane")

    def _begin_tls(self) -> Ok:
        if self._secured is not None:
            raise MailError(Condition.BAD_SEQUENCE, "TLS is on already")
        return Ok("begin TLS")

    def _capabilities(self) -> Sequence[str]:
        """RFC 2449 6: USER and SASL are the same in both states, STLS while it can be used (RFC 2595 4)."""
        lines = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER"]
        if self._may_log_in():
            lines += ["USER", f"SASL {' '.join(sasl.NAMES)}"]
        if self._secured is None and self._maildrop is None:
            lines.append("STLS")
        return [*lines, "IMPLEMENTATION Postane"]

    async def _quit(self) -> Answer:
        """The lock is let go before the answer: the next connection may come at once."""
        if self._maildrop is None:
            return Ok("good-bye")
        try:
            deleted = await self._maildrop.update()
        finally:
            await self.aclose()
        return Ok(f"good-bye, {deleted} messages deleted")

    def _has_erred_too_often(self, event: object) -> bool:
        """Nonsense counts, and all that fails before login; a message that is gone is nobody's fault."""
        if self._maildrop is None or isinstance(event, Refused):
            self._errors += 1
        return self._errors >= self._limits.errors

    # ------------------------------------------------------------ login

    def _may_log_in(self) -> bool:
        return self._services.accounts.may_offer_login(self._listener, self._peer, self._secured is not None)

    async def _authorize(self, event: object) -> Answer:
        match event:
            case User(name) if not self._may_log_in():
                return await self._refuse_plaintext(name)
            case User(name):
                self._user = name
                return Ok("now PASS")
            case Pass(password):
                user, self._user = self._user, ""
                if not user:
                    raise MailError(Condition.BAD_SEQUENCE, "USER comes before PASS")
                return await self._log_in(sasl.Credentials("", user, password))
            case Auth(mechanism, initial):
                self._exchange = sasl.mechanism(mechanism)
                if self._exchange is not None and initial is None and not self._may_log_in():
                    return await self._refuse_plaintext("")
                return await self._step(initial)
            case AuthResponse(data):
                return await self._step(data)
            case _:
                self._exchange = None
                raise MailError(Condition.AUTH_FAILED, "the login was cancelled")

    async def _refuse_plaintext(self, user: str) -> LoggedIn:
        """Before it is sent: `login` refuses before it looks at any password, and says what to choose."""
        self._exchange = None
        return await self._log_in(sasl.Credentials("", user, ""))

    async def _step(self, data: bytes | None) -> Answer:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            raise MailError(Condition.PARAMETER_NOT_IMPLEMENTED, f"AUTH knows {' '.join(sasl.NAMES)}")
        said = exchange.step(data)
        if isinstance(said, bytes):
            self._exchange = exchange
            return Challenge(said)
        return await self._log_in(said)

    async def _log_in(self, credentials: sasl.Credentials) -> LoggedIn:
        is_secured = self._secured is not None
        identity = await self._services.accounts.login(
            Attempt(
                credentials.user,
                credentials.password,
                self._peer,
                is_secured,
                self._listener,
                "pop3",
                credentials.authorization,
            )
        )
        account = identity.account.ref
        if not self._services.connections.enter(account.id):
            raise MailError(Condition.TOO_MANY_LOGINS, "the account has too many connections; close some")
        self._identity = identity
        self._unwatch = self._services.hints.watch(account.id, _pass_over, self._doubt)
        try:
            self._maildrop = drop = await Maildrop.open(self._services.mail, account)
        except BaseException:
            await self.aclose()
            raise
        self._services.log.info("pop3.login", account=identity.account.address)
        return LoggedIn(f"{drop.count} messages ({drop.octets} octets)")

    def _doubt(self) -> None:
        self._is_doubted = True
        self._ring()

    async def _check_identity(self) -> None:
        """SHUTTING_DOWN where the account was removed, disabled or given another password."""
        self._is_doubted = False
        if self._identity is not None and not await self._services.accounts.still_valid(self._identity):
            await self.aclose()
            raise MailError(Condition.SHUTTING_DOWN, "the account was changed; log in again")

    # ------------------------------------------------------------ the maildrop

    @property
    def _drop(self) -> Maildrop:
        assert self._maildrop is not None, "the engine lets these commands through after login only"
        return self._maildrop

    async def _retrieve(self, number: int) -> AsyncIterator[object]:
        body = await self._drop.message(number)
        yield Multiline(f"{body.length} octets")
        yield body
        yield End()

    async def _list(self, event: List | Uidl | Top) -> AsyncIterator[object]:
        match event:
            case List():
                text, pieces = f"{self._drop.count} messages ({self._drop.octets} octets)", _each(self._drop.listing())
            case Uidl():
                text, pieces = "unique ids follow", self._drop.uidl_listing()
            case Top(number, lines):
                text, pieces = "the top follows", await self._drop.top(number, lines)
        yield Multiline(text)
        self._is_in_listing = True
        async for piece in pieces:
            yield Piece(piece)
        self._is_in_listing = False
        yield End()


def _lines(text: str, lines: Sequence[str]) -> tuple[Answer, ...]:
    return Multiline(text), Piece("".join(f"{line}\r\n" for line in lines).encode()), End()


async def _each(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _pass_over() -> None:
    """A maildrop is as it was at login; what comes meanwhile belongs to the next session."""
