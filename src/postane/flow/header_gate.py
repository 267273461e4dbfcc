"""The header section of a message on its way in, held until it is whole (STORE.md, The bytes).

Taken out: Authentication-Results in our own name (RFC 8601 5); at submission
Bcc (RFC 6409 8, RFC 5322 3.6.3) and Return-Path (RFC 5321 4.4).  Put in at
submission where they are missing: Date and Message-ID (RFC 6409 8.2, 8.3).
Everything else goes on octet for octet: a Return-Path that a message brings
from elsewhere stays below ours, which is always the first (docs/decisions/004).

Refused: a header section over its limit, more Received fields than any honest
path has (RFC 5321 6.3), at submission a message without From.
"""

from __future__ import annotations

import re

from postane.core.address import BadAddress, parse
from postane.core.limits import SmtpLimits
from postane.core.status import Condition, MailError
from postane.mime.compose import drop_fields, field, message_id, rfc5322_date
from postane.mime.header import fields_with_junk, has_header, header_end

_EMPTY_LINE = b"\r\n\r\n"
_OF_INTEREST = re.compile(
    rb"^(received|delivered-to|return-path|authentication-results|bcc|from|date|message-id)[ \t]*:", re.I | re.M
)
_DROPPED = frozenset({b"authentication-results"})
_DROPPED_AT_SUBMISSION = _DROPPED | {b"bcc", b"return-path"}
_NAME_BREAK = re.compile(rb"[^\w.-]+")


class HeaderGate:
    """Lines end with CRLF: the engine has seen to that.

    `submitted_at`: at submission the time that a missing Date gets, seconds since the epoch; None elsewhere.
    """

    def __init__(self, limits: SmtpLimits, host_name: str, submitted_at: float | None) -> None:
        self._limits = limits
        self._host_name = host_name
        self._submitted_at = submitted_at
        self._held = bytearray()
        self._searched = 0
        self._is_open = False
        self.first_line = b""
        """Once open: the first line that goes on, for `mime.compose.prefix`."""
        self.delivered_to: frozenset[str] = frozenset()
        """Once open: whom the message says it was delivered to before, in key form."""

    def feed(self, chunk: bytes) -> bytes:
        """What goes on now; b"" while the header is not whole.  MailError where the message is to be refused."""
        if self._is_open:
            return chunk
        self._held += chunk
        if self._is_whole():
            return self._open()
        if len(self._held) > self._limits.header_bytes:
            raise self._too_large()
        return b""

    def finish(self) -> bytes:
        """The message has ended: what was still held."""
        return b"" if self._is_open else self._open()

    def _is_whole(self) -> bool:
        """Looks at each octet once: an empty line, an empty header, or a first line that begins no header."""
        held, start = self._held, self._searched
        self._searched = max(0, len(held) - len(_EMPTY_LINE) + 1)
        if held.find(_EMPTY_LINE, start) >= 0 or held.startswith(b"\r\n"):
            return True
        return b"\n" in held[start:] and not has_header(bytes(held[: self._limits.text_line]))

    def _open(self) -> bytes:
        text = bytes(self._held)
        end = header_end(text)
        if end > self._limits.header_bytes:
            raise self._too_large()
        self._held.clear()
        self._is_open = True
        text = self._pass(text[:end]) + text[end:]
        self.first_line = text[: text.find(b"\n") + 1] or text
        return text

    def _pass(self, header: bytes) -> bytes:
        names = [name.lower() for name in _OF_INTEREST.findall(header)]
        if names.count(b"received") > self._limits.received_fields:
            raise MailError(
                Condition.MAIL_LOOP,
                f"the message has gone through more than {self._limits.received_fields} servers: it is in a loop",
            )
        present = frozenset(names)
        if b"delivered-to" in present:
            self.delivered_to = _delivered_to(header)
        if present & (_DROPPED if self._submitted_at is None else _DROPPED_AT_SUBMISSION):
            header = drop_fields(header, self._is_dropped)
        return header if self._submitted_at is None else self._completed(header, present, self._submitted_at)

    def _completed(self, header: bytes, present: frozenset[bytes], now: float) -> bytes:
        if b"from" not in present:
            raise MailError(Condition.BAD_CONTENT, "the message has no From field (RFC 5322 3.6.2)")
        date = b"" if b"date" in present else field("Date", rfc5322_date(now))
        own_id = b"" if b"message-id" in present else field("Message-ID", message_id(self._host_name))
        return date + own_id + header

    def _is_dropped(self, name: bytes, value: bytes) -> bool:
        match name.lower():
            case b"return-path" | b"bcc":
                return self._submitted_at is not None
            case b"authentication-results":
                # RFC 8601 2.2: the authserv-id comes before the first ";", perhaps quoted or behind a comment.
                words = _NAME_BREAK.split(value.partition(b";")[0].replace(b"\\", b"").lower())
                return self._host_name.lower().encode() in words
            case _:
                return False

    def _too_large(self) -> MailError:
        limit = self._limits.header_bytes
        return MailError(Condition.MESSAGE_TOO_LARGE, f"the header section is larger than {limit} octets")


def _delivered_to(header: bytes) -> frozenset[str]:
    keys = set()
    for name, _, value in fields_with_junk(header):
        if name is not None and name.lower() == b"delivered-to":
            try:
                keys.add(parse(value.decode("utf-8", "replace").strip("<>")).key)
            except BadAddress:
                continue  # not one of our own making
    return frozenset(keys)
