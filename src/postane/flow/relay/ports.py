"""What the relay needs of others, besides connections (`postane.core.outgoing`) and the DNS (`postane.core.dns`).

`TlsMemory` is filled by `postane.store.state`, `Bounces` by `postane.flow.bounce`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from postane.flow.relay.verdict import Verdict
from postane.store.api import NewMessage, QueuedMessage, QueuedRecipient


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
    """`verdict` has the last server's words; a FAILED one that was only DEFERRED has run out of time.

    `retry_until` is when a DELAYED one is given up, 0 elsewhere.
    """

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
