"""Where mail for a domain goes: RFC 5321 5.1, RFC 7505, or a smarthost that the settings name.

A smarthost is chosen by the recipient's domain, else by the sender's address or
domain, else it is the one for all.  Without one the MX records say; a domain that
has none is its own host.  Hosts of equal preference are tried in random order.

Refused: a null MX, names that do not exist, hosts without an address that can be
another server's (unspecified, loopback, multicast), ourselves, and every host that
is no nearer to the mailbox than we are (RFC 5321 5.1: that way lies a loop).
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain, groupby, zip_longest

from postane.core.address import display_domain
from postane.core.dns import Answer, Mx, Outcome, Resolver
from postane.core.limits import RelayLimits
from postane.core.outgoing import Verify
from postane.flow.relay.verdict import Verdict, deferred, refused

SMTP_PORT = 25
SUBMISSION_PORT = 587


class Security(Enum):
    """How TLS comes about."""

    NONE = "in the clear"
    OPPORTUNISTIC = "by STARTTLS where it is offered (RFC 7435), and from then on always"
    STARTTLS = "by STARTTLS, or nothing is sent"
    IMPLICIT = "from the first octet"


@dataclass(frozen=True, slots=True)
class Credentials:
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Smarthost:
    """A server that sends on for us.  `host` is a name, whose addresses are taken, or a numeric address."""

    host: str
    port: int = SUBMISSION_PORT
    security: Security = Security.STARTTLS
    verify: Verify = Verify.WEBPKI
    login: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Smarthosts:
    """Keys are domains as lower-case A-labels; of senders also whole addresses, and "" for the null one."""

    by_recipient: Mapping[str, Smarthost] = field(default_factory=dict)
    by_sender: Mapping[str, Smarthost] = field(default_factory=dict)
    for_all: Smarthost | None = None

    def find(self, sender: str, domain: str) -> Smarthost | None:
        keys = (sender, sender.rpartition("@")[2])
        by_sender = next((self.by_sender[key] for key in keys if key in self.by_sender), None)
        return self.by_recipient.get(domain) or by_sender or self.for_all


@dataclass(frozen=True, slots=True)
class Ourselves:
    """By which names and numeric addresses we are known.

    `allows_loopback` is for tests on one machine: 127.0.0.0/8 and ::1 are then places like any other.
    """

    names: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    allows_loopback: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """`key` is the same for all mail that can go over one connection; `hosts` in the order to be tried.

    `domain` is what a TLS memory knows it by.
    """

    key: str
    domain: str
    hosts: tuple[str, ...]
    port: int = SMTP_PORT
    security: Security = Security.OPPORTUNISTIC
    verify: Verify = Verify.NONE
    login: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """One address of one host."""

    host: str
    address: str
    port: int

    def __str__(self) -> str:
        shown = f"[{self.address}]"
        return f"{self.host}{shown}:{self.port}" if self.host != self.address else f"{shown}:{self.port}"


class Router:
    def __init__(
        self,
        resolver: Resolver,
        ourselves: Ourselves,
        limits: RelayLimits,
        smarthosts: Smarthosts | None = None,
        port: int = SMTP_PORT,
        dice: random.Random | None = None,
    ) -> None:
        """`port` is where other servers listen: not 25 only in tests."""
        self._resolver = resolver
        self._ourselves = ourselves
        self._limits = limits
        self._smarthosts = smarthosts or Smarthosts()
        self._port = port
        self._dice = dice or random.Random()  # noqa: S311 - it spreads load and keeps no secret

    # ------------------------------------------------------------ hosts

    async def route(self, sender: str, domain: str) -> Route | Verdict:
        """`domain` is the recipient's, as `core.address` has it; a `Verdict` where there is no way."""
        smarthost = self._smarthosts.find(sender, domain)
        if smarthost is not None:
            return _through(smarthost)
        if domain.startswith("["):
            return self._to_literal(domain)
        return self._by_mx(domain, await self._resolver.mx(domain))

    def _to_literal(self, domain: str) -> Route | Verdict:
        """RFC 5321 4.1.3."""
        address = domain[1:-1].removeprefix("IPv6:")
        if not _is_numeric(address):
            return refused("5.1.2", f"{domain} is no address that can be reached")
        return Route(f"mx {domain}", domain, (address,), self._port)

    def _by_mx(self, domain: str, answer: Answer[Mx]) -> Route | Verdict:
        shown = display_domain(domain)
        match answer.outcome:
            case Outcome.FAILED:
                return deferred("4.4.3", f"the DNS does not say now where mail for {shown} goes: {answer.reason}")
            case Outcome.NO_NAME:
                return refused("5.1.2", f"the domain {shown} does not exist")
            case Outcome.NO_DATA:
                return Route(f"mx {domain}", domain, (domain,), self._port)
            case Outcome.FOUND:
                hosts = [mx for mx in answer.records if mx.host]
        if not hosts:
            return refused("5.1.10", f"{shown} takes no mail at all (RFC 7505)", code=556)
        nearer = self._nearer_than_we(hosts)
        if not nearer:
            return _loop(shown)
        names = tuple(self._in_order(nearer))[: self._limits.hosts]
        return Route(f"mx {domain}", domain, names, self._port)

    def _nearer_than_we(self, hosts: Sequence[Mx]) -> list[Mx]:
        ours = min((mx.preference for mx in hosts if mx.host in self._ourselves.names), default=None)
        return [mx for mx in hosts if ours is None or mx.preference < ours]

    def _in_order(self, hosts: Sequence[Mx]) -> list[str]:
        """RFC 5321 5.1: by preference, and at random among equals."""
        groups = groupby(sorted(hosts), key=lambda mx: mx.preference)
        return [mx.host for _, equal in groups for mx in self._shuffled(list(equal))]

    def _shuffled(self, hosts: list[Mx]) -> list[Mx]:
        self._dice.shuffle(hosts)
        return hosts

    # ------------------------------------------------------------ addresses

    async def places(self, route: Route) -> AsyncGenerator[Place | Verdict, None]:
        """What to try, in order, found as it is asked for; a `Verdict` for each host that has no place."""
        left = self._limits.attempts
        for host in route.hosts:
            found = await self._addresses(host)
            if isinstance(found, Verdict):
                yield found
                continue
            if not self._ourselves.addresses.isdisjoint(found):
                # All behind it are no nearer than we are.
                yield _loop(display_domain(route.domain))
                return
            for address in self._usable(found)[:left]:
                left -= 1
                yield Place(host, address, route.port)
            if not self._usable(found):
                yield refused("5.4.4", f"{host} has no address of a mail server: {', '.join(found[:4])}", host)
            if not left:
                return

    async def _addresses(self, host: str) -> tuple[str, ...] | Verdict:
        if _is_numeric(host):
            return (host,)
        answer = await self._resolver.addresses(host)
        match answer.outcome:
            case Outcome.FOUND if answer.records:
                return answer.records
            case Outcome.FAILED:
                return deferred("4.4.3", f"the DNS does not say now where {host} is: {answer.reason}", host)
            case Outcome.NO_NAME:
                return refused("5.4.4", f"the mail server {host} does not exist", host)
            case _:
                return refused("5.4.4", f"the mail server {host} has no address", host)

    def _usable(self, addresses: Sequence[str]) -> list[str]:
        """IPv6 and IPv4 in turn, so that a host with many of one kind, which may be cut off here, is still reached."""
        usable = [address for address in addresses if self._is_usable(address)]
        six = [address for address in usable if ":" in address]
        four = [address for address in usable if ":" not in address]
        return [address for address in chain.from_iterable(zip_longest(six, four)) if address is not None]

    def _is_usable(self, text: str) -> bool:
        address = ipaddress.ip_address(text)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if address.is_loopback:
            return self._ourselves.allows_loopback
        is_here = address.is_unspecified or (address.version == 4 and address in _THIS_NETWORK)
        return not (is_here or address.is_multicast or address == _BROADCAST)


_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_BROADCAST = ipaddress.ip_address("255.255.255.255")


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _through(smarthost: Smarthost) -> Route:
    login = smarthost.login
    return Route(
        key=f"smarthost {smarthost.host}:{smarthost.port} {login.user if login else ''}",
        domain=smarthost.host,
        hosts=(smarthost.host,),
        port=smarthost.port,
        security=smarthost.security,
        verify=smarthost.verify,
        login=login,
    )


def _loop(shown: str) -> Verdict:
    return refused("5.4.6", f"mail for {shown} would come back to this server, which is not set up to keep it")
