"""Content transfer encodings (RFC 2045 6)."""

from __future__ import annotations

import base64
import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.mime.transfer import decode_body


@given(st.binary(max_size=300), st.integers(1, 80))
def test_base64_in_lines(data: bytes, width: int) -> None:
    encoded = base64.b64encode(data)
    lines = b"\r\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))

    assert decode_body(lines, b"BASE64") == data
    assert decode_body(lines.rstrip(b"="), b"BASE64") == data
    assert decode_body(b"*-* " + lines.replace(b"\r\n", b" !\n"), b"BASE64") == data


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_base64_with_padding_in_the_middle(first: bytes, second: bytes) -> None:
    encoded = base64.b64encode(first) + b"\n" + base64.b64encode(second)

    assert decode_body(encoded, b"BASE64") == first + second


def test_plain_text_behind_base64_is_left_out() -> None:
    footer = b"\r\n\r\n____\r\nTo leave the list: http://list.example/\r\n"

    assert decode_body(base64.b64encode(b"body") + footer, b"BASE64") == b"body"


@given(st.binary(max_size=300))
def test_quoted_printable(data: bytes) -> None:
    assert decode_body(quopri.encodestring(data), b"QUOTED-PRINTABLE") == data.replace(b"\r\n", b"\n") or b"\r" in data


@given(st.binary(max_size=300))
def test_uuencode(data: bytes) -> None:
    lines = [binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45)]

    assert decode_body(b"begin 644 a file\n" + b"".join(lines) + b"`\nend\n", b"X-UUENCODE") == data


@pytest.mark.parametrize("encoding", [b"7BIT", b"8BIT", b"BINARY", b"X-STRANGE"])
def test_others_are_as_they_are(encoding: bytes) -> None:
    assert decode_body(b"=41\r\n\0", encoding) == b"=41\r\n\0"


@given(st.binary(max_size=200), st.sampled_from([b"BASE64", b"QUOTED-PRINTABLE", b"X-UUENCODE"]))
def test_nothing_breaks_a_decoder(data: bytes, encoding: bytes) -> None:
    assert len(decode_body(data, encoding)) <= len(data)
    assert len(decode_body(b"begin 644 x\n" + data, encoding)) <= len(data) + 12
