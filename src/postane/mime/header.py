"""Header sections (RFC 5322 2.2, 3.6): fields, their values, and the envelope that IMAP wants of them.

Lines may end with CRLF or LF.  A leading mbox "From " line and lines that are
no field are kept in the bytes and ignored.  Values are unfolded (RFC 5322
2.2.3) and otherwise raw.  Nothing here raises for what the bytes say; beyond
`MimeLimits` the rest is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from mmap import mmap
from typing import NamedTuple

from postane.core.limits import MimeLimits
from postane.core.message import Envelope, MessageAddress
from postane.mime.address import parse_addresses

Buffer = bytes | memoryview | mmap

_STARTS_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:|From |\r?\n")
_EMPTY_LINE = re.compile(rb"\n\r?\n")
# Both want a line end before the first field.
_FIELD = re.compile(rb"\n([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)")
_ENVELOPE_FIELD = re.compile(
    rb"\n((?i:date|subject|from|sender|reply-to|to|b?cc|in-reply-to|message-id))[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)"
)
_GATHERED = frozenset((b"to", b"cc", b"bcc"))
_FOLD = re.compile(rb"\r?\n")
_MESSAGE_ID = re.compile(rb"<([^<>]+)>")


class Field(NamedTuple):
    """`name` as written; `raw` the whole field with its folds and line end; `value` unfolded, without outer blanks."""

    name: bytes
    raw: bytes
    value: bytes


def header_end(data: Buffer, start: int = 0, end: int | None = None) -> int:
    """The offset just after the empty line that ends the header of `data[start:end]`.

    A header without an empty line runs to `end`.  Where the first line is
    neither a field nor a "From " line there is no header: `start`.
    """
    stop = len(data) if end is None else end
    first = _STARTS_HEADER.match(data, start, stop)
    if first is None:
        return start
    if data[first.end() - 1] == 0x0A:
        return first.end()
    found = _EMPTY_LINE.search(data, first.end(), stop)
    return stop if found is None else found.end()


def has_header(data_start: bytes) -> bool:
    """Whether the first line is a field, an mbox "From " line, or the empty line that ends an empty header."""
    return _STARTS_HEADER.match(data_start) is not None


def split_fields(header: bytes, limits: MimeLimits) -> tuple[Field, ...]:
    """The fields of a header section, in order."""
    text = b"\n" + header[: limits.header_bytes]
    fields = []
    for found in islice(_FIELD.finditer(text), limits.header_fields):
        start, end = found.span()
        fields.append(Field(found[1], text[start + 1 : end + 1], unfold(found[2])))
    return tuple(fields)


def fields_with_junk(header: bytes) -> Iterator[tuple[bytes | None, bytes, bytes]]:
    """(name, raw, value) of all of `header`, so that the raws joined are `header` again.

    What is no field belongs to the field before it; in front of the first, and for the empty line, the name is None.
    """
    text = b"\n" + header
    last = _EMPTY_LINE.search(text)
    stop = last.start() + 1 if last else len(text)
    at, name, value = 1, None, b""
    for found in _FIELD.finditer(text, 0, stop):
        start = found.start() + 1
        if start > at:
            yield name, text[at:start], value
        at, name, value = start, found[1], unfold(found[2])
    if stop > at:
        yield name, text[at:stop], value
    if stop < len(text):
        yield None, text[stop:], b""


def unfold(value: bytes) -> bytes:
    """RFC 5322 2.2.3: line ends go, the white space behind them stays; outer blanks go."""
    return (_FOLD.sub(b"", value) if b"\n" in value else value).strip()


def envelope(header: bytes, limits: MimeLimits) -> Envelope:
    """RFC 3501 7.4.2.  Of a field that may stand once the first counts; To, Cc and Bcc are gathered from all."""
    values: dict[bytes, list[bytes]] = {}
    for name, raw in _ENVELOPE_FIELD.findall(b"\n" + header[: limits.header_bytes])[: limits.header_fields]:
        values.setdefault(name.lower(), []).append(unfold(raw))

    def text(key: bytes) -> bytes | None:
        return values[key][0] if key in values else None

    def addresses(key: bytes) -> tuple[MessageAddress, ...]:
        if key not in values:
            return ()
        value = b", ".join(values[key]) if key in _GATHERED else values[key][0]
        return parse_addresses(value, limits.addresses)

    from_ = addresses(b"from")
    return Envelope(
        date=text(b"date"),
        subject=text(b"subject"),
        from_=from_,
        sender=addresses(b"sender") or from_,
        reply_to=addresses(b"reply-to") or from_,
        to=addresses(b"to"),
        cc=addresses(b"cc"),
        bcc=addresses(b"bcc"),
        in_reply_to=text(b"in-reply-to"),
        message_id=text(b"message-id"),
    )


def message_ids(value: bytes) -> tuple[bytes, ...]:
    """RFC 5322 3.6.4 msg-ids without their angle brackets; without any brackets, the words (all of which sloppy
    senders mean as ids, or the only one)."""
    unfolded = unfold(value)
    found = tuple(text.strip() for text in _MESSAGE_ID.findall(unfolded))
    if found or b"<" in unfolded:
        return tuple(filter(None, found))
    words = unfolded.split()
    return tuple(words) if len(words) == 1 else tuple(word for word in words if b"@" in word)
