"""Taking connections from the listening sockets that all workers share.

One connection a wake-up: what one worker leaves, another takes, so that the
load spreads by itself.  Too many connections, in all or from one address, get
the protocol's own polite refusal; a process without file descriptors stops
listening for a moment and does not spin.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from postane.binding import Bound
from postane.core.listener import Listener, Service
from postane.core.log import Log

REST = 0.5
"""Seconds without accepting after the system ran out of descriptors or memory."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SMTP_REFUSAL = b"421 4.7.0 Too many connections; try again later\r\n"
_REFUSALS = {
    Service.SMTP: _SMTP_REFUSAL,
    Service.LMTP: _SMTP_REFUSAL,
    Service.SUBMISSION: _SMTP_REFUSAL,
    Service.IMAP: b"* BYE [UNAVAILABLE] Too many connections; try again later\r\n",
    Service.POP3: b"-ERR [SYS/TEMP] Too many connections; try again later\r\n",
}
"""Where TLS comes first nothing can be said before it."""


class Doorkeeper(Protocol):
    """How many connections there are, over all workers."""

    def enter_address(self, host: str) -> bool:
        """False where there are too many, in all or from this address; nothing is counted then."""

    def leave_address(self, host: str) -> None: ...


Serve = Callable[[socket.socket, Listener, str], Awaitable[None]]
"""Serves one connection, from the host named last, to its end and closes it."""


class Acceptor:
    """Accepts on one loop, from all sockets.  `connections` are the tasks that run now."""

    def __init__(self, bound: tuple[Bound, ...], serve: Serve, doorkeeper: Doorkeeper, log: Log) -> None:
        self._bound = bound
        self._serve = serve
        self._doorkeeper = doorkeeper
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._is_open = False
        self.connections: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        self._is_open = True
        for one in self._bound:
            self._listen(one)

    def close(self) -> None:
        """No more connections; those that are here go on."""
        self._is_open = False
        for one in self._bound:
            self._loop.remove_reader(one.socket.fileno())
            one.socket.close()

    def _listen(self, one: Bound) -> None:
        if self._is_open:
            self._loop.add_reader(one.socket.fileno(), self._accept, one)

    def _accept(self, one: Bound) -> None:
        try:
            connection, peer = one.socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was faster, or the peer has gone
        except OSError as error:
            self._log.warning("accept.failed", service=one.listener.service.value, error=error.strerror)
            if error.errno in _EXHAUSTED:
                self._loop.remove_reader(one.socket.fileno())
                self._loop.call_later(REST, self._listen, one)
            return
        connection.setblocking(False)
        host = peer[0] if isinstance(peer, tuple) else ""
        if not self._doorkeeper.enter_address(host):
            self._refuse(connection, one.listener, host)
            return
        task = self._loop.create_task(self._run(connection, one.listener, host))
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)

    async def _run(self, connection: socket.socket, listener: Listener, host: str) -> None:
        try:
            await self._serve(connection, listener, host)
        except OSError as error:
            self._log.info("connection.failed", service=listener.service.value, error=error.strerror)
        finally:
            self._doorkeeper.leave_address(host)

    def _refuse(self, connection: socket.socket, listener: Listener, host: str) -> None:
        self._log.info("connection.refused", service=listener.service.value, peer=host, reason="too many")
        with connection, suppress(OSError):
            connection.send(_REFUSALS.get(listener.service, b""))
