"""One connection to another server: opened, secured, logged in at, and listened to in bounded time.

RFC 5321 3.1 and 3.2 (EHLO, else HELO), RFC 3207 (STARTTLS), RFC 4954 (login).
Every reply has its deadline (RFC 5321 4.5.3.2) however its octets drip, and
every stretch of the dialogue a budget that no number of replies can exceed.

Refused: a server that calls itself by our own name (mail would loop), a login
without TLS, going on in the clear where the caller says that TLS must be.
"""

from __future__ import annotations

from dataclasses import dataclass

from postane.core.clock import Clock
from postane.core.limits import Limits
from postane.core.outgoing import Connector, Outgoing, PeerTls, TlsDemand, TlsFailure, Verify
from postane.flow.relay.route import Credentials, Place, Security
from postane.flow.relay.verdict import Fate, Verdict, deferred, refused
from postane.proto.smtp.client import Broken, ClientEngine
from postane.proto.smtp.client_auth import Login, choose_login
from postane.proto.smtp.client_reply import ServerReply, Step
from postane.proto.smtp.command import Mode

_LONGEST_TEXT = 2000
"""Of a reply: what is kept, and told to the sender."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How we present ourselves, and what has to be.

    `may_be_clear`: where TLS is not offered or refused, it goes on without.  `source` is the address to bind.
    """

    name: str
    security: Security
    verify: Verify
    may_be_clear: bool
    login: Credentials | None = None
    source: str | None = None


class Lost(Exception):
    """The dialogue is over.  `is_in_doubt`: the whole message was said, so it may have been taken.

    `is_handshake`: it was TLS that failed, so without it there may be a way.
    """

    def __init__(self, verdict: Verdict, *, is_in_doubt: bool = False, is_handshake: bool = False) -> None:
        super().__init__(verdict.words)
        self.verdict = verdict
        self.is_in_doubt = is_in_doubt
        self.is_handshake = is_handshake


