"""The trace in files: nothing it meets may stop the mail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from postane.core.clock import TurnedClock
from postane.store import trace as module
from postane.store.api import Trace, TraceEvent
from postane.store.trace import MAX_BUFFER, MAX_FACT, SEGMENT_SECONDS, FileTrace

DAY = 86_400


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def event(at: float, trace_id: str = "m1", what: str = "received", **facts: str) -> TraceEvent:
    return TraceEvent(at, trace_id, what, 7, facts)


def fills_the_port(trace: FileTrace) -> Trace:
    return trace


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_the_story_of_a_message_is_told_in_order_by_all_processes(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    clock = TurnedClock(1000)
    one, two = FileTrace(tmp_path, "worker-1", clock, pool), FileTrace(tmp_path, "worker-2", clock, pool)
    first, second, third = event(1, sender="a@b.example"), event(2, what="queued"), event(3, what="delivered")
    two.note(second)
    two.note(event(2, "m2"))
    await two.flush()
    one.note(third)
    one.note(first)

    assert await one.find("m1") == (first, second, third)
    assert await one.find("m") == ()
    assert await one.find('m1"') == ()
    await one.close()
    await two.close()
    assert segments(tmp_path) == ["000000001000-000-worker-1.jsonl", "000000001000-000-worker-2.jsonl"]


async def test_reading_makes_no_segment_and_needs_no_folder(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    trace = FileTrace(tmp_path / "trace", "cli", TurnedClock(), pool)

    assert await trace.find("m1") == ()
    assert await trace.prune(1) == 0
    await trace.close()
    assert not (tmp_path / "trace").exists()


async def test_a_fact_is_one_bounded_line_whatever_it_holds(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    trace = FileTrace(tmp_path, "w", TurnedClock(), pool)
    trace.note(event(1, helo='a\r\n{"trace_id":"m1"}', long="x" * 1000, raw="\udcff"))

    (found,) = await trace.find("m1")
    assert found.facts == {"helo": 'a\r\n{"trace_id":"m1"}', "long": "x" * MAX_FACT, "raw": "\\udcff"}
    assert (tmp_path / segments(tmp_path)[0]).read_bytes().count(b"\n") == 1
    await trace.close()


async def test_a_line_cut_by_a_crash_hides_no_other(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    trace = FileTrace(tmp_path, "w", TurnedClock(1000), pool)
    trace.note(event(1))
    await trace.close()
    path = tmp_path / segments(tmp_path)[0]
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"at":2,"trace_id":"m1"\n' + whole + whole[:-5])

    assert await trace.find("m1") == (event(1), event(1))


async def test_segments_end_by_size_and_by_day_and_go_by_age(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 300)
    clock = TurnedClock(10 * DAY)
    trace = FileTrace(tmp_path, "w", clock, pool)
    for number in range(4):
        trace.note(event(number, "m1", "received", padding="x" * 60))
        await trace.flush()
    assert segments(tmp_path) == ["000000864000-000-w.jsonl", "000000864000-001-w.jsonl"]

    clock.turn(SEGMENT_SECONDS)
    trace.note(event(5))
    await trace.flush()
    assert len(segments(tmp_path)) == 3

    clock.turn(3 * DAY)
    assert await trace.prune(3) == 0
    clock.turn(1)
    assert await trace.prune(3) == 2
    assert [found.at for found in await trace.find("m1")] == [5]
    await trace.close()


async def test_what_does_not_fit_is_counted(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    trace = FileTrace(tmp_path, "w", TurnedClock(), pool)
    size = len(module._line(event(1, "m1", "received", text="x" * MAX_FACT)))
    for _ in range(MAX_BUFFER // size + 3):
        trace.note(event(1, "m1", "received", text="x" * MAX_FACT))

    assert len(await trace.find("m1")) == MAX_BUFFER // size
    (lost,) = await trace.find("")
    assert (lost.what, lost.facts) == ("trace-lost", {"process": "w", "events": "3"})
    await trace.close()


async def test_a_disk_that_refuses_loses_events_and_raises_nothing(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = FileTrace(tmp_path, "w", TurnedClock(), pool)
    write = os.write

    def half(descriptor: int, data: memoryview) -> int:
        if len(data) < 40:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(module.os, "write", half)
    trace.note(event(1))
    trace.note(event(2))
    await trace.flush()
    await trace.flush()
    monkeypatch.undo()
    trace.note(event(3))

    assert [found.at for found in await trace.find("m1")] == [1, 3]
    (lost,) = await trace.find("")
    assert lost.facts["events"] == "2"
    await trace.close()
