"""Addresses: what RFC 5321 4.1.2 and RFC 6531 3.3 allow, how spellings compare, what is refused and in which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.address import Address, BadAddress, display_domain, parse, parse_domain

GOOD = [
    ("user@example.org", Address("user", "example.org")),
    ("User.Name+tag@EXAMPLE.org", Address("User.Name+tag", "example.org")),
    ("user@example.org.", Address("user", "example.org")),
    ("user@bücher.example", Address("user", "xn--bcher-kva.example")),
    ("user@BÜCHER.example", Address("user", "xn--bcher-kva.example")),
    ("ayşe@örnek.example", Address("ayşe", "xn--rnek-4qa.example")),
    ("user@straße.example", Address("user", "xn--strae-oqa.example")),
    ('"a b"@example.org', Address("a b", "example.org")),
    ('"a\\"b"@example.org', Address('a"b', "example.org")),
    ('"a@b"@example.org', Address("a@b", "example.org")),
    ("user@[192.0.2.1]", Address("user", "[192.0.2.1]")),
    ("user@[IPv6:2001:DB8:0:0::1]", Address("user", "[IPv6:2001:db8::1]")),
    ("o'brien/x=y@example.org", Address("o'brien/x=y", "example.org")),
]

BAD = [
    ("", "no @"),
    ("user", "no @"),
    ("@example.org", "before the @"),
    ("user@", "domain is empty"),
    ("a..b@example.org", "valid local part"),
    (".a@example.org", "valid local part"),
    ("a b@example.org", "valid local part"),
    ("a@b@example.org", "valid local part"),
    ("user@exa mple.org", "host name"),
    ("user@-x.example", "host name"),
    ("user@x..example", "host name"),
    ("user@[1.2.3]", "literal"),
    ("user@[IPv6:::zz]", "literal"),
    ("user@[192.0.2.1", "end with ]"),
    ("us\x00er@example.org", "control"),
    ("us\r\ner@example.org", "control"),
    ("x" * 65 + "@example.org", "64 octets"),
    ("user@" + ".".join(["a" * 60] * 5), "255 octets"),
    ('"unfinished@example.org', "valid local part"),
]


@pytest.mark.parametrize(("text", "wanted"), GOOD)
def test_good(text: str, wanted: Address) -> None:
    assert wanted == parse(text)


@pytest.mark.parametrize(("text", "wanted"), GOOD)
def test_written_form_parses_back(text: str, wanted: Address) -> None:
    assert wanted == parse(str(wanted))


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_bad(text: str, reason: str) -> None:
    with pytest.raises(BadAddress, match=reason):
        parse(text)


def test_key_ignores_case_and_composition() -> None:
    assert parse("Jose\u0301@example.org").key == parse("JOSÉ@Example.ORG").key


def test_tag() -> None:
    assert Address("user", "example.org") == parse("user+shop+2@example.org").without_tag()
    assert Address("+x", "example.org") == parse("+x@example.org").without_tag()


def test_display() -> None:
    assert display_domain("xn--bcher-kva.example") == "bücher.example"
    assert display_domain("xn--a-ecp.invalid-\ud800") == "xn--a-ecp.invalid-\ud800"


@given(st.text(max_size=100))
def test_any_text_gives_an_address_or_bad_address(text: str) -> None:
    try:
        address = parse(text)
    except BadAddress:
        return
    assert address == parse(str(address))


@given(st.text(max_size=80))
def test_any_domain(text: str) -> None:
    try:
        domain = parse_domain(text)
    except BadAddress:
        return
    assert domain == parse_domain(domain)
