"""What an IMAP server says, as bytes (RFC 3501 7 and 9).

Two forms stand here: pieces that are made once, at delivery, and stored as
they will go out (`envelope`, `bodystructure`), and lines that are made for a
client.  Whatever was read from a message or a client may be handed in: octets
over 127 go out as a literal, because a quoted string can't hold them (RFC 3501
9, QUOTED-CHAR); CR, LF and NUL, which no header field can mean, are dropped, so
no value can end its line.

All of it takes time linear in its output, and no nesting uses the stack.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from postane.core.flags import wire
from postane.core.message import Disposition, Envelope, MessageAddress, Part
from postane.proto.imap.command import Ending, StatusItem
from postane.proto.imap.names import encode

DELIMITER = b"/"
NIL = b"NIL"
EMPTY_BODY = b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 0 0)'
"""Stands where the grammar asks for a body and the message has none."""
_NO_EXTENSION = b" NIL NIL NIL NIL)"
_TEXT = b'("TEXT" '

_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+\Z")
_PLAIN = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-!#-\[\]-\x7f]*\Z")
_TOKEN = re.compile(rb' ?(?:"[^"\\]*(?:\\.[^"\\]*)*"|\{([0-9]{1,10})\}\r\n|([()])|[^ ()"{]+)', re.DOTALL)
_FORBIDDEN = b"\0\r\n"
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # the years 1 and 9999, all that four digits say

# ---------------------------------------------------------------- strings


def string(value: bytes) -> bytes:
    """Quoted where that can hold it, a literal else; CR, LF and NUL are dropped."""
    if _PLAIN.match(value):
        return b'"%b"' % value
    value = value.translate(None, _FORBIDDEN)
    if not value.isascii():
        return literal(value)
    return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def nstring(value: bytes | None) -> bytes:
    return NIL if value is None else string(value)


def astring(value: bytes) -> bytes:
    """An atom where it can be one; the word NIL is quoted, lest a client take it for nothing."""
    return value if _ATOM.match(value) and (len(value) != 3 or value.upper() != NIL) else string(value)


def literal(value: bytes) -> bytes:
    """The octets as they are; not for NUL (RFC 3501 9, CHAR8)."""
    return b"{%d}\r\n%b" % (len(value), value)


def mailbox_name(name: str) -> bytes:
    """A name as the house spells it -> an astring in modified UTF-7."""
    return astring(encode(name))


# ---------------------------------------------------------------- envelope and structure


def envelope(value: Envelope) -> bytes:
    """RFC 3501 7.4.2, with its parentheses."""
    from_ = _addresses(value.from_)
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        nstring(value.date),
        nstring(value.subject),
        from_,
        # Most messages have neither, and then both are From.
        from_ if value.sender is value.from_ else _addresses(value.sender),
        from_ if value.reply_to is value.from_ else _addresses(value.reply_to),
        _addresses(value.to),
        _addresses(value.cc),
        _addresses(value.bcc),
        nstring(value.in_reply_to),
        nstring(value.message_id),
    )


def _addresses(addresses: tuple[MessageAddress, ...]) -> bytes:
    if not addresses:
        return NIL
    return b"(%b)" % b"".join(
        b"(%b %b %b %b)" % (nstring(each.name), nstring(each.route), nstring(each.mailbox), nstring(each.host))
        for each in addresses
    )


def bodystructure(root: Part) -> bytes:
    """RFC 3501 7.4.2, with the extension data; `body` makes the short form of it."""
    said: list[bytes] = []
    waiting: list[Part | bytes] = [root]
    while waiting:
        item = waiting.pop()
        if isinstance(item, bytes):
            said.append(item)
        else:
            waiting.extend(reversed(_structure(item)))
    return b"".join(said)


def _structure(part: Part) -> list[Part | bytes]:
    """One part as pieces, those inside it still to be said."""
    if part.type == b"MULTIPART":
        return _multipart(part)
    opening = b"(%b %b %b %b %b %b %d" % (
        string(part.type),
        string(part.subtype),
        _params(part.params),
        nstring(part.id),
        nstring(part.description),
        string(part.encoding),
        part.size,
    )
    closing = b" %b %b)" % (nstring(part.md5), _placing(part))
    if part.type == b"TEXT":
        return [b"%b %d%b" % (opening, part.lines, closing)]
    if part.type == b"MESSAGE" and part.subtype == b"RFC822":
        # The scan stops at a depth; the grammar still asks for an envelope and a body there.
        inner = part.message or EMPTY_BODY[:-1] + _NO_EXTENSION
        return [
            b"%b %b " % (opening, envelope(part.envelope or Envelope())),
            inner,
            b" %d%b" % (part.lines, closing),
        ]
    return [opening + closing]


def _multipart(part: Part) -> list[Part | bytes]:
    closing = b" %b %b %b)" % (string(part.subtype), _params(part.params), _placing(part))
    if not part.children:
        return [b"(", EMPTY_BODY[:-1] + _NO_EXTENSION, closing]
    return [b"(", *part.children, closing]


def _placing(part: Part) -> bytes:
    """body-fld-dsp, body-fld-lang, body-fld-loc."""
    return b"%b %b %b" % (_disposition(part.disposition), _language(part.language), nstring(part.location))


def _params(params: tuple[tuple[bytes, bytes], ...]) -> bytes:
    if not params:
        return NIL
    return b"(%b)" % b" ".join(b"%b %b" % (string(name), string(value)) for name, value in params)


def _disposition(disposition: Disposition | None) -> bytes:
    return b"(%b %b)" % (string(disposition.kind), _params(disposition.params)) if disposition else NIL


def _language(language: tuple[bytes, ...]) -> bytes:
    return b"(%b)" % b" ".join(map(string, language)) if language else NIL


def body(bodystructure: bytes) -> bytes:
    """What `bodystructure` said -> BODY, the form without extension data (RFC 3501 7.4.2).  ValueError for nonsense."""
    # A lone text without extension data, as most are; a literal could end like that too.
    if bodystructure.endswith(_NO_EXTENSION) and bodystructure.startswith(_TEXT) and b"{" not in bodystructure:
        return bodystructure[: -len(_NO_EXTENSION)] + b")"
    said: list[bytes] = []
    around: list[bytes] = []
    at = 0
    while True:
        start = at
        at, holds = _body_opening(bodystructure, at)
        said.append(bodystructure[start:at])
        if holds:
            around.append(holds)
            continue
        at = _body_end(bodystructure, at)
        said.append(b")")
        while around and not (around[-1] == b"MULTIPART" and bodystructure.startswith(b"(", at)):
            # One item follows the bodies inside: a multipart's subtype, a message's number of lines.
            end = _after_items(bodystructure, at, 1)
            said += (bodystructure[at:end], b")")
            at = _body_end(bodystructure, end)
            around.pop()
        if not around:
            return b"".join(said)


def _body_opening(wire_form: bytes, at: int) -> tuple[int, bytes]:
    """Past all that BODY says of the body that opens at `at`, up to the first body inside it, if it holds any."""
    if not wire_form.startswith(b"(", at):
        raise ValueError(f"no body opens at octet {at}")
    if wire_form.startswith(b"((", at):
        return at + 1, b"MULTIPART"
    after_type = _after_items(wire_form, at + 1, 2)
    end = _after_items(wire_form, after_type, 5)
    media = wire_form[at + 1 : after_type]
    if media == b'"MESSAGE" "RFC822"':
        return _after_items(wire_form, end, 1) + 1, b"MESSAGE"
    return (_after_items(wire_form, end, 1) if media.startswith(_TEXT[1:]) else end), b""


def _body_end(wire_form: bytes, at: int) -> int:
    """Past the extension data and the parenthesis that closes the body."""
    while not wire_form.startswith(b")", at):
        at = _after_items(wire_form, at, 1)
    return at + 1


def _after_items(wire_form: bytes, at: int, count: int) -> int:
    """Past so many strings, numbers, NILs or whole lists, each with the space before it."""
    depth = 0
    while count:
        token = _TOKEN.match(wire_form, at)
        if token is None:
            raise ValueError(f"no body structure at octet {at}")
        at = token.end()
        if token[1]:
            at += int(token[1])
        depth += (token[2] == b"(") - (token[2] == b")")
        count -= depth == 0
    return at


# ---------------------------------------------------------------- items of FETCH


def internal_date(epoch: int) -> bytes:
    """Seconds since the epoch -> a date-time in UTC, with its quotes."""
    at = time.gmtime(min(max(epoch, _FIRST_SECOND), _LAST_SECOND))
    return b'"%02d-%b-%04d %02d:%02d:%02d +0000"' % (
        at.tm_mday,
        _MONTHS[at.tm_mon - 1],
        at.tm_year,
        at.tm_hour,
        at.tm_min,
        at.tm_sec,
    )


def flag_list(bits: int, keywords: str = "", is_recent: bool = False) -> bytes:
    """With its parentheses; `keywords` as the store keeps them, joined by spaces."""
    flags = wire(bits, keywords)
    if is_recent:
        return b"(%b \\Recent)" % flags if flags else b"(\\Recent)"
    return b"(%b)" % flags


# ---------------------------------------------------------------- whole lines


def capability(names: Iterable[bytes]) -> bytes:
    return b"* CAPABILITY %b\r\n" % b" ".join(names)


def list_response(name: str, attributes: Iterable[bytes] = (), *, command: bytes = b"LIST") -> bytes:
    """RFC 3501 7.2.2; `attributes` with their backslashes; `command` is LSUB for 7.2.3."""
    return b'* %b (%b) "%b" %b\r\n' % (command, b" ".join(attributes), DELIMITER, mailbox_name(name))


def status_response(name: str, values: Iterable[tuple[StatusItem, int]]) -> bytes:
    said = b" ".join(b"%b %d" % (item.value, number) for item, number in values)
    return b"* STATUS %b (%b)\r\n" % (mailbox_name(name), said)


def search_response(numbers: Sequence[int]) -> bytes:
    """RFC 3501 7.2.5: one line, however many there are."""
    if not numbers:
        return b"* SEARCH\r\n"
    return b"* SEARCH %b\r\n" % " ".join(map(str, numbers)).encode("ascii")


def condition(tag: bytes, status: Ending, text: str, code: bytes = b"") -> bytes:
    """A status response (RFC 3501 7.1); an empty tag makes it untagged."""
    spoken = _text(text)
    if code:
        return b"%b %b [%b] %b\r\n" % (tag or b"*", status.value, code.translate(None, _FORBIDDEN), spoken)
    return b"%b %b %b\r\n" % (tag or b"*", status.value, spoken)


def continuation(text: str) -> bytes:
    """RFC 3501 7.5; clients need the space."""
    return b"+ %b\r\n" % _text(text)


def _text(text: str) -> bytes:
    """RFC 3501 9 text: one character at least, all of them ASCII, no line end."""
    return text.encode("ascii", "replace").translate(None, _FORBIDDEN) or b"."
