from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.xtext import decode_address, decode_unitext, decode_xtext


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("", ""), ("QQ314159", "QQ314159"), ("a+2Bb+3Dc", "a+b=c"), ("two+20words", "two words")],
)
def test_xtext(text: str, meaning: str) -> None:
    assert decode_xtext(text) == meaning


@pytest.mark.parametrize("text", ["a+b", "a+2b", "a=b", "a b", "a+0Ab", "a+FFb", "ö", "+2", "\\x{0A}"[:1] + "\n"])
def test_what_is_no_xtext(text: str) -> None:
    with pytest.raises(ValueError):
        decode_xtext(text)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822;Bob@Example.COM", ("rfc822", "Bob@Example.COM")),
        ("rfc822;bob+2Btag@example.com", ("rfc822", "bob+tag@example.com")),
        ("utf-8;\\x{F6}rnek@example.com", ("utf-8", "örnek@example.com")),
        ("utf-8;örnek@example.com", ("utf-8", "örnek@example.com")),
        ("UTF-8;a\\x{2B}b@example.com", ("UTF-8", "a+b@example.com")),
    ],
)
def test_original_recipients(value: str, address: tuple[str, str]) -> None:
    assert decode_address(value) == address


@pytest.mark.parametrize("value", ["", "rfc822", "rfc822;", ";x", "utf-8;\\x{D800}", "utf-8;\\x{110000}", "utf-8;a+b"])
def test_what_is_no_original_recipient(value: str) -> None:
    with pytest.raises(ValueError):
        decode_address(value)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_every_printable_text_has_an_xtext(text: str) -> None:
    encoded = "".join(c if c not in "+= " else f"+{ord(c):02X}" for c in text)
    assert decode_xtext(encoded) == text


@given(st.text(max_size=40))
def test_nothing_unprintable_comes_out(text: str) -> None:
    for decode in (decode_xtext, decode_unitext):
        try:
            assert decode(text).isprintable()
        except ValueError:
            pass
