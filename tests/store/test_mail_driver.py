"""The SQLite driver: who waits together commits together, reads keep off the loop, files say whose they are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from postane.core.status import Condition, MailError
from postane.store import sqlite
from postane.store.schema import Schema, load
from postane.store.script import Rows, Script, just
from postane.store.sqlite import Database
from postane.store.sqlite_file import WrongData
from postane.store.writers import Writers

FIRST = "CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT"
SECOND = "ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 7"
SCHEMA = Schema("test", 0x1234, (FIRST,))
NAMES = "SELECT name FROM thing ORDER BY id"


@asynccontextmanager
async def database(path: Path, schema: Schema = SCHEMA, **options: Any) -> AsyncIterator[Database]:
    with ThreadPoolExecutor(4) as pool:
        one = Database(path, schema, pool, create=True, **options)
        yield one
        await one.close()


def add(name: str) -> Script[Rows]:
    return just("INSERT INTO thing (name) VALUES (?) RETURNING id", (name,))


def noting_thread(seen: list[int]) -> Script[Rows]:
    seen.append(threading.get_ident())
    return (yield NAMES, ())


async def names(one: Database) -> list[str]:
    return [row[0] for row in await one.read(just(NAMES))]


# ---------------------------------------------------------------- writing


async def test_what_waits_is_committed_together(tmp_path: Path) -> None:
    async with database(tmp_path / "x") as one:
        await one.write(add("first"))
        commits = []
        one._writer.set_commit_hook(lambda: bool(commits.append(1)))  # type: ignore[union-attr]

        await asyncio.gather(*(one.write(add(str(n))) for n in range(50)))

        assert 51 == len(await names(one))
        assert len(commits) <= 3


async def test_a_script_that_fails_takes_only_itself_back(tmp_path: Path) -> None:
    def half() -> Script[None]:
        yield "INSERT INTO thing (name) VALUES ('half')", ()
        raise MailError(Condition.OVER_QUOTA, "no")

    async with database(tmp_path / "x") as one:
        results = await asyncio.gather(
            one.write(add("a")), one.write(half()), one.write(add("a")), one.write(add("b")), return_exceptions=True
        )

        assert [list, MailError, apsw.ConstraintError, list] == [type(result) for result in results]
        assert ["a", "b"] == await names(one)


async def test_if_the_commit_fails_all_fail(tmp_path: Path) -> None:
    async with database(tmp_path / "x") as one:
        await one.write(add("before"))
        one._writer.set_commit_hook(lambda: True)  # type: ignore[union-attr]

        results = await asyncio.gather(*(one.write(add(str(n))) for n in range(3)), return_exceptions=True)

        assert all(isinstance(result, Exception) for result in results)
        one._writer.set_commit_hook(None)  # type: ignore[union-attr]
        assert ["before"] == await names(one)
        await one.write(add("after"))
        assert ["before", "after"] == await names(one)


async def test_a_full_disk_fails_all_who_wait_and_the_next_is_served(tmp_path: Path) -> None:
    async with database(tmp_path / "x") as one:
        await one.write(add("before"))
        writer = one._writer
        assert writer is not None
        pages = writer.pragma("page_count")
        writer.pragma("max_page_count", pages)
        committed: list[object] = []

        results = await asyncio.gather(
            one.write(add("x" * 5_000_000), committed.append), one.write(add("y")), return_exceptions=True
        )

        assert isinstance(results[0], MailError)
        assert Condition.DISK_FULL is results[0].condition
        assert [] == committed
        writer.pragma("max_page_count", 1_000_000)
        await one.write(add("after"))
        assert "after" in await names(one)


async def test_a_cancelled_writer_commits_all_the_same(tmp_path: Path) -> None:
    async with database(tmp_path / "x") as one:
        committed: list[Rows] = []
        task = asyncio.create_task(one.write(add("a"), committed.append))
        await asyncio.sleep(0)
        task.cancel()

        await one.write(add("b"))

        assert ["a", "b"] == await names(one)
        assert [[(1,)]] == committed


async def test_a_cancelled_reader_keeps_the_reader_until_it_is_done(tmp_path: Path) -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow() -> Script[Rows]:
        inside.set()
        leave.wait(10)
        return (yield NAMES, ())

    async with database(tmp_path / "x") as one:
        task = asyncio.create_task(one.read(slow()))
        await asyncio.to_thread(inside.wait, 10)
        task.cancel()
        after = asyncio.create_task(one.read(just(NAMES)))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not after.done()

        leave.set()

        assert [] == await after


async def test_the_wal_is_copied_home_and_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAL_CHECKPOINT_PAGES", 50)
    async with database(tmp_path / "x") as one:
        for n in range(100):
            await one.write(add(str(n) + "x" * 20_000))

        assert (tmp_path / "x").stat().st_size > 1_000_000
        assert (tmp_path / "x-wal").stat().st_size < 100 * 4200


async def test_a_pinned_wal_is_cut_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAL_CHECKPOINT_PAGES", 50)
    monkeypatch.setattr(sqlite, "WAL_TRUNCATE_PAGES", 150)
    async with database(tmp_path / "x") as one:
        await one.write(add("a"))
        pin = apsw.Connection(str(tmp_path / "x"))
        pin.execute("BEGIN; SELECT * FROM thing").fetchall()
        for n in range(100):
            await one.write(add(str(n) + "x" * 20_000))
        assert (tmp_path / "x-wal").stat().st_size > 500 * 4096
        pin.close()

        for n in range(100):
            await one.write(add(str(n) + "y" * 20_000))

        assert (tmp_path / "x-wal").stat().st_size < 300 * 4200


async def test_free_pages_go_back_to_the_disk(tmp_path: Path) -> None:
    async with database(tmp_path / "x") as one:
        await one.write(add("x" * 2_000_000))
        await one.write(just("DELETE FROM thing"))
        await one.shrink()
    async with database(tmp_path / "x") as one:
        assert [] == await names(one)

    assert (tmp_path / "x").stat().st_size < 100_000


async def test_one_who_takes_long_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    inside, leave = threading.Event(), threading.Event()

    def long() -> Script[None]:
        yield NAMES, ()
        inside.set()
        leave.wait(10)

    with ThreadPoolExecutor(4) as pool:
        writers = Writers(pool)
        one, other = (Database(tmp_path / name, SCHEMA, pool, writers=writers, create=True) for name in "ab")
        task = asyncio.create_task(one.write(long()))
        await asyncio.to_thread(inside.wait, 10)

        await other.write(add("a"))

        assert not task.done()
        leave.set()
        await task
        await one.close()
        await other.close()


# ---------------------------------------------------------------- reading


async def test_reads_come_to_the_loop_once_warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "SLOW", 60.0)
    here, seen = threading.get_ident(), []
    async with database(tmp_path / "x") as one:
        for _ in range(3):
            await one.read(noting_thread(seen))
        await one.read(noting_thread(seen), in_pool=True)

        assert [False, True, True, False] == [thread == here for thread in seen]


async def test_a_slow_read_sends_the_next_to_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, seen = threading.get_ident(), []
    async with database(tmp_path / "x") as one:
        monkeypatch.setattr(sqlite, "SLOW", 60.0)
        await one.read(just(NAMES))
        monkeypatch.setattr(sqlite, "SLOW", 0.0)
        await one.read(noting_thread(seen))
        await one.read(noting_thread(seen))

        assert [True, False] == [thread == here for thread in seen]


async def test_a_busy_read_goes_to_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "SLOW", 60.0)
    here, seen = threading.get_ident(), []

    class Busy:
        """Says busy on the loop."""

        def __init__(self, real: apsw.Connection) -> None:
            self._real = real

        def execute(self, sql: str, values: object = ()) -> object:
            if sql.startswith("BEGIN") and threading.get_ident() == here:
                raise apsw.BusyError("said by the test")
            return self._real.execute(sql, values)

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

    async with database(tmp_path / "x") as one:
        await one.write(add("a"))
        await one.read(just(NAMES))
        one._reader = Busy(one._reader)  # type: ignore[assignment,arg-type]

        assert [("a",)] == await one.read(noting_thread(seen))

        assert here not in seen


async def test_a_read_sees_one_moment(tmp_path: Path) -> None:
    async with database(tmp_path / "x") as one, database(tmp_path / "x") as other:
        await one.write(add("a"))
        between = asyncio.get_running_loop()

        def twice() -> Script[tuple[Rows, Rows]]:
            before = yield NAMES, ()
            asyncio.run_coroutine_threadsafe(other.write(add("b")), between).result(10)
            after = yield NAMES, ()
            return before, after

        before, after = await one.read(twice(), in_pool=True)

        assert [("a",)] == before == after
        assert ["a", "b"] == await names(one)


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    async with database(tmp_path / "x") as one:
        with pytest.raises(apsw.ReadOnlyError):
            await one.read(add("a"))

        assert [] == await names(one)


# ---------------------------------------------------------------- files


async def test_a_new_file_is_made_right(tmp_path: Path) -> None:
    async with database(tmp_path / "x") as one:
        await one.write(add("a"))
        assert one._writer is not None

        settings = {name: one._writer.pragma(name) for name in ("auto_vacuum", "journal_mode", "synchronous")}
        assert {"auto_vacuum": 2, "journal_mode": "wal", "synchronous": 2} == settings
        assert (0x1234, 1) == (one._writer.pragma("application_id"), one._writer.pragma("user_version"))
        assert 1 == one._writer.pragma("foreign_keys")


async def test_steps_are_taken_when_the_file_is_next_opened(tmp_path: Path) -> None:
    async with database(tmp_path / "x") as old:
        await old.write(add("a"))

    async with database(tmp_path / "x", Schema("test", 0x1234, (FIRST, SECOND))) as new:
        assert [("a", 7)] == await new.read(just("SELECT name, size FROM thing"))


async def test_a_step_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    async with database(tmp_path / "x") as old:
        await old.write(add("a"))
    async with database(tmp_path / "x", Schema("test", 0x1234, (FIRST, SECOND + "; NONSENSE"))) as broken:
        with pytest.raises(apsw.SQLError):
            await broken.read(just(NAMES))

    async with database(tmp_path / "x") as again:
        assert ["a"] == await names(again)
        with pytest.raises(apsw.SQLError):
            await again.read(just("SELECT size FROM thing"))


async def test_a_newer_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async with database(tmp_path / "x", Schema("test", 0x1234, (FIRST, SECOND))) as new:
        await new.write(add("a"))

    async with database(tmp_path / "x") as old:
        with pytest.raises(WrongData) as error:
            await old.read(just(NAMES))
        with pytest.raises(WrongData):
            await old.write(add("b"))

    assert str(tmp_path / "x") in str(error.value)
    assert "version 2" in str(error.value)
    assert "restore a backup" in str(error.value)
    assert str(tmp_path) not in error.value.text


async def test_the_file_of_another_program_is_refused(tmp_path: Path) -> None:
    theirs = apsw.Connection(str(tmp_path / "x"))
    theirs.execute("CREATE TABLE theirs (a)")
    theirs.close()

    async with database(tmp_path / "x") as one:
        with pytest.raises(WrongData, match="is not a test file"):
            await one.read(just(NAMES))


async def test_what_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no database" * 1000)

    async with database(tmp_path / "x") as one:
        with pytest.raises(MailError) as error:
            await one.read(just(NAMES))

    assert "damaged" in error.value.text
    assert str(tmp_path / "x") in error.value.detail


async def test_a_missing_file_is_not_made_unasked(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        one = Database(tmp_path / "x", SCHEMA, pool)
        with pytest.raises(MailError):
            await one.read(just(NAMES))
        with pytest.raises(MailError):
            await one.write(add("a"))
        await one.close()

    assert not (tmp_path / "x").exists()


def test_migrations_are_numbered_without_a_gap() -> None:
    assert load("mail", 1).version >= 1
    with pytest.raises(ValueError, match="numbered"):
        load("nothing", 1)
