"""The fields that we write ourselves (RFC 5321 4.4, RFC 3848, RFC 6531 4.3)."""

from __future__ import annotations

import email.utils
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.limits import MimeLimits
from postane.core.status import Condition, MailError
from postane.mime.compose import (
    drop_fields,
    field,
    message_id,
    prefix,
    received,
    rfc5322_date,
    with_keyword,
)
from postane.mime.date import parse_date
from postane.mime.header import header_end, split_fields

WORDS = st.lists(st.text(st.characters(min_codepoint=33, exclude_categories=("Cs", "Cc", "Z")), min_size=1), min_size=1)


@given(WORDS, st.sampled_from([" ", "  ", "\t", " \t "]))
def test_unfolded_a_field_is_its_value(words: list[str], blank: str) -> None:
    value = blank.join(words)

    written = field("X-Words", value)

    assert written.endswith(b"\r\n")
    (read,) = split_fields(written, MimeLimits())
    assert (read.name, read.value.decode()) == (b"X-Words", value)
    for line in written.split(b"\r\n")[1:-1]:
        assert line[:1] in b" \t"
        assert line.strip()


def test_lines_are_folded_at_78() -> None:
    lines = field("X", " ".join(["word"] * 100)).splitlines()

    assert len(lines) > 5
    assert max(map(len, lines)) <= 78
    assert field("X", "") == b"X:\r\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nBcc: b"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "a\0b"),
        ("X", "\x1b[2J"),
        ("X", "a " * 5000),
        ("X", "a" * 999),
        ("X:", "a"),
        ("", "a"),
        ("X Y", "a"),
        ("X\n", "a"),
        ("É", "a"),
        ("X", "\udc80"),
    ],
)
def test_what_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError):
        field(name, value)


@pytest.mark.parametrize(
    ("data", "separator"),
    [
        (b"Subject: x\r\n\r\nbody", b""),
        (b"From me Thu Jan 1\nSubject: x\n", b""),
        (b"\r\nbody", b""),
        (b"\nbody", b""),
        (b"no field\r\n\r\n", b"\r\n"),
        (b"", b"\r\n"),
        (b"\0", b"\r\n"),
    ],
)
def test_a_prefix_and_what_follows_are_one_header(data: bytes, separator: bytes) -> None:
    written = prefix([("Return-Path", "<>"), ("Delivered-To", "a@b")], data)

    assert written == b"Return-Path: <>\r\nDelivered-To: a@b\r\n" + separator
    body = data[header_end(data) :]
    assert (written + data)[header_end(written + data) :] == body


@pytest.mark.parametrize("data", [b" continued\r\n", b"\tcontinued"])
def test_a_message_that_would_continue_our_field_is_refused(data: bytes) -> None:
    with pytest.raises(MailError) as refusal:
        prefix([("Return-Path", "<>")], data)

    assert refusal.value.condition is Condition.BAD_CONTENT
    assert prefix([], data) == b""


@pytest.mark.parametrize(
    ("base", "utf8", "secured", "authenticated", "keyword"),
    [
        ("SMTP", False, False, False, "SMTP"),
        ("ESMTP", False, False, False, "ESMTP"),
        ("ESMTP", False, True, False, "ESMTPS"),
        ("ESMTP", False, False, True, "ESMTPA"),
        ("ESMTP", False, True, True, "ESMTPSA"),
        ("LMTP", False, True, False, "LMTPS"),
        ("ESMTP", True, False, False, "UTF8SMTP"),
        ("ESMTP", True, True, True, "UTF8SMTPSA"),
        ("LMTP", True, False, True, "UTF8LMTPA"),
    ],
)
def test_with_keywords(base: str, utf8: bool, secured: bool, authenticated: bool, keyword: str) -> None:
    assert with_keyword(base, utf8=utf8, secured=secured, authenticated=authenticated) == keyword


def test_received() -> None:
    value = received(
        helo="client.example",
        peer_host="2001:db8::1",
        by="mx.example",
        with_="ESMTPS",
        id="abc",
        date=1057056757,
        for_="user@example.org",
        tls=("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    )

    assert value == (
        "from client.example ([IPv6:2001:db8::1]) by mx.example with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id abc"
        " for <user@example.org>; Tue, 01 Jul 2003 10:52:37 +0000"
    )
    assert parse_date(value.encode()) == 1057056757


@pytest.mark.parametrize(
    ("helo", "peer_host", "clause"),
    [
        ("[192.0.2.1]", "192.0.2.1", "from [192.0.2.1] ([192.0.2.1]) by"),
        ("a b", "192.0.2.1", "from [192.0.2.1] ([192.0.2.1]) by"),
        ("a;\r\nBcc: x", "::ffff:192.0.2.1", "from [192.0.2.1] ([192.0.2.1]) by"),
        ("(", "fe80::1%eth0", "from [IPv6:fe80::1] ([IPv6:fe80::1]) by"),
        ("", "", "from unknown by"),
        ("here", "", "from here by"),
    ],
)
def test_what_the_peer_says_is_not_trusted(helo: str, peer_host: str, clause: str) -> None:
    value = received(helo=helo, peer_host=peer_host, by="mx", with_="SMTP", id="a", date=0)

    assert value.startswith(clause)
    field("Received", value)


@given(st.integers(0, 4_000_000_000))
def test_dates(epoch: int) -> None:
    assert rfc5322_date(epoch) == email.utils.formatdate(epoch).replace("-0000", "+0000")


def test_message_ids() -> None:
    assert re.fullmatch(r"<[a-z2-7]{24}@host\.example>", message_id("host.example"))
    assert message_id("a") != message_id("a")


def test_fields_are_dropped_and_all_else_stays() -> None:
    header = (
        b"From me\r\nA: 1\r\nBCC: x,\r\n y\r\nz@badly.folded\r\nB : 2\n"
        b"Authentication-Results: us.example; dkim=pass\r\nauthentication-results: them.example; dkim=pass\r\n\r\n"
    )

    def is_forged(name: bytes, value: bytes) -> bool:
        return name.lower() == b"bcc" or (
            name.lower() == b"authentication-results" and value.startswith(b"us.example;")
        )

    assert drop_fields(header, is_forged) == (
        b"From me\r\nA: 1\r\nB : 2\nauthentication-results: them.example; dkim=pass\r\n\r\n"
    )
    assert drop_fields(header, lambda name, value: False) == header
    assert drop_fields(header, lambda name, value: True) == b"From me\r\n\r\n"
    assert drop_fields(b"Bcc: x", lambda name, value: True) == b""
