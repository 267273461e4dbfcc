"""A connection of ours to another server, as values and a port.

Filled by `postane.net.outgoing` over real sockets, and by a scripted server in tests.
TLS comes about whatever certificate the server shows, and `PeerTls` says what is to
be thought of it: whoever asked decides whether to go on (RFC 7435, RFC 8461 4.2, RFC 7672 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from postane.core.dialogue import Endpoint


class Verify(Enum):
    NONE = "any certificate will do"
    """The widest range of TLS that is not broken; the server's certificate is not looked at."""
    WEBPKI = "the certificate must be good for the name, by a known authority (RFC 5280, RFC 6125)"
    CHAIN = "whoever asked looks at the chain (DANE, RFC 7672)"


@dataclass(frozen=True, slots=True)
class TlsDemand:
    """`server_name` goes into SNI and is what WEBPKI looks for; lower-case A-labels, "" for none."""

    server_name: str
    verify: Verify = Verify.NONE


@dataclass(frozen=True, slots=True)
class PeerTls:
    """TLS is up.  `chain` holds DER certificates as the server sent them, its own first.

    `is_trusted` only where WEBPKI was asked for and holds; `problem` says why it does not, "" elsewhere.
    """

    version: str
    cipher: str
    chain: tuple[bytes, ...]
    is_trusted: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TlsFailure:
    """TLS did not come about and the connection is gone; `reason` is for the log and for TLS-RPT."""

    reason: str


class Outgoing(Protocol):
    """One connection.  One reader and one writer at a time."""

    @property
    def peer(self) -> Endpoint: ...

    @property
    def local(self) -> Endpoint: ...

    async def read(self, timeout: float) -> bytes:
        """What has come, or waits for it up to `timeout` seconds (TimeoutError); b"" once no more will come."""

    def take(self) -> bytes:
        """What has come and was not read, without waiting; b"" where there is nothing now."""

    async def write(self, data: bytes) -> bool:
        """Waits while too much is under way.  False where the connection is gone: what had come can still be read."""

    async def start_tls(self, demand: TlsDemand) -> PeerTls | TlsFailure:
        """Drops what came in the clear and was not read (RFC 3207 4.2), then shakes hands."""

    def close(self) -> None:
        """Sends what was written, then ends the connection."""

    def abort(self) -> None:
        """Ends it at once."""


class Connector(Protocol):
    async def connect(self, address: str, port: int, *, source: str | None = None, timeout: float) -> Outgoing:
        """To a numeric `address`, from the address `source` where one is given.

        TimeoutError after `timeout` seconds; OSError where the network or the server refuses, or `source` is not ours.
        """
