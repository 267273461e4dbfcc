"""The DNS: `postane.core.dns.Resolver` on dnspython, by way of a resolver that recurses for us.

Answers are kept as long as they may be (RFC 2181 8, RFC 2308 5 for what is not
there, RFC 9520 3.2 for failures, briefly), and a question that is under way is
not asked twice.  UDP first with EDNS of 1232 octets, TCP where that is cut short.

AD (RFC 4035 3.2.3) is asked for (RFC 6840 5.7) and believed only from a resolver
on this machine, or where the settings say so: anybody on the way could set it.

Refused: chains of more than `MAX_CNAMES`, answers that contradict themselves or
hold a record that cannot be (a TLSA whose digest has the wrong length among them);
all are failures, tried again later by whoever asks.
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.reversename

from postane.core.clock import Clock, SystemClock
from postane.core.dns import Answer, Mx, Outcome, Tlsa
from postane.net.dns_cache import AnswerCache, Question

MAX_CNAMES = 10
_EDNS_OCTETS = 1232
"""What passes everywhere without fragments (DNS flag day 2020)."""


class Believe(Enum):
    """Whose word is taken that an answer was validated."""

    LOOPBACK = "loopback"
    """That of resolvers on this machine, if all of them are."""
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """`nameservers` are numeric addresses; none means the machine's own.  Times in seconds.

    `timeout` is for one server's answer, `budget` for a whole look-up; `at_once` bounds the questions under way.
    """

    nameservers: tuple[str, ...] = ()
    port: int = 53
    believe: Believe = Believe.LOOPBACK
    timeout: float = 3.0
    budget: float = 15.0
    at_once: int = 100
    cache_octets: int = 16 * 2**20
    longest_ttl: float = 86_400.0
    longest_negative_ttl: float = 3600.0
    failure_ttl: float = 5.0


class CachingResolver:
    """Fills `postane.core.dns.Resolver`.  For one event loop."""

    def __init__(self, settings: DnsSettings | None = None, clock: Clock | None = None) -> None:
        self._settings = settings or DnsSettings()
        self._resolver = _stub(self._settings)
        self._is_believed = _is_believed(self._settings.believe, self._resolver)
        self._cache = AnswerCache(self._settings.cache_octets, clock or SystemClock())
        self._slots = asyncio.Semaphore(self._settings.at_once)
        self._asking: dict[Question, asyncio.Task[Answer[Any]]] = {}

    async def mx(self, domain: str) -> Answer[Mx]:
        return await self._look_up(domain, dns.rdatatype.MX)

    async def addresses(self, host: str) -> Answer[str]:
        six, four = await asyncio.gather(self._look_up(host, dns.rdatatype.AAAA), self._look_up(host, dns.rdatatype.A))
        return join_addresses(six, four)

    async def txt(self, name: str) -> Answer[bytes]:
        return await self._look_up(name, dns.rdatatype.TXT)

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        return await self._look_up(name, dns.rdatatype.TLSA)

    async def ptr(self, address: str) -> Answer[str]:
        try:
            name = dns.reversename.from_address(address)
        except dns.exception.DNSException as error:
            return Answer(Outcome.NO_NAME, reason=str(error))
        return await self._look_up(text_of(name), dns.rdatatype.PTR)

    async def aclose(self) -> None:
        """Gives up what is under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_up(self, name: str, kind: dns.rdatatype.RdataType) -> Answer[Any]:
        question = (name.lower().removesuffix("."), int(kind))
        if (known := self._cache.get(question)) is not None:
            return known
        task = self._asking.get(question)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._answer(question, kind))
            self._asking[question] = task
            task.add_done_callback(lambda _: self._asking.pop(question, None))
        # Whoever asked first may lose patience; the others still want to know.
        return await asyncio.shield(task)

    async def _answer(self, question: Question, kind: dns.rdatatype.RdataType) -> Answer[Any]:
        try:
            name = dns.name.from_text(question[0])
        except (dns.exception.DNSException, UnicodeError) as error:
            return Answer(Outcome.NO_NAME, reason=f"no name of the DNS: {error}")
        try:
            async with asyncio.timeout(self._settings.budget), self._slots:
                answer, seconds = await self._follow(name, kind)
        except TimeoutError:
            answer, seconds = _failed(f"no answer within {self._settings.budget:g} seconds")
        except (dns.exception.DNSException, OSError) as error:
            answer, seconds = _failed(str(error))
        if answer.outcome is Outcome.FAILED:
            seconds = self._settings.failure_ttl
        self._cache.put(question, answer, seconds)
        return answer

    async def _follow(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> tuple[Answer[Any], float]:
        """The answer and how long it is good.  A resolver that does not follow a CNAME to its end is asked on."""
        seconds = self._settings.longest_ttl
        is_secure = self._is_believed
        followed = 0
        while True:
            response = await self._ask(name, kind)
            chain = response.resolve_chaining()
            seconds = min(seconds, chain.minimum_ttl)
            is_secure &= bool(response.flags & dns.flags.AD)
            followed += len(chain.cnames)
            if followed > MAX_CNAMES:
                return _failed(f"a chain of more than {MAX_CNAMES} CNAMEs")
            canonical = text_of(chain.canonical_name)
            if chain.answer is not None:
                return Answer(Outcome.FOUND, read_records(chain.answer), is_secure, canonical), seconds
            is_absent = response.rcode() == dns.rcode.NXDOMAIN
            if is_absent or not chain.cnames or _has_soa(response):
                outcome = Outcome.NO_NAME if is_absent else Outcome.NO_DATA
                return Answer(outcome, (), is_secure, canonical), min(seconds, self._settings.longest_negative_ttl)
            name = chain.canonical_name

    async def _ask(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.QueryMessage:
        try:
            answer = await self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN as absent:
            return cast(dns.message.QueryMessage, absent.response(name))  # type: ignore[no-untyped-call]
        return answer.response


def join_addresses(six: Answer[str], four: Answer[str]) -> Answer[str]:
    """One failure beside no address is a failure: the other kind might have had one."""
    found = [answer for answer in (six, four) if answer.outcome is Outcome.FOUND]
    if found:
        records = tuple(record for answer in found for record in answer.records)
        answered = [answer for answer in (six, four) if answer.outcome is not Outcome.FAILED]
        is_secure = all(answer.is_secure for answer in answered)
        return Answer(Outcome.FOUND, records, is_secure, found[0].canonical)
    for outcome in (Outcome.NO_NAME, Outcome.FAILED):
        for answer in (six, four):
            if answer.outcome is outcome:
                return answer
    return Answer(Outcome.NO_DATA, (), six.is_secure and four.is_secure, four.canonical)


def read_records(records: Any) -> tuple[Any, ...]:
    """dnspython's rdataset -> the values of `postane.core.dns`, MX sorted by preference."""
    values = tuple(_read(record) for record in records)
    return tuple(sorted(values)) if values and isinstance(values[0], Mx) else values


def _read(record: Any) -> Mx | Tlsa | str | bytes:
    match record.rdtype:
        case dns.rdatatype.MX:
            return Mx(record.preference, text_of(record.exchange))
        case dns.rdatatype.TLSA:
            return Tlsa(record.usage, record.selector, record.mtype, record.cert)
        case dns.rdatatype.TXT:
            return b"".join(record.strings)
        case dns.rdatatype.PTR:
            return text_of(record.target)
        case _:
            return str(record.address)


def text_of(name: dns.name.Name) -> str:
    """Lower-case, without the final dot; octets that no host name holds are escaped (RFC 1035 5.1)."""
    return name.to_text(omit_final_dot=True).lower() if name.labels != (b"",) else ""


def _failed(reason: str) -> tuple[Answer[Any], float]:
    return Answer(Outcome.FAILED, reason=reason), 0.0


def _has_soa(response: dns.message.Message) -> bool:
    """RFC 2308 2.2: the sign that there is nothing, rather than that somebody else should be asked."""
    return any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)


def _stub(settings: DnsSettings) -> dns.asyncresolver.Resolver:
    try:
        resolver = dns.asyncresolver.Resolver(configure=not settings.nameservers)
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]  # resolv.conf(5): what an empty one means
    if settings.nameservers:
        resolver.nameservers = list(settings.nameservers)
        resolver.port = settings.port
    resolver.timeout = settings.timeout
    resolver.lifetime = settings.budget
    resolver.use_edns(0, 0, _EDNS_OCTETS)
    resolver.flags = dns.flags.RD | dns.flags.AD
    return resolver


def _is_believed(believe: Believe, resolver: dns.asyncresolver.Resolver) -> bool:
    if believe is not Believe.LOOPBACK:
        return believe is Believe.ALWAYS
    return all(ipaddress.ip_address(str(server)).is_loopback for server in resolver.nameservers)
