"""Encoded words in header fields (RFC 2047, RFC 2231 5), read tolerantly.

Beyond the standard: raw UTF-8 (RFC 6532) and raw 8-bit text, encoded words
inside quoted strings and next to other text, blanks inside an encoded word,
and characters split between two words of one charset.  Each octet is looked
at a bounded number of times.
"""

from __future__ import annotations

import binascii
import re

from postane.mime.charset import decode
from postane.mime.transfer import base64_bytes

_WORD = re.compile(rb"=\?([^?\s]{1,80})\?([BbQq])\?([^?]*)\?=")
_FOLD = re.compile(rb"\r?\n[ \t]*")


def decode_words(value: bytes) -> str:
    """A field's value (unfolded or not) as text: encoded words decoded, adjacent ones joined.  Never raises."""
    if b"=?" not in value:
        return decode(_unfold(value))
    pieces: list[str] = []
    pending: list[bytes] = []
    charset = ""
    at = 0
    for found in _WORD.finditer(value):
        between = value[at : found.start()]
        # RFC 2231 5: a language may follow the charset.
        name = found[1].partition(b"*")[0].decode("ascii", "replace").lower()
        # RFC 2047 6.2: white space between adjacent encoded words is not shown.
        is_adjacent = bool(pending) and not between.strip()
        if pending and not (is_adjacent and name == charset):
            pieces.append(decode(b"".join(pending), charset))
            pending.clear()
        if not is_adjacent:
            pieces.append(decode(_unfold(between)))
        charset = name
        pending.append(_word_bytes(found[2], found[3]))
        at = found.end()
    if pending:
        pieces.append(decode(b"".join(pending), charset))
    pieces.append(decode(_unfold(value[at:])))
    return "".join(pieces)


def _unfold(value: bytes) -> bytes:
    """RFC 5322 2.2.3; a fold and the white space round it shrink to one blank."""
    if b"\n" not in value:
        return value
    first, *rest = value.split(b"\n")
    *between, last = rest
    lines = [first.rstrip(), *map(bytes.strip, between), last.lstrip()]
    return b" ".join(lines)


def _word_bytes(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"Qq":
        return binascii.a2b_qp(_FOLD.sub(b"", text), header=True)
    return base64_bytes(text)
