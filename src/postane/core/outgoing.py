"""What TLS has to be on a connection that we make, and what it turned out to be, as values.

Asked for by `postane.flow.relay`, brought about by `postane.net`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verify(Enum):
    NONE = "any certificate: better than the clear (RFC 7435 3)"
    WEBPKI = "a chain to a known authority, for the name (RFC 6125)"
    CHAIN = "any at the handshake; the chain is compared by whoever asked (RFC 7672)"


@dataclass(frozen=True, slots=True)
class TlsDemand:
    """`server_name` goes out as SNI and is, with WEBPKI, the name that the certificate must have."""

    server_name: str
    verify: Verify = Verify.NONE


@dataclass(frozen=True, slots=True)
class PeerTls:
    """TLS is up.  `chain` as the peer sent it, DER, its own certificate first.

    `is_trusted`: the chain leads to a known authority and the name is right; where not, `problem` says why.
    """

    version: str
    cipher: str
    chain: tuple[bytes, ...] = ()
    is_trusted: bool = False
    problem: str = ""
