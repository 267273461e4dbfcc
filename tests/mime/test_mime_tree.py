"""The structure of a message, and IMAP's part numbers (RFC 2046, RFC 3501 6.4.5)."""

from __future__ import annotations

import mmap
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.limits import MimeLimits
from postane.core.message import Disposition, Part
from postane.mime.tree import find, pack, scan, unpack

LIMITS = MimeLimits()

NESTED = b"""\
Subject: outer
Content-Type: multipart/mixed; boundary=out

preamble
--out
Content-Type: text/plain; charset=utf-8
Content-ID: <id@x>
Content-Description: a
 description
Content-Language: tr, en
Content-Location: http://x/
Content-MD5: Q2hlY2s=

first
two lines
--out
Content-Type: message/rfc822
Content-Disposition: attachment; filename="m.eml"

From: in@ner
Subject: inner
Content-Type: multipart/alternative; boundary=out2

--out2

plain
--out2
Content-Type: TEXT/HTML
Content-Transfer-Encoding: Quoted-Printable

<p>html
--out2--
epilogue
--out
Content-Type: message/rfc822

Subject: single

only body
--out--
epilogue
"""
CRLF_NESTED = NESTED.replace(b"\n", b"\r\n")


def shape(part: Part) -> object:
    """Types and nesting alone."""
    name = (part.type + b"/" + part.subtype).decode()
    if part.message is not None:
        return (name, shape(part.message))
    return (name, [shape(child) for child in part.children]) if part.children else name


def body(data: bytes, part: Part) -> bytes:
    return data[part.body : part.end]


@pytest.mark.parametrize("data", [NESTED, CRLF_NESTED], ids=["LF", "CRLF"])
def test_a_nested_message(data: bytes) -> None:
    root = scan(data, LIMITS)

    assert shape(root) == (
        "MULTIPART/MIXED",
        [
            "TEXT/PLAIN",
            ("MESSAGE/RFC822", ("MULTIPART/ALTERNATIVE", ["TEXT/PLAIN", "TEXT/HTML"])),
            ("MESSAGE/RFC822", "TEXT/PLAIN"),
        ],
    )
    first, attached, single = root.children
    assert body(data, first).replace(b"\r", b"") == b"first\ntwo lines"
    assert (first.params, first.lines) == (((b"charset", b"utf-8"),), 1)
    assert (first.id, first.description, first.language) == (b"<id@x>", b"a description", (b"tr", b"en"))
    assert (first.location, first.md5) == (b"http://x/", b"Q2hlY2s=")
    assert attached.disposition == Disposition(b"attachment", ((b"filename", b"m.eml"),))
    assert attached.envelope is not None
    assert attached.envelope.subject == b"inner"
    assert attached.message is not None
    assert [child.encoding for child in attached.message.children] == [b"7BIT", b"QUOTED-PRINTABLE"]
    assert single.message is not None
    assert body(data, single.message) == b"only body"


@pytest.mark.parametrize("data", [NESTED, CRLF_NESTED], ids=["LF", "CRLF"])
def test_lines_are_counted_once_and_right(data: bytes) -> None:
    def check(part: Part) -> None:
        assert part.lines == body(data, part).count(b"\n")
        for inner in (*part.children, *filter(None, [part.message])):
            check(inner)

    check(scan(data, LIMITS))


@pytest.mark.parametrize(
    ("path", "start"),
    [
        ((), b"Subject: outer"),
        ((1,), b"Content-Type: text/plain"),
        ((2,), b"Content-Type: message/rfc822"),
        ((2, 1), b"\nplain"),
        ((2, 2), b"Content-Type: TEXT/HTML"),
        ((3, 1), b"Subject: single"),
    ],
)
def test_part_numbers(path: tuple[int, ...], start: bytes) -> None:
    part = find(scan(NESTED, LIMITS), path)

    assert part is not None
    assert NESTED[part.start :].startswith(start)


@pytest.mark.parametrize("path", [(0,), (4,), (1, 1), (2, 3), (2, 1, 1), (3, 2), (3, 1, 1), (-1,), (2, 0)])
def test_numbers_of_no_part(path: tuple[int, ...]) -> None:
    assert find(scan(NESTED, LIMITS), path) is None


def test_part_one_of_a_single_part_is_its_body() -> None:
    """RFC 3501 6.4.5."""
    root = scan(b"A: b\n\nbody", LIMITS)

    assert find(root, (1,)) is root
    assert find(root, (2,)) is None
    assert find(root, (1, 1)) is None


def test_a_message_at_the_root() -> None:
    root = scan(b"Content-Type: message/rfc822\n\nA: b\n\nbody", LIMITS)

    assert find(root, (1,)) is root
    assert find(root, (1, 1)) is root.message


