"""The receive buffer: the same lines in any cut, its limits, and no quadratic work."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.proto.buffer import DROP_STEP, Line, LineEnd, ReceiveBuffer

WIRE = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bcd"]), max_size=30).map(b"".join)


def lines(pieces: list[bytes], limit: int, end: LineEnd) -> list[bytes | Line]:
    buffer = ReceiveBuffer(end)
    found = []
    for piece in pieces:
        buffer.feed(piece)
        while (line := buffer.line(limit)) is not None:
            found.append(line)
    return found


def reference(wire: bytes, limit: int, end: LineEnd) -> list[bytes | Line]:
    *whole, last = wire.split(end.value)
    found: list[bytes | Line] = []
    for line in whole:
        if len(line) + len(end.value) > limit:
            found.append(Line.TOO_LONG)
        else:
            found.append(line.removesuffix(b"\r") if end is LineEnd.LF else line)
    return [*found, Line.TOO_LONG] if len(last) >= limit else found


@given(WIRE, st.integers(3, 9), st.sampled_from(LineEnd), st.lists(st.integers(0, 90), max_size=5))
def test_lines_agree_with_the_reference_in_any_cut(wire, limit, end, places):
    edges = [0, *sorted(place % (len(wire) + 1) for place in places), len(wire)]
    cuts = [wire[a:b] for a, b in itertools.pairwise(edges)]
    expected = reference(wire, limit, end)

    for pieces in ([wire], [bytes([octet]) for octet in wire], cuts):
        assert expected == lines(pieces, limit, end)


@pytest.mark.parametrize("end", LineEnd)
@pytest.mark.parametrize("step", [1000, 1, DROP_STEP * 7])
def test_a_line_without_end_is_reported_again_and_again_in_bounded_memory(end, step):
    total = DROP_STEP * 3 + 600
    buffer = ReceiveBuffer(end)
    reports = 0
    for start in range(0, total, step):
        buffer.feed(b"x" * min(step, total - start))
        while (line := buffer.line(512)) is not None:
            assert line is Line.TOO_LONG
            reports += 1
        assert len(buffer) <= 512
    assert reports == 4

    buffer.feed(b"\r\nNOOP\r\n")
    assert buffer.line(512) == b"NOOP"


def test_take_put_back_and_clear():
    buffer = ReceiveBuffer()
    buffer.feed(b"0123456789\r\n")
    assert buffer.line(5) is Line.TOO_LONG
    assert buffer.is_partial
    assert buffer.line(5) is None
    assert not buffer.is_partial

    buffer.feed(b"DATA\r\nbody")
    assert buffer.line(100) == b"DATA"
    assert buffer.take(2) == b"bo"
    buffer.put_back(b"bo")
    assert buffer.take(100) == b"body"
    assert len(buffer) == 0
    buffer.feed(b"half")
    buffer.clear()
    buffer.feed(b"line\r\n")
    assert buffer.line(100) == b"line"


def test_byte_by_byte_feeding_is_linear():
    def seconds(size: int) -> float:
        buffer = ReceiveBuffer()
        began = time.perf_counter()
        for _ in range(size):
            buffer.feed(b"x")
            buffer.line(10_000_000)
        return time.perf_counter() - began

    seconds(1000)
    assert seconds(200_000) < 100 * max(seconds(10_000), 0.001)


def test_many_pipelined_lines_are_linear():
    def seconds(count: int) -> float:
        buffer = ReceiveBuffer()
        buffer.feed(b"NOOP\r\n" * count)
        began = time.perf_counter()
        while buffer.line(512) is not None:
            pass
        return time.perf_counter() - began

    seconds(1000)
    assert seconds(200_000) < 100 * max(seconds(10_000), 0.001)
