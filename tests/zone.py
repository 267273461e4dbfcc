"""The DNS out of a zone file (RFC 1035 5), for whoever needs `postane.core.dns.Resolver`.

    zone = Zone("far.test. MX 10 mx.far.test.\\nmx.far.test. A 192.0.2.1")

Every name is absolute.  A name without such a record is NO_DATA, one without any
is NO_NAME; what stands in `failing` fails, what stands in `secure` was validated.
`asked` lists the questions in their order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dns.name
import dns.node
import dns.rdatatype
import dns.reversename
import dns.zone

from postane.core.dns import Answer, Mx, Outcome, Tlsa
from postane.net.dns import MAX_CNAMES, join_addresses, read_records, text_of


@dataclass
class Zone:
    text: str = ""
    secure: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.load(self.text)

    def load(self, text: str) -> None:
        """Replaces all records."""
        self._zone = dns.zone.from_text(f"$TTL 300\n{text}\n", ".", relativize=False, check_origin=False)

    async def mx(self, domain: str) -> Answer[Mx]:
        return self._look_up(domain, "MX")

    async def addresses(self, host: str) -> Answer[str]:
        return join_addresses(self._look_up(host, "AAAA"), self._look_up(host, "A"))

    async def txt(self, name: str) -> Answer[bytes]:
        return self._look_up(name, "TXT")

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        return self._look_up(name, "TLSA")

    async def ptr(self, address: str) -> Answer[str]:
        return self._look_up(text_of(dns.reversename.from_address(address)), "PTR")

    def _look_up(self, name: str, kind: str) -> Answer[Any]:
        self.asked.append((name, kind))
        at = dns.name.from_text(name)
        is_secure = True
        for _ in range(MAX_CNAMES + 1):
            here = text_of(at)
            is_secure &= here in self.secure
            if here in self.failing:
                return Answer(Outcome.FAILED, reason=f"{here} was told to fail")
            found = self._records(at, kind)
            if found is not None:
                return Answer(Outcome.FOUND, read_records(found), is_secure, here)
            alias = self._records(at, "CNAME")
            if alias is None:
                exists = any(each.is_subdomain(at) for each in self._zone.nodes)
                return Answer(Outcome.NO_DATA if exists else Outcome.NO_NAME, (), is_secure, here)
            at = alias[0].target
        return Answer(Outcome.FAILED, reason="a chain of CNAMEs without an end")

    def _records(self, name: dns.name.Name, kind: str) -> Any:
        node: dns.node.Node | None = self._zone.nodes.get(name)
        return node.get_rdataset(self._zone.rdclass, dns.rdatatype.from_text(kind)) if node else None
