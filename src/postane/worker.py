"""A worker: one event loop that serves every protocol, until it is told to stop.

TERM: no more connections, each conversation ends at its next pause, what is
being accepted is finished.  The end of the control connection means that the
supervisor is in a hurry or gone: what is left is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec

from postane.acceptor import Acceptor
from postane.app import Desk, Stores, open_stores, queue_runner
from postane.config.settings import Settings
from postane.control import Lines, Material, Ready, Reload, encode
from postane.core.ids import new_id
from postane.core.listener import Listener
from postane.core.log import Log
from postane.crowd import Crowd
from postane.flow.accounts import Accounts, LoginPolicy
from postane.flow.passwords import Passwords
from postane.flow.relay.runner import QueueRunner
from postane.logs import make_log
from postane.machine import host_name
from postane.net.counters import SharedCounters
from postane.net.dns import CachingResolver, DnsSettings
from postane.net.hints import DatagramHints
from postane.net.pump import Stopping, converse
from postane.net.stream import Stream
from postane.net.tls import CertificateFiles, CertificateStore
from postane.supervisor import Assignment

try:
    import uvloop
except ImportError:  # a wheel that not every machine has
    uvloop = None  # type: ignore[assignment]

FINISH = 10.0
"""Seconds for what is being accepted when the server stops."""
FLUSH = 1.0
"""Seconds between writings of the trace."""


def run(assignment: Assignment, counters: Path, slots: int) -> None:
    """The process of one worker, from its first line to its last."""
    run_loop(_serve(assignment, counters, slots))


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """On uvloop where it is there, on asyncio where it is not."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        runner.run(main)


async def _serve(assignment: Assignment, counters_file: Path, slots: int) -> None:
    slot, settings = assignment.slot, assignment.settings
    log = make_log(settings.log, f"worker {slot}")
    hints = DatagramHints(assignment.folder.run, f"worker-{slot}")
    hints.start()
    stores = open_stores(assignment.folder.path, f"worker-{slot}", hints, settings.limits)
    counters = SharedCounters(counters_file, slot - 1, slots)
    worker = _Worker(assignment, stores, Crowd(counters, settings.limits.connections), log)
    try:
        await worker.run()
    finally:
        hints.close()
        await stores.close()


class _Worker:
    def __init__(self, assignment: Assignment, stores: Stores, crowd: Crowd, log: Log) -> None:
        self._assignment = assignment
        self._stores = stores
        self._crowd = crowd
        self._log = log
        self._passwords = Passwords(stores.clock, assignment.settings.limits.login)
        self._resolver = CachingResolver(DnsSettings(nameservers=assignment.settings.relay.nameservers), stores.clock)
        self._runner = self._make_runner(assignment.settings)
        self._desk = self._make_desk(assignment.settings)
        with _files_of(assignment.material) as files:
            self._certificates = CertificateStore(files)
        self._stopping = Stopping()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        obey(self._assignment.control, self._reload, self._drop_everything)
        acceptor = Acceptor(self._assignment.binding.bound, self._converse, self._crowd, self._log)
        flushing = loop.create_task(flush_trace(self._stores))
        running = loop.create_task(self._runner.run())
        acceptor.open()
        self._assignment.control.send(encode(Ready()))
        await self._stop.wait()
        acceptor.close()
        self._stopping.begin()
        await asyncio.gather(self._finish(acceptor.connections), self._runner.stop(FINISH))
        await running
        await self._resolver.aclose()
        flushing.cancel()
        self._passwords.close()

    def _make_desk(self, settings: Settings) -> Desk:
        name = settings.server.host_name or host_name()
        ports = self._assignment.binding.ports
        return Desk(self._stores, settings, self._passwords, name, ports, self._crowd, self._log, self._runner.wake)

    def _make_runner(self, settings: Settings) -> QueueRunner:
        name = settings.server.host_name or host_name()
        accounts = Accounts(self._stores.directory, self._passwords, LoginPolicy())
        return queue_runner(self._stores, settings, accounts, name, self._resolver, self._log)

    async def _converse(self, connection: socket.socket, listener: Listener, host: str) -> None:
        """Serves one connection to its end."""
        desk = self._desk
        limits = desk.limits.connections
        loop = asyncio.get_running_loop()
        try:
            _, stream = await loop.connect_accepted_socket(lambda: Stream(limits, _nobody_waits), connection)
        except BaseException:
            connection.close()
            raise
        log = self._log.bind(connection=new_id()[:12], service=listener.service.value, peer=host)
        engine, session, internal_error = desk.serve(listener.service, log)
        log.debug("connection.opened")
        await converse(
            stream,
            engine,
            session,
            tls=self._certificates.context,
            implicit_tls=listener.is_tls,
            stopping=self._stopping,
            log=log,
            internal_error=internal_error,
        )
        log.debug("connection.closed")

    async def _finish(self, connections: set[asyncio.Task[None]]) -> None:
        """Lets conversations come to their pause; drops what does not, or what is left when there is hurry."""
        hurry = asyncio.ensure_future(self._hurry.wait())
        everyone = asyncio.ensure_future(_all_of(connections))
        await asyncio.wait({hurry, everyone}, timeout=FINISH, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        left = tuple(connections)
        for task in left:
            task.cancel()
        if left:
            self._log.warning("connections.dropped", count=len(left))
            await asyncio.wait(left, timeout=1.0)
        with contextlib.suppress(asyncio.CancelledError):
            await everyone

    def _drop_everything(self) -> None:
        self._hurry.set()
        self._stop.set()

    def _reload(self, message: Reload) -> None:
        """For new connections; those that are here keep what they began with."""
        self._log = make_log(message.settings.log, f"worker {self._assignment.slot}")
        self._crowd.limits = message.settings.limits.connections
        self._desk = self._make_desk(message.settings)
        with _files_of(message.material) as files:
            self._certificates.reload(files)


async def flush_trace(stores: Stores) -> None:
    while True:
        await asyncio.sleep(FLUSH)
        await stores.trace.flush()


async def _all_of(tasks: set[asyncio.Task[None]]) -> None:
    while tasks:
        await asyncio.wait(tuple(tasks))


def obey(control: socket.socket, reload: Callable[[Reload], None], end: Callable[[], None]) -> None:
    """Listens to the supervisor on the running loop; `end` is called when it has gone or says no more."""
    loop = asyncio.get_running_loop()
    control.setblocking(False)
    lines = Lines(control, msgspec.json.Decoder(Reload))

    def take() -> None:
        for message in lines.receive():
            reload(message)
        if lines.is_over:
            loop.remove_reader(control.fileno())
            end()

    loop.add_reader(control.fileno(), take)


@contextlib.contextmanager
def _files_of(material: Material) -> Iterator[CertificateFiles]:
    """OpenSSL reads files only: for a moment the key is in one that has no name on any disk."""
    with _memory_file("certificate", material.certificate) as certificate, _memory_file("key", material.key) as key:
        yield CertificateFiles(certificate, key)


@contextlib.contextmanager
def _memory_file(name: str, content: str) -> Iterator[Path]:
    with open(os.memfd_create(name), "wb") as file:  # noqa: PTH123 - it has a number, no path
        file.write(content.encode())
        file.flush()
        yield Path(f"/proc/self/fd/{file.fileno()}")


def _nobody_waits(_stream: Stream) -> None:
    """`connect_accepted_socket` gives the stream once it is up."""
