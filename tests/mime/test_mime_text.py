"""Folding, HTML to text, the text of a message, previews."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.limits import MimeLimits
from postane.mime.text import PREVIEW_LENGTH, fold, html_to_text, preview, text_of
from postane.mime.tree import pack, scan, unpack

LIMITS = MimeLimits()


@pytest.mark.parametrize(
    "spellings",
    [
        ("İSTANBUL", "istanbul", "ISTANBUL", "ıstanbul", "İstanbul", "I\u0307stanbul"),
        ("ÇĞÖŞÜ", "çğöşü", "cgosu", "C\u0327G\u0306O\u0308S\u0327U\u0308"),
        ("Straße", "STRASSE", "strasse"),
        ("ＡＢＣ１", "abc1"),
        ("ガ", "ｶﾞ", "カ\u3099"),
        ("한글", unicodedata.normalize("NFD", "한글")),
        ("Ωμέγας", "ωμεγασ", "ΩΜΈΓΑΣ"),
        ("ﬁn", "FIN"),
        ("Łódź", "lodz"),
        ("a\u00adb\u200bc", "abc"),
        ("漢字", "漢字"),
    ],
)
def test_spellings_that_are_one(spellings: tuple[str, ...]) -> None:
    assert len({fold(spelling) for spelling in spellings}) == 1


def test_what_stays_apart() -> None:
    assert fold("が") != fold("か")
    assert fold("漢字") == "漢字"
    assert fold("गा") != fold("ग")


def test_every_character_folds_to_what_stays() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    once = fold("\n".join(characters)).split("\n")

    twice = fold("\n".join(once)).split("\n")

    assert [pair for pair in zip(once, twice, strict=True) if pair[0] != pair[1]] == []


@given(st.text(max_size=200))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(max_codepoint=127)), st.text(max_size=40))
def test_what_is_contained_is_found(around: str, needle: str) -> None:
    assert fold(needle) in fold(f"{around} {needle} {around}")


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One<p>two<br>three", "One\ntwo\nthree"),
        ("in<b>li</b>ne  <i>\n x</i>", "inline x"),
        ("<style>p {}</style>a<script>b < c</script >d<!-- e -->f<title>g</title>", "adf"),
        ("<STYLE>p</sTyle>a", "a"),
        ("a<script>never closed", "a"),
        ("a<!-- never closed", "a"),
        ("&lt;b&gt; &amp;nbsp; &uuml;&#252;&#xFC; a&nbsp;b &unknown; &", "<b> &nbsp; üüü a b &unknown; &"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<div>a</div>\n\n<div> </div><div>b</div>", "a\nb"),
        ("&#" + "1" * 5000 + ";", "\ufffd"),
        ("&#x110000;&#0;", "\ufffd\ufffd"),
        ("a<b", "a<b"),
        ("", ""),
    ],
)
def test_html(html: str, text: str) -> None:
    assert html_to_text(html) == text


@given(
    st.lists(st.sampled_from(["<", ">", "!--", "-->", "script", "/script", "p", "&", "#", "x", ";", "9", "lt", " "]))
)
def test_nothing_breaks_the_html_scanner(pieces: list[str]) -> None:
    html_to_text("".join(pieces))


MAIL = b"""\
Subject: not part of the text
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: text/plain; charset=iso-8859-9
Content-Transfer-Encoding: quoted-printable

=DDzmir'den
 selam  =
s=F6yle
--a
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PHA+PGI+Q2FmPC9iPsOpPC9wPg==
--a
Content-Type: application/pdf

not text
--a
Content-Type: message/rfc822

Subject: =?utf-8?q?=C4=B0=C3=A7?=

inner
--a--
"""


def test_the_text_of_a_message() -> None:
    root = unpack(pack(scan(MAIL, LIMITS)))

    assert list(text_of(memoryview(MAIL), root)) == ["İzmir'den\n selam  söyle", "Café", "Subject: İç", "inner"]


def test_a_preview() -> None:
    assert preview(MAIL, scan(MAIL, LIMITS)) == "İzmir'den selam söyle"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ""),
        (b"A: b\n\n", ""),
        (b"A: b\n\n a\t\r\n\0 b \n", "a b"),
        (b"Content-Type: image/gif\n\nGIF89a", ""),
        (b"Content-Type: text/html\n\n<style>x</style><p>Hello&nbsp;<b>you</b>", "Hello you"),
        (b"Content-Disposition: attachment\n\nfile", ""),
    ],
)
def test_previews_of_little(data: bytes, expected: str) -> None:
    assert preview(data, scan(data, LIMITS)) == expected


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable"])
def test_a_long_text_is_cut_between_characters(encoding: str) -> None:
    line = "çok uzun bir satır" if encoding == "8bit" else "=C3=A7ok uzun bir sat=C4=B1r"
    data = f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n\n".encode()
    data += f"{line}\n".encode() * 100_000

    found = preview(data, scan(data, LIMITS))

    assert PREVIEW_LENGTH - 1 <= len(found) <= PREVIEW_LENGTH
    assert found.startswith("çok uzun bir satır çok")
    assert "\ufffd" not in found


@given(
    st.text(max_size=600), st.sampled_from(["utf-8", "utf-16", "iso-2022-jp", "x-unknown", "us-ascii"]), st.booleans()
)
def test_a_preview_is_one_line_of_256_characters(text: str, charset: str, is_html: bool) -> None:
    kind = "html" if is_html else "plain"
    data = f"Content-Type: text/{kind}; charset={charset}\n\n{text}".encode("utf-8", "replace")

    found = preview(data, scan(data, LIMITS))

    assert len(found) <= PREVIEW_LENGTH
    assert not set(found) & set("\r\n\0")
