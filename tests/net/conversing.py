"""A line protocol of a few words, to show what the pump and the stream do for any protocol."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from postane.core.dialogue import Body, Closed, Engine, Hangup, Opened, Piece, Secured, StartTls, TimedOut
from postane.core.limits import ConnectionLimits
from postane.core.log import NullLog
from postane.net.pump import Stopping, converse
from postane.net.stream import Stream
from postane.net.tls import CertificateStore, make_self_signed
from postane.proto.buffer import Line, ReceiveBuffer


class LineEngine:
    """Each line is an event, each bytes answer a line."""

    def __init__(self) -> None:
        self._buffer = ReceiveBuffer()
        self._output = bytearray()
        self.closed = False

    @property
    def pending(self) -> bool:
        return self._buffer.is_partial

    def feed(self, data: bytes) -> None:
        self._buffer.feed(data)

    def next_event(self) -> bytes | Line | None:
        return self._buffer.line(1000)

    def send(self, answer: object) -> None:
        if isinstance(answer, Body):
            self._output += b"{%d}\r\n" % answer.length
        elif isinstance(answer, Piece):
            self._output += answer.data
        else:
            assert isinstance(answer, bytes)
            self._output += answer + b"\r\n"

    def take_output(self) -> bytes:
        output = bytes(self._output)
        self._output.clear()
        return output

    def secure(self) -> None:
        self._buffer.clear()


@dataclass
class WordSession:
    """Answers a few words; notes what it was told."""

    timeout: float = 60.0
    told: list[object] = field(default_factory=list)
    news: list[bytes] = field(default_factory=list)
    cancelled: bool = False
    finished: bool = False
    closed: bool = False
    opened: Opened | None = None
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, event: object) -> AsyncIterator[object]:
        self.told.append(event)
        match event:
            case Opened():
                self.opened = event
                yield b"hello"
            case Secured():
                pass
            case TimedOut():
                yield b"bye"
                yield Hangup()
            case Closed(shutdown=True):
                yield b"stopping"
            case b"quit":
                yield b"bye"
                yield Hangup()
            case b"starttls":
                yield b"go"
                yield StartTls()
            case b"hold":
                try:
                    await self.hold.wait()
                except asyncio.CancelledError:
                    self.cancelled = True
                    raise
                yield b"held"
            case b"fail":
                raise RuntimeError("on command")
            case b"large":
                yield Body(10 * 2**20, self._chunks(10 * 16))
            case b"short":
                yield Body(3 * 2**16, self._chunks(2))
            case bytes():
                yield b"you said " + event

    async def _chunks(self, count: int) -> AsyncIterator[bytes]:
        try:
            for _ in range(count):
                yield b"x" * 2**16
        finally:
            self.finished = True

    async def pushed(self) -> AsyncIterator[object]:
        while self.news:
            yield self.news.pop(0)

    async def aclose(self) -> None:
        self.closed = True


class ListLog(NullLog):
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def info(self, event: str, **facts: object) -> None:
        self.lines.append(("info", event))

    def exception(self, event: str, **facts: object) -> None:
        self.lines.append(("exception", event))


LIMITS = ConnectionLimits()


class Serving:
    """A listener on loopback whose connections run `converse`."""

    def __init__(
        self,
        make_session: Callable[[], object] = WordSession,
        make_engine: Callable[[], Engine] = LineEngine,
        limits: ConnectionLimits = LIMITS,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
    ) -> None:
        self.make_session = make_session
        self.make_engine = make_engine
        self.limits = limits
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.stopping = Stopping()
        self.log = ListLog()
        self.sessions: list[object] = []
        self.streams: list[Stream] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Serving:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Stream(self.limits, self._accepted), "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _accepted(self, stream: Stream) -> None:
        session = self.make_session()
        self.sessions.append(session)
        self.streams.append(stream)
        self.tasks.append(
            asyncio.get_running_loop().create_task(
                converse(
                    stream,
                    self.make_engine(),
                    session,
                    tls=self.tls,
                    implicit_tls=self.implicit_tls,
                    stopping=self.stopping,
                    log=self.log,
                    internal_error=b"internal error\r\n",
                )
            )
        )

    async def connect(self, **options: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, **options)


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs an async test on asyncio and on uvloop."""
    import functools
    import inspect

    import uvloop

    @functools.wraps(test)
    def run(**arguments: object) -> None:
        for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(asyncio.wait_for(test(**arguments), 20))

    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


def certificates(folder: Path) -> CertificateStore:
    return CertificateStore(make_self_signed(folder, ("mail.bench.test", "localhost", "127.0.0.1")))


def client_context(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))
