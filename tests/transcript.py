"""Plays a dialogue from a text file against an engine and a session, through the real pump, without a socket.

Each file is played whole (a client's turn in one piece), octet by octet, and
cut at random; the server must say exactly the same every time.  A line is

    C: text      the client sends the text and CRLF
    C+ raw       the client sends these octets, Python escapes, nothing added
    S: text      the server says exactly this line
    S+ raw       the server says exactly these octets
    S~ regex     the server says a line that the expression matches whole
    ** tls       the handshake that the server's answer has invited takes place
    ** timeout   nothing comes for as long as the session waits
    ** close     the client closes its side
    ** shutdown  the server is told to stop
    ** closed    the server has hung up; last line of a file
    ** word      anything else is a key of the `events` given to `play`
    # comment

The client speaks when the server has nothing more to say: a turn is all its
lines up to the server's next one.
"""

from __future__ import annotations

import inspect
import random
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from postane.core.dialogue import Endpoint, Engine, Secured, Session
from postane.core.log import NullLog
from postane.net.pump import Stopping, converse
from postane.net.stream import Signal

FOLDER = Path(__file__).parent / "transcripts"
PEER = Endpoint("192.0.2.7", 40000)
LOCAL = Endpoint("192.0.2.1", 110)
SECURED = Secured("TLSv1.3", "TLS_AES_256_GCM_SHA384")
INTERNAL_ERROR = b"INTERNAL ERROR\r\n"

Event = Callable[[], Awaitable[None] | None]


class Cut(Enum):
    WHOLE = "whole"
    OCTETS = "octet by octet"
    RANDOM = "cut at random"


@dataclass(slots=True)
class Turn:
    """What the client does, and what the server must then say."""

    number: int
    sends: bytes = b""
    event: str = ""
    expects: list[str] = field(default_factory=list)
    """Regular expressions over the octets, read as Latin-1."""


def transcripts(protocol: str) -> list[Path]:
    """The files of a protocol, for `pytest.mark.parametrize(..., ids=lambda path: path.stem)`."""
    return sorted((FOLDER / protocol).glob("*.txt"))


def parse(text: str) -> list[Turn]:
    turns = [Turn(0)]
    for number, line in enumerate(text.splitlines(), 1):
        kind, rest = line[:2], line[3:]
        if kind in ("C:", "C+"):
            if turns[-1].expects or turns[-1].event or not turns[1:]:
                turns.append(Turn(number))
            turns[-1].sends += rest.encode() + b"\r\n" if kind == "C:" else unescape(rest)
        elif kind == "S:":
            turns[-1].expects.append(re.escape(rest.encode().decode("latin-1")) + "\r\n")
        elif kind == "S+":
            turns[-1].expects.append(re.escape(unescape(rest).decode("latin-1")))
        elif kind == "S~":
            turns[-1].expects.append(f"(?:{rest})\r\n")
        elif kind == "**":
            turns.append(Turn(number, event=rest.strip()))
        elif line.strip() and not line.startswith("#"):
            raise ValueError(f"line {number} begins with none of C: C+ S: S+ S~ ** #: {line!r}")
    return turns


def unescape(text: str) -> bytes:
    return text.encode().decode("unicode_escape").encode("latin-1")


async def play(
    path: Path,
    make_engine: Callable[[], Engine],
    make_session: Callable[[], Session | Awaitable[Session]],
    *,
    implicit_tls: bool = False,
    events: Mapping[str, Event] | None = None,
    peer: Endpoint = PEER,
    local: Endpoint = LOCAL,
) -> None:
    """Plays the file three times; `make_session` makes a fresh world each time."""
    turns = parse(path.read_text("utf-8"))
    for cut in Cut:
        made = make_session()
        session = await made if inspect.isawaitable(made) else made
        await play_turns(
            turns, make_engine(), session, cut, name=path.name, implicit_tls=implicit_tls, events=events or {},
            peer=peer, local=local,
        )  # fmt: skip


async def play_turns(
    turns: Iterable[Turn],
    engine: Engine,
    session: Session,
    cut: Cut = Cut.WHOLE,
    *,
    name: str = "dialogue",
    implicit_tls: bool = False,
    events: Mapping[str, Event] | None = None,
    peer: Endpoint = PEER,
    local: Endpoint = LOCAL,
) -> None:
    stopping = Stopping()
    stream = ScriptedStream(list(turns), cut, name, stopping, events or {}, peer, local)
    log = CarefulLog()
    await converse(
        stream,  # type: ignore[arg-type]
        engine,
        session,
        tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        implicit_tls=implicit_tls,
        stopping=stopping,
        log=log,
        internal_error=INTERNAL_ERROR,
    )
    if stream.failure is not None:
        raise stream.failure
    if log.failure is not None:
        raise log.failure
    stream.check_end()


