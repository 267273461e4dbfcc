"""Opening an SQLite file: whose it is, which version it has, how it is set, and what its errors mean.

This is the only module that opens SQLite, so that a driver that encrypts can
take its place.  A new file is made right from the start, because later would be
a VACUUM for everyone: pages of 4 KiB (measured: larger ones read alike and make
a delivery dearer), incremental vacuum, WAL, STRICT tables.

Refused: a file of another application or of a newer version (`WrongData`), a
missing file unless `create` is given.
"""

from __future__ import annotations

from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any, TypeVar

import apsw

from postane.core.status import Condition, MailError
from postane.store.files import SystemFiles
from postane.store.schema import Schema
from postane.store.script import Script

T = TypeVar("T")

PAGE_SIZE = 4096
WAL_CHECKPOINT_PAGES = 1000
"""The writer copies the WAL into the file once it is this long."""
CACHE_KIB = 512
"""Of a connection.  What is not in it is mostly in the system's own cache; an account that works has two."""
BUSY_MS = 10_000

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
        mend = "if `postane check` says the same, restore its folder from a backup"
        return MailError(Condition.TEMPORARY, "the data on this server is damaged", f"{detail}; {mend}")
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
        # Or else a statement is planned anew whenever the value of a range changes, which costs more than running it.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        _bring_up(connection, path, schema)
        connection.execute(_EVERY_CONNECTION)
        if create:
            SystemFiles().sync_folder(path.parent)
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
