"""What has come from the peer and is not yet used: lines, or so many octets.

A line ends with CRLF (RFC 5321 2.3.8, RFC 3501 2.2, RFC 1939 3).  Whether a
bare LF ends one too is the engine's choice: harmless in a command that a person
types, never in message text.  A line over its limit is reported as it passes
the limit and dropped up to its end, in bounded memory; one that never ends is
reported again for every 64 KiB, so that whoever counts errors hangs up.

However the bytes are cut, the results are the same.
"""

from __future__ import annotations

from enum import Enum

DROP_STEP = 64 * 1024


class LineEnd(Enum):
    """What ends a line."""

    CRLF = b"\r\n"
    LF = b"\n"
    """LF with or without a CR before it."""


class Line(Enum):
    """Why there is no line."""

    TOO_LONG = "too long"


class ReceiveBuffer:
    """Bytes in at the end, lines and chunks out at the front; each octet is searched once."""

    __slots__ = ("_data", "_dropped", "_dropping", "_mark", "_searched")

    def __init__(self, line_end: LineEnd = LineEnd.LF) -> None:
        self._data = bytearray()
        self._mark = line_end.value
        self._searched = 0
        self._dropping = False
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._data)

    @property
    def is_partial(self) -> bool:
        """Something of a line has come: its beginning, or the beginning that was dropped as too long."""
        return bool(self._data) or self._dropping

    def feed(self, data: bytes) -> None:
        self._data += data

    def line(self, limit: int) -> bytes | Line | None:
        """The next line without its end; None where more bytes are needed.

        `limit` counts the octets of the line with its end.
        """
        if self._dropping and not self._drop():
            return self._report_endless()
        end = self._data.find(self._mark, self._searched)
        if end < 0:
            # The last octet may be the CR whose LF has not come.
            self._searched = max(0, len(self._data) - len(self._mark) + 1)
            if len(self._data) < limit:
                return None
        length = end + len(self._mark)
        if end < 0 or length > limit:
            self._dropping, self._dropped = True, 0
            self._forget(limit - 1)  # what is left may be the CR of the end
            return Line.TOO_LONG
        stop = end - 1 if len(self._mark) == 1 and self._data[end - 1 : end] == b"\r" else end
        line = bytes(self._data[:stop])
        self._forget(length)
        return line

    def take(self, at_most: int) -> bytes:
        """What is here, up to `at_most` octets."""
        if at_most >= len(self._data):
            data = bytes(self._data)
            self.clear()
            return data
        data = bytes(self._data[:at_most])
        self._forget(at_most)
        return data

    def put_back(self, data: bytes) -> None:
        """What was taken and turned out to belong to what follows."""
        self._data[:0] = data
        self._searched = 0

    def clear(self) -> None:
        """Drops everything, also the memory it took, and a line that was being dropped."""
        self._data = bytearray()
        self._searched = 0
        self._dropping = False

    def _forget(self, length: int) -> None:
        del self._data[:length]
        self._searched = 0

    def _drop(self) -> bool:
        """Drops the long line, at most DROP_STEP of it; true once its end has come."""
        end = self._data.find(self._mark, 0, DROP_STEP - self._dropped + len(self._mark))
        if end >= 0:
            self._dropping = False
            self._forget(end + len(self._mark))
            return True
        passed = min(max(0, len(self._data) - len(self._mark) + 1), DROP_STEP - self._dropped)
        self._dropped += passed
        self._forget(passed)
        return False

    def _report_endless(self) -> Line | None:
        if self._dropped < DROP_STEP:
            return None
        self._dropped = 0
        return Line.TOO_LONG
