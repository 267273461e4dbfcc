"""The text of one message while it comes in, by DATA or by BDAT: what it weighs and why it must be refused.

RFC 5321 2.3.8 (lines end with CR LF and nothing else), RFC 5322 2.2 (no NUL),
RFC 3030 2 (chunks; BINARYMIME is not offered, so chunks are text too).  A
message with a flaw is read to its true end and given to nobody.
"""

from __future__ import annotations

from postane.core.limits import SmtpLimits
from postane.core.status import Condition, MailError
from postane.proto.dots import Flaw, Inspector


class ChunkReader:
    """BDAT's octets, looked at as `DotReader` looks at DATA's.  A CR waits for the octet behind it, over chunks too."""

    __slots__ = ("_held", "_inspector")

    def __init__(self, line_limit: int) -> None:
        self._inspector = Inspector(line_limit)
        self._held = b""

    @property
    def flaws(self) -> Flaw:
        return self._inspector.flaws

    def feed(self, data: bytes) -> bytes:
        text = self._held + data if self._held else data
        self._held = b""
        if text.endswith(b"\r"):
            text, self._held = text[:-1], b"\r"
        self._inspector.look(text)
        return text

    def finish(self) -> None:
        """After the last chunk: a CR that still waits is bare."""
        self._inspector.look(self._held)


class Incoming:
    """Counts a message's octets and remembers what is wrong with it; `size` goes on counting what is only drained."""

    __slots__ = ("_flaws", "_limits", "size")

    def __init__(self, limits: SmtpLimits) -> None:
        self._limits = limits
        self._flaws = Flaw.NONE
        self.size = 0

    @property
    def is_endless(self) -> bool:
        """More than twice what may come: whoever still sends has not read SIZE and will not stop."""
        return self.size > 2 * self._limits.message_bytes

    def take(self, text: bytes, flaws: Flaw) -> bytes:
        """What of `text` may be given on: all, or nothing once there is a flaw."""
        self.size += len(text)
        self._flaws |= flaws
        return b"" if self._flaws or self.size > self._limits.message_bytes else text

    @property
    def flaw(self) -> MailError | None:
        """Why the message is refused; the same however its octets were cut."""
        if Flaw.BARE_LF in self._flaws:
            return MailError(Condition.BARE_LINE_END, "the message holds an LF (octet 10) without a CR before it")
        if Flaw.BARE_CR in self._flaws:
            return MailError(Condition.BARE_LINE_END, "the message holds a CR (octet 13) without an LF behind it")
        if Flaw.NUL in self._flaws:
            return MailError(Condition.BAD_CONTENT, "the message holds a NUL (octet 0)")
        if Flaw.LONG_LINE in self._flaws:
            limit = self._limits.text_line
            return MailError(Condition.BAD_CONTENT, f"a line of the message is longer than {limit} octets")
        limit = self._limits.message_bytes
        if self.size > limit:
            return MailError(Condition.MESSAGE_TOO_LARGE, f"the message is larger than {limit} octets")
        return None
