"""Delivery status notifications: multipart/report (RFC 6522) of message/delivery-status (RFC 3464).

Three parts: words for people (`postane.mime.report_text`), fields for programs,
and the message it is about, or its header.  Where an address or the message is
international, the second and third are the global forms of RFC 6533, in a 7-bit
encoding, so that the report itself passes servers without SMTPUTF8 (4.5).

What others said (their replies, the message) is bounded and made harmless:
no control character of it reaches a field.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import Enum

from postane.core.limits import KIB
from postane.core.xtext import decode_address
from postane.mime.compose import field, rfc5322_date
from postane.mime.header import header_end

MAX_RETURNED = 1024 * KIB
"""A larger message is returned by its header alone."""
MAX_RETURNED_HEADER = 64 * KIB
MAX_WORDS = 900
"""Of another server's reply, in characters; a word of them must fit into one line (RFC 5322 2.1.1)."""


class Action(Enum):
    """RFC 3464 2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """`status` an enhanced code; `words` the reply on one line, code first, said by `host` ("": this server).

    `original` is ORCPT as it came, "" where it did not; `retry_until` seconds since the epoch, 0 where nothing is
    tried any more.
    """

    address: str
    status: str
    words: str = ""
    host: str = ""
    original: str = ""
    retry_until: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What became of one message for some recipients.  `host` reports; times are seconds since the epoch.

    `log_id` is what `postane trace` asks for; `envelope_id` decoded, "" where none was given.
    """

    action: Action
    host: str
    recipients: tuple[RecipientStatus, ...]
    arrived_at: float
    attempted_at: float
    log_id: str
    envelope_id: str = ""
    subject: str = ""
    is_double: bool = False
    """It tells the postmaster that nobody else could be told."""

    @property
    def is_international(self) -> bool:
        return not all(each.address.isascii() and _original(each.original).isascii() for each in self.recipients)


