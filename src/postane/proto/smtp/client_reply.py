"""What an SMTP or LMTP server says (RFC 5321 4.2), read from its octets.

Taken beyond the letter, because real servers need it: LF alone as a line's end,
lines of any length within the bound of the whole reply, text that is not ASCII
(read as UTF-8, else as Latin-1), a code with nothing behind it.

Refused, as a `Fault` after which nothing more is read: what does not begin with
a code of 200 to 599, lines of one reply whose codes differ, a reply that is too large.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from postane.proto.buffer import Line, LineEnd, ReceiveBuffer

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?\Z", re.DOTALL)
_ENHANCED = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?:[ \t]+|\Z)")


class Step(Enum):
    """What a reply answers; the value is for people."""

    __hash__ = object.__hash__  # as Verb's

    GREETING = "the connection"
    HELLO = "hello"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CHUNK = "BDAT"
    END = "the end of the message"
    """The final dot, or BDAT LAST."""
    RESET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"


@dataclass(frozen=True, slots=True)
class ServerReply:
    """`text` has "\\n" between lines, and neither `enhanced` nor control characters in them.

    `enhanced` (RFC 2034 4) is "" where there is none, or one of another class than `code`.
    `recipient` counts the RCPTs since MAIL from 0: set in answer to RCPT and, by LMTP, to the end of the message.
    `challenge` is set with code 334, decoded.
    """

    step: Step
    code: int
    enhanced: str
    text: str
    recipient: int | None = None
    challenge: bytes = b""

    @property
    def is_positive(self) -> bool:
        return self.code < 400

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.code < 500


@dataclass(frozen=True, slots=True)
class Fault:
    """These octets are no reply; `reason` continues "the server ..."."""

    reason: str


@dataclass(frozen=True, slots=True)
class RawReply:
    """`lines` hold one line at least, enhanced codes and all."""

    code: int
    lines: tuple[str, ...]

    def answer(self, step: Step, recipient: int | None = None) -> ServerReply:
        enhanced = ""
        texts = []
        for line in self.lines:
            found = _ENHANCED.match(line)
            if found and int(found[1]) == self.code // 100:
                enhanced = enhanced or f"{found[1]}.{int(found[2])}.{int(found[3])}"
                line = line[found.end() :]
            texts.append(line)
        return ServerReply(step, self.code, enhanced, "\n".join(texts), recipient)


class ReplyReader:
    """Octets in, replies out, the same however they are cut.  A reply has at most `limit` octets."""

    __slots__ = ("_buffer", "_code", "_limit", "_lines", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = ReceiveBuffer(LineEnd.LF)
        self._forget()

    def _forget(self) -> None:
        self._code = b""
        self._lines: list[str] = []
        self._size = 0

    @property
    def is_partial(self) -> bool:
        """The beginning of a reply has come."""
        return bool(self._lines) or self._buffer.is_partial

    def feed(self, data: bytes) -> None:
        self._buffer.feed(data)

    def clear(self) -> None:
        self._buffer.clear()
        self._forget()

    def next(self) -> RawReply | Fault | None:
        """None where more octets are needed."""
        while (line := self._buffer.line(self._limit - self._size)) is not None:
            if isinstance(line, Line):
                return Fault(f"gave a reply of more than {self._limit} octets")
            self._size += len(line) + 2
            found = _LINE.match(line)
            if not found:
                return Fault(f"said {_text(line[:100])!r}, which is no SMTP reply")
            if self._lines and found[1] != self._code:
                return Fault(f"said {self._code.decode()} and {found[1].decode()} in one reply")
            self._code = found[1]
            self._lines.append(_text(found[3] or b""))
            if found[2] != b"-":
                reply = RawReply(int(self._code), tuple(self._lines))
                self._forget()
                return reply
        return None


def _text(octets: bytes) -> str:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "?" for c in text.replace("\t", " "))
    return text.rstrip(" ")
