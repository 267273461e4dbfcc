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

_WORD = re.compile(rb"=\?([^?\s]{1,80})\?([BbQq])\?([^?]*)\?=")
_LINE_ENDS = re.compile(rb"\r?\n[ \t]*")
_NOT_BASE64 = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
)


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
        name = found[1].partition(b"*")[0].decode("ascii", "replace")
        joined = bool(pending) and not between.strip()
        if pending and not (joined and name.lower() == charset.lower()):
            pieces.append(decode(b"".join(pending), charset))
            pending = []
        if between and not joined:
            pieces.append(decode(_unfold(between)))
        charset = name
        pending.append(_word_bytes(found[2], found[3]))
        at = found.end()
    if pending:
        pieces.append(decode(b"".join(pending), charset))
    pieces.append(decode(_unfold(value[at:])))
    return "".join(pieces)


def _unfold(value: bytes) -> bytes:
    """RFC 5322 2.2.3; a fold's white space shrinks to one blank."""
    return _LINE_ENDS.sub(b" ", value) if b"\n" in value else value


def _word_bytes(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"Qq":
        return binascii.a2b_qp(_LINE_ENDS.sub(b"", text), header=True)
    return base64_bytes(text)


def base64_bytes(text: bytes) -> bytes:
    """Base64 with anything between its characters; padding may be missing, wrong, or in the middle."""
    runs = [run.translate(None, _NOT_BASE64) for run in re.split(rb"=[=\s]*", text)]
    return b"".join(_run_bytes(run) for run in runs if run)


def _run_bytes(run: bytes) -> bytes:
    # One character alone holds six bits: no octet.
    whole = run[:-1] if len(run) % 4 == 1 else run
    return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))
