"""The structure of a message, found in one scan (RFC 2045, RFC 2046), and the part numbers of IMAP (RFC 3501 6.4.5).

`scan` gives offsets into the buffer and copies no body: a multipart is cut at
its delimiters by searching for them, the outer before the inner, so an outer
delimiter always ends what lies within.  Lines may end with CRLF or LF.

What is odd is presented so that a client can show it: a multipart without a
boundary, without a part, or nested deeper than `MimeLimits` is text/plain, and
so is a message nested too deep.  A delimiter line is the boundary, perhaps
"--", white space, and nothing else, so a boundary may begin with another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from postane.core.limits import KIB, MimeLimits
from postane.core.message import Disposition, Part
from postane.mime.header import Buffer, envelope, header_end, unfold
from postane.mime.params import (
    TEXT_PLAIN,
    ContentType,
    Params,
    content_disposition,
    content_type,
    decoded_param,
    find_param,
)

_CONTENT_FIELD = re.compile(rb"\n[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)")
_DELIMITER_TAIL = re.compile(rb"(--)?[ \t]*(?:\r?\n|\Z)")
_TOKEN = re.compile(rb'[^\s;,("]+')
_MESSAGE = ContentType(b"MESSAGE", b"RFC822")
_WINDOW = 256 * KIB
_LOOK_ALIKES = 10
"""Lines that begin like a delimiter and are none, for each part allowed; more, and the scan stops splitting."""


def scan(data: Buffer, limits: MimeLimits) -> Part:
    """The root part of the message in `data`.  Never raises for what the bytes say."""
    if isinstance(data, bytes):
        return _Scanner(data, limits).entity(0, len(data), len(data), 1, TEXT_PLAIN)
    with memoryview(data) as view:
        return _Scanner(view, limits).entity(0, len(view), len(view), 1, TEXT_PLAIN)


class _Scanner:
    """One scan.  Offsets are absolute."""

    def __init__(self, data: bytes | memoryview, limits: MimeLimits) -> None:
        self.data = data
        self.limits = limits
        self.parts_left = limits.parts
        self.look_alikes_left = limits.parts * _LOOK_ALIKES

    def entity(self, start: int, header_stop: int, end: int, depth: int, default: ContentType) -> Part:
        """The part at `start` whose body ends at `end`; its header may take the line end up to `header_stop`."""
        self.parts_left -= 1
        body = header_end(self.data, start, header_stop)
        end = max(end, body)
        header = b"\n" + bytes(self.data[start : min(body, start + self.limits.header_bytes)])
        fields = {name.lower(): raw for name, raw in reversed(_CONTENT_FIELD.findall(header))}
        if not fields and default is TEXT_PLAIN:
            return Part(start, body, end, _count_lines(self.data, body, end), b"TEXT", b"PLAIN")
        type_ = content_type(unfold(fields[b"type"]), self.limits.params) if b"type" in fields else default
        children: tuple[Part, ...] = ()
        message = None
        may_nest = depth < self.limits.depth and self.parts_left > 0
        if type_.type == b"MULTIPART":
            children = tuple(self.children(body, end, type_, depth)) if may_nest else ()
            type_ = type_ if children else TEXT_PLAIN
        elif type_.type == b"MESSAGE" and type_.subtype == b"RFC822":
            message = self.entity(body, end, end, depth + 1, TEXT_PLAIN) if may_nest else None
            type_ = type_ if message else TEXT_PLAIN
        return Part(
            start=start,
            body=body,
            end=end,
            lines=self.lines(body, end, children or ((message,) if message else ())),
            type=type_.type,
            subtype=type_.subtype,
            params=type_.params,
            id=_text(fields, b"id"),
            description=_text(fields, b"description"),
            encoding=_encoding(fields),
            md5=_text(fields, b"md5"),
            disposition=self.disposition(fields),
            language=tuple(_TOKEN.findall(unfold(fields.get(b"language", b""))))[: self.limits.params],
            location=_text(fields, b"location"),
            children=children,
            message=message,
            envelope=envelope(bytes(self.data[message.start : message.body]), self.limits) if message else None,
        )

    def children(self, body: int, end: int, type_: ContentType, depth: int) -> Iterator[Part]:
        """RFC 2046 5.1.1; a last part without its delimiter runs to `end`."""
        boundary = _plain_param(type_.params, b"boundary").rstrip()
        if not boundary:
            return
        # RFC 2046 5.1.5
        default = _MESSAGE if type_.subtype == b"DIGEST" else TEXT_PLAIN
        opened = -1
        for delimiter, after, closes in self.delimiters(b"\n--" + boundary, body, end):
            if opened >= 0:
                # RFC 2046 5.1.1: the line end before a delimiter belongs to it.
                has_cr = delimiter > opened and self.data[delimiter - 1] == 0x0D
                yield self.entity(opened, delimiter + 1, max(opened, delimiter - has_cr), depth + 1, default)
            opened = -1 if closes else after
        if opened >= 0:
            yield self.entity(opened, end, end, depth + 1, default)

    def delimiters(self, needle: bytes, body: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """(offset of the line end before it, offset after it, whether it closes) for each delimiter line."""
        # The empty line of the header may be the line end of the first delimiter.
        at = body - 1
        while self.look_alikes_left > 0:
            found = _find(self.data, needle, at, end)
            if found < 0:
                return
            at = found + len(needle)
            tail = _DELIMITER_TAIL.match(self.data, at, end)
            if tail is None:
                self.look_alikes_left -= 1
                continue
            yield found, tail.end(), tail[1] is not None
            # The last part that is allowed runs to the end of the multipart.
            if tail[1] is not None or self.parts_left <= 1:
                return
            # A delimiter's line end may be the one before the next delimiter.
            at = max(at, tail.end() - 1)

    def lines(self, body: int, end: int, inner: tuple[Part, ...]) -> int:
        """Line ends in a body; what lies in inner bodies was counted with them."""
        total, at = 0, body
        for part in inner:
            total += _count_lines(self.data, at, part.body) + part.lines
            at = part.end
        return total + _count_lines(self.data, at, end)

    def disposition(self, fields: dict[bytes, bytes]) -> Disposition | None:
        raw = fields.get(b"disposition")
        return None if raw is None else content_disposition(unfold(raw), self.limits.params)


def _text(fields: dict[bytes, bytes], name: bytes) -> bytes | None:
    raw = fields.get(name)
    return None if raw is None else unfold(raw)


def _plain_param(params: Params, name: bytes) -> bytes:
    """A parameter's octets, "" where it is absent, from either form (RFC 2231 4)."""
    value = find_param(params, name)
    return (decoded_param(params, name) or "").encode() if value is None else value


