"""What is on its way, in SQL: fills the port `QueueStore` (`postane.store.api`).

One row a recipient.  Small bodies are in the message's row; a larger one is a
file in `blobs/`, durable before the row that names it and removed after that
row is gone.  Any number of processes may work on one folder: who leases a
recipient gets a token, and only the last token given counts.

Refused: a message without recipients, or (by silence) a result under a token
that is no longer held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from postane.core.clock import Clock
from postane.core.ids import new_id
from postane.core.status import Condition, MailError
from postane.store import queue_sql as sql
from postane.store.api import (
    EVERYTHING,
    SLICE,
    Leased,
    NewMessage,
    QueueCounts,
    QueuedMessage,
    QueueFilter,
    RecipientResult,
    Staged,
)
from postane.store.blob_fs import FileBlobs
from postane.store.files import Files, SystemFiles, make_folders
from postane.store.schema import load
from postane.store.script import Script
from postane.store.sqlite import Database
from postane.store.staging import StagedMessage

SCHEMA = load("queue", 0x506F7351)


class SqlQueue:
    """`folder` is the data folder's `queue/`; `database` the file in it."""

    def __init__(
        self, database: Database, folder: Path, pool: Executor, clock: Clock, files: Files | None = None
    ) -> None:
        self._database = database
        self._pool = pool
        self._clock = clock
        self._files = files or SystemFiles()
        self._blobs = FileBlobs(folder / "blobs", self._files)
        make_folders(self._files, self._blobs.folder)

    async def close(self) -> None:
        await self._database.close()

    async def enqueue(self, message: NewMessage, lease_seconds: int) -> Leased:
        """One transaction; recipients not due later come back leased.  DISK_FULL, TEMPORARY: nothing is kept."""
        blob = await self._adopt(message)
        lease_end = int(self._clock.now()) + lease_seconds
        try:
            return await self._database.write(sql.enqueue(message, blob, new_id(), lease_end))
        except Exception:
            # Not where the caller was cancelled: then the row may be there, and the sweep finds out.
            await self._drop_blobs([blob])
            raise

    async def _adopt(self, message: NewMessage) -> str:
        """The body's lasting file, "" where it is small."""
        if not message.recipients:
            raise ValueError("a message in the queue needs a recipient")
        if message.staged.small is not None:
            return ""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._blobs.adopt, message.staged)

    async def lease_due(
        self, now: int, lease_seconds: int, limit: int, avoid: Collection[str] = ()
    ) -> tuple[Leased, ...]:
        """Recipients whose time has come and whose lease, if any, has run out; `limit` counts recipients."""
        return await self._database.write(sql.lease_due(now, new_id(), now + lease_seconds, limit, avoid))

    async def renew(self, leased: Iterable[Leased], lease_end: int) -> None:
        held = {(one.message.id, recipient.lease_token) for one in leased for recipient in one.recipients}
        await self._database.write(sql.renew(held, lease_end))

    async def next_due(self) -> int | None:
        """When the next recipient is due or the next lease ends."""
        return await self._database.read(sql.next_due())

    async def finish(
        self, leased: Leased, results: Iterable[RecipientResult], notices: Sequence[NewMessage] = ()
    ) -> None:
        """DELIVERED and FAILED rows go, with the last one the message and its bytes; `notices` come."""
        held = {recipient.id: recipient.lease_token for recipient in leased.recipients}
        blobs: list[str] = []
        try:
            for notice in notices:
                blobs.append(await self._adopt(notice))
            pairs = tuple(zip(notices, blobs, strict=True))
            finished = await self._database.write(sql.finish(held, tuple(results), pairs))
        except Exception:
            await self._drop_blobs(blobs)
            raise
        await self._drop_blobs(finished.blobs if finished.has_counted else blobs)

    async def staged(self, message: QueuedMessage) -> Staged:
        """The bytes, to be handed over; closing it leaves the queue's own copy alone.

        TEMPORARY where the message has left the queue meanwhile.
        """
        row = await self._database.read(sql.bytes_of(message.id))
        if row is None:
            raise MailError(Condition.TEMPORARY, "the message is no longer in the queue")
        sha256, blob, body = row
        path = self._blobs.folder / blob if blob else None
        return StagedMessage(
            size=message.size,
            sha256=sha256,
            small=body,
            path=path,
            is_ours=False,
            files=self._files,
            pool=self._pool,
        )

    # ------------------------------------------------------------ for people

    async def messages(self, after: int = 0, limit: int = SLICE, where: QueueFilter = EVERYTHING) -> tuple[Leased, ...]:
        """For listing, by id; leases nothing."""
        return await self._database.read(sql.messages(after, limit, where), in_pool=where is not EVERYTHING)

    async def counts(self, now: int, where: QueueFilter = EVERYTHING) -> QueueCounts:
        return await self._database.read(sql.counts(now, where), in_pool=True)

    async def hold(self, where: QueueFilter) -> int:
        return await self._in_slices(lambda: sql.hold(where))

    async def release(self, where: QueueFilter, now: int) -> int:
        return await self._in_slices(lambda: sql.release(where, now))

    async def retry_now(self, where: QueueFilter, now: int) -> int:
        return await self._in_slices(lambda: sql.retry_now(where, now))

    async def _in_slices(self, change: Callable[[], Script[int]]) -> int:
        total = done = await self._database.write(change())
        while done == sql.SLICE_OF_CHANGES:
            done = await self._database.write(change())
            total += done
        return total

    async def drop(self, where: QueueFilter) -> int:
        """Unsaid to anyone."""
        total, done = 0, sql.SLICE_OF_CHANGES
        while done == sql.SLICE_OF_CHANGES:
            done, blobs = await self._database.write(sql.drop(where))
            await self._drop_blobs(blobs)
            total += done
        return total

    # ------------------------------------------------------------ cleaning

    async def sweep(self) -> int:
        """Removes files that a crash has left without a row, once they are a day old; says how many."""
        named = await self._database.read(sql.blobs(), in_pool=True)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._blobs.sweep, named, self._clock.now())

    async def _drop_blobs(self, blobs: Iterable[str]) -> None:
        for blob in filter(None, blobs):
            await asyncio.get_running_loop().run_in_executor(self._pool, self._blobs.drop, blob)
