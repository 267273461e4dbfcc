"""The only module that opens SQLite: durable databases with group commit and bounded readers.

`Database` runs scripts (`postane.store.script`) on one file.

Writes: what waits is committed together, each script under its own savepoint,
in one hop to a thread of the pool; the answer comes after the commit is on disk
(WAL, `synchronous=FULL`).  If the commit fails, all fail.  A lock file is held
around the transaction, because between processes SQLite's own waiting sleeps.
A caller that is cancelled does not stop its write.

Reads: one snapshot a script.  They run where they are called, on the loop, once
the reader is open and as long as the last one took under 2 ms; otherwise, and
wherever SQLite says busy, in the pool.

Checkpoints are made by the writing thread after it has answered, never on the loop.

Refused: a file of another application or of a newer version (`WrongData`), a
missing file unless `create` is given.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import apsw

from postane.core.status import Condition, MailError
from postane.store import files
from postane.store.schema import Schema
from postane.store.script import Script, just

T = TypeVar("T")

PAGE_SIZE = 4096
WAL_CHECKPOINT_PAGES = 1000
"""The writer copies the WAL into the file once it is this long."""
WAL_TRUNCATE_PAGES = 16_384
"""Beyond this (64 MiB) the WAL is also cut, which waits for readers."""
BATCH = 256
"""The most scripts of one commit."""
SLOW = 0.002
"""Seconds after which the next read goes to the pool (STORE.md rule 6)."""
CACHE_KIB = 512
"""Of a connection.  What is not in it is mostly in the system's own cache; an account that works has two."""
BUSY_MS = 10_000
WRITING_THREADS = 4

_EVERY_CONNECTION = f"""
    PRAGMA foreign_keys = ON;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA journal_size_limit = {WAL_CHECKPOINT_PAGES * PAGE_SIZE};
    PRAGMA temp_store = MEMORY;
    PRAGMA cache_size = -{CACHE_KIB};
    PRAGMA trusted_schema = OFF;
"""


class WrongData(MailError):
    """The file is not what this program can open; `detail` (and `str`) says which file, which version, what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__(Condition.TEMPORARY, "the data on this server cannot be opened now", detail)

    def __str__(self) -> str:
        return self.detail


def failure(error: apsw.Error, path: Path, errno: int = 0) -> Exception:
    """What SQLite says (`errno` from the system behind it) -> what the house says; our own defect stays what it is."""
    detail = f"{path}: {type(error).__name__}: {error}"
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and errno in (ENOSPC, EDQUOT)):
        return MailError(Condition.DISK_FULL, "there is no space left on the server's disk", detail)
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return MailError(Condition.TEMPORARY, "the data on this server is damaged", f"{detail}; run `postane check`")
    if isinstance(error, (apsw.BusyError, apsw.LockedError, apsw.IOError, apsw.CantOpenError, apsw.NoMemError)):
        return MailError(Condition.TEMPORARY, "the data on this server cannot be reached now", detail)
    return error


def run(connection: apsw.Connection, script: Script[T]) -> T:
    """Runs a script to its end inside whatever transaction the connection is in."""
    execute = connection.execute
    rows: list[tuple[Any, ...]] | None = None
    try:
        while True:
            sql, values = script.send(rows)  # type: ignore[arg-type]  # a generator's first send is None
            rows = execute(sql, values).fetchall()
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        script.close()


def connect(path: Path, schema: Schema, *, create: bool = False, vfs: str | None = None) -> apsw.Connection:
    """Opens the file, proves that it is ours, and brings it up to this program's version.  Blocking."""
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    try:
        connection = apsw.Connection(str(path), flags, vfs=vfs)
    except apsw.Error as error:
        raise failure(error, path) from error
    try:
        connection.set_busy_timeout(BUSY_MS)
        _bring_up(connection, path, schema)
        connection.execute(_EVERY_CONNECTION)
        if create:
            _sync_folder(path.parent)
    except apsw.Error as error:
        connection.close()
        raise failure(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def build(path: Path, schema: Schema, script: Script[None], *, vfs: str | None = None) -> None:
    """Makes a new file with what `script` puts into it; whole in the file itself when this returns.  Blocking."""
    connection = connect(path, schema, create=True, vfs=vfs)
    try:
        connection.execute("BEGIN IMMEDIATE")
        run(connection, script)
        connection.execute("COMMIT")
    except apsw.Error as error:
        raise failure(error, path, connection.system_errno) from error
    finally:
        connection.close()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _bring_up(connection: apsw.Connection, path: Path, schema: Schema) -> None:
    """Checks whose file it is; runs the steps that it has not had."""
    if _version(connection, path, schema) == schema.version:
        return
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}; PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL; BEGIN IMMEDIATE")
    try:
        version = _version(connection, path, schema)  # another process may have been first
        for step in schema.steps[version:]:
            connection.execute(step)
        connection.execute(
            f"PRAGMA application_id = {schema.application_id}; PRAGMA user_version = {schema.version}; COMMIT"
        )
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: apsw.Connection, path: Path, schema: Schema) -> int:
    application: int = connection.pragma("application_id")
    version: int = connection.pragma("user_version")
    if application != schema.application_id:
        if application == 0 and version == 0 and not connection.pragma("schema_version"):
            return 0
        raise WrongData(
            f"{path} is not a {schema.name} file of Postane (application id {application:#x}, not "
            f"{schema.application_id:#x}); give the right --data folder, or move that file away"
        )
    if version > schema.version:
        raise WrongData(
            f"{path} is of version {version}, and this program knows versions up to {schema.version}; "
            f"run the newer Postane that wrote it, or restore a backup made by this one"
        )
    return version


