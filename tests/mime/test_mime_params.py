"""Content-Type, Content-Disposition and parameters (RFC 2045 5.1, RFC 2183, RFC 2231)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.mime.params import (
    ContentType,
    Params,
    content_disposition,
    content_type,
    decoded_param,
    find_param,
)


@pytest.mark.parametrize(
    ("value", "type_", "subtype", "params"),
    [
        (b"text/html", b"TEXT", b"HTML", ()),
        (b" Text / Plain ; Charset = us-ascii (Plain text)", b"TEXT", b"PLAIN", ((b"Charset", b"us-ascii"),)),
        (b'a/b; x="1; 2"; y=3', b"A", b"B", ((b"x", b"1; 2"), (b"y", b"3"))),
        (rb'a/b; x="q\"\\"', b"A", b"B", ((b"x", b'q"\\'),)),
        (b'a/b; x="never closed; y=3', b"A", b"B", ((b"x", b"never closed; y=3"),)),
        (b"a/b; name=my file.pdf; y=3", b"A", b"B", ((b"name", b"my file.pdf"), (b"y", b"3"))),
        (b'a/b; x=1\r\n y="2"', b"A", b"B", ((b"x", b"1"), (b"y", b"2"))),
        (b"a/b x=1", b"A", b"B", ((b"x", b"1"),)),
        (b"a/b; x=1; X=2", b"A", b"B", ((b"x", b"1"),)),
        (b"a/b;;; = ;; x=1", b"A", b"B", ((b"x", b"1"),)),
        (b'a/b; x=""', b"A", b"B", ((b"x", b""),)),
        # RFC 2045 5.2: what cannot be read is text/plain
        (b"text", b"TEXT", b"PLAIN", ()),
        (b"", b"TEXT", b"PLAIN", ()),
        (b"/plain; charset=utf-8", b"TEXT", b"PLAIN", ((b"charset", b"utf-8"),)),
        # RFC 2231 3: continuations, in any order, up to the first gap
        (b"a/b; u*1=two; u*0=one; u*3=four", b"A", b"B", ((b"u", b"onetwo"),)),
        (b"a/b; t*=utf-8'en'%C3%A9", b"A", b"B", ((b"t*", b"utf-8'en'%C3%A9"),)),
        (b"a/b; t*0*=utf-8''%C3; t*1*=%A9; t*2=\"100%\"", b"A", b"B", ((b"t*", b"utf-8''%C3%A9100%25"),)),
        (b"a/b; t*0=plain; t*1*=%C3%A9", b"A", b"B", ((b"t*", b"''plain%C3%A9"),)),
    ],
)
def test_content_types(value: bytes, type_: bytes, subtype: bytes, params: Params) -> None:
    assert content_type(value) == ContentType(type_, subtype, params)


@pytest.mark.parametrize(
    ("value", "kind", "params"),
    [
        (b"attachment", b"attachment", ()),
        (b'Inline; filename="a b.txt"', b"Inline", ((b"filename", b"a b.txt"),)),
        (b'"attachment"; filename=x', b"attachment", ((b"filename", b"x"),)),
        (b"filename=x", b"attachment", ((b"filename", b"x"),)),
        (b"; filename=x", b"attachment", ((b"filename", b"x"),)),
    ],
)
def test_dispositions(value: bytes, kind: bytes, params: Params) -> None:
    found = content_disposition(value)

    assert found is not None
    assert (found.kind, found.params) == (kind, params)


def test_an_empty_disposition_is_none() -> None:
    assert content_disposition(b"") is None
    assert content_disposition(b" ; ") is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"a/b; name=x.txt", "x.txt"),
        (b"a/b; name*=utf-8'tr'%C4%B0zmir.txt", "İzmir.txt"),
        (b"a/b; name*=iso-8859-9''%DDzmir", "İzmir"),
        (b"a/b; name*=%DDzmir", "Ýzmir"),
        (b"a/b; name*=nothing''%zz%", "%zz%"),
        (b"a/b; name=plain; name*=utf-8''%C4%B0", "İ"),
        (b'a/b; name="=?utf-8?Q?=C4=B0zmir?=\r\n =?utf-8?Q?.txt?="', "İzmir.txt"),
        ("a/b; name=İzmir".encode(), "İzmir"),
        (b"a/b", None),
    ],
)
def test_decoded(value: bytes, text: str | None) -> None:
    assert decoded_param(content_type(value).params, b"name") == text


def test_the_number_of_parameters_is_bounded() -> None:
    value = b"a/b" + b"".join(b"; p%d=%d" % (n, n) for n in range(1000))

    assert len(content_type(value, 100).params) == 100
    assert find_param(content_type(value, 100).params, b"p99") == b"99"


@given(st.lists(st.sampled_from([*map(bytes, zip(b'a/;="()\\*0 1%')), b"\n ", b"\xff", b"utf-8''"])).map(b"".join))
def test_nothing_breaks_the_parser(value: bytes) -> None:
    found = content_type(value)

    assert found.type == found.type.upper() != b""
    for name, _ in found.params:
        decoded_param(found.params, name.lower().removesuffix(b"*"))
    content_disposition(value)


# Repeated charsets in continuations, escaped blanks, non-ASCII types: read otherwise there.
DIFFERENT = ("application/pdf\n   filename*0*", "á/é", "test/encoded", "malicious/attempt", 'inva/lid; name="   \n')
JOINED = 'image/jpeg;\n   name="=?iso-8859-1?B?4Q==?='


def test_the_published_vectors(vectors: Path) -> None:
    for row in json.loads((vectors / "mime-malformed" / "content_type.json").read_text()):
        header, expected = row["header"], row["expected"]
        if header.startswith((*DIFFERENT, JOINED)) or not (expected and expected["c_subtype"]):
            continue

        found = content_type(header.encode())

        assert (found.type.lower().decode(), found.subtype.lower().decode()) == (
            expected["c_type"],
            expected["c_subtype"],
        )
        wanted = {name: text for name, text in expected.get("attributes") or [] if not name.endswith("-language")}
        names = {name.decode().lower().removesuffix("*") for name, _ in found.params}
        assert {name: decoded_param(found.params, name.encode()) for name in names} == wanted, header