class Conversation:
    """Made by `open_conversation`.

    `tls` says how it is protected, or why it is not; `messages` counts what was sent over it.
    """

    def __init__(self, outgoing: Outgoing, place: Place, limits: Limits, clock: Clock) -> None:
        self.place = place
        self.engine = ClientEngine(Mode.SMTP, limits.smtp_client)
        self.tls = ""
        self.is_secured = False
        self.messages = 0
        self.idle_since = 0.0
        self._outgoing = outgoing
        self._clock = clock
        self._limits = limits
        self._end = 0.0
        self._is_aborted = False

    @property
    def is_over(self) -> bool:
        return self.engine.is_over or self._is_aborted

    def begin_message(self) -> None:
        """Its budget starts now."""
        self.messages += 1
        self._allow(self._limits.relay.transaction)

    def _allow(self, seconds: float) -> None:
        self._end = self._clock.monotonic() + seconds

    # ------------------------------------------------------------ hearing and saying

    async def answer(self) -> ServerReply:
        """The next reply; raises `Lost`, also for 421, which is no answer but the end (RFC 5321 3.8)."""
        deadline = self._clock.monotonic() + self.engine.timeout
        while (reply := self.engine.next_reply()) is None:
            await self._exchange(deadline)
        if isinstance(reply, Broken):
            raise Lost(self.verdict("4.4.2", reply.reason), is_in_doubt=reply.is_in_doubt)
        if reply.code == 421:
            raise Lost(self.said(reply))
        return reply

    async def push(self) -> None:
        """Writes what has been said so far, and hears what was answered early; raises `Lost` where that is the end."""
        self._check_budget()
        is_alive = await self._outgoing.write(self.engine.take_output())
        while said := self._outgoing.take():
            self.engine.feed(said)
        while not is_alive and not self.engine.is_over:
            # What it said before it went can still be read, and at last that it says no more.
            await self._hear(self._end)

    async def _exchange(self, deadline: float) -> None:
        self._check_budget()
        if output := self.engine.take_output():
            await self._outgoing.write(output)
        await self._hear(min(deadline, self._end))

    async def _hear(self, deadline: float) -> None:
        left = deadline - self._clock.monotonic()
        try:
            self.engine.feed(await self._outgoing.read(max(left, 0.0)))
        except TimeoutError:
            awaited = self.engine.awaiting or Step.NOOP
            text = f"the server did not answer to {awaited.value} in time"
            raise Lost(self.verdict("4.4.2", text), is_in_doubt=awaited is Step.END) from None
        except OSError:
            self.engine.feed(b"")

    def _check_budget(self) -> None:
        if self._clock.monotonic() >= self._end:
            is_in_doubt = self.engine.awaiting is Step.END
            raise Lost(self.verdict("4.4.2", "the server took too long over it all"), is_in_doubt=is_in_doubt)

    # ------------------------------------------------------------ words

    def verdict(self, enhanced: str, text: str) -> Verdict:
        """Ours about the server, for now."""
        return Verdict(Fate.DEFERRED, 451, enhanced, text, self.place.host, self.tls)

    def said(self, reply: ServerReply, *, passes_dsn: bool = False) -> Verdict:
        """What the server said, as what it means for a message."""
        fate = Fate.RELAYED if reply.is_positive else Fate.DEFERRED if reply.is_temporary else Fate.REFUSED
        text = reply.text[:_LONGEST_TEXT]
        return Verdict(fate, reply.code, reply.enhanced, text, self.place.host, self.tls, passes_dsn)

    # ------------------------------------------------------------ beginning

    async def begin(self, terms: Terms) -> None:
        """From the greeting to the login; raises `Lost`."""
        self._allow(self._limits.relay.opening)
        if terms.security is Security.IMPLICIT:
            await self._shake_hands(terms)
        self._demand_yes(await self.answer())
        await self._greet(terms.name)
        if terms.security in (Security.OPPORTUNISTIC, Security.STARTTLS):
            await self._secure(terms)
        if terms.login is not None:
            await self._log_in(terms.login)

    def _demand_yes(self, reply: ServerReply) -> None:
        if not reply.is_positive:
            raise Lost(self.said(reply))

    async def _greet(self, name: str) -> None:
        self.engine.hello(name)
        reply = await self.answer()
        if not reply.is_positive and not reply.is_temporary:
            self.engine.helo(name)
            reply = await self.answer()
        self._demand_yes(reply)
        if self.engine.capabilities.name.lower() == name.lower():
            raise Lost(refused("5.4.6", f"{self.place} calls itself {name}, as this server does", self.place.host))

    async def _secure(self, terms: Terms) -> None:
        if "STARTTLS" not in self.engine.capabilities:
            if not terms.may_be_clear:
                raise Lost(self.verdict("4.7.10", "the server does not offer the TLS that must be here"))
            return
        self.engine.starttls()
        reply = await self.answer()
        if reply.is_positive:
            await self._shake_hands(terms)
            self.engine.secure()
            await self._greet(terms.name)
        elif not terms.may_be_clear:
            raise Lost(self.verdict("4.7.10", f"the server refused STARTTLS: {reply.code} {reply.text}"))

    async def _shake_hands(self, terms: Terms) -> None:
        is_named = self.place.host != self.place.address or terms.verify is Verify.WEBPKI
        name = self.place.host if is_named else ""
        try:
            result = await self._outgoing.start_tls(TlsDemand(name, terms.verify))
        except OSError as error:
            result = TlsFailure(str(error))
        if isinstance(result, TlsFailure):
            raise Lost(self.verdict("4.7.5", f"TLS did not come about: {result.reason}"), is_handshake=True)
        if terms.verify is Verify.WEBPKI and not result.is_trusted:
            raise Lost(self.verdict("4.7.5", f"the server's certificate is not good: {result.problem}"))
        self.is_secured = True
        self.tls = _words(result, terms.verify)

    async def _log_in(self, credentials: Credentials) -> None:
        """What fails here is ours to mend, so the mail waits."""
        login = choose_login(self.engine.capabilities.mechanisms, credentials.user, credentials.password)
        if not self.is_secured:
            raise Lost(self.verdict("4.7.0", "the login would not be protected by TLS"))
        if login is None:
            raise Lost(self.verdict("4.7.0", "the server offers no way to log in that is known here"))
        reply = await self._exchange_login(login)
        if not reply.is_positive:
            raise Lost(self.verdict("4.7.8", f"the server refused the login: {reply.code} {reply.text}"))

    async def _exchange_login(self, login: Login) -> ServerReply:
        self.engine.auth(login.mechanism, login.initial)
        while (reply := await self.answer()).code == 334:
            response = login.respond(reply.challenge)
            if response is None:
                self.engine.cancel()
            else:
                self.engine.respond(response)
        return reply

    # ------------------------------------------------------------ ending

    async def end(self) -> None:
        """QUIT, in a few seconds, whatever comes of it."""
        if not self.is_over:
            self._allow(self._limits.smtp_client.quit)
            try:
                self.engine.quit()
                while not self.is_over:
                    await self.answer()
            except Lost:
                pass
        self._outgoing.close()

    def abort(self) -> None:
        self._is_aborted = True
        self._outgoing.abort()


async def open_conversation(
    connector: Connector, place: Place, terms: Terms, limits: Limits, clock: Clock
) -> Conversation:
    """Raises `Lost`; nothing stays open then."""
    try:
        outgoing = await connector.connect(place.address, place.port, source=terms.source, timeout=limits.relay.connect)
    except TimeoutError:
        raise Lost(
            deferred("4.4.1", f"{place} did not answer in {limits.relay.connect:g} seconds", place.host)
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise Lost(deferred("4.4.1", f"{place} cannot be reached: {reason}", place.host)) from error
    conversation = Conversation(outgoing, place, limits, clock)
    try:
        await conversation.begin(terms)
    except BaseException:
        conversation.abort()
        raise
    return conversation


def _words(tls: PeerTls, verify: Verify) -> str:
    if verify is Verify.NONE:
        return f"{tls.version} {tls.cipher} unverified"
    return f"{tls.version} {tls.cipher} {'trusted' if tls.is_trusted else 'untrusted'}"
