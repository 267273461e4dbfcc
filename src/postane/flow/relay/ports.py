"""What the relay needs of others: connections, what is known of a domain's TLS, and words for those who sent.

Connections are made by `postane.net.outgoing`; a `TlsMemory` is kept by
`postane.store.state`; `Bounces` are composed by `postane.flow.bounce`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from postane.core.dialogue import Endpoint
from postane.core.outgoing import PeerTls, TlsDemand
from postane.flow.relay.verdict import Verdict
from postane.store.api import NewMessage, QueuedMessage, QueuedRecipient


class Outgoing(Protocol):
    """A connection that we have made.  What fails raises OSError (TimeoutError among them), whatever it was."""

    @property
    def peer(self) -> Endpoint: ...

    @property
    def local(self) -> Endpoint: ...

    async def read(self, timeout: float) -> bytes:
        """What has come, at least one octet; b"" where the peer will send no more."""

    async def write(self, data: bytes) -> None: ...

    async def start_tls(self, demand: TlsDemand) -> PeerTls:
        """Drops what the peer sent in the clear and was not read (RFC 3207 6).

        OSError where the handshake fails, an unfit certificate with WEBPKI included: the connection is then of no use.
        """

    async def close(self) -> None: ...

    def abort(self) -> None: ...


class Connector(Protocol):
    async def connect(self, address: str, port: int, *, source: str | None, timeout: float) -> Outgoing:
        """`address` is numeric; `source` the address to bind, for its own family only.  OSError."""


class TlsMemory(Protocol):
    """Which domains had working TLS: whoever had it once is not talked to in the clear later."""

    async def had_tls(self, domain: str) -> bool: ...

    async def note_tls(self, domain: str) -> None: ...


class End(Enum):
    """What became of a recipient, in the words of RFC 3464 2.3.3."""

    DELIVERED = "delivered"
    RELAYED = "relayed"
    """To a server that tells of nothing further (RFC 3461 5.2.2)."""
    DELAYED = "delayed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Report:
    """`verdict` has the last server's words; `retry_until` is when a DELAYED one is given up, 0 elsewhere."""

    recipient: QueuedRecipient
    end: End
    verdict: Verdict
    retry_until: int = 0


class Bounces(Protocol):
    """Composes what a sender is told."""

    async def notices(self, message: QueuedMessage, reports: Sequence[Report]) -> Sequence[NewMessage]:
        """Messages that the queue takes in the transaction in which it lets go of the recipients.

        None where nobody wants to hear of it (NOTIFY).  Each of its recipients has `due` set: nobody here
        delivers it at once.  Whoever asked closes `staged`.
        """
