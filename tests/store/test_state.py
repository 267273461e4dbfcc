"""What may be forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from postane.core.clock import TurnedClock
from postane.store.script import just
from postane.store.sqlite import Database
from postane.store.state import NOTED_AGAIN, REMEMBERED, SCHEMA, SqlState


@asynccontextmanager
async def opened(root: Path, clock: TurnedClock) -> AsyncIterator[tuple[SqlState, Database]]:
    pool = ThreadPoolExecutor(1)
    database = Database(root / "state.sqlite", SCHEMA, pool, create=True)
    state = SqlState(database, clock)
    try:
        yield state, database
    finally:
        await state.close()
        pool.shutdown()


async def test_tls_is_remembered_by_everyone_and_for_a_season(tmp_path: Path) -> None:
    clock = TurnedClock()
    async with opened(tmp_path, clock) as (state, _):
        assert not await state.had_tls("far.example")
        await state.note_tls("far.example")
        assert await state.had_tls("far.example")
        assert not await state.had_tls("near.example")
    async with opened(tmp_path, clock) as (other, database):
        clock.turn(REMEMBERED - 1)
        assert await other.had_tls("far.example")
        clock.turn(1)
        assert not await other.had_tls("far.example")
        await other.forget()
        assert await database.read(just("SELECT * FROM tls_memory")) == []


async def test_a_sight_of_the_same_day_is_not_written(tmp_path: Path) -> None:
    clock = TurnedClock()
    async with opened(tmp_path, clock) as (state, database):
        seen = []
        for _ in range(3):
            await state.note_tls("far.example")
            seen.append((await database.read(just("SELECT seen_at FROM tls_memory")))[0][0] - 1_750_000_000)
            clock.turn(NOTED_AGAIN / 2)

        assert seen == [0, 0, NOTED_AGAIN]