class CarefulLog(NullLog):
    """Keeps the exception that the pump would only log, so that a test sees it."""

    failure: BaseException | None = None

    def exception(self, event: str, **facts: object) -> None:
        import sys

        self.failure = self.failure or sys.exc_info()[1]


class ScriptedStream:
    """Has the face of `postane.net.stream.Stream`; `receive` is where the script goes on."""

    def __init__(
        self,
        turns: list[Turn],
        cut: Cut,
        name: str,
        stopping: Stopping,
        events: Mapping[str, Event],
        peer: Endpoint,
        local: Endpoint,
    ) -> None:
        self._turns = turns
        self._at = 0
        self._left = b""
        self._said = b""
        self._cut = cut
        self._name = name
        self._random = random.Random(name)
        self._stopping = stopping
        self._events = events
        self._poked = False
        self._closed = False
        self.peer = peer
        self.local = local
        self.lost: Callable[[], None] | None = None
        self.is_lost = False
        self.failure: AssertionError | None = None

    # ------------------------------------------------------------ the script

    @property
    def _turn(self) -> Turn:
        return self._turns[self._at]

    def _check(self) -> None:
        """What was said in this turn is what the file says."""
        said, self._said = self._said, b""
        expected = "".join(self._turn.expects)
        if not re.fullmatch(expected, said.decode("latin-1")):
            wanted = "\n".join(f"    {line!r}" for line in self._turn.expects)
            got = "\n".join(f"    {line!r}" for line in said.splitlines(keepends=True))
            self._fail(f"after line {self._turn.number} the server was to say\n{wanted}\n  and said\n{got}")

    def _fail(self, text: str) -> None:
        self.failure = self.failure or AssertionError(f"{self._name} ({self._cut.value}): {text}")
        raise self.failure

    def _advance(self) -> bool:
        self._check()
        self._at += 1
        if self._at == len(self._turns):
            return False
        self._left = self._turn.sends
        return True

    def check_end(self) -> None:
        """After the conversation: nothing of the file is left, nothing more was said."""
        if self._at < len(self._turns):
            self._check()
            rest = self._turns[self._at + 1 :]
            if rest and (len(rest) > 1 or rest[0].event != "closed"):
                self._fail(f"the server hung up before line {rest[0].number}")

    # ------------------------------------------------------------ the face of a stream

    async def receive(self, timeout: float) -> bytes | Signal:
        while not self._left:
            if self._poked:
                self._poked = False
                return Signal.POKED
            if self._at == len(self._turns) or not self._advance():
                return Signal.EOF
            signal = await self._happen(self._turn.event)
            if signal is not None:
                return signal
        return self._piece()

    async def _happen(self, event: str) -> Signal | None:
        if event in ("", *self._events):
            if event:
                made = self._events[event]()
                if inspect.isawaitable(made):
                    await made
            return None
        if event == "timeout":
            return Signal.TIMEOUT
        if event == "close":
            return Signal.EOF
        if event == "shutdown":
            self._stopping.begin()
            return None
        if event == "closed":
            self._fail(f"line {self._turn.number}: the server has not hung up")
        self._fail(f"line {self._turn.number}: {event!r} did not take place here")
        return None

    def _piece(self) -> bytes:
        size = len(self._left)
        if self._cut is Cut.OCTETS:
            size = 1
        elif self._cut is Cut.RANDOM:
            size = self._random.randint(1, min(size, 40))
        piece, self._left = self._left[:size], self._left[size:]
        return piece

    async def start_tls(self, context: ssl.SSLContext) -> Secured:
        """What of the turn was not yet fed is dropped, as it would have been by then."""
        self._left = b""
        if not self._advance() or self._turn.event != "tls":
            self._fail(f"line {self._turn.number}: a handshake takes place, ** tls was not written")
        return SECURED

    async def accept_tls(self, context: ssl.SSLContext) -> Secured:
        return SECURED

    def poke(self) -> None:
        self._poked = True

    def write(self, data: bytes) -> None:
        if not self._closed:
            self._said += data

    async def drain(self) -> bool:
        return True

    def close(self) -> None:
        self._closed = True

    def abort(self) -> None:
        self._closed = True
