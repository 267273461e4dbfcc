"""Content transfer encodings (RFC 2045 6), read tolerantly and in linear time; never raises.

Base64 may hold anything between its characters, lack padding or go on behind
it; quoted-printable may hold bare "="; uuencode lines may be too long.
An encoding that is not known is taken as it is.
"""

from __future__ import annotations

import binascii
import re

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64 = bytes(octet for octet in range(256) if octet not in _BASE64)
_PADDING = re.compile(rb"=[=\s]*")
_MOST_RUNS = 10_000
_UU_BEGIN = re.compile(rb"(?:\A|\n)begin [0-7]{3,4} [^\n]*\n")
_UU_ENCODINGS = frozenset((b"X-UUENCODE", b"UUENCODE", b"X-UUE", b"X-UU"))


def decode_body(data: bytes, encoding: bytes) -> bytes:
    """The octets that `data` stands for; `encoding` as in `Part.encoding`.  Never longer than `data`."""
    if encoding == b"BASE64":
        return base64_bytes(data)
    if encoding == b"QUOTED-PRINTABLE":
        return binascii.a2b_qp(data)
    if encoding in _UU_ENCODINGS:
        return _uudecode(data)
    return data


def base64_bytes(text: bytes) -> bytes:
    """Behind padding only more base64 is read: mailing lists append plain text there."""
    first, *others = _PADDING.split(text, _MOST_RUNS)
    runs = [first.translate(None, _NOT_BASE64)]
    for other in others:
        run = other.translate(None, b"\r\n")
        if run.translate(None, _BASE64):
            break
        runs.append(run)
    return b"".join(map(_run_bytes, runs))


def _run_bytes(run: bytes) -> bytes:
    # One character alone holds six bits: no octet.
    whole = run[:-1] if len(run) % 4 == 1 else run
    return binascii.a2b_base64(whole + b"=" * (-len(whole) % 4))


def _uudecode(data: bytes) -> bytes:
    begin = _UU_BEGIN.search(data)
    if begin is None:
        return data
    decoded = []
    for line in data[begin.end() :].split(b"\n"):
        line = line.rstrip(b"\r")
        if line in (b"end", b"`", b""):
            break
        # The first character says how many octets the line holds; behind them stands padding or damage.
        whole = ((line[0] - 32) & 63) * 4 // 3 + 3
        try:
            # A line that is too short would be filled up with zeros, many times its size.
            decoded.append(binascii.a2b_uu(line[:whole])[: len(line)])
        except binascii.Error:
            continue
    return b"".join(decoded)
