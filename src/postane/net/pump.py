"""The one loop that joins an engine, a session and a stream; the same for every protocol.

Bytes are read and fed; each event goes to the session; its answers go to the
engine; what the engine has to say goes out by size, never faster than the peer
takes it.  The rules stand in `core.dialogue`.

A peer that goes while an answer is being made cancels the making: reads stop,
what the store has begun to write it finishes.  A session that fails with an
unexpected exception ends its own connection and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from types import AsyncGeneratorType

from postane.core.dialogue import (
    Body,
    Closed,
    Engine,
    Hangup,
    Opened,
    Piece,
    Secured,
    Session,
    StartTls,
    TimedOut,
)
from postane.core.log import Log
from postane.net.stream import HandshakeFailure, Signal, Stream

FLUSH = 64 * 1024
"""Octets of output that are gathered before they are written."""
TURN = 0.005
"""Seconds one connection may work on end before the others get their turn."""


class Stopping:
    """Tells every conversation of a worker that the server stops; each ends at its next pause between commands."""

    def __init__(self) -> None:
        self.is_set = False
        self._pokes: set[Callable[[], None]] = set()

    def begin(self) -> None:
        self.is_set = True
        for poke in tuple(self._pokes):
            poke()

    def join(self, poke: Callable[[], None]) -> None:
        self._pokes.add(poke)

    def leave(self, poke: Callable[[], None]) -> None:
        self._pokes.discard(poke)


class _Gone(Exception):
    """The connection is of no more use; what is queued (a TLS alert) may go out, nothing more is said."""


async def converse(
    stream: Stream,
    engine: Engine,
    session: Session,
    *,
    tls: ssl.SSLContext | None,
    implicit_tls: bool,
    stopping: Stopping,
    log: Log,
    internal_error: bytes,
) -> None:
    """Serves one connection to its end.

    `log` carries the connection's id.  `internal_error` is the protocol's own
    last line for a session that failed.  Cancelling aborts the connection.
    """
    conversation = _Conversation(stream, engine, session, tls, stopping)
    stopping.join(stream.poke)
    stream.lost = conversation.cancel_answer
    try:
        await conversation.run(implicit_tls)
    except _Gone as gone:
        log.info("connection.dropped", reason=str(gone))
    except asyncio.CancelledError:
        stream.abort()
        raise
    except Exception:
        log.exception("session.failed")
        conversation.apologise(internal_error)
    finally:
        stream.lost = None
        stopping.leave(stream.poke)
        try:
            await session.aclose()
        except Exception:
            log.exception("session.close_failed")
        stream.close()


class _Conversation:
    """The state of one connection's loop."""

    __slots__ = (
        "_engine",
        "_handling",
        "_in_body",
        "_loop",
        "_over",
        "_ready",
        "_ready_size",
        "_session",
        "_shake_hands",
        "_stopping",
        "_stream",
        "_task",
        "_tls",
        "_turn",
    )

    def __init__(
        self, stream: Stream, engine: Engine, session: Session, tls: ssl.SSLContext | None, stopping: Stopping
    ) -> None:
        self._stream = stream
        self._engine = engine
        self._session = session
        self._tls = tls
        self._stopping = stopping
        self._ready: list[bytes] = []
        self._ready_size = 0
        self._handling = False
        self._in_body = False
        self._over = False
        self._shake_hands = False
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._turn = self._loop.time()

    async def run(self, implicit_tls: bool) -> None:
        secured = None
        if implicit_tls:
            secured = self._checked(await self._stream.accept_tls(self._context()))
        await self._tell(Opened(self._stream.peer, self._stream.local, secured, self._stream.poke))
        while await self._answer_events():
            if not self._engine.pending:
                if self._stopping.is_set:
                    await self._tell(Closed(shutdown=True))
                    break
                await self._answer(self._session.pushed())
                if self._over:
                    break
            await self._flush()
            await self._listen()
        await self._flush()

    async def _listen(self) -> None:
        """Waits for the peer, or for something to say to it."""
        received = await self._stream.receive(self._session.timeout)
        self._turn = self._loop.time()
        if isinstance(received, bytes):
            self._engine.feed(received)
        elif received is Signal.TIMEOUT:
            await self._tell(TimedOut())
        elif received is Signal.EOF:
            self._engine.feed(b"")
            if await self._answer_events():
                await self._tell(Closed())
            self._over = True

    async def _answer_events(self) -> bool:
        """All that is whole is answered; false once the dialogue is over."""
        while not self._over and (event := self._engine.next_event()) is not None:
            await self._tell(event)
            await self._give_way()
        # A literal is asked for by the engine itself, with no event between (RFC 3501 7.5).
        self._gather()
        self._over = self._over or self._engine.closed
        return not self._over

    async def _tell(self, event: object) -> None:
        await self._answer(self._session.handle(event))
        if self._shake_hands and not self._over:
            await self._start_tls()

    async def _answer(self, answers: AsyncIterator[object]) -> None:
        """Takes a session's answers one by one, each on its way before the next is asked for."""
        self._handling = True
        try:
            async for answer in answers:
                if isinstance(answer, Body):
                    await self._send_body(answer)
                elif isinstance(answer, StartTls):
                    self._shake_hands = True
                elif isinstance(answer, Hangup):
                    self._over = True
                else:
                    self._engine.send(answer)
                    if self._gather():
                        await self._flush()
        except BaseException as failure:
            await _finish(answers)
            if isinstance(failure, asyncio.CancelledError) and self._is_ours():
                raise _Gone("the peer went while its answer was being made") from None
            raise
        finally:
            self._handling = False
        # What the engine says of its own accord, where a session had no answer.
        self._gather()

    def _is_ours(self) -> bool:
        """Whether a cancellation came from `cancel_answer`, and from nobody else besides."""
        return self._stream.is_lost and self._task is not None and not self._task.uncancel()

    def cancel_answer(self) -> None:
        """The stream is lost: nobody waits for the answer that is being made."""
        if self._handling and self._task is not None:
            self._handling = False
            self._task.cancel()

    async def _send_body(self, body: Body) -> None:
        self._in_body = True
        self._engine.send(body)
        left = body.length
        try:
            async for chunk in body.chunks:
                left -= len(chunk)
                if left < 0:
                    break
                self._engine.send(Piece(chunk))
                if self._gather():
                    await self._flush()
        finally:
            await _finish(body.chunks)
        if left:
            raise _Gone(f"a body of {body.length} octets had {body.length - left}")
        self._in_body = False

    def _gather(self) -> bool:
        """Takes what the engine says; true where it is time to write."""
        if output := self._engine.take_output():
            self._ready.append(output)
            self._ready_size += len(output)
        return self._ready_size >= FLUSH

    async def _flush(self) -> None:
        self._write()
        # Cancelled or not, a drain that ends because the peer went says so itself.
        handling, self._handling = self._handling, False
        if not await self._stream.drain():
            raise _Gone("the peer went")
        await self._give_way()
        self._handling = handling

    def _write(self) -> None:
        if self._ready:
            self._stream.write(self._ready[0] if len(self._ready) == 1 else b"".join(self._ready))
            self._ready.clear()
            self._ready_size = 0

    async def _give_way(self) -> None:
        """Others get their turn where this connection has had its own."""
        if self._loop.time() - self._turn > TURN:
            await asyncio.sleep(0)
            self._turn = self._loop.time()

    async def _start_tls(self) -> None:
        """The reply goes out and the peer's plain text is dropped with no pause between: what follows is TLS."""
        self._shake_hands = False
        context = self._context()
        await self._stream.drain()
        self._write()
        self._engine.secure()
        await self._tell(self._checked(await self._stream.start_tls(context)))

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            raise ValueError("TLS was to begin where no certificate is configured")
        return self._tls

    def _checked(self, outcome: Secured | HandshakeFailure) -> Secured:
        if isinstance(outcome, HandshakeFailure):
            raise _Gone(f"no TLS: {outcome.reason}")
        return outcome

    def apologise(self, internal_error: bytes) -> None:
        """Says that the session failed, unless that would fall into the middle of a body."""
        if self._in_body:
            self._stream.abort()
            return
        with contextlib.suppress(ssl.SSLError):
            self._write()
            self._stream.write(internal_error)


async def _finish(answers: AsyncIterator[object]) -> None:
    """An iterator left in the middle lets go of what it holds now, not when it is collected."""
    if isinstance(answers, AsyncGeneratorType):
        await answers.aclose()
