"""Message text between a command and the line with a single dot: RFC 5321 4.5.2, RFC 1939 3.

`DotReader` takes text off the wire, `DotWriter` puts it there.  Both stream, in
memory bounded by what they are given at a time, and give the same in any cut.

The reader knows one end only, CRLF "." CRLF, and the CRLF that ended the
command counts.  What others have taken for an end (LF "." LF, LF "." CRLF, CR
"." CR, and all their kin) is text with a `Flaw`: it reads on to the true end, so
that nothing behind a false one ever becomes a command (SMTP smuggling), and the
session refuses the whole.
"""

from __future__ import annotations

from enum import IntFlag

_END = b"\r\n.\r\n"


class Flaw(IntFlag):
    """What makes a text unfit for SMTP (RFC 5321 2.3.8, 4.5.3.1.6, RFC 5322 4)."""

    NONE = 0
    BARE_CR = 1
    BARE_LF = 2
    NUL = 4
    LONG_LINE = 8


class Inspector:
    """Looks for flaws in plain text given in pieces, of which none may end between a CR and its LF.

    `line_limit` counts the octets of a line with its CRLF.
    """

    __slots__ = ("_column", "_line_limit", "flaws")

    def __init__(self, line_limit: int) -> None:
        self._line_limit = line_limit
        self._column = 0
        self.flaws = Flaw.NONE

    def look(self, text: bytes) -> None:
        pairs = text.count(b"\r\n")
        if text.count(b"\r") != pairs:
            self.flaws |= Flaw.BARE_CR
        if text.count(b"\n") != pairs:
            self.flaws |= Flaw.BARE_LF
        if b"\0" in text:
            self.flaws |= Flaw.NUL
        self._measure(text)

    def _measure(self, text: bytes) -> None:
        """Jumps from one LF to the last within the limit: two looks at an octet at most."""
        start, room = 0, self._line_limit - self._column
        while len(text) - start >= room:
            last = text.rfind(b"\n", start, start + room)
            if last < 0:
                self.flaws |= Flaw.LONG_LINE
                break
            start, room = last + 1, self._line_limit
        newline = text.rfind(b"\n")
        self._column = len(text) - newline - 1 if newline >= 0 else self._column + len(text)


class DotReader:
    """Stuffed bytes in, plain text out.  `line_limit` is the inspector's: a line's stuffing is not counted.

    `finished` once the end has come; `rest` is then what came behind it.
    """

    __slots__ = ("_held", "_inspector", "_virtual", "finished", "rest")

    def __init__(self, line_limit: int) -> None:
        self._inspector = Inspector(line_limit)
        self._held = b"\r\n"  # the end of the command's own line, given to nobody
        self._virtual = 2
        self.finished = False
        self.rest = b""

    @property
    def flaws(self) -> Flaw:
        return self._inspector.flaws

    def feed(self, data: bytes) -> bytes:
        """The text that is now certain; b"" where it is none yet.  Not to be called once `finished`."""
        data = self._held + data
        end = data.find(_END)
        if end >= 0:
            self.finished = True
            self.rest = data[end + len(_END) :]
            self._held = b""
            raw = data[: end + 2]
        else:
            certain = len(data) - _undecided(data)
            self._held = data[certain:]
            raw = data[:certain]
        # A stuffed dot stands behind CRLF only, and no two such places overlap.
        text = raw.replace(b"\r\n.", b"\r\n")
        if self._virtual and text:
            text = text[self._virtual :]
            self._virtual = 0
        if text:
            # A CR is held until the octet behind it is known: no pair is ever cut.
            self._inspector.look(text)
        return text


def _undecided(data: bytes) -> int:
    """How many last octets may still belong to the end of the text or to a stuffed dot."""
    for length in (4, 3, 2, 1):
        if data.endswith(_END[:length]):
            return length
    return 0


class DotWriter:
    """Plain text in, stuffed bytes out, each octet kept.

    A dot is doubled behind every LF, also a bare one (mail that was imported may
    hold it): most clients take LF for a line's end, and to them a bare LF and
    a dot must not be the end of all.  Text that does not end with CRLF gets one, as
    nothing else frames the final dot.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = b"\r\n"

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        at_line_start = self._last.endswith(b"\n")
        self._last = data[-2:] if len(data) > 1 else self._last[-1:] + data
        stuffed = data.replace(b"\n.", b"\n..")
        return b"." + stuffed if at_line_start and data.startswith(b".") else stuffed

    def finish(self) -> bytes:
        return b".\r\n" if self._last == b"\r\n" else b"\r\n.\r\n"
