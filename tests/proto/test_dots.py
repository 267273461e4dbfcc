"""Dot-stuffing against a reference of a few lines, in every cut of the bytes."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.proto.dots import DotReader, DotWriter, Flaw

ALPHABET = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\0", b"\r\n.", b".\r\n"]), max_size=24)
WIRE = ALPHABET.map(b"".join)


def reference(wire: bytes) -> tuple[bytes, bytes] | None:
    """(text, rest), or None where the end has not come."""
    lines = wire.split(b"\r\n")
    text = b""
    for number, line in enumerate(lines[:-1]):
        if line == b".":
            return text, b"\r\n".join(lines[number + 1 :])
        text += line.removeprefix(b".") + b"\r\n"
    return None


def read(pieces: list[bytes], limit: int = 1000) -> tuple[bytes, DotReader]:
    reader = DotReader(limit)
    text = b""
    rest = b""
    for piece in pieces:
        if reader.finished:
            rest += piece
        else:
            text += reader.feed(piece)
    reader.rest += rest
    return text, reader


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(WIRE, st.lists(st.integers(0, 60), max_size=5))
def test_reader_agrees_with_the_reference_in_any_cut(wire, places):
    wire += b"\r\n.\r\nREST"
    expected = reference(wire)

    for pieces in ([wire], [bytes([octet]) for octet in wire], cut(wire, places)):
        text, reader = read(pieces)
        assert expected == (text, reader.rest)
        assert reader.finished


@given(WIRE, st.lists(st.integers(0, 60), max_size=5), st.integers(2, 6))
def test_flaws_agree_in_any_cut_and_say_what_is_there(wire, places, limit):
    wire += b"\r\n.\r\n"
    text, reader = read([wire], limit)
    bare = text.replace(b"\r\n", b"")

    assert bool(reader.flaws & Flaw.BARE_CR) == (b"\r" in bare)
    assert bool(reader.flaws & Flaw.BARE_LF) == (b"\n" in bare)
    assert bool(reader.flaws & Flaw.NUL) == (b"\0" in text)
    assert bool(reader.flaws & Flaw.LONG_LINE) == any(len(line) + 1 > limit for line in text.split(b"\n")[:-1])
    for pieces in ([bytes([octet]) for octet in wire], cut(wire, places)):
        assert reader.flaws == read(pieces, limit)[1].flaws


@given(
    st.lists(st.sampled_from([b"\r\n", b".", b"..", b"text", b""]), max_size=20),
    st.lists(st.integers(0, 60), max_size=5),
)
def test_reader_undoes_writer(parts, places):
    text = b"".join(parts)
    if text and not text.endswith(b"\r\n"):
        text += b"\r\n"
    writer = DotWriter()
    wire = b"".join(writer.feed(piece) for piece in cut(text, places)) + writer.finish()

    assert (text, b"") == reference(wire)
    assert text == read([wire])[0]


@given(WIRE, st.lists(st.integers(0, 60), max_size=5))
def test_writer_frames_anything_for_strict_and_lax_readers(text, places):
    writer = DotWriter()
    wire = b"".join(writer.feed(piece) for piece in cut(text, places)) + writer.finish()
    lax = [line.removesuffix(b"\r") for line in wire.split(b"\n")]

    assert wire.endswith(b".\r\n")
    assert reference(wire + b"NEXT")[1] == b"NEXT"
    assert lax.index(b".") == len(lax) - 2


@pytest.mark.parametrize(
    ("end", "flaw"),
    [
        (b"\n.\n", Flaw.BARE_LF),
        (b"\n.\r\n", Flaw.BARE_LF),
        (b"\r\n.\n", Flaw.BARE_LF),
        (b"\r.\r", Flaw.BARE_CR),
        (b"\r\n.\r", Flaw.BARE_CR),
        (b"\r.\r\n", Flaw.BARE_CR),
        (b"\r\n\0.\r\n", Flaw.NUL),
        (b"\r\n.\0\r\n", Flaw.NUL),
    ],
)
def test_false_ends_are_text_with_a_flaw(end, flaw):
    text, reader = read([b"body" + end + b"MAIL FROM:<smuggled@example>\r\n", b"\r\n.\r\n"])

    assert b"MAIL FROM:<smuggled@example>" in text
    assert flaw in reader.flaws
    assert reader.rest == b""


def test_long_line_is_measured_with_its_end_and_without_its_stuffing():
    assert read([b"x" * 8 + b"\r\n.\r\n"], 10)[1].flaws == Flaw.NONE
    assert read([b".." + b"x" * 7 + b"\r\n.\r\n"], 10)[1].flaws == Flaw.NONE
    assert read([b"x" * 9 + b"\r\n.\r\n"], 10)[1].flaws == Flaw.LONG_LINE


def test_reader_is_linear_where_every_line_is_a_trap():
    def seconds(lines: int) -> float:
        wire = b"\r\n.\r\r\n..\n" * lines + b"\r\n.\r\n"
        began = time.perf_counter()
        for pieces in ([wire], [wire[i : i + 4096] for i in range(0, len(wire), 4096)]):
            read_all = DotReader(64)
            for piece in pieces:
                read_all.feed(piece)
        return time.perf_counter() - began

    seconds(1000)
    assert seconds(160_000) < 100 * max(seconds(10_000), 0.001)