# RFC 3501 6.4.5: the example's numbers, as (path, type)
EXAMPLE = b"""\
Content-Type: multipart/mixed; boundary=a

--a
Content-Type: text/plain

--a
Content-Type: application/octet-stream

--a
Content-Type: message/rfc822

Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

--b
Content-Type: application/octet-stream

--b--
--a
Content-Type: multipart/mixed; boundary=c

--c
Content-Type: image/gif

--c
Content-Type: message/rfc822

Content-Type: multipart/mixed; boundary=d

--d
Content-Type: text/plain

--d
Content-Type: multipart/alternative; boundary=e

--e
Content-Type: text/plain

--e
Content-Type: text/richtext

--e--
--d--
--c--
--a--
"""


def test_the_example_of_the_standard() -> None:
    numbers = {
        (1,): b"PLAIN",
        (2,): b"OCTET-STREAM",
        (3,): b"RFC822",
        (3, 1): b"PLAIN",
        (3, 2): b"OCTET-STREAM",
        (4,): b"MIXED",
        (4, 1): b"GIF",
        (4, 2): b"RFC822",
        (4, 2, 1): b"PLAIN",
        (4, 2, 2): b"ALTERNATIVE",
        (4, 2, 2, 1): b"PLAIN",
        (4, 2, 2, 2): b"RICHTEXT",
    }
    for data in (EXAMPLE, EXAMPLE.replace(b"\n", b"\r\n")):
        root = unpack(pack(scan(data, LIMITS)))
        assert {path: part.subtype for path in numbers if (part := find(root, path))} == numbers


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "TEXT/PLAIN"),
        (b"no header", "TEXT/PLAIN"),
        (b"Content-Type: multipart/mixed\n\n--a\n\nx\n--a--", "TEXT/PLAIN"),
        (b"Content-Type: multipart/mixed; boundary=\n\n--\n\nx\n----", "TEXT/PLAIN"),
        (b"Content-Type: multipart/mixed; boundary=a\n\nno part", "TEXT/PLAIN"),
        (b"Content-Type: multipart/mixed; boundary=a\n\n--a--\n", "TEXT/PLAIN"),
        (b"Content-Type: multipart/mixed; boundary=a\n\n--a", ("MULTIPART/MIXED", ["TEXT/PLAIN"])),
        (b"Content-Type: multipart/mixed; boundary=a\n\n--a\n--a\n--a--", ("MULTIPART/MIXED", ["TEXT/PLAIN"] * 2)),
        (b'Content-Type: multipart/mixed; boundary="a "\n\n--a \t\n\nx', ("MULTIPART/MIXED", ["TEXT/PLAIN"])),
        # a boundary that begins another
        (
            b"Content-Type: multipart/mixed; boundary=a\n\n--ab\n--a\n\n--ab\n--a-\n--a\n\ny\n--a--",
            ("MULTIPART/MIXED", ["TEXT/PLAIN"] * 2),
        ),
        # the outer delimiter ends the inner multipart
        (
            b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n"
            b"--a\nContent-Type: image/gif\n\ny\n--b\n\nz\n--a--\n",
            ("MULTIPART/MIXED", [("MULTIPART/MIXED", ["TEXT/PLAIN"]), "IMAGE/GIF"]),
        ),
        # RFC 2046 5.1.5
        (
            b"Content-Type: multipart/digest; boundary=a\n\n--a\n\nFrom: x\n\ny\n"
            b"--a\nContent-Type: text/plain\n\nz\n--a--",
            ("MULTIPART/DIGEST", [("MESSAGE/RFC822", "TEXT/PLAIN"), "TEXT/PLAIN"]),
        ),
        (b"Content-Type: message/rfc822\n\n", ("MESSAGE/RFC822", "TEXT/PLAIN")),
        (b"Content-Type: nonsense\n\nx", "TEXT/PLAIN"),
        (b"content-TYPE : Text/HTML\ncontent-type: image/gif\n\nx", "TEXT/HTML"),
    ],
)
def test_odd_structures(data: bytes, expected: object) -> None:
    assert shape(scan(data, LIMITS)) == expected
    assert shape(scan(data.replace(b"\n", b"\r\n"), LIMITS)) == expected


def test_a_boundary_and_a_charset_in_the_extended_form() -> None:
    """RFC 2231 4, and the continuations of 3."""
    data = (
        b"Content-Type: multipart/mixed; boundary*0*=us-ascii''a%2; boundary*1*=0b\n\n"
        b"--a b\nContent-Type: text/plain; charset*=us-ascii'en'utf-8\n\nx\n--a b--\n"
    )
    root = scan(data, LIMITS)

    assert [body(data, part) for part in root.children] == [b"x"]
    assert unpack(pack(root)).children[0].params == ((b"CHARSET", b"utf-8"),)


