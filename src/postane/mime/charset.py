"""Charset names as mail writes them, and decoding that never fails (RFC 2045 5.1, RFC 2047 2).

A name is looked up in a table of our own, never by `codecs.lookup`: that one
imports modules by name and remembers every unknown name for ever, and some of
its codecs are no charsets (zlib, punycode, unicode_escape).  What is unknown,
or labelled ASCII and is not, is read as UTF-8, else as Windows-1252, else as
Latin-1, which takes any octet.  Nothing is guessed from letter frequencies.
"""

from __future__ import annotations

import encodings.aliases
import re
from functools import lru_cache

_SUPPORTED = """
    ascii big5 big5hkscs cp037 cp1006 cp1026 cp1125 cp1140 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257
    cp1258 cp273 cp424 cp437 cp500 cp720 cp737 cp775 cp850 cp852 cp855 cp856 cp857 cp858 cp860 cp861 cp862 cp863 cp864
    cp865 cp866 cp869 cp874 cp875 cp932 cp949 cp950 euc_jis_2004 euc_jisx0213 euc_jp euc_kr gb18030 gb2312 gbk hz
    hp_roman8 iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_2004 iso2022_jp_3 iso2022_jp_ext iso2022_kr iso8859_10
    iso8859_11 iso8859_13 iso8859_14 iso8859_15 iso8859_16 iso8859_2 iso8859_3 iso8859_4 iso8859_5 iso8859_6 iso8859_7
    iso8859_8 iso8859_9 johab koi8_r koi8_t koi8_u kz1048 latin_1 mac_arabic mac_croatian mac_cyrillic mac_farsi
    mac_greek mac_iceland mac_latin2 mac_roman mac_romanian mac_turkish ptcp154 shift_jis shift_jis_2004 shift_jisx0213
    tis_620 utf_16 utf_16_be utf_16_le utf_32 utf_32_be utf_32_le utf_7 utf_8 utf_8_sig
"""
_CODECS = frozenset(_SUPPORTED.split())

# Names that Python does not know, after `_plain`, and wider codecs for what senders label too narrowly.
_OURS = {
    "windows874": "cp874",
    "iso88598i": "iso8859_8",
    "iso88598e": "iso8859_8",
    "iso88596i": "iso8859_6",
    "iso88596e": "iso8859_6",
    "xsjis": "cp932",
    "shiftjis": "cp932",
    "sjis": "cp932",
    "mskanji": "cp932",
    "windows31j": "cp932",
    "xwindows949": "cp949",
    "windows949": "cp949",
    "ksc56011987": "cp949",
    "ksc56011989": "cp949",
    "ksc5601": "cp949",
    "xeucjp": "euc_jp",
    "xeuckr": "euc_kr",
    "xgbk": "gb18030",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "euccn": "gb18030",
    "gb231280": "gb18030",
    "xbig5": "big5hkscs",
    "big5": "big5hkscs",
    "bigfive": "big5hkscs",
    "hzgb2312": "hz",
    "xmacturkish": "mac_turkish",
    "xmacroman": "mac_roman",
    "xmaccyrillic": "mac_cyrillic",
    "xmacgreek": "mac_greek",
    "xmacce": "mac_latin2",
    "macintosh": "mac_roman",
    "utf8mb3": "utf_8",
    "utf8mb4": "utf_8",
    "unicode11utf8": "utf_8",
    "unicode11utf7": "utf_7",
    "unicode": "utf_16",
    "ucs2": "utf_16",
    "iso10646ucs2": "utf_16_be",
    "koi8ru": "koi8_u",
    "koi": "koi8_r",
    "iso2022jpms": "iso2022_jp_ext",
}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _table() -> dict[str, str]:
    known = {_plain(codec): codec for codec in _CODECS}
    known |= {_plain(alias): codec for alias, codec in encodings.aliases.aliases.items() if codec in _CODECS}
    known |= {f"windows{page}": f"cp{page}" for page in range(1250, 1259)}
    known |= {f"xcp{page}": f"cp{page}" for page in range(1250, 1259)}
    return known | _OURS


_BY_NAME = _table()
_MAX_NAME = 64

# A label that is in truth the Windows page above it (WHATWG Encoding 4.2), where the octets fit that page.
_WIDER = {"latin_1": "cp1252", "iso8859_9": "cp1254"}


def codec_of(charset: str) -> str | None:
    """The Python codec for a charset as written; None where it is unknown or says nothing (unknown-8bit)."""
    return _codec_of(charset) if len(charset) <= _MAX_NAME else None


@lru_cache(maxsize=256)
def _codec_of(charset: str) -> str | None:
    return _BY_NAME.get(_plain(charset))


def decode(data: bytes, charset: str = "") -> str:
    """Text of `data`; what does not fit its charset becomes U+FFFD.  Never raises."""
    codec = codec_of(charset) if charset else None
    if codec is None or codec == "ascii":
        return _decode_unlabelled(data)
    wider = _WIDER.get(codec)
    if wider is not None:
        try:
            return data.decode(wider)
        except UnicodeDecodeError:
            pass
    return data.decode(codec, "replace")


def _decode_unlabelled(data: bytes) -> str:
    for codec in ("utf-8", "cp1252"):
        try:
            return data.decode(codec)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")
