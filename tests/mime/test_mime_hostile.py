"""What is made to hurt: each within half a second, and without an exception."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from postane.core.limits import MimeLimits
from postane.mime.compose import drop_fields, field
from postane.mime.date import parse_date
from postane.mime.header import envelope, header_end, message_ids, split_fields
from postane.mime.params import content_disposition, content_type, decoded_param
from postane.mime.subject import base_subject
from postane.mime.text import fold, html_to_text, preview, text_of
from postane.mime.transfer import decode_body
from postane.mime.tree import pack, scan, unpack
from postane.mime.words import decode_words

LIMITS = MimeLimits()
SIZE = LIMITS.header_bytes


@contextmanager
def in_time() -> Iterator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started < 5  # a quadratic one takes minutes


def nested_multiparts(depth: int, line_end: bytes) -> bytes:
    levels = (b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth))
    return b"".join(levels).replace(b"\n", line_end)


STRUCTURES = {
    "10,000 nested multiparts": nested_multiparts(10_000, b"\n"),
    "10,000 nested multiparts, CRLF": nested_multiparts(10_000, b"\r\n"),
    "10,000 nested messages": b"Content-Type: message/rfc822\n\n" * 10_000,
    "100,000 delimiters": b"Content-Type: multipart/mixed; boundary=a\n" + b"\n--a\n" * 100_000,
    "100,000 digest parts": b"Content-Type: multipart/digest; boundary=a\n" + b"\n--a\n\nFrom: (((\n" * 100_000,
    "1,000,000 look-alikes": b"Content-Type: multipart/mixed; boundary=a\n" + b"\n--ab" * 1_000_000,
    "look-alikes with blanks": b"Content-Type: multipart/mixed; boundary=a\n" + (b"\n--a" + b" " * 1000 + b"x") * 5_000,
    "one boundary again and again": b"Content-Type: multipart/mixed; boundary=a\n\n--a\n" * 20_000,
    "a boundary of dashes": b"Content-Type: multipart/mixed; boundary=-\n" + b"\n" + b"-" * 1_000_000,
    "line ends": b"A: b\n\n" + b"\n" * 5_000_000,
    "a header without end": b"A: b\n c" * 500_000,
    "fields": b"a:\n" * 1_000_000,
    "Content-Types": b"Content-Type: multipart/mixed; boundary=a\n" * 50_000 + b"\n--a\n",
    "folds": b"Content-Type: text/plain;" + b"\n " * 500_000 + b"a=b\n\n",
    "a long boundary": b"Content-Type: multipart/mixed; boundary=" + b"a" * 100_000 + (b"\n--" + b"a" * 50_000) * 40,
    "an empty boundary": b'Content-Type: multipart/mixed; boundary=""\n' + b"\n--\n" * 200_000,
}


@pytest.mark.parametrize("data", STRUCTURES.values(), ids=STRUCTURES)
def test_structures(data: bytes) -> None:
    with in_time():
        root = scan(data, LIMITS)
        envelope(data[: root.body], LIMITS)
        assert unpack(pack(root)).end == len(data)
        preview(data, root)
    with in_time():
        assert scan(memoryview(data), LIMITS) == root


def test_a_wide_and_deep_structure_within_the_limits() -> None:
    """As deep as allowed, and every level looks through all of the body."""
    levels = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(LIMITS.depth))
    data = levels + b"text " * 400_000

    with in_time():
        scan(data, LIMITS)


def repeated(*pieces: bytes) -> bytes:
    unit = b"".join(pieces)
    return unit * (SIZE // len(unit))


VALUES = {
    "parentheses": repeated(b"("),
    "closing parentheses": repeated(b")"),
    "pairs": b"(" * (SIZE // 2) + b")" * (SIZE // 2),
    "quotes": b'"' * (SIZE - 1),
    "escaped quotes": b'"' + repeated(rb"\""),
    "backslashes": b'"' + b"\\" * SIZE,
    "angles": repeated(b"<"),
    "angles and quotes": repeated(b'<"'),
    "parentheses and quotes": repeated(b'("'),
    "ats": repeated(b"@"),
    "colons": repeated(b"a:"),
    "semicolons": repeated(b";"),
    "commas": repeated(b","),
    "brackets": repeated(b"["),
    "blobs": repeated(b"[a]"),
    "atoms": repeated(b"a "),
    "one atom": repeated(b"a"),
    "dots": repeated(b"a . "),
    "blanks": b"a" + b" " * SIZE + b"b",
    "blanks and an at": b"a" + b" " * SIZE + b"@",
    "tabs": repeated(b"\t"),
    "groups": repeated(b"g:;"),
    "routes": b"<" + repeated(b"@a,"),
    "addresses": repeated(b"a@b,"),
    "addresses with comments": repeated(b"a@b (x),"),
    "encoded words": repeated(b"=?utf-8?q?a?= "),
    "encoded words of other charsets": repeated(b"=?utf-8?q?a?= =?big5?b?YQ==?= "),
    "encoded words begun": repeated(b"=?"),
    "encoded words never ended": repeated(b"=?a?q?"),
    "question marks": repeated(b"?"),
    "unknown charsets": repeated(b"=?x-nothing?q?=FF?= "),
    "equal signs": repeated(b"="),
    "parameters": repeated(b"a=b;"),
    "text/plain and parameters": b"text/plain;" + repeated(b"a=b;"),
    "text/plain and continuations": b"text/plain" + b"".join(b";a*%d*=%%FF" % n for n in range(20_000)),
    "text/plain and one continuation": b"text/plain" + repeated(b";a*0=b"),
    "text/plain and names": b"text/plain" + repeated(b";a"),
    "text/plain and blanks": b"text/plain;a=" + b" " * SIZE + b";",
    "text/plain and words": b"text/plain;a=" + repeated(b"b "),
    "text/plain and percents": b"text/plain;a*=utf-8''" + repeated(b"%"),
    "text/plain and comments": b"text/plain" + repeated(b"(a)"),
    "replies": repeated(b"re:"),
    "forwards": repeated(b"[fwd:") + b"]" * 50_000,
    "trailers": repeated(b"(fwd)"),
    "folds": repeated(b"\r\n "),
    "digits": repeated(b"1"),
    "digits and blanks": repeated(b"1 "),
    "octets": repeated(bytes(range(256))),
    "NULs": repeated(b"\0"),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_values(value: bytes) -> None:
    with in_time():
        base_subject(decode_words(value))
    with in_time():
        decoded_param(content_type(value).params, b"a")
        content_disposition(value)
    with in_time():
        parse_date(value)
        message_ids(value)
    header = b"To: " + value + b"\nFrom: " + value + b"\n\n"
    with in_time():
        header_end(header)
        split_fields(header, LIMITS)
        envelope(header, LIMITS)
        drop_fields(header, lambda name, _: name == b"To")


HTML = {
    "tags": "<a",
    "closed tags": "<p>",
    "scripts": "<script>",
    "comments": "<!--",
    "quotes": "<a '",
    "references": "&#",
    "long references": "&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "digits": "&#11111111",
    "blanks": " \n",
    "less than": "<",
}


@pytest.mark.parametrize("unit", HTML.values(), ids=HTML)
def test_html(unit: str) -> None:
    with in_time():
        html_to_text(unit * (SIZE // len(unit)))


def test_runs_of_combining_marks() -> None:
    """`unicodedata.normalize` alone would take minutes."""
    for run in ("\u0301\u0323", "\u064b\u0651", "\u0f71\u0f72", "\u0344", "\u3099\u0f39"):
        with in_time():
            fold("a" + run * 100_000)


@pytest.mark.parametrize("unit", [b"=", b"A=", b"A", b"!", b"=\n", b"=4", b"M\n", b"M" * 61 + b"\n", b"\n", b" "])
@pytest.mark.parametrize("encoding", [b"BASE64", b"QUOTED-PRINTABLE", b"X-UUENCODE"])
def test_bodies(unit: bytes, encoding: bytes) -> None:
    body = b"begin 644 x\n" + unit * (1_000_000 // len(unit))
    with in_time():
        assert len(decode_body(body, encoding)) <= len(body)


@pytest.mark.parametrize(
    "charset", ["utf-8", "utf-7", "utf-16", "punycode", "idna", "hz", "iso-2022-jp", "unicode_escape"]
)
def test_texts_in_odd_charsets(charset: str) -> None:
    for body in (b"\xff" * 300_000, b"+" * 300_000, b"xn--a-" * 50_000, b"\x1b$B" * 100_000):
        data = f"Content-Type: text/plain; charset={charset}\n\n".encode() + body
        with in_time():
            assert len(list(text_of(data, scan(data, LIMITS)))) == 1


@pytest.mark.parametrize("value", ["a " * 4000, " " * 300_000 + "a", "\t" * 8000, "a" + " " * 8000 + "b"])
def test_a_field_of_our_own(value: str) -> None:
    with in_time(), suppress(ValueError):
        field("X", value)
