"""Mailbox names on the wire: modified UTF-7 (RFC 3501 5.1.3), NFC, and the many spellings of INBOX.

Inside the house a name is a `str` in NFC, its levels joined by "/", with INBOX
spelt so, also as the first level of a longer name.  Whether the levels make
sense (empty ones, "..", their length and number) is for the store to say.

Refused: every encoding but the one right one (so that two wire names never
mean one mailbox by chance), octets over 126, and control characters.
"""

from __future__ import annotations

import binascii
import re
import unicodedata

from postane.core.status import Condition, MailError

_SHIFT = re.compile(rb"&([A-Za-z0-9+,]*)-")
_PLAIN = re.compile(rb"[\x20-\x7e]*\Z")
_SAFE = re.compile(r"[ -%'-~]*\Z")
_ENCODED = re.compile(r"[^ -~]+|&")
# RFC 5198 2: no controls; U+2028 and U+2029 would end a line for whoever shows the name.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def decode(wire: bytes) -> str:
    """A name or a LIST pattern as a client sent it -> the name as the house spells it.  MAILBOX_BAD_NAME."""
    text = _decode_utf7(wire)
    if _CONTROL.search(text):
        raise _bad("it holds a control character")
    return _spell_inbox(text if text.isascii() else unicodedata.normalize("NFC", text))


def encode(name: str) -> bytes:
    """A name -> modified UTF-7, all of it printable ASCII where `name` came from `decode`."""
    if _SAFE.match(name):
        return name.encode("ascii")
    return _ENCODED.sub(_encode_run, name).encode("ascii")


def _spell_inbox(name: str) -> str:
    """RFC 3501 5.1: INBOX in any case; clients mix the cases of its children's names too."""
    if name[:5].upper() == "INBOX" and name[5:6] in ("", "/"):
        return "INBOX" + name[5:]
    return name


def _encode_run(run: re.Match[str]) -> str:
    if run[0] == "&":
        return "&-"
    base64 = binascii.b2a_base64(run[0].encode("utf-16-be"), newline=False)
    return f"&{base64.rstrip(b'=').replace(b'/', b',').decode('ascii')}-"


def _decode_utf7(wire: bytes) -> str:
    if not _PLAIN.match(wire):
        raise _bad("its octets are not all printable ASCII; write it in modified UTF-7 (RFC 3501 5.1.3)")
    if b"&" not in wire:
        return wire.decode("ascii")
    pieces: list[str] = []
    at, shifted_until = 0, -1
    while (ampersand := wire.find(b"&", at)) >= 0:
        pieces.append(wire[at:ampersand].decode("ascii"))
        shift = _SHIFT.match(wire, ampersand)
        if shift is None:
            raise _bad('a "&" in it begins no modified UTF-7; write "&-" for the sign itself')
        at = shift.end()
        if not shift[1]:
            pieces.append("&")
            continue
        if ampersand == shifted_until:
            raise _bad("its modified UTF-7 leaves base64 and enters it again")
        pieces.append(_decode_shift(shift[1]))
        shifted_until = at
    pieces.append(wire[at:].decode("ascii"))
    return "".join(pieces)


def _decode_shift(base64: bytes) -> str:
    if len(base64) % 4 == 1:
        raise _bad("its modified UTF-7 is cut short")
    padded = base64.replace(b",", b"/") + b"=" * (-len(base64) % 4)
    octets = binascii.a2b_base64(padded)
    if len(octets) % 2 or binascii.b2a_base64(octets, newline=False) != padded:
        raise _bad("its modified UTF-7 is cut short")
    try:
        text = octets.decode("utf-16-be")
    except UnicodeDecodeError:
        raise _bad("its modified UTF-7 holds half a character") from None
    if any(" " <= character <= "~" for character in text):
        raise _bad("its modified UTF-7 hides printable ASCII in base64")
    return text


def _bad(why: str) -> MailError:
    return MailError(Condition.MAILBOX_BAD_NAME, f"This can't be a mailbox name: {why}")
