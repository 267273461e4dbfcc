"""The contract between an engine, the pump and a session: values only, no I/O.

An *engine* (`postane.proto`) turns bytes into events and answers into bytes.
A *session* (`postane.session`) turns an event into answers.  The *pump*
(`postane.net.pump`) joins them to a stream.  What all three must know is here:
the events of a connection that no protocol says itself (`Opened`, `Secured`,
`TimedOut`, `Closed`) and the answers that the pump has to act on (`StartTls`,
`Body`, `Hangup`).  Everything else is a protocol's own.

Rules.
- The pump asks an engine for the next event only after the session has
  answered the one before: pipelined commands wait in their order.
- `engine.next_event()` is None when more bytes are needed.
- `engine.pending` is true while a command or a body is partly read: nothing
  unasked may be sent then.
- A session's `handle` is an async iterator of answers; `pushed` yields what
  nobody asked for and is drained only while the engine is not `pending`.
- A session calls `Opened.ring()` (from the loop's thread) when `pushed` may
  have something to say; the pump then wakes.
- `session.timeout` is how many seconds the pump waits for bytes before it says
  `TimedOut`; the session then decides (a heartbeat, or a farewell and `Hangup`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a connection: `host` is a numeric address (or "" for a Unix socket), `port` 0 there."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Secured:
    """TLS is up: `version` ("TLSv1.3"), `cipher`, `server_name` from SNI or "".

    `bindings`: channel bindings by name (RFC 5929, RFC 9266).
    """

    version: str
    cipher: str
    server_name: str = ""
    bindings: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection has begun.  `secured` is set where TLS came first (465, 993, 995)."""

    peer: Endpoint
    local: Endpoint
    secured: Secured | None
    ring: Callable[[], None]


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No byte came for `session.timeout` seconds."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer has gone, or the server is stopping (`shutdown`).  Answers are still sent if the socket lives."""

    shutdown: bool = False


@dataclass(frozen=True, slots=True)
class StartTls:
    """Answer: after what is already said, drop buffered plaintext and shake hands (RFC 3207 4.2, RFC 2595)."""


@dataclass(frozen=True, slots=True)
class Hangup:
    """Answer: nothing more will be said; flush and close."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What the pump hands to `engine.send` for each chunk of a `Body`."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Body:
    """Answer: `length` bytes that come in `chunks`.  A source that falls short aborts the connection, never pads."""

    length: int
    chunks: AsyncIterator[bytes]


class Engine(Protocol):
    """Bytes in, events out; answers in, bytes out.  Never raises for what the network says."""

    @property
    def pending(self) -> bool: ...

    @property
    def closed(self) -> bool: ...

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer; b"" means the peer will send no more."""

    def next_event(self) -> object | None: ...

    def send(self, answer: object) -> None: ...

    def take_output(self) -> bytes:
        """What is to be written now; empties the engine's own buffer."""

    def secure(self) -> None:
        """TLS begins: everything buffered from the peer is dropped and the protocol starts anew."""


class Session(Protocol):
    """Events in, answers out; one object a connection.  Holds neither engine nor stream."""

    @property
    def timeout(self) -> float: ...

    def handle(self, event: object) -> AsyncIterator[object]: ...

    def pushed(self) -> AsyncIterator[object]: ...

    async def aclose(self) -> None: ...
