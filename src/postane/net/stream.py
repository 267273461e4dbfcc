"""A connection: bytes in and out with limits, deadlines and our own TLS, on asyncio or uvloop.

One reader and one writer, the pump.  What has come is handed over whole;
reading pauses when `input_buffer` octets wait, writing when `output_buffer`
octets are not yet taken by the system, and a peer that takes none for
`write_stall` seconds is dropped.  All deadlines share one timer, which is moved
only when it fires: a busy connection arms none.

`close` says close_notify and FIN and then drops what still comes for a moment,
because closing a socket with unread bytes would reset it and lose our last words.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import cast

from postane.core.dialogue import Endpoint, Secured
from postane.core.limits import ConnectionLimits
from postane.net.records import Records

LINGER = 3.0
"""Seconds that a peer has to close its side after we have closed ours."""

# A vanished peer is noticed after two minutes of silence and four probes.
_KEEPALIVE = (("TCP_KEEPIDLE", 120), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4))


class Signal(Enum):
    """Why `Stream.receive` has no bytes."""

    EOF = "the peer will send no more, or has gone"
    TIMEOUT = "nothing came in time"
    POKED = "someone here has something to say"


@dataclass(frozen=True, slots=True)
class HandshakeFailure:
    """TLS did not come about; `reason` is for the log."""

    reason: str


class Stream(asyncio.Protocol):
    """One connection, accepted or made by us.  `accepted`, if given, is called once it is up.

    `lost`, if set, is called when the connection is gone in both directions.
    """

    __slots__ = (
        "_accepted",
        "_closing",
        "_drained",
        "_eof",
        "_inbox",
        "_limits",
        "_loop",
        "_paused_reading",
        "_paused_writing",
        "_poked",
        "_progress_at",
        "_read_deadline",
        "_stalled_at",
        "_timer",
        "_timer_due",
        "_tls",
        "_transport",
        "_waiter",
        "_write_deadline",
        "is_lost",
        "local",
        "lost",
        "peer",
    )

    _transport: asyncio.Transport
    _loop: asyncio.AbstractEventLoop
    peer: Endpoint
    local: Endpoint

    def __init__(self, limits: ConnectionLimits, accepted: Callable[[Stream], None] | None = None) -> None:
        self._limits = limits
        self._accepted = accepted
        self._inbox: bytearray | None = None
        self._waiter: asyncio.Future[bytes | Signal] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._tls: Records | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = inf
        self._read_deadline = inf
        self._write_deadline = inf
        self._stalled_at = 0
        self._progress_at = 0.0
        self._eof = False
        self._poked = False
        self._closing = False
        self._paused_reading = False
        self._paused_writing = False
        self.is_lost = False
        self.lost: Callable[[], None] | None = None

    # ------------------------------------------------------------ reading

    async def receive(self, timeout: float) -> bytes | Signal:
        """Everything that has come, or waits up to `timeout` seconds for it.  EOF comes after the last byte."""
        if self._inbox:
            return self._take_inbox()
        if self._eof:
            return Signal.EOF
        if self._poked:
            self._poked = False
            return Signal.POKED
        self._read_deadline = self._loop.time() + timeout
        self._arm()
        self._waiter = self._loop.create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = None
            self._read_deadline = inf

    def poke(self) -> None:
        """Wakes the reader, now or at its next `receive`.  From the loop's own thread."""
        if not self._wake(Signal.POKED):
            self._poked = True

    def _wake(self, what: bytes | Signal) -> bool:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return False
        waiter.set_result(what)
        return True

    def take(self) -> bytes:
        """What has come, without waiting."""
        return self._take_inbox() if self._inbox else b""

    def _take_inbox(self) -> bytes:
        data = bytes(self._inbox or b"")
        self._inbox = None
        if self._paused_reading:
            self._paused_reading = False
            self._transport.resume_reading()
        return data

    def _deliver(self, data: bytes) -> None:
        if not data or self._wake(data):
            return
        if self._inbox is None:
            self._inbox = bytearray()
        self._inbox += data
        if len(self._inbox) >= self._limits.input_buffer and not self._paused_reading:
            self._paused_reading = True
            self._transport.pause_reading()

    def _end(self) -> None:
        self._eof = True
        self._wake(Signal.EOF)

    # ------------------------------------------------------------ writing

    def write(self, data: bytes) -> None:
        """Queues `data`; `drain` says when more may come.  Nothing is written once the connection closes."""
        if not data or self._closing or self.is_lost:
            return
        if self._tls is None:
            self._transport.write(data)
        else:
            self._tls.write(data)
            self._transport.write(self._tls.take())

    async def drain(self) -> bool:
        """Waits while too much is queued; False where the connection is gone."""
        if self._paused_writing and not self.is_lost:
            self._drained = self._loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None
        return not self.is_lost

    def close(self) -> None:
        """Sends what is queued, then ends the connection."""
        if self._closing or self.is_lost:
            return
        if self._tls is not None:
            self._tls.close()
            self._transport.write(self._tls.take())
        self._inbox = None
        self._linger()
        if self._eof:
            self._transport.close()
            return
        if self._paused_reading:
            self._transport.resume_reading()
        self._transport.write_eof()

    def _linger(self) -> None:
        self._closing = True
        self._progress_at = self._loop.time()
        self._stalled_at = self._transport.get_write_buffer_size()
        self._write_deadline = self._progress_at + LINGER
        self._arm()

    def abort(self) -> None:
        """Ends the connection at once; what is queued is lost."""
        if not self.is_lost:
            self._closing = True
            self._transport.abort()

    # ------------------------------------------------------------ TLS

    async def start_tls(self, context: ssl.SSLContext, server_name: str | None = None) -> Secured | HandshakeFailure:
        """Drops what came in the clear and shakes hands (RFC 3207 4.2, RFC 2595 2.1).

        By a server to be called in the same breath as the `write` of the reply that invites the handshake.
        A client gives the `server_name`, as for `Records`.
        """
        self._take_inbox()
        return await self._shake_hands(context, server_name)

    async def accept_tls(self, context: ssl.SSLContext) -> Secured | HandshakeFailure:
        """Shakes hands with a peer that begins with TLS (RFC 8314 3.3)."""
        return await self._shake_hands(context)

    def peer_chain(self) -> tuple[bytes, ...]:
        """As a client, once TLS is up: the server's certificates as it sent them, DER."""
        return self._tls.chain() if self._tls is not None else ()

    async def _shake_hands(self, context: ssl.SSLContext, server_name: str | None = None) -> Secured | HandshakeFailure:
        records = Records(context, server_name)
        deadline = self._loop.time() + self._limits.handshake
        try:
            while not records.shake_hands():
                self._transport.write(records.take())
                data = await self.receive(deadline - self._loop.time())
                if isinstance(data, bytes):
                    records.feed(data)
                elif data is Signal.POKED:
                    continue
                else:
                    return HandshakeFailure(data.value)
            self._transport.write(records.take())
            self._tls = records
            self._read_records()
        except ssl.SSLError as error:
            self._transport.write(records.take())  # the alert
            return HandshakeFailure(error.reason or str(error))
        return records.secured()

    def _read_records(self) -> None:
        """Delivers the plain text of what was fed; raises ssl.SSLError."""
        if self._tls is None:
            return
        self._deliver(self._tls.read())
        if reply := self._tls.take():
            self._transport.write(reply)
        if self._tls.ended:
            self._end()

    # ------------------------------------------------------------ deadlines

    def _arm(self) -> None:
        due = min(self._read_deadline, self._write_deadline)
        if due == inf or self._timer_due <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer, self._timer_due = None, inf
        now = self._loop.time() + 0.001  # a timer may fire a clock tick early
        if now >= self._write_deadline:
            self._check_stall(now)
        if now >= self._read_deadline:
            self._read_deadline = inf
            self._wake(Signal.TIMEOUT)
        if not self.is_lost:
            self._arm()

    def _check_stall(self, now: float) -> None:
        """A peer that has taken something since the last look gets another spell."""
        size = self._transport.get_write_buffer_size()
        if size < self._stalled_at:
            self._stalled_at, self._progress_at = size, now
        elif size == 0 or now >= self._progress_at + self._limits.write_stall:
            self._write_deadline = inf
            self._transport.abort()
            return
        self._write_deadline = now + (LINGER if self._closing else self._limits.write_stall)

    # ------------------------------------------------------------ what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._loop = asyncio.get_running_loop()
        self.peer = _endpoint(transport.get_extra_info("peername"))
        self.local = _endpoint(transport.get_extra_info("sockname"))
        if self.local.port:
            _tune(transport.get_extra_info("socket"))
        self._transport.set_write_buffer_limits(high=self._limits.output_buffer)
        if self._accepted is not None:
            self._accepted(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._tls is None:
            self._deliver(data)
            return
        self._tls.feed(data)
        try:
            self._read_records()
        except ssl.SSLError:
            self._transport.write(self._tls.take())  # the alert
            self._linger()
            self._end()
            self._transport.close()

    def eof_received(self) -> bool:
        self._end()
        return not self._closing  # True keeps our side open

    def pause_writing(self) -> None:
        self._paused_writing = True
        if not self._closing:
            self._stalled_at = self._transport.get_write_buffer_size()
            self._progress_at = self._loop.time()
            self._write_deadline = self._progress_at + self._limits.write_stall
            self._arm()

    def resume_writing(self) -> None:
        self._paused_writing = False
        if not self._closing:
            self._write_deadline = inf
        self._wake_drain()

    def _wake_drain(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tls = None
        self._end()
        self._wake_drain()
        if self.lost is not None:
            self.lost()


def _tune(sock: socket.socket) -> None:
    """A reply waits for no acknowledgement, and a peer that vanished is found out."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    except OSError:
        pass  # the peer has gone already; reading will say so


def _endpoint(name: object) -> Endpoint:
    """What the system calls an end: a tuple for IP, a path or nothing for a Unix socket."""
    if not isinstance(name, tuple):
        return Endpoint("", 0)
    host, port = str(name[0]), int(name[1])
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return Endpoint(str(address.ipv4_mapped), port)
    return Endpoint(host, port)
