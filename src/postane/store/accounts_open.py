"""Where accounts lie on the disk, and a bounded number of their databases kept open.

    accounts/ab/abcdef.../   mail.sqlite, blobs/, maildrop.lock

Folders are named by the account's random id, of which the first two characters
spread them.  A name beginning with "." is being made or removed.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from concurrent.futures import Executor
from pathlib import Path

from postane.store.api import AccountRef
from postane.store.schema import load
from postane.store.sqlite import Database
from postane.store.writers import Writers

SCHEMA = load("mail", 0x506F734D)  # "PosM"
DATABASE = "mail.sqlite"
BLOBS = "blobs"
_PUBLIC_ID = re.compile(r"[a-z0-9]{2,64}\Z")


def folder_of(root: Path, account: AccountRef) -> Path:
    """The account's folder under the data folder `root`."""
    if not _PUBLIC_ID.match(account.public_id):
        raise ValueError(f"{account.public_id!r} is no account id")
    return root / "accounts" / account.public_id[:2] / account.public_id


class OpenAccounts:
    """The least recently used goes first, but never one that is at work.  An idle session holds none."""

    def __init__(self, root: Path, pool: Executor, bound: int, vfs: str | None) -> None:
        self._root = root
        self._pool = pool
        self._bound = bound
        self._vfs = vfs
        self._writers = Writers(pool)
        self._open: OrderedDict[int, Database] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def get(self, account: AccountRef) -> Database:
        """Use what it gives before the next await: only a database at work is safe from being closed."""
        database = self._open.get(account.id)
        if database is None:
            path = folder_of(self._root, account) / DATABASE
            database = Database(path, SCHEMA, self._pool, writers=self._writers, vfs=self._vfs)
            self._open[account.id] = database
        self._open.move_to_end(account.id)
        if len(self._open) > self._bound:
            self._evict(database)
        return database

    def _evict(self, kept: Database) -> None:
        """Those at work stay, above the bound if need be, until a later call finds them idle."""
        excess = len(self._open) - self._bound
        idle = [id_ for id_, database in self._open.items() if database.is_idle and database is not kept]
        for account_id in idle[:excess]:
            task = asyncio.get_running_loop().create_task(self._open.pop(account_id).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close_one(self, account: AccountRef) -> None:
        database = self._open.pop(account.id, None)
        if database is not None:
            await database.close()

    async def close(self) -> None:
        databases = list(self._open.values())
        self._open.clear()
        await asyncio.gather(*(database.close() for database in databases), *self._closing)
