"""Where a command ends: literals announced at the end of a line (RFC 3501 4.3, RFC 7888), and what is read past.

Refused: numbers that no 32 bits hold.  They are read as infinite, because what
follows such a literal can't be told from commands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from postane.proto.buffer import ReceiveBuffer

ENDLESS = 1 << 62
"""No limit for `ReceiveBuffer.line`: a line too long is kept until its end is known, or read past by `Drain`."""
_MARK = re.compile(rb"\{([0-9]+)(\+?)\}\Z")
_TAIL = 64


@dataclass(frozen=True, slots=True)
class LiteralMark:
    """`start` is where its "{" stands in the line; `is_sync` where the client waits for a continuation."""

    start: int
    size: int
    is_sync: bool


def literal_mark(line: bytes) -> LiteralMark | None:
    """What RFC 7888 3 has looked for at the end of every line, whatever else the line is."""
    if not line.endswith(b"}"):
        return None
    start = line.rfind(b"{")
    found = _MARK.match(line, start) if start >= 0 else None
    if found is None:
        return None
    digits = found[1].lstrip(b"0")
    size = int(digits or b"0") if len(digits) <= 10 else ENDLESS
    return LiteralMark(start, size, not found[2])


class Progress(Enum):
    MORE = "more octets are needed"
    DONE = "the command has ended"
    HOPELESS = "more would have to be read past than the limit"


class Drain:
    """Reads past the rest of a refused command: a literal, the line behind it, and literals announced there."""

    __slots__ = ("_left", "_literal", "_tail")

    def __init__(self, limit: int, literal: int = 0) -> None:
        self._left = limit
        self._literal = literal
        self._tail = b""

    def run(self, buffer: ReceiveBuffer) -> Progress:
        """However the octets are cut, the end is the same."""
        while True:
            if self._literal > self._left:
                return Progress.HOPELESS
            if self._literal:
                passed = len(buffer.take(self._literal))
                self._literal -= passed
                self._left -= passed
                if self._literal:
                    return Progress.MORE
            line = buffer.line(ENDLESS)
            octets = line if isinstance(line, bytes) else buffer.take(len(buffer))
            self._left -= len(octets)
            # The CR of the line's end may have come before its LF.
            self._tail = (self._tail + octets)[-_TAIL:]
            if self._left < 0:
                return Progress.HOPELESS
            if line is None:
                return Progress.MORE
            mark = literal_mark(self._tail.rstrip(b"\r"))
            if mark is None or mark.is_sync:
                # For a synchronising one the client has waited, and was told that the command is refused.
                return Progress.DONE
            self._tail, self._literal = b"", mark.size
