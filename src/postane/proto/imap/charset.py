"""Which charsets a SEARCH may name (RFC 3501 6.4.4), and text out of them.

Every text codec of Python has its IANA names and aliases here.  Refused with
BAD_CHARSET: whatever else, without asking the codec registry, which imports
modules by name and never forgets a name it was asked for.
"""

from __future__ import annotations

from encodings.aliases import aliases

from postane.core.status import Condition, MailError

_NO_TEXT = frozenset(
    {"base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"}
)
_WITHOUT_ALIAS = {"koi8_u": "koi8_u", "cp874": "cp874", "windows_874": "cp874"}
_CODECS = {name: codec for name, codec in aliases.items() if codec not in _NO_TEXT}
_CODECS |= {codec: codec for codec in _CODECS.values()} | _WITHOUT_ALIAS
_UNNAMED = "utf_8"
"""RFC 3501 has US-ASCII; clients send UTF-8 without a word, and ASCII is part of it."""


def find_codec(charset: bytes) -> str:
    """BAD_CHARSET where Python has no such charset of text."""
    codec = _CODECS.get(charset.lower().replace(b"-", b"_").replace(b".", b"_").decode("latin-1"))
    if codec is None:
        raise MailError(Condition.BAD_CHARSET, "This charset is not known here")
    return codec


def decode_text(octets: bytes, codec: str = _UNNAMED) -> str:
    try:
        return octets.decode(codec)
    except UnicodeError:
        raise MailError(Condition.SYNTAX, f"The search text is not in the charset {codec.replace('_', '-')}") from None
