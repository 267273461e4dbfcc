"""Content-Type, Content-Disposition and their parameters (RFC 2045 5.1, RFC 2183 2, RFC 2231).

Parameters come in wire form, as BODYSTRUCTURE says them: names as written,
values unquoted, continuations (RFC 2231 3) joined into one; `decoded_param`
gives a value as text.  Read tolerantly: missing semicolons before a quoted
value, blanks round "=", unquoted blanks, comments, a quote that never closes.
The first of two parameters of one name counts; beyond `limit` the rest is
passed over.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from functools import lru_cache

from postane.core.message import Disposition
from postane.mime.charset import decode
from postane.mime.words import decode_words

Params = tuple[tuple[bytes, bytes], ...]

_COMMENT = re.compile(rb"\([^()]*\)")
_TYPE = re.compile(rb'\s*([^\s/;="]+)\s*/\s*([^\s;,="]+)\s*')
_KIND = re.compile(rb'[\s"]*([^\s;="]*)')
_PARAM = re.compile(rb'[;\s]*([^=;\s"]+)\s*=\s*(?:"([^"\\]*(?:\\.[^"\\]*)*)"?|([^";][^;]*|))', re.S)
_TOKEN_THEN_PARAM = re.compile(rb"(\S+)\s+[A-Za-z][A-Za-z0-9*_-]*\s*=\s*\S")
_CONTINUED = re.compile(rb"([^*]+)\*(\d{1,4})(\*?)\Z")
_ESCAPED = re.compile(rb"\\(.)", re.S)
_LINE_END = re.compile(rb"\r?\n")
_USUAL_LENGTH = 80


@dataclass(frozen=True, slots=True)
class ContentType:
    """`type` and `subtype` upper-case ASCII."""

    type: bytes
    subtype: bytes
    params: Params = ()


TEXT_PLAIN = ContentType(b"TEXT", b"PLAIN")


def content_type(value: bytes, limit: int = 100) -> ContentType:
    """What no type can be read from is text/plain (RFC 2045 5.2), with its parameters."""
    return _usual_content_type(value, limit) if len(value) <= _USUAL_LENGTH else _content_type(value, limit)


@lru_cache(maxsize=512)
def _usual_content_type(value: bytes, limit: int) -> ContentType:
    """A few values make up most of all mail."""
    return _content_type(value, limit)


def _content_type(value: bytes, limit: int) -> ContentType:
    plain = _without_comments(value)
    found = _TYPE.match(plain)
    if found is None or not (found[1].isascii() and found[2].isascii()):
        return ContentType(b"TEXT", b"PLAIN", _params_after(plain, plain.find(b";"), limit))
    if found.end() == len(plain):
        return ContentType(found[1].upper(), found[2].upper())
    return ContentType(found[1].upper(), found[2].upper(), parse_params(plain, found.end(), limit))


def content_disposition(value: bytes, limit: int = 100) -> Disposition | None:
    """None where the value is empty."""
    plain = _without_comments(value)
    found = _KIND.match(plain)
    if found is None or not (found[1] or b"=" in plain):
        return None
    if plain[found.end() :].lstrip().startswith(b"="):
        # The kind is missing: RFC 2183 2.8, an unrecognised one is an attachment.
        return Disposition(b"attachment", parse_params(plain, 0, limit))
    return Disposition(found[1] or b"attachment", parse_params(plain, found.end(), limit))


def find_param(params: Params, name: bytes) -> bytes | None:
    """By lower-case name, in wire form."""
    for key, value in params:
        if key.lower() == name:
            return value
    return None


def decoded_param(params: Params, name: bytes) -> str | None:
    """A parameter as text, by lower-case name: RFC 2231 first, then encoded words (which RFC 2047 5 forbids there)."""
    extended = find_param(params, name + b"*")
    if extended is not None:
        charset, _, rest = extended.partition(b"'")
        _, quote, text = rest.partition(b"'")
        if not quote:
            charset, text = b"", extended
        return decode(urllib.parse.unquote_to_bytes(text), charset.decode("ascii", "replace"))
    value = find_param(params, name)
    return None if value is None else decode_words(value)


def parse_params(value: bytes, at: int, limit: int) -> Params:
    """Parameters of `value` from offset `at`, in order; joined as RFC 2231 3 says."""
    single: dict[bytes, tuple[bytes, bytes]] = {}
    sections: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    for _ in range(limit):
        found = _PARAM.match(value, at)
        if found is None:
            at = value.find(b";", at) + 1
            if at == 0:
                break
            continue
        name, quoted, token = found.groups()
        at = found.end()
        if quoted is None:
            token, at = _unquoted(token, found.start(3), at)
        text = token if quoted is None else _unquote(quoted)
        continued = _CONTINUED.match(name)
        if continued is None:
            if text or quoted is not None:
                single.setdefault(name.lower(), (name, text))
        else:
            # The place of the whole is where its first section stood.
            key = continued[1].lower()
            single.setdefault(key + b"*n", (continued[1], b""))
            sections.setdefault(key, {}).setdefault(int(continued[2]), (text, bool(continued[3])))
    if not sections:
        return tuple(single.values())
    return tuple(_joined(item, sections[key[:-2]]) if key.endswith(b"*n") else item for key, item in single.items())


def _params_after(value: bytes, semicolon: int, limit: int) -> Params:
    return parse_params(value, semicolon, limit) if semicolon >= 0 else ()


def _without_comments(value: bytes) -> bytes:
    """Comments outside quoted strings become blanks; nested ones to a depth of three."""
    plain = _LINE_END.sub(b"", value) if b"\n" in value else value
    if b"(" not in plain:
        return plain.strip()
    pieces = re.split(rb'("[^"\\]*(?:\\.[^"\\]*)*")', plain)
    for _ in range(3):
        pieces[::2] = [_COMMENT.sub(b" ", piece) for piece in pieces[::2]]
    return b"".join(pieces).strip()


def _unquoted(token: bytes, start: int, end: int) -> tuple[bytes, int]:
    """An unquoted value runs to the semicolon, unless another `name=` comes first: then to the blank before it."""
    missing = _TOKEN_THEN_PARAM.match(token)
    if missing is not None:
        return missing[1], start + missing.end(1)
    return token.strip(), end


def _unquote(quoted: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted


def _joined(item: tuple[bytes, bytes], sections: dict[int, tuple[bytes, bool]]) -> tuple[bytes, bytes]:
    """RFC 2231 3 and 4.1: sections from 0 to the first gap; plain ones are escaped where any is extended."""
    name, _ = item
    ordered: list[tuple[bytes, bool]] = []
    while len(ordered) in sections:
        ordered.append(sections[len(ordered)])
    if not any(extended for _, extended in ordered):
        return name, b"".join(text for text, _ in ordered)
    whole = b"".join(text if extended else urllib.parse.quote_from_bytes(text).encode() for text, extended in ordered)
    # Without a charset in front, the two quotes say so.
    return name + b"*", whole if ordered[0][1] else b"''" + whole
