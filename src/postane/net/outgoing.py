"""Connections of ours to other servers: the port `postane.core.outgoing`, over `postane.net.stream`.

TLS 1.2 and 1.3 only (RFC 8996).  Where no certificate is asked for, ciphers that
are merely old are taken too: the choice is between them and no TLS (RFC 7435).
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl

from postane.core.dialogue import Endpoint
from postane.core.limits import ConnectionLimits
from postane.core.outgoing import PeerTls, TlsDemand, TlsFailure, Verify
from postane.net.stream import HandshakeFailure, Signal, Stream
from postane.net.trust import Trust


class SocketConnector:
    """`limits` bound buffers, the handshake, and a server that takes nothing (`write_stall`)."""

    def __init__(self, limits: ConnectionLimits, trust: Trust) -> None:
        self._limits = limits
        self._trust = trust
        self._strict = client_context()
        self._lenient = client_context()
        self._lenient.set_ciphers("DEFAULT:@SECLEVEL=1")

    async def connect(self, address: str, port: int, *, source: str | None = None, timeout: float) -> SocketOutgoing:
        """As `postane.core.outgoing.Connector`; ValueError for an `address` that is not numeric."""
        host = str(ipaddress.ip_address(address))
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout):
            _, stream = await loop.create_connection(
                lambda: Stream(self._limits), host, port, local_addr=(source, 0) if source else None
            )
        return SocketOutgoing(stream, self)

    async def secure(self, stream: Stream, demand: TlsDemand) -> PeerTls | TlsFailure:
        context = self._lenient if demand.verify is Verify.NONE else self._strict
        try:
            secured = await stream.start_tls(context, demand.server_name)
        except ValueError as error:
            return TlsFailure(f"{demand.server_name!r} cannot be asked for ({error})")
        if isinstance(secured, HandshakeFailure):
            return TlsFailure(secured.reason)
        chain = stream.peer_chain()
        if demand.verify is not Verify.WEBPKI:
            return PeerTls(secured.version, secured.cipher, chain)
        problem = self._trust.problem(chain, demand.server_name)
        return PeerTls(secured.version, secured.cipher, chain, not problem, problem)


class SocketOutgoing:
    """One connection, as `postane.core.outgoing.Outgoing`; made by `SocketConnector.connect`."""

    __slots__ = ("_connector", "_stream")

    def __init__(self, stream: Stream, connector: SocketConnector) -> None:
        self._stream = stream
        self._connector = connector

    @property
    def peer(self) -> Endpoint:
        return self._stream.peer

    @property
    def local(self) -> Endpoint:
        return self._stream.local

    async def read(self, timeout: float) -> bytes:
        while True:
            data = await self._stream.receive(timeout)
            if isinstance(data, bytes):
                return data
            if data is Signal.EOF:
                return b""
            if data is Signal.TIMEOUT:
                raise TimeoutError(f"{self.peer} said nothing for {timeout:g} seconds")

    def take(self) -> bytes:
        return self._stream.take()

    async def write(self, data: bytes) -> bool:
        self._stream.write(data)
        return await self._stream.drain()

    async def start_tls(self, demand: TlsDemand) -> PeerTls | TlsFailure:
        result = await self._connector.secure(self._stream, demand)
        if isinstance(result, TlsFailure):
            self.close()
        return result

    def close(self) -> None:
        self._stream.close()

    def abort(self) -> None:
        self._stream.abort()


def client_context() -> ssl.SSLContext:
    """Takes any certificate: whoever shakes hands judges the chain afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context
