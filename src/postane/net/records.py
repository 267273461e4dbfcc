"""TLS over two memory buffers, without a socket: cipher text in, plain text out, and back.

Ours because asyncio's own layer keeps 256 KiB a connection, and because both
loops' `start_tls` hand over plain text that was sent behind STARTTLS as if it
had come inside TLS (RFC 3207 6 asks to drop it).  Here nothing is held between
records but what OpenSSL itself needs.

Refused: renegotiation and compression (by the context), and data after a fatal alert.
"""

from __future__ import annotations

import ssl
import sys

from postane.core.dialogue import Secured

_DER = 2
"""What `_ssl.ENCODING_DER` is."""
RECORD = 16 * 1024
"""The most plain text one record holds (RFC 8446 5.1)."""


class ServerTls(ssl.SSLObject):
    """The server's side of one TLS connection, which remembers the name asked for in SNI."""

    server_name: str = ""


class ServerContext(ssl.SSLContext):
    """A server's context that knows its certificate's binding (RFC 5929 4: tls-server-end-point)."""

    end_point: bytes = b""
    sslobject_class = ServerTls


class Records:
    """One TLS connection: our side is the server's, or, where `server_name` is given, a client's.

    `server_name` goes into SNI; "" asks for no name.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls", "ended")

    def __init__(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name or None
        )
        self.ended = False

    def feed(self, cipher_text: bytes) -> None:
        self._incoming.write(cipher_text)

    def shake_hands(self) -> bool:
        """True once the handshake is done; raises ssl.SSLError where it fails."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read(self) -> bytes:
        """All plain text that is here; sets `ended` at the peer's close_notify.  Raises ssl.SSLError."""
        pieces = []
        try:
            while piece := self._tls.read(RECORD):
                pieces.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, plain_text: bytes) -> None:
        self._tls.write(plain_text)

    def take(self) -> bytes:
        """Cipher text to be sent now."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def close(self) -> None:
        """Makes the close_notify alert (RFC 8446 6.1); does not wait for the peer's."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass

    def chain(self) -> tuple[bytes, ...]:
        """The peer's certificates as it sent them, DER, its own first; for the client's side."""
        # Public only from Python 3.13 on; before, the same call of OpenSSL stands one object deeper.
        if sys.version_info >= (3, 13):
            return tuple(self._tls.get_unverified_chain())
        inner = self._tls._sslobj  # type: ignore[attr-defined]
        return tuple(each.public_bytes(_DER) for each in inner.get_unverified_chain() or ())

    def secured(self) -> Secured:
        """What a session is told once the handshake is done."""
        tls = self._tls
        version = tls.version() or ""
        cipher = tls.cipher()
        bindings: dict[str, bytes] = {}
        # RFC 9266 3: tls-unique is not defined for TLS 1.3.
        if version == "TLSv1.2" and (unique := tls.get_channel_binding("tls-unique")):
            bindings["tls-unique"] = unique
        if "tls-exporter" in ssl.CHANNEL_BINDING_TYPES and (exported := tls.get_channel_binding("tls-exporter")):
            bindings["tls-exporter"] = exported
        if isinstance(tls.context, ServerContext) and tls.context.end_point:
            bindings["tls-server-end-point"] = tls.context.end_point
        name = tls.server_name if isinstance(tls, ServerTls) else ""
        return Secured(version, cipher[0] if cipher else "", name, bindings)
