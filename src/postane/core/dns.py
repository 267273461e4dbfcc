"""What the DNS says, as values, and the port that asks it.

Filled by `postane.net.dns` (a caching resolver on a well-kept library) and by a
zone file in tests.  A look-up never raises: its `Outcome` says how it ended.
Names are lower-case A-labels without the final dot.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Outcome(Enum):
    FOUND = "found"
    NO_DATA = "the name exists, without such a record"
    NO_NAME = "the name does not exist"
    FAILED = "no answer now (timeout, SERVFAIL, or DNSSEC says it is bogus)"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """`is_secure` where a validating resolver said so (AD, RFC 4035 3.2.3) for the whole chain of CNAMEs.

    `canonical` is the name at the end of that chain; `reason` is for the log where it FAILED.
    """

    outcome: Outcome
    records: tuple[T, ...] = ()
    is_secure: bool = False
    canonical: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Mx:
    """`host` "" with preference 0 as the only record is the null MX (RFC 7505 3)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Tlsa:
    """RFC 6698 2.1."""

    usage: int
    selector: int
    matching: int
    data: bytes


class Resolver(Protocol):
    """Every look-up is bounded in time and in the CNAMEs that it follows."""

    async def mx(self, domain: str) -> Answer[Mx]:
        """Sorted by preference."""

    async def addresses(self, host: str) -> Answer[str]:
        """A and AAAA together, IPv6 first; FAILED where one of the two failed and the other found nothing."""

    async def txt(self, name: str) -> Answer[bytes]:
        """Each record's strings joined."""

    async def tlsa(self, name: str) -> Answer[Tlsa]: ...

    async def ptr(self, address: str) -> Answer[str]: ...
