"""One message to other servers: over a connection that is there, else host by host until one decides.

RFC 5321 5.1: what one host cannot do now, or breaks off, the next one may; what it
has decided about a recipient, or may have taken, is not asked of another.  TLS by
RFC 3207 and RFC 7435, but a domain that had it once is not talked to in the clear.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from postane.core.clock import Clock
from postane.core.limits import Limits
from postane.core.outgoing import Connector
from postane.core.status import MailError
from postane.flow.relay.conversation import Conversation, Lost, Terms, open_conversation
from postane.flow.relay.destination import Destination
from postane.flow.relay.ports import TlsMemory
from postane.flow.relay.route import Place, Route, Router, Security
from postane.flow.relay.transaction import Letter, send
from postane.flow.relay.verdict import Fate, Verdict, deferred
from postane.store.api import QueuedMessage, QueuedRecipient, QueueStore


@dataclass(frozen=True, slots=True)
class Sender:
    """What we are to others: our host `name`, and the numeric addresses to bind, one of a kind at most."""

    name: str
    sources: tuple[str, ...] = ()

    def source_for(self, address: str) -> str | None:
        version = ipaddress.ip_address(address).version
        return next((one for one in self.sources if ipaddress.ip_address(one).version == version), None)


class Relay:
    """For one event loop; what it learns of destinations holds for its process."""

    def __init__(
        self,
        queue: QueueStore,
        router: Router,
        connector: Connector,
        memory: TlsMemory,
        sender: Sender,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._router = router
        self._connector = connector
        self._memory = memory
        self._sender = sender
        self._limits = limits
        self._clock = clock
        self._destinations: dict[str, Destination] = {}

    async def route(self, sender: str, domain: str) -> Route | Verdict:
        """Recipients whose routes have one key may be delivered to together."""
        return await self._router.route(sender, domain)

    async def deliver(
        self, route: Route, message: QueuedMessage, recipients: Sequence[QueuedRecipient]
    ) -> list[Verdict]:
        """One try for each recipient, in order; may wait for its turn, and reads the message only then.

        MailError where the message cannot be read.
        """
        destination = self._destinations.get(route.key)
        if destination is None:
            destination = self._destinations[route.key] = Destination(self._limits.relay, self._clock)
        heard = await destination.enter()
        if heard is not None:
            return [heard] * len(recipients)
        try:
            staged = await self._queue.staged(message)
            try:
                return await _Delivery(self, route, destination, Letter(message, staged), recipients).run()
            finally:
                await staged.close()
        finally:
            destination.leave()

    async def open(self, route: Route, place: Place) -> Conversation:
        """Raises `Lost`."""
        may_be_clear = route.security is Security.OPPORTUNISTIC and not await self._memory.had_tls(route.domain)
        source = self._sender.source_for(place.address)
        terms = Terms(self._sender.name, route.security, route.verify, may_be_clear, route.login, source)
        try:
            conversation = await self._open(place, terms)
        except Lost as lost:
            if not (lost.is_handshake and may_be_clear):
                raise
            conversation = await self._open(place, replace(terms, security=Security.NONE))
            conversation.tls = f"none: {lost.verdict.text}"
        if conversation.is_secured and route.security is Security.OPPORTUNISTIC:
            await self._remember(route.domain)
        return conversation

    async def _remember(self, domain: str) -> None:
        try:
            await self._memory.note_tls(domain)
        except MailError:
            pass  # what cannot be kept now is seen again with the next message

    async def _open(self, place: Place, terms: Terms) -> Conversation:
        return await open_conversation(self._connector, place, terms, self._limits, self._clock)

    def places(self, route: Route) -> AsyncGenerator[Place | Verdict, None]:
        return self._router.places(route)

    async def tidy(self, *, everything: bool = False) -> None:
        """Ends connections that nobody has used for a while, or all that are idle; forgets quiet destinations."""
        old = [one for each in self._destinations.values() for one in each.take_old(everything=everything)]
        await asyncio.gather(*(conversation.end() for conversation in old))
        for key in [key for key, destination in self._destinations.items() if destination.is_forgettable]:
            del self._destinations[key]


class _Delivery:
    """One try.  `_left` are the recipients, by place, about whom nobody has decided."""

    def __init__(
        self,
        relay: Relay,
        route: Route,
        destination: Destination,
        letter: Letter,
        recipients: Sequence[QueuedRecipient],
    ) -> None:
        self._relay = relay
        self._route = route
        self._destination = destination
        self._letter = letter
        self._recipients = recipients
        self._left = list(range(len(recipients)))
        self._verdicts: dict[int, Verdict] = {}
        self._troubles: list[Verdict] = []
        self._has_talked = False

    async def run(self) -> list[Verdict]:
        await self._over_idle()
        if self._left:
            await self._over_new()
        if self._left:
            trouble = _weightiest(self._troubles)
            if not self._has_talked:
                self._destination.failed(trouble)
            self._verdicts.update(dict.fromkeys(self._left, trouble))
        return [self._verdicts[index] for index in range(len(self._recipients))]

    async def _over_idle(self) -> None:
        """A connection that was kept may have been dropped meanwhile, which is nobody's failure."""
        while self._left and (conversation := self._destination.take_idle()) is not None:
            await self._send_over(conversation)

    async def _over_new(self) -> None:
        async with aclosing(self._relay.places(self._route)) as places:
            async for place in places:
                if isinstance(place, Verdict):
                    self._troubles.append(place)
                    continue
                trouble = await self._try(place)
                if not self._left:
                    return
                if trouble is not None:
                    self._troubles.append(trouble)
                    if trouble.code == 421:
                        self._destination.slow_down()

    async def _try(self, place: Place) -> Verdict | None:
        try:
            conversation = await self._relay.open(self._route, place)
        except Lost as lost:
            return lost.verdict
        self._has_talked = True
        return await self._send_over(conversation)

    async def _send_over(self, conversation: Conversation) -> Verdict | None:
        """To all that are left, in as many transactions as the server wants; its trouble where not all are decided."""
        trouble = None
        try:
            while self._left and trouble is None:
                sent = await send(conversation, self._letter, [self._recipients[index] for index in self._left])
                self._verdicts.update({self._left[at]: verdict for at, verdict in sent.verdicts.items()})
                self._left = [index for at, index in enumerate(self._left) if at not in sent.verdicts]
                trouble = sent.trouble
        except BaseException:
            conversation.abort()
            raise
        if trouble is None:
            self._destination.succeeded()
        self._destination.keep(conversation, is_fit=trouble is None)
        return trouble


def _weightiest(troubles: Sequence[Verdict]) -> Verdict:
    """As long as one host may do later what the others will not, nothing is final."""
    later = (trouble for trouble in troubles if trouble.fate is Fate.DEFERRED)
    nobody = deferred("4.4.0", "no server was found to try")
    return next(later, troubles[0] if troubles else nobody)