@dataclass(frozen=True, slots=True)
class Returned:
    """What goes back to the sender: a whole message, or its header section.  `utf8`: it came by SMTPUTF8."""

    data: bytes
    is_whole: bool
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """For people.  `subject` is ASCII; `text` has lines that end with "\\n"."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Letter:
    """Who gets the report.  `id` is new (core.ids): Message-ID and boundary are made of it."""

    to: str
    id: str
    date: float
    in_reply_to: str = ""
    """The Message-ID that the report is about, in angle brackets; "" where there is none."""


@dataclass(frozen=True, slots=True)
class Composed:
    """`is_8bit`: BODY=8BITMIME is to be said of it.  `needs_utf8`: SMTPUTF8."""

    data: bytes
    is_8bit: bool
    needs_utf8: bool


def returned(message: bytes | memoryview, *, prefix: bytes, wants_whole: bool, utf8: bool) -> Returned:
    """The message as it was taken in: `prefix` and bytes, whole if that is wanted and small enough."""
    size = len(prefix) + len(message)
    if wants_whole and size <= MAX_RETURNED:
        return Returned(prefix + bytes(message), is_whole=True, utf8=utf8)
    start = bytes(message[:MAX_RETURNED_HEADER])
    header = prefix + start[: header_end(start)]
    if len(header) > MAX_RETURNED_HEADER:
        header = header[: header.rfind(b"\n", 0, MAX_RETURNED_HEADER) + 1]
    return Returned(header, is_whole=False, utf8=utf8)


def compose(letter: Letter, report: DeliveryReport, words: Words, content: Returned) -> Composed:
    """The whole report, its lines ended by CRLF, without a prefix."""
    boundary = f"=_{letter.id}"
    parts = (_text_part(words.text), _status_part(report), _content_part(content))
    is_8bit = not all(part.isascii() for part in parts)
    delimiter = f"\r\n--{boundary}".encode()
    body = b"".join(delimiter + b"\r\n" + part for part in parts)
    header = _header(letter, report.host, words.subject, boundary, is_8bit=is_8bit)
    data = header + b"\r\nThis is a report in MIME format (RFC 6522)." + body + delimiter + b"--\r\n"
    return Composed(data, is_8bit=is_8bit or not letter.to.isascii(), needs_utf8=not letter.to.isascii())


def _header(letter: Letter, host: str, subject: str, boundary: str, *, is_8bit: bool) -> bytes:
    reply_to = letter.in_reply_to
    fields = [
        ("From", f"Mail Delivery System <MAILER-DAEMON@{host}>"),
        ("To", f"<{letter.to}>"),
        ("Subject", subject),
        ("Date", rfc5322_date(letter.date)),
        ("Message-ID", f"<{letter.id}@{host}>"),
        *([("In-Reply-To", reply_to), ("References", reply_to)] if reply_to else []),
        ("Auto-Submitted", "auto-replied"),  # RFC 3834 5
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/report; report-type=delivery-status; boundary="{boundary}"'),
        *([("Content-Transfer-Encoding", "8bit")] if is_8bit else []),
    ]
    return b"".join(field(name, value) for name, value in fields)


# ---------------------------------------------------------------- the three parts


def _text_part(text: str) -> bytes:
    data = text.replace("\n", "\r\n").encode()
    if data.isascii():
        return _part("text/plain; charset=us-ascii", "Notification", data)
    return _part("text/plain; charset=utf-8", "Notification", _quoted(data), "quoted-printable")


def _status_part(report: DeliveryReport) -> bytes:
    groups = [_message_fields(report), *(_recipient_fields(report, each) for each in report.recipients)]
    data = b"\r\n".join(b"".join(field(name, value) for name, value in group if value) for group in groups)
    if not report.is_international:
        return _part("message/delivery-status", "Delivery report", data)
    return _part("message/global-delivery-status", "Delivery report", _quoted(data), "quoted-printable")


def _message_fields(report: DeliveryReport) -> list[tuple[str, str]]:
    """RFC 3464 2.2."""
    return [
        ("Original-Envelope-Id", _harmless(report.envelope_id)),
        ("Reporting-MTA", f"dns; {report.host}"),
        ("Arrival-Date", rfc5322_date(report.arrived_at)),
    ]


def _recipient_fields(report: DeliveryReport, each: RecipientStatus) -> list[tuple[str, str]]:
    """RFC 3464 2.3, in its order.  "smtp" is for what another server said (2.3.6)."""
    diagnostic = _harmless(each.words).encode("ascii", "backslashreplace").decode()[:MAX_WORDS]
    kind = "smtp" if each.host else "x-postane"
    return [
        ("Original-Recipient", _original(each.original)),
        ("Final-Recipient", f"{'rfc822' if each.address.isascii() else 'utf-8'}; {each.address}"),
        ("Action", report.action.value),
        ("Status", each.status),
        ("Remote-MTA", f"dns; {_harmless(each.host)}" if each.host else ""),
        ("Diagnostic-Code", f"{kind}; {diagnostic}" if diagnostic else ""),
        ("Last-Attempt-Date", rfc5322_date(report.attempted_at)),
        ("Final-Log-Id", report.log_id),
        ("Will-Retry-Until", rfc5322_date(each.retry_until) if each.retry_until else ""),
    ]


def _content_part(content: Returned) -> bytes:
    data = content.data
    description = "The message" if content.is_whole else "The header of the message"
    if content.utf8 and not data.isascii():
        kind = "message/global" if content.is_whole else "message/global-headers"
        encoded = base64.encodebytes(data).replace(b"\n", b"\r\n")
        return _part(kind, description, encoded, "base64")
    kind = "message/rfc822" if content.is_whole else "text/rfc822-headers"
    return _part(kind, description, data, "" if data.isascii() else "8bit")


def _part(kind: str, description: str, data: bytes, encoding: str = "") -> bytes:
    coded = field("Content-Transfer-Encoding", encoding) if encoding else b""
    return field("Content-Type", kind) + field("Content-Description", description) + coded + b"\r\n" + data


# ---------------------------------------------------------------- what others wrote


def _original(orcpt: str) -> str:
    """RFC 3464 2.3.1: ORCPT with its xtext undone; left out where it cannot be."""
    try:
        kind, address = decode_address(orcpt)
    except ValueError:
        return ""
    return f"{_harmless(kind)}; {_harmless(address)}"


def _harmless(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:MAX_WORDS])


def _quoted(data: bytes) -> bytes:
    return binascii.b2a_qp(data, istext=True)