def _encoding(fields: dict[bytes, bytes]) -> bytes:
    """RFC 2045 6.1: 7BIT where nothing is said."""
    found = _TOKEN.search(fields.get(b"transfer-encoding", b""))
    return found[0].upper() if found else b"7BIT"


def _find(data: bytes | memoryview, needle: bytes, start: int, end: int) -> int:
    if isinstance(data, bytes):
        return data.find(needle, start, end)
    for at in range(start, end, _WINDOW):
        found = bytes(data[at : min(end, at + _WINDOW + len(needle) - 1)]).find(needle)
        if found >= 0:
            return at + found
    return -1


def _count_lines(data: bytes | memoryview, start: int, end: int) -> int:
    if isinstance(data, bytes):
        return data.count(b"\n", start, end)
    return sum(bytes(data[at : min(end, at + _WINDOW)]).count(b"\n") for at in range(start, end, _WINDOW))


def find(part: Part, path: tuple[int, ...]) -> Part | None:
    """The part that a section number names (RFC 3501 6.4.5); () is `part`, the root of a message, itself.

    Part 1 of what is no multipart is its own body; a number behind a
    message/rfc822 goes into its message.
    """
    at, is_root = part, True
    for number in path:
        if at.message is not None and not is_root:
            at, is_root = at.message, True
        if at.children:
            if not 0 < number <= len(at.children):
                return None
            at = at.children[number - 1]
        elif not is_root or number != 1:
            return None
        is_root = False
    return at


class _Packed(msgspec.Struct, array_like=True, frozen=True):
    start: int
    body: int
    end: int
    type: bytes
    subtype: bytes
    encoding: bytes
    charset: bytes
    children: tuple[_Packed, ...]
    message: _Packed | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


def pack(part: Part) -> bytes:
    """What a FETCH of sections needs: offsets, type, encoding, charset, children, message; nothing else."""
    return _encoder.encode(_packed(part))


def unpack(packed: bytes) -> Part:
    """The inverse of `pack`, as far as that kept things; `lines` is 0."""
    return _unpacked(_decoder.decode(packed))


def _packed(part: Part) -> _Packed:
    return _Packed(
        part.start,
        part.body,
        part.end,
        part.type,
        part.subtype,
        part.encoding,
        _plain_param(part.params, b"charset"),
        tuple(map(_packed, part.children)),
        _packed(part.message) if part.message else None,
    )


def _unpacked(packed: _Packed) -> Part:
    return Part(
        packed.start,
        packed.body,
        packed.end,
        0,
        packed.type,
        packed.subtype,
        params=((b"CHARSET", packed.charset),) if packed.charset else (),
        encoding=packed.encoding,
        children=tuple(map(_unpacked, packed.children)),
        message=_unpacked(packed.message) if packed.message else None,
    )
