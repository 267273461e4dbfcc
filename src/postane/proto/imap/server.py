"""The server's side of IMAP4rev1 (RFC 3501), without I/O.

Bytes come in and become the events of `postane.proto.imap.command`; answers go
in and become bytes.  The engine itself asks for the literals of a command; the
literal of an APPEND waits for the session (`Proceed`).  The state changes by
`Tagged.state` alone.  A line may end with LF alone, as people type it.

Refused, each with a `Wrong`: lines, literals and commands over their limits
(read past, in bounded memory, so that nothing in them becomes a command, RFC
7888 3; beyond `ImapLimits.drained` the stream is given up); commands that are
not legal in the state; NUL in a message.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from postane.core.dialogue import Body, Hangup, Piece, StartTls
from postane.core.limits import ImapLimits
from postane.proto.buffer import ReceiveBuffer
from postane.proto.imap.append import AppendHead, append_head, is_append
from postane.proto.imap.command import (
    AppendBegin,
    AppendChunk,
    AppendEnd,
    AppendMessage,
    Challenge,
    Command,
    Continue,
    IdleDone,
    Proceed,
    SaslResponse,
    State,
    Tagged,
    Wire,
    Wrong,
)
from postane.proto.imap.framing import ENDLESS, Drain, LiteralMark, Progress, literal_mark
from postane.proto.imap.legality import illegal
from postane.proto.imap.response import condition, continuation
from postane.proto.imap.syntax import decode_base64, parse, tag_of, unknown

_GO_AHEAD = continuation("OK")


class _Mode(Enum):
    """What the next octets are."""

    COMMAND = "a line of a command"
    LITERAL = "a literal of a command"
    APPEND_ASKED = "not known before the session has answered"
    APPEND_MESSAGE = "the message of an APPEND"
    APPEND_END = "the line behind it"
    REFUSED = "the rest of a refused command"
    SASL = "the answer to a challenge"
    IDLE = "DONE"
    STOPPED = "of no interest any more"


@dataclass(slots=True)
class _Append:
    """`message` is the event that has not been told yet; `left` counts the octets of the literal still to come."""

    tag: bytes
    message: AppendMessage | None
    left: int
    is_sync: bool
    has_nul: bool = False


class ImapEngine:
    """Bytes in, events out; answers in, bytes out."""

    __slots__ = (
        "_append",
        "_buffer",
        "_drain",
        "_is_append",
        "_limits",
        "_literal",
        "_mode",
        "_output",
        "_pieces",
        "_size",
        "_wrong",
        "state",
    )

    def __init__(self, limits: ImapLimits) -> None:
        self.state = State.NOT_AUTHENTICATED
        self._limits = limits
        self._buffer = ReceiveBuffer()
        self._output: list[bytes] = []
        self._mode = _Mode.COMMAND
        self._pieces: list[bytes] = []
        """The command so far: lines that end in a literal's size, and literals."""
        self._size = 0
        self._is_append = False
        self._literal = 0
        self._append: _Append | None = None
        self._drain: Drain | None = None
        self._wrong: Wrong | None = None
        """What is told once the refused command has ended."""

    # ---------------------------------------------------------------- the engine's face

    @property
    def pending(self) -> bool:
        if self._mode is _Mode.COMMAND:
            return bool(self._pieces) or len(self._buffer) > 0
        return self._mode is not _Mode.IDLE

    @property
    def closed(self) -> bool:
        return self._mode is _Mode.STOPPED

    def feed(self, data: bytes) -> None:
        self._buffer.feed(data)

    def next_event(self) -> object | None:
        while True:
            mode = self._mode
            event = _READERS[mode](self)
            if event is not None or self._mode is mode:
                return event

    def send(self, answer: object) -> None:
        match answer:
            case Wire(data) | Piece(data):
                self._output.append(data)
            case Tagged():
                self._end_command(answer)
            case Continue(text):
                self._output.append(continuation(text))
                self._mode = _Mode.IDLE
            case Challenge(data):
                self._output.append(b"+ %b\r\n" % binascii.b2a_base64(data, newline=False))
                self._mode = _Mode.SASL
            case Proceed():
                self._proceed()
            case Hangup():
                self._stop()
            case StartTls():
                self._forget()
            case Body():
                pass  # its two sides come as Wire, its octets as Piece
            case _:
                raise TypeError(f"{type(answer).__name__} is no answer of IMAP")

    def take_output(self) -> bytes:
        output = self._output
        if not output:
            return b""
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return data

    def secure(self) -> None:
        """RFC 3501 6.2.1: what was said before TLS, and what was sent behind STARTTLS, is forgotten."""
        self._forget()
        self.state = State.NOT_AUTHENTICATED

    # ---------------------------------------------------------------- answers

    def _end_command(self, answer: Tagged) -> None:
        self._output.append(condition(answer.tag, answer.status, answer.text, answer.code))
        if answer.state is not None:
            self.state = answer.state
        append = self._append
        if append is not None and append.tag == answer.tag:
            # Refused in the middle: what the client sends unasked, or has been asked for, still comes.
            self._append = None
            is_coming = self._mode is not _Mode.APPEND_ASKED or not append.is_sync
            self._refuse_rest(append.left if is_coming else None, None)
        elif self._mode in (_Mode.SASL, _Mode.IDLE):
            self._mode = _Mode.COMMAND
        if self.state is State.LOGOUT:
            self._stop()

    def _proceed(self) -> None:
        if self._append is None or self._mode is not _Mode.APPEND_ASKED:
            return
        if self._append.is_sync:
            self._output.append(_GO_AHEAD)
        self._mode = _Mode.APPEND_MESSAGE

    def _stop(self) -> None:
        self._forget()
        self._mode = _Mode.STOPPED

    def _forget(self) -> None:
        self._buffer.clear()
        self._pieces.clear()
        self._size = 0
        self._append = self._drain = self._wrong = None
        self._mode = _Mode.COMMAND

    # ---------------------------------------------------------------- lines and literals of a command

    def _line(self) -> bytes | None:
        """The next line; one over the limit is refused with all its command."""
        line = self._buffer.line(ENDLESS)
        limit = self._limits.line
        if isinstance(line, bytes):
            if len(line) <= limit:
                return line
            self._buffer.put_back(line + b"\r\n")
        elif len(self._buffer) <= limit + 1:  # the CR of its end may be there
            return None
        # The end of the line stays, because a literal may be announced there.
        head = self._pieces[0] if self._pieces else self._buffer.take(limit // 2)
        tag = self._append.tag if self._append else tag_of(head)
        self._refuse_rest(0, Wrong(tag, f"A line may be {limit} octets long, no longer", b"TOOBIG"))
        return None

    def _read_command(self) -> object | None:
        line = self._line()
        if line is None:
            return None
        mark = literal_mark(line)
        if mark is not None:
            return self._read_mark(line, mark)
        if self._pieces:
            self._pieces.append(line)
            line = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            if len(line) > self._limits.command:
                return Wrong(tag_of(line), f"A command may be {self._limits.command} octets long, no longer", b"TOOBIG")
        command = parse(line, self._limits)
        if isinstance(command, Wrong):
            return command
        return illegal(command, self.state) or command

    def _read_mark(self, line: bytes, mark: LiteralMark) -> object | None:
        """A line has ended with the size of a literal."""
        if not self._pieces:
            wrong = unknown(line)
            if wrong is not None:
                return self._refuse(wrong, mark)
            self._is_append = is_append(line)
        if self._is_append:
            head = append_head(b"".join((*self._pieces, line[: mark.start])), self._limits)
            if head is not None:
                return self._begin_append(head, mark)
        self._size += len(line) + 2 + mark.size
        if mark.size > self._limits.literal or self._size > self._limits.command:
            text = f"Literals may be {self._limits.literal} octets long, commands {self._limits.command}, no longer"
            return self._refuse(Wrong(tag_of(self._pieces[0] if self._pieces else line), text, b"TOOBIG"), mark)
        self._pieces.append(line + b"\r\n")
        self._literal = mark.size
        self._mode = _Mode.LITERAL
        if mark.is_sync:
            self._output.append(_GO_AHEAD)
        return None

    def _read_literal(self) -> object | None:
        octets = self._buffer.take(self._literal)
        self._literal -= len(octets)
        if octets:
            self._pieces.append(octets)
        if not self._literal:
            self._mode = _Mode.COMMAND
        return None

    # ---------------------------------------------------------------- what is refused

    def _refuse(self, wrong: Wrong, mark: LiteralMark) -> Wrong | None:
        """The command ends here, unless its literal comes unasked: then `wrong` is told when all of it has come."""
        if mark.is_sync:
            self._refuse_rest(None, None)
            return wrong
        self._refuse_rest(mark.size, wrong)
        return None

    def _refuse_rest(self, literal: int | None, wrong: Wrong | None) -> None:
        """Reads past a literal and what follows it; None where neither comes."""
        self._pieces.clear()
        self._size = 0
        self._append = None
        self._wrong = wrong
        self._mode = _Mode.COMMAND
        if literal is not None:
            self._drain = Drain(self._limits.drained, literal)
            self._mode = _Mode.REFUSED

    def _read_refused(self) -> object | None:
        progress = self._drain.run(self._buffer) if self._drain else Progress.DONE
        if progress is Progress.MORE:
            return None
        wrong, self._wrong, self._drain = self._wrong, None, None
        self._mode = _Mode.COMMAND
        if progress is Progress.HOPELESS:
            self._stop()
            text = f"{wrong.text}; this one is too long to read past" if wrong else "The refused message is too long"
            return Wrong(wrong.tag if wrong else b"", text, b"TOOBIG", is_fatal=True)
        return wrong

    # ---------------------------------------------------------------- APPEND

    def _begin_append(self, head: AppendHead | Wrong, mark: LiteralMark) -> Command | Wrong | None:
        """RFC 3501 6.3.11."""
        if isinstance(head, Wrong):
            return self._refuse(head, mark)
        begin = AppendBegin(head.tag, head.mailbox)
        wrong = illegal(begin, self.state)
        if wrong is not None:
            return self._refuse(wrong, mark)
        self._pieces.clear()
        self._size = 0
        message = AppendMessage(head.flags, head.keywords, head.internal_date, mark.size, mark.is_sync)
        self._append = _Append(head.tag, message, mark.size, mark.is_sync)
        self._mode = _Mode.APPEND_ASKED
        return begin

    def _read_append_asked(self) -> object | None:
        if self._append is None:
            return None
        message, self._append.message = self._append.message, None
        return message

    def _read_append_message(self) -> object | None:
        append = self._append
        if append is None or not append.left:
            self._mode = _Mode.APPEND_END
            return None
        octets = self._buffer.take(append.left)
        if not octets:
            return None
        append.left -= len(octets)
        append.has_nul = append.has_nul or b"\0" in octets
        return AppendChunk(octets)

    def _read_append_end(self) -> object | None:
        line = self._line()
        append = self._append
        if line is None or append is None:
            return None
        if line.strip(b" "):
            wrong = Wrong(append.tag, "APPEND takes one message, and nothing behind it")
            mark = literal_mark(line)
            if mark is not None:
                return self._refuse(wrong, mark)
        elif append.has_nul:
            # RFC 3501 9: a literal is CHAR8, which NUL is not.
            wrong = Wrong(append.tag, "The message holds a NUL, which IMAP can't carry", b"CANNOT", is_no=True)
        else:
            wrong = None
        self._append = None
        self._mode = _Mode.COMMAND
        return wrong or AppendEnd(append.tag)

    # ---------------------------------------------------------------- AUTHENTICATE and IDLE

    def _read_sasl(self) -> object | None:
        """RFC 3501 6.2.2: base64, or "*" to give up."""
        line = self._buffer.line(ENDLESS)
        length = len(line) if isinstance(line, bytes) else len(self._buffer) - 1
        if length > self._limits.line:
            self._stop()
            return Wrong(b"", f"A line may be {self._limits.line} octets long, no longer", b"TOOBIG", is_fatal=True)
        if not isinstance(line, bytes):
            return None
        self._mode = _Mode.COMMAND
        return SaslResponse(None if line == b"*" else decode_base64(line))

    def _read_idle(self) -> object | None:
        """RFC 2177 3.  A line that is not DONE ends the IDLE all the same, and is then read as the command it is."""
        line = self._buffer.line(ENDLESS)
        if isinstance(line, bytes):
            is_done = line.strip(b" ").upper() == b"DONE"
            if not is_done:
                self._buffer.put_back(line + b"\r\n")
        elif len(self._buffer) > self._limits.line + 1:
            is_done = False
        else:
            return None
        self._mode = _Mode.COMMAND
        return IdleDone(is_done)

    def _read_nothing(self) -> object | None:
        self._buffer.clear()
        return None


_READERS: dict[_Mode, Callable[[ImapEngine], object | None]] = {
    _Mode.COMMAND: ImapEngine._read_command,
    _Mode.LITERAL: ImapEngine._read_literal,
    _Mode.APPEND_ASKED: ImapEngine._read_append_asked,
    _Mode.APPEND_MESSAGE: ImapEngine._read_append_message,
    _Mode.APPEND_END: ImapEngine._read_append_end,
    _Mode.REFUSED: ImapEngine._read_refused,
    _Mode.SASL: ImapEngine._read_sasl,
    _Mode.IDLE: ImapEngine._read_idle,
    _Mode.STOPPED: ImapEngine._read_nothing,
}