def test_the_line_end_before_a_delimiter_belongs_to_it() -> None:
    header = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
    data = header + b"--a\r\n\r\nx\r\n\r\n--a\r\nX: y\r\n\r\n--a\r\n\r\n\n--a--\r\n"
    root = scan(data, LIMITS)

    assert [body(data, part) for part in root.children] == [b"x\r\n", b"", b""]
    # A header keeps its empty line, though a delimiter follows.
    assert data[root.children[1].start : root.children[1].body] == b"X: y\r\n\r\n"


def test_a_scan_goes_no_deeper_than_its_limits() -> None:
    level = b"Content-Type: message/rfc822\n\n"

    def depth(part: Part) -> int:
        return 1 + (depth(part.message) if part.message else 0)

    assert depth(scan(level * 10, MimeLimits(depth=5))) == 5
    many = b"Content-Type: multipart/mixed; boundary=a\n" + b"\n--a\n" * 100
    assert len(scan(many, MimeLimits(parts=11)).children) == 10


@pytest.mark.parametrize("data", [NESTED, CRLF_NESTED, NESTED + b"x" * 600_000 + b"\n--out\n"])
def test_a_view_and_a_map_scan_as_the_bytes_do(data: bytes) -> None:
    wanted = scan(data, LIMITS)

    assert scan(memoryview(data), LIMITS) == wanted
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert scan(mapped, LIMITS) == wanted


@pytest.mark.parametrize("before", range(256 * 1024 - 12, 256 * 1024 + 3))
def test_a_delimiter_on_the_edge_of_a_window(before: int) -> None:
    header = b"Content-Type: multipart/mixed; boundary=abc\n\n"
    data = header + b"--abc\n" + b"\n" + b"x" * (before - 7) + b"\n--abc\n\ny\n--abc--\n"

    assert scan(memoryview(data), LIMITS) == scan(data, LIMITS)
    assert len(scan(memoryview(data), LIMITS).children) == 2


LINES = st.lists(
    st.sampled_from(
        [
            b"--a",
            b"--b",
            b"--a--",
            b"--b--",
            b"--ab ",
            b"",
            b"",
            b"text",
            b"Content-Type: multipart/mixed; boundary=a",
            b"Content-Type: multipart/digest; boundary=b",
            b"Content-Type: multipart/mixed; boundary=ab",
            b"Content-Type: message/rfc822",
            b"Content-Type: text/html; charset=utf-8",
            b"Content-Transfer-Encoding: base64",
            b" folded",
            b"\0\xff",
        ]
    ),
    max_size=40,
)


def walk(part: Part) -> list[Part]:
    inner = [*part.children, *filter(None, [part.message])]
    return [part, *(each for one in inner for each in walk(one))]


@given(LINES, st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_offsets_are_nested_and_within_bounds(lines: list[bytes], line_end: bytes, is_multipart: bool) -> None:
    start = b"Content-Type: multipart/mixed; boundary=a" + line_end * 2 if is_multipart else b""
    data = start + line_end.join(lines)
    root = scan(data, LIMITS)

    assert (root.start, root.end) == (0, len(data))
    for part in walk(root):
        assert part.start <= part.body <= part.end
        assert part.lines == data.count(b"\n", part.body, part.end)
        assert (part.type == b"MULTIPART") == bool(part.children)
        assert ((part.type, part.subtype) == (b"MESSAGE", b"RFC822")) == (part.message is not None)
        at = part.body
        for child in part.children:
            assert at <= child.start
            at = child.end
        assert at <= part.end
        if part.message is not None:
            assert (part.message.start, part.message.end) == (part.body, part.end)


@given(LINES)
def test_either_line_end_gives_the_same_structure(lines: list[bytes]) -> None:
    data = b"\n".join(lines)

    assert shape(scan(data, LIMITS)) == shape(scan(data.replace(b"\n", b"\r\n"), LIMITS))


@given(LINES)
def test_packing_keeps_what_sections_need(lines: list[bytes]) -> None:
    root = scan(b"\n".join(lines), LIMITS)

    kept = unpack(pack(root))

    assert pack(kept) == pack(root)
    for part, other in zip(walk(root), walk(kept), strict=True):
        assert (part.start, part.body, part.end) == (other.start, other.body, other.end)
        assert (part.type, part.subtype, part.encoding) == (other.type, other.subtype, other.encoding)
    for path in [(1,), (2,), (1, 1), (2, 1), (1, 1, 1)]:
        found, again = find(root, path), find(kept, path)
        assert (found and found.start) == (again and again.start)
