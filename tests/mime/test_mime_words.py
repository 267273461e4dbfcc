"""Encoded words (RFC 2047), charsets, base subjects (RFC 5256 2.1)."""

from __future__ import annotations

import email.header
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.mime.charset import codec_of, decode
from postane.mime.subject import base_subject
from postane.mime.words import decode_words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # RFC 2047 8
        (b"=?ISO-8859-1?Q?a?=", "a"),
        (b"=?ISO-8859-1?Q?a?= b", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a?=\r\n   =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a_b?=", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
        (b"=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"),
        # one character in two words
        (b"=?utf-8?B?w4c=?= =?utf-8?Q?=C3?= =?UTF-8?Q?=B6p?=", "Çöp"),
        ("Çöp".encode(), "Çöp"),
        ("Çöp".encode("iso-8859-1"), "Çöp"),
        (b"=?x-unknown?Q?=C3=87?=", "Ç"),
        (b"=?unknown-8bit?Q?=C7?=", "Ç"),
        (b"=?iso-8859-9?Q?=DDzmir?=", "İzmir"),
        (b"=?utf-8?Q?a b?=", "a b"),
        (b"=?utf-8?B?YQ?=", "a"),
        (b"=?utf-8?B?YQ==bad!?=", "a"),
        (b"x =?utf-8?Q?unfinished", "x =?utf-8?Q?unfinished"),
        (b'"=?utf-8?Q?=C3=87?=" <a@b>', '"Ç" <a@b>'),
        (b"one\r\n two \n\tthree", "one two three"),
    ],
)
def test_words(value: bytes, text: str) -> None:
    assert decode_words(value) == text


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=80))
def test_what_the_library_encodes_is_read_back(text: str) -> None:
    encoded = email.header.Header(text, "utf-8").encode()

    assert decode_words(encoded.encode()) == text


@given(
    st.lists(st.sampled_from([b"=?", b"?=", b"?", b"utf-8", b"Q", b"b", b"=C3", b"YWJj", b" ", b"\n ", b"\xff"])).map(
        b"".join
    )
)
def test_nothing_breaks_the_decoder(value: bytes) -> None:
    assert isinstance(decode_words(value), str)


# The reference parser puts a blank between a word and text that touches it, or reads on into the next field.
DIFFERENT = ("[SUSPECTED", "Some text =?utf-8?Q??=here", " FWD: ", "=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=\nFrom")


def test_the_published_vectors(vectors: Path) -> None:
    for row in json.loads((vectors / "mime-malformed" / "unstructured.json").read_text()):
        if not row["header"].startswith(DIFFERENT):
            assert decode_words(row["header"].encode()).strip() == row["expected"].strip()


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("windows-874", b"\xa1", "ก"),
        ("iso-8859-8-i", b"\xe0", "א"),
        ("x-sjis", b"\x82\xa0", "あ"),
        ("x-windows-949", b"\xb0\xa1", "가"),
        ("x-mac-turkish", b"\xdd", "ı"),
        ("cp-850", b"\x87", "ç"),
        ("unknown-8bit", b"\xfe", "þ"),
        ("utf-8mb4", "😀".encode(), "😀"),
        ("ISO-8859-9", b"\xfd\x93", "ı“"),
        ("iso-8859-1", b"\x80\x81", "\x80\x81"),
        ("us-ascii", "é".encode(), "é"),
        ("us-ascii", b"\xe9\x81", "é\x81"),
        ("utf-8", b"a\xff", "a\ufffd"),
        ("GB2312", b"\xc4\xe3", "你"),
        ("", b"\xe9", "é"),
    ],
)
def test_charsets(charset: str, data: bytes, text: str) -> None:
    assert decode(data, charset) == text


@pytest.mark.parametrize(
    "charset", ["zlib", "hex", "punycode", "idna", "unicode_escape", "rot13", "x" * 100_000, "os.path", ""]
)
def test_what_is_no_charset(charset: str) -> None:
    assert codec_of(charset) is None
    assert decode(b"abc", charset) == "abc"


@given(
    st.binary(max_size=40),
    st.sampled_from(["utf-8", "utf-7", "utf-16", "big5", "hz", "iso-2022-jp", "johab", "gb18030"]),
)
def test_nothing_breaks_a_charset(data: bytes, charset: str) -> None:
    assert codec_of(charset)
    assert isinstance(decode(data, charset), str)


@pytest.mark.parametrize(
    ("subject", "base"),
    [
        ("", ""),
        ("Hello", "Hello"),
        ("Re: Hello", "Hello"),
        ("RE:   FWD: Fw: re : Hello (fwd) (FWD)", "Hello"),
        ("Re[2]: Hello", "Hello"),
        ("[list] Re: [list] Hello", "Hello"),
        ("[list] Hello", "Hello"),
        ("[only a blob]", "[only a blob]"),
        ("[a][b] [c]", "[c]"),
        ("[fwd: Re: Hello (fwd)]", "Hello"),
        ("[fwd: [fwd: Hello]]", "Hello"),
        ("Hello\r\n\tworld", "Hello world"),
        ("Re: ", ""),
        ("AW: Hello", "AW: Hello"),
    ],
)
def test_base_subjects(subject: str, base: str) -> None:
    assert base_subject(subject) == base


@given(st.lists(st.sampled_from(["re", ":", "[", "]", "fwd", "(fwd)", " ", "x", "[fwd:"])).map("".join))
def test_a_base_subject_is_its_own(subject: str) -> None:
    base = base_subject(subject)

    assert base_subject(base) == base
