"""Text inside SMTP parameters: xtext (RFC 3461 4) and the unitext of international addresses (RFC 6533 3).

Refused (ValueError): characters that had to be encoded, and what decodes to no printable text.
"""

from __future__ import annotations

import re

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*+\Z")
_HEX = re.compile(r"\+([0-9A-F]{2})")
_UNITEXT = re.compile(r"(?:[!-*,-<>-\[\]-~\u0080-\U0010ffff]|\\x\{[0-9A-F]{2,6}\})*+\Z")
_POINT = re.compile(r"\\x\{([0-9A-F]{2,6})\}")


def decode_xtext(text: str) -> str:
    """RFC 3461 4.2, 4.4: what it stands for is printable US-ASCII."""
    if not _XTEXT.match(text):
        raise ValueError("this is no xtext (RFC 3461 4)")
    return _printable(_HEX.sub(_character, text), ascii_only=True)


def decode_unitext(text: str) -> str:
    """RFC 6533 3: any of the three forms of a UTF-8 address -> the plain one."""
    if not _UNITEXT.match(text):
        raise ValueError("this is no unitext (RFC 6533 3)")
    return _printable(_POINT.sub(_character, text), ascii_only=False)


def decode_address(value: str) -> tuple[str, str]:
    """RFC 3461 4.2 `addr-type ";" text` -> (type as written, decoded address)."""
    kind, separator, text = value.partition(";")
    if not separator or not kind or not text:
        raise ValueError("an original recipient is written type;address")
    return kind, decode_unitext(text) if kind.lower() == "utf-8" else decode_xtext(text)


def _character(found: re.Match[str]) -> str:
    point = int(found[1], 16)
    if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
        raise ValueError("this is no character")
    return chr(point)


def _printable(text: str, *, ascii_only: bool) -> str:
    if not text.isprintable() or (ascii_only and not text.isascii()):
        raise ValueError("it stands for what is not printable")
    return text