@dataclass(slots=True)
class _Waiting:
    """A write on its way: what to run, who waits, and what to do on the loop once it is durable."""

    script: Script[Any]
    future: asyncio.Future[Any]
    committed: Callable[[Any], None] | None
    result: Any = None
    error: Exception | None = None


class Writers:
    """The few threads of a pool that commit, for all databases that are given this object.

    Only one runs statements at a time, for they would but fight for the
    interpreter; the disk, which needs no interpreter, they await side by side.
    """

    def __init__(self, pool: Executor, threads: int = WRITING_THREADS) -> None:
        self.turn = threading.Lock()
        self._pool = pool
        self._threads = threads
        self._running = 0
        self._guard = threading.Lock()
        self._ready: deque[Callable[[], None]] = deque()

    def call(self, job: Callable[[], None]) -> None:
        """`job` runs in a thread, after those that were called before.  It must not raise."""
        with self._guard:
            self._ready.append(job)
            if self._running == self._threads:
                return
            self._running += 1
        self._pool.submit(self._run)

    def _run(self) -> None:
        while True:
            with self._guard:
                if not self._ready:
                    self._running -= 1
                    return
                job = self._ready.popleft()
            job()


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
        self._waiting: deque[_Waiting] = deque()
        self._guard = threading.Lock()
        self._is_draining = False
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

    async def write(self, script: Script[T], committed: Callable[[T], None] | None = None) -> T:
        """Runs a writing script and returns when it is durable.

        `committed` is called on the loop with the result, also where the caller was cancelled meanwhile.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._guard:
            self._waiting.append(_Waiting(script, future, committed))
            must_start, self._is_draining = not self._is_draining, True
        if must_start:
            self._drained.clear()
            self._writers.call(partial(self._commit_some, loop))
        return await future

    def _commit_some(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a writing thread: commits what waits, together; asks for another turn where more came meanwhile."""
        with self._guard:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        try:
            self._commit(batch)
        except Exception as error:  # whoever waits is told, whatever it was
            for waiting in batch:
                waiting.error = waiting.error or self._said(error)
        loop.call_soon_threadsafe(_settle, batch)
        self._checkpoint()
        with self._guard:
            self._is_draining = bool(self._waiting)
        if self._is_draining:
            self._writers.call(partial(self._commit_some, loop))
        else:
            loop.call_soon_threadsafe(self._note_drained)

    def _note_drained(self) -> None:
        if not self._is_draining:
            self._drained.set()

    def _commit(self, batch: list[_Waiting]) -> None:
        """One transaction for all; a script that fails leaves the others alone."""
        if self._writer is None:
            with self._writers.turn:
                self._writer = connect(self._path, self._schema, create=self._create, vfs=self._vfs)
            self._writer.set_wal_hook(self._note_wal)
        writer = self._writer
        with self._lock():
            try:
                with self._writers.turn:
                    writer.execute("BEGIN IMMEDIATE")
                    for waiting in batch:
                        self._attempt(writer, waiting)
                writer.execute("COMMIT")
            except BaseException:
                if writer.in_transaction:
                    writer.execute("ROLLBACK")
                raise

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

    @contextmanager
    def _lock(self) -> Iterator[None]:
        if self._lock_file < 0:
            self._lock_file = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)

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
        try:
            self._writer.wal_checkpoint(mode=mode)
        except apsw.Error:
            return

    # ------------------------------------------------------------ proving

    async def integrity(self) -> tuple[str, ...]:
        """What SQLite finds wrong with its own file; nothing where all is well."""
        rows = await self.read(just("PRAGMA integrity_check"), in_pool=True)
        broken = await self.read(just("PRAGMA foreign_key_check"), in_pool=True)
        return (
            *(row[0] for row in rows if row[0] != "ok"),
            *(f"a row of {table} ({rowid}) names a {parent} that is not there" for table, rowid, parent, _ in broken),
        )

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
