"""Durable databases in SQLite files: group commit, reads where they are called.

`Database` runs scripts (`postane.store.script`) on one file.

Writes: what waits is committed together, each script under its own savepoint;
the answer comes after the commit is on disk (WAL, `synchronous=FULL`).  If the
commit fails, all fail.  Statements of short scripts run on the loop where the
writer is open and warm, for threads that run
Python would but fight for the interpreter; the commit, which waits for the
disk, is always a thread's, and so is everything else.  A lock file is held
around the transaction, because between processes SQLite's own waiting sleeps.
A caller that is cancelled does not stop its write.

Reads: one snapshot a script.  They run where they are called, on the loop, once
the reader is open and as long as the last one took under 2 ms; otherwise, and
wherever SQLite says busy, in the pool.

Checkpoints are made by the writing thread after it has answered, never on the loop.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import apsw

from postane.store import files
from postane.store.schema import Schema
from postane.store.script import Script, just
from postane.store.sqlite_file import BUSY_MS, WAL_CHECKPOINT_PAGES, connect, failure, run
from postane.store.writers import Writers

T = TypeVar("T")

WAL_TRUNCATE_PAGES = 16_384
"""Beyond this (64 MiB) the WAL is also cut, which waits for readers."""
BATCH = 256
"""The most scripts of one commit."""
BATCH_HERE = 32
"""The most whose statements run on the loop in one go."""
SHRUNK_PAGES = 2048
"""The most pages (8 MiB) that one call gives back."""
RETRY = 0.001
"""Seconds, about, before a file that another process is writing is tried again."""
SLOW = 0.002
"""Seconds after which the next read goes to the pool (STORE.md rule 6)."""


@dataclass(slots=True)
class _Waiting:
    """A write on its way: what to run, who waits, and what to do on the loop once it is durable."""

    script: Script[Any]
    future: asyncio.Future[Any]
    committed: Callable[[Any], None] | None
    is_short: bool
    result: Any = None
    error: Exception | None = None


class Database:
    """One database file: `await db.read(script)`, `await db.write(script)`, `await db.close()`.

    Making one does no I/O; connections open in the pool when first needed.  Use
    it from one event loop.  `create` makes a missing file (its folder must exist).
    Where there are many databases they share one `writers`.

        schema = load("directory", 0x506F7344)
        db = Database(path, schema, pool, create=True)
        rows = await db.read(just("SELECT name FROM domain ORDER BY name"))
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        pool: Executor,
        *,
        writers: Writers | None = None,
        create: bool = False,
        vfs: str | None = None,
    ) -> None:
        self._path = path
        self._schema = schema
        self._pool = pool
        self._writers = writers or Writers(pool)
        self._create = create
        self._vfs = vfs
        self._reader: apsw.Connection | None = None
        self._writer: apsw.Connection | None = None
        self._reading = asyncio.Lock()
        self._is_warm = False
        self._is_writer_warm = False
        self._waiting: deque[_Waiting] = deque()
        self._is_committing = False
        self._drained = asyncio.Event()
        self._drained.set()
        self._lock_file = -1
        self._wal_pages = 0
        self._checkpoint_at = WAL_CHECKPOINT_PAGES

    @property
    def is_idle(self) -> bool:
        """Nothing runs and nothing waits: it may be closed."""
        return self._drained.is_set() and not self._reading.locked()

    # ------------------------------------------------------------ reading

    async def read(self, script: Script[T], *, in_pool: bool = False) -> T:
        """Runs a reading script on one snapshot; `in_pool` for what is known to be long."""
        if self._is_warm and not in_pool and not self._reading.locked():
            assert self._reader is not None
            try:
                started = time.perf_counter()
                result = self._run_on_snapshot(self._reader, script)
                self._is_warm = time.perf_counter() - started < SLOW
                return result
            except _NotStarted:
                pass
        await self._reading.acquire()
        job = asyncio.get_running_loop().run_in_executor(self._pool, self._read_in_pool, script)
        # The thread has the reader until it is done, though the caller may be cancelled before.
        job.add_done_callback(lambda _: self._reading.release())
        return await asyncio.shield(job)

    def _read_in_pool(self, script: Script[T]) -> T:
        if self._reader is None:
            self._reader = connect(self._path, self._schema, create=self._create, vfs=self._vfs)
            self._reader.execute("PRAGMA query_only = ON")
        self._reader.set_busy_timeout(BUSY_MS)
        started = time.perf_counter()
        try:
            return self._run_on_snapshot(self._reader, script)
        except _NotStarted as busy:
            raise failure(busy.error, self._path) from busy
        finally:
            self._reader.set_busy_timeout(0)
            self._is_warm = time.perf_counter() - started < SLOW

    def _run_on_snapshot(self, connection: apsw.Connection, script: Script[T]) -> T:
        try:
            # Reading the schema cookie makes BEGIN take its snapshot now, while the script can still go elsewhere.
            connection.execute("BEGIN; PRAGMA schema_version").fetchall()
        except apsw.BusyError as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise _NotStarted(error) from error
        try:
            return run(connection, script)
        except apsw.Error as error:
            raise failure(error, self._path) from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    # ------------------------------------------------------------ writing

    async def write(
        self, script: Script[T], committed: Callable[[T], None] | None = None, *, is_short: bool = False
    ) -> T:
        """Runs a writing script and returns when it is durable.

        `committed` is called on the loop with the result, also where the caller was cancelled meanwhile.
        `is_short`: it is some few statements on some few rows.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Waiting(script, future, committed, is_short))
        if not self._is_committing:
            self._is_committing = True
            self._drained.clear()
            loop.call_soon(self._begin_batch, loop)
        return await future

    def _begin_batch(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the loop: what waits now is the next transaction.

        The lock is taken here and never waited for in a thread: whoever holds one file while its commit waits for a
        thread, and has its threads wait for other files, may wait in a ring with another process that does the same.
        """
        waiting = self._waiting
        try:
            is_locked = self._lock()
        except OSError as error:
            batch = list(waiting)
            waiting.clear()
            self._fail(batch, error)
            loop.call_soon(self._settle_and_go_on, loop, batch)
            return
        if not is_locked:
            loop.call_later(RETRY * (0.5 + random.random()), self._begin_batch, loop)  # noqa: S311 - spreads load
            return
        most = BATCH_HERE if self._is_writer_warm and waiting[0].is_short else BATCH
        batch = [waiting.popleft() for _ in range(min(most, len(waiting)))]
        is_filled = self._is_writer_warm and all(one.is_short for one in batch) and self._fill_here(batch)
        self._writers.call(partial(self._commit, loop, batch, is_filled))

    def _lock(self) -> bool:
        """Whether this process has the file now; False where another has it."""
        if self._lock_file < 0:
            self._lock_file = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _fill_here(self, batch: list[_Waiting]) -> bool:
        """Runs the statements on the loop; False where SQLite would not begin, and nothing was done."""
        assert self._writer is not None
        self._writer.set_busy_timeout(0)
        started = time.perf_counter()
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except apsw.Error:  # busy, or what the thread will be told too
            return False
        finally:
            self._writer.set_busy_timeout(BUSY_MS)
        self._fill(self._writer, batch)
        self._is_writer_warm = time.perf_counter() - started < SLOW * len(batch)
        return True

    def _commit(self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting], is_filled: bool) -> None:
        """In a writing thread: all of a batch becomes durable, and then is answered."""
        try:
            if not is_filled:
                self._begin_in_thread(batch)
            assert self._writer is not None
            if self._writer.in_transaction:  # or else a statement has ended it, and everyone has an error
                self._writer.execute("COMMIT")
        except Exception as error:  # whoever waits is told, whatever it was
            self._fail(batch, error)
        finally:
            self._end_transaction()
        if self._wal_pages < self._checkpoint_at:
            loop.call_soon_threadsafe(self._settle_and_go_on, loop, batch)
            return
        loop.call_soon_threadsafe(_settle, batch)
        self._checkpoint()
        loop.call_soon_threadsafe(self._settle_and_go_on, loop, [])

    def _settle_and_go_on(self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting]) -> None:
        """On the loop: the writer is free again."""
        _settle(batch)
        if self._waiting:
            self._begin_batch(loop)
        else:
            self._is_committing = False
            self._drained.set()

    def _begin_in_thread(self, batch: list[_Waiting]) -> None:
        with self._writers.turn():
            if self._writer is None:
                self._writer = connect(self._path, self._schema, create=self._create, vfs=self._vfs)
                self._writer.set_wal_hook(self._note_wal)
            started = time.perf_counter()
            self._writer.execute("BEGIN IMMEDIATE")
            self._fill(self._writer, batch)
            self._is_writer_warm = time.perf_counter() - started < SLOW * len(batch)

    def _fill(self, writer: apsw.Connection, batch: list[_Waiting]) -> None:
        """The statements of one transaction; a script that fails leaves the others alone."""
        try:
            for waiting in batch:
                self._attempt(writer, waiting)
        except Exception as error:  # the transaction is lost, and with it what others had done in it
            self._fail(batch, error)
            self._roll_back()

    def _fail(self, batch: list[_Waiting], error: Exception) -> None:
        for waiting in batch:
            waiting.error = waiting.error or self._said(error)

    def _end_transaction(self) -> None:
        self._roll_back()
        if self._lock_file >= 0:
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def _roll_back(self) -> None:
        if self._writer is not None and self._writer.in_transaction:
            with suppress(apsw.Error):  # SQLite has ended it, or will when the file is opened again
                self._writer.execute("ROLLBACK")

    def _attempt(self, writer: apsw.Connection, waiting: _Waiting) -> None:
        """One script under its savepoint.  An error that ended the whole transaction is raised on."""
        writer.execute("SAVEPOINT script")
        try:
            waiting.result = run(writer, waiting.script)
        except Exception as error:
            if not writer.in_transaction:
                raise
            writer.execute("ROLLBACK TO script")
            waiting.error = self._said(error)
        writer.execute("RELEASE script")

    def _said(self, error: Exception) -> Exception:
        """What the writer was told -> what its callers are."""
        if isinstance(error, apsw.Error):
            return failure(error, self._path, self._writer.system_errno if self._writer else 0)
        return files.failure(error) if isinstance(error, OSError) else error

    def _note_wal(self, connection: apsw.Connection, name: str, pages: int) -> int:
        if pages < self._wal_pages:  # it was begun anew
            self._checkpoint_at = WAL_CHECKPOINT_PAGES
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Never fails a write: what could not be copied now (someone reads an old snapshot) is copied later."""
        if self._wal_pages < self._checkpoint_at or self._writer is None:
            return
        self._checkpoint_at = self._wal_pages + WAL_CHECKPOINT_PAGES
        mode = apsw.SQLITE_CHECKPOINT_PASSIVE
        if self._wal_pages >= WAL_TRUNCATE_PAGES:
            mode = apsw.SQLITE_CHECKPOINT_TRUNCATE
        self._writer.set_busy_timeout(0)
        try:
            self._writer.wal_checkpoint(mode=mode)
        except apsw.Error:
            return
        finally:
            self._writer.set_busy_timeout(BUSY_MS)

    # ------------------------------------------------------------ proving, shrinking

    async def integrity(self) -> tuple[str, ...]:
        """What SQLite finds wrong with its own file; nothing where all is well."""
        rows = await self.read(just("PRAGMA integrity_check"), in_pool=True)
        broken = await self.read(just("PRAGMA foreign_key_check"), in_pool=True)
        return (
            *(row[0] for row in rows if row[0] != "ok"),
            *(f"a row of {table} ({rowid}) names a {parent} that is not there" for table, rowid, parent, _ in broken),
        )

    async def shrink(self) -> None:
        """Gives some of the file's free pages back to the disk."""
        await self.write(just(f"PRAGMA incremental_vacuum({SHRUNK_PAGES})"))

    # ------------------------------------------------------------ closing

    async def close(self) -> None:
        """Waits for what runs, then closes.  The last to close a file copies its WAL home."""
        await self._drained.wait()
        async with self._reading:
            self._is_warm = False
            await asyncio.get_running_loop().run_in_executor(self._pool, self._close)

    def _close(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1


class _NotStarted(Exception):
    """SQLite was busy before the script's first statement."""

    def __init__(self, error: apsw.BusyError) -> None:
        super().__init__(str(error))
        self.error = error


def _settle(batch: list[_Waiting]) -> None:
    """On the loop: answers everyone of a batch, then says what is now so."""
    for waiting in batch:
        if waiting.future.done():
            continue
        if waiting.error is None:
            waiting.future.set_result(waiting.result)
        else:
            waiting.future.set_exception(waiting.error)
    for waiting in batch:
        if waiting.error is None and waiting.committed is not None:
            waiting.committed(waiting.result)
