"""A mail store with one account, for tests: short ways to put messages in and to look at what is there."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from postane.core.clock import TurnedClock
from postane.core.flags import NO_FLAGS, Flag
from postane.core.limits import ImapLimits
from postane.store.api import AccountRef, Append, Column, Facts, Filed, Hints, Mailbox, MailStore, Role, Staged
from postane.store.staging import FileStaging

ACCOUNT = AccountRef(7, "abcdefghijklmnopqrstuvwx")
LIMITS = ImapLimits(keywords=5, mailboxes=20, mailbox_depth=6, mailbox_name=200)
PREFIX = b"Return-Path: <>\r\n"
DATE = 1_700_000_000


@dataclass
class RecordingHints:
    """Keeps what was said, in order."""

    said: list[tuple[int, int]] = field(default_factory=list)

    def watch(self, account_id: int, changed: Callable[[], None], revoked: Callable[[], None]) -> Callable[[], None]:
        return lambda: None

    def changed(self, account_id: int, modseq: int) -> None:
        self.said.append((account_id, modseq))

    def revoked(self, account_id: int) -> None: ...


def hash_of(message_id: str) -> bytes:
    return hashlib.sha256(message_id.encode()).digest()[:8]


def facts(
    body: bytes, *, subject: str = "", message_id: str = "", references: Sequence[str] = (), sent: int | None = None
) -> Facts:
    """What a scan might have found; every field tells itself from the others."""
    return Facts(
        envelope=b"(envelope of %d octets)" % len(body),
        bodystructure=b"(structure)",
        parts=b"\x00parts",
        header=body.partition(b"\r\n\r\n")[0] + b"\r\n\r\n",
        sent_date=sent,
        base_subject=subject,
        from_="from",
        to="to",
        cc="cc",
        message_id_hash=hash_of(message_id) if message_id else b"",
        reference_hashes=tuple(map(hash_of, references)),
        needs_utf8=False,
        preview="preview",
        parsed_by=1,
    )


def body_of(size: int = 60, mark: str = "x") -> bytes:
    start = f"Subject: {mark}\r\n\r\n".encode()
    return start + b"y" * (size - len(start))


@dataclass
class World:
    store: MailStore
    staging: FileStaging
    hints: RecordingHints
    clock: TurnedClock
    root: Path
    pool: Executor
    account: AccountRef = ACCOUNT

    async def staged(self, body: bytes) -> Staged:
        writer = self.staging.begin()
        for start in range(0, len(body), 10_000):
            await writer.write(body[start : start + 10_000])
        return await writer.finish()

    async def append(
        self,
        body: bytes | None = None,
        mailbox: int | Role = Role.INBOX,
        *,
        flags: Flag = NO_FLAGS,
        keywords: tuple[str, ...] = (),
        delivery_id: str | None = None,
        found: Facts | None = None,
    ) -> Filed:
        body = body_of() if body is None else body
        staged = await self.staged(body)
        try:
            command = Append(
                mailbox, staged, found or facts(body), PREFIX, DATE, flags, keywords, delivery_id=delivery_id
            )
            return await self.store.write(self.account, command)
        finally:
            await staged.close()

    async def fill(self, count: int, **options: object) -> list[int]:
        """That many messages; their UIDs."""
        return [(await self.append(body_of(mark=str(n)), **options)).uid for n in range(count)]  # type: ignore[arg-type]

    async def box(self, name: str = "INBOX") -> Mailbox:
        return await self.store.mailbox(self.account, name)

    async def uids(self, name: str = "INBOX") -> list[int]:
        snapshot = await self.store.snapshot(self.account, (await self.box(name)).id)
        return list(snapshot.uids)

    async def column(self, column: Column, uid: int, name: str = "INBOX") -> object:
        rows = await self.store.entries(self.account, (await self.box(name)).id, [uid], [column])
        return rows[0][0]

    async def bytes_of(self, uid: int, name: str = "INBOX") -> bytes:
        """The whole message as the world sees it: prefix and blob."""
        columns = [Column.PREFIX, Column.BLOB, Column.BLOB_SIZE]
        rows = await self.store.entries(self.account, (await self.box(name)).id, [uid], columns)
        prefix, blob, size = rows[0]
        return prefix + await self.store.read(self.account, blob, 0, size)

    async def findings(self, repair: bool = False) -> list[str]:
        return [f"{f.where}: {f.problem}" async for f in self.store.check(self.account, repair)]


MakeStore = Callable[[Path, Hints, TurnedClock, Executor], MailStore]


@asynccontextmanager
async def world(root: Path, make_store: MakeStore) -> AsyncIterator[World]:
    """Proves at the end that the store finds itself in order."""
    hints, clock = RecordingHints(), TurnedClock()
    with ThreadPoolExecutor(8) as pool:
        store = make_store(root, hints, clock, pool)
        one = World(store, FileStaging(root, pool), hints, clock, root, pool)
        await store.create(ACCOUNT)
        yield one
        assert [] == await one.findings()
        await store.close()
