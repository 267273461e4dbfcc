"""What happened to each message: append-only segments of JSON lines, one set a process.

Fills the port `Trace` (`postane.store.api`).  Events wait in memory until
`flush`, which a timer calls; they are never fsynced, and a crash may lose the
last ones.  A segment holds about `SEGMENT_BYTES` at most and a day at most; its
name says when it began, so that age needs no look inside.

Refused, by leaving it out: what does not fit in the buffer while the disk is
slow or full (a later "trace-lost" event says how much), and the rest of a fact
over `MAX_FACT` characters.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import msgspec

from postane.core.clock import Clock
from postane.store.api import TraceEvent

SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENT_SECONDS = 86_400
MAX_BUFFER = 4 * 1024 * 1024
MAX_FACT = 500
_SUFFIX = ".jsonl"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(TraceEvent).decode


class FileTrace:
    """`process` is this process's own name ("worker-3"); who only reads makes no segment."""

    def __init__(self, folder: Path, process: str, clock: Clock, pool: Executor) -> None:
        self._folder = folder
        self._process = process
        self._clock = clock
        self._pool = pool
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._lost = 0
        self._writing = asyncio.Lock()
        self._segment = -1
        self._began = 0
        self._written = 0

    def note(self, event: TraceEvent) -> None:
        """Append-only, buffered, may be lost in a crash; never blocks, never raises."""
        line = _line(event)
        if self._waiting_bytes + len(line) > MAX_BUFFER:
            self._lost += 1
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line)

    async def flush(self) -> None:
        """Gives what waits to the system.  A disk that refuses loses it, and never stops the mail."""
        async with self._writing:
            lines, lost = self._waiting, self._lost
            self._waiting, self._waiting_bytes, self._lost = [], 0, 0
            if lost:
                facts = {"process": self._process, "events": str(lost)}
                lines.append(_line(TraceEvent(self._clock.now(), "", "trace-lost", facts=facts)))
            if not lines:
                return
            loop = asyncio.get_running_loop()
            if not await loop.run_in_executor(self._pool, self._append, b"".join(lines)):
                self._lost += lost or len(lines)

    async def find(self, trace_id: str) -> tuple[TraceEvent, ...]:
        """Everything kept about one message, oldest first, by all processes as far as they have flushed."""
        await self.flush()
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._find, trace_id)

    async def prune(self, keep_days: int) -> int:
        """Removes segments in which every event is older than `keep_days`; says how many."""
        before = int(self._clock.now()) - keep_days * 86_400
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._prune, before)

    async def close(self) -> None:
        await self.flush()
        async with self._writing:
            self._end_segment()

    # ------------------------------------------------------- in the pool

    def _append(self, data: bytes) -> bool:
        try:
            self._have_segment(len(data))
            rest = memoryview(data)
            while rest:
                count = os.write(self._segment, rest)
                self._written += count
                rest = rest[count:]
        except OSError:
            self._end_segment()  # a line may be cut short: the next begins in another file
            return False
        return True

    def _have_segment(self, size: int) -> None:
        now = int(self._clock.now())
        if self._segment >= 0 and (self._written + size > SEGMENT_BYTES or now - self._began >= SEGMENT_SECONDS):
            self._end_segment()
        if self._segment >= 0:
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for serial in range(1000):
            path = self._folder / f"{now:012}-{serial:03}-{self._process}{_SUFFIX}"
            try:
                self._segment = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            self._began, self._written = now, 0
            return
        raise FileExistsError(path)

    def _end_segment(self) -> None:
        if self._segment >= 0:
            os.close(self._segment)
            self._segment = -1

    def _find(self, trace_id: str) -> tuple[TraceEvent, ...]:
        needle = b'"trace_id":' + _encode(trace_id)
        events: list[TraceEvent] = []
        for path in sorted(self._segments(), reverse=True):
            try:
                data = path.read_bytes()
            except FileNotFoundError:  # pruned meanwhile
                continue
            events.extend(_events(data, needle))
        return tuple(sorted(events, key=lambda event: event.at))

    def _prune(self, before: int) -> int:
        removed = 0
        for path in self._segments():
            if int(path.name[:12]) + SEGMENT_SECONDS < before:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _segments(self) -> Iterator[Path]:
        return (path for path in self._folder.glob(f"*{_SUFFIX}") if path.name[:12].isdecimal())


def _events(data: bytes, needle: bytes) -> Iterator[TraceEvent]:
    """The events whose line holds `needle`; a line cut short by a crash is passed over."""
    found = data.find(needle)
    while found >= 0:
        start, end = data.rfind(b"\n", 0, found) + 1, data.find(b"\n", found)
        if end < 0:
            return
        try:
            yield _decode(data[start:end])
        except msgspec.DecodeError:
            pass
        found = data.find(needle, end)


def _line(event: TraceEvent) -> bytes:
    facts = {_text(name): _text(value) for name, value in event.facts.items()}
    cleaned = TraceEvent(event.at, _text(event.trace_id), _text(event.what), event.account, facts)
    return _encode(cleaned) + b"\n"


def _text(value: str) -> str:
    """Bounded, and writable also where it came from bytes that are no UTF-8."""
    shown = value[:MAX_FACT]
    return shown if shown.isascii() else shown.encode("utf-8", "backslashreplace").decode()
