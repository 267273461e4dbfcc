"""The mail store over SQL: `MailStore` for everything that sessions and the flow ask of it.

What a command does is in `commands`, what a read gives in `queries`, each as a
script; here is what lies around them: which database, which slices, the files
of large bodies, and the word to others that something changed.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from postane.core.clock import Clock
from postane.core.ids import new_id
from postane.core.limits import ImapLimits
from postane.core.status import Condition, MailError
from postane.store import maildrop, queries, sql, tree
from postane.store.accounts_open import BLOBS, DATABASE, SCHEMA, OpenAccounts, folder_of
from postane.store.api import (
    SLICE,
    AccountRef,
    Append,
    Changes,
    ClaimRecent,
    Column,
    Command,
    Copied,
    Expunge,
    Filed,
    Finding,
    FlagsStored,
    Hints,
    Mailbox,
    Move,
    RenameMailbox,
    Role,
    Snapshot,
    StoreFlags,
    Usage,
)
from postane.store.blob_fs import SWEPT_AFTER, FileBlobs, sweep_folder
from postane.store.check import check
from postane.store.commands import script_of
from postane.store.commands.account import ROWS, Context, Done, begin
from postane.store.commands.founding import found
from postane.store.files import Files, SystemFiles, failure, make_folders
from postane.store.script import Script
from postane.store.sqlite_file import build

T = TypeVar("T")

SHORT = 16
"""The most entries whose flags are changed on the loop."""
_FENCED_OFF = 1 << 62
"""The generation of an account that is being removed: no write is under it or above."""


class SqlMailStore:
    """Fills `api.MailStore` with an SQLite file an account under the data folder `root`.

    `pool` runs what waits for the disk; `open_accounts` bounds the databases kept open; `files` and `vfs` (the name
    of an SQLite file layer) are the seams for tests.
    """

    def __init__(
        self,
        root: Path,
        *,
        hints: Hints,
        clock: Clock,
        pool: Executor,
        limits: ImapLimits | None = None,
        open_accounts: int = 256,
        files: Files | None = None,
        vfs: str | None = None,
    ) -> None:
        self._root = root
        self._hints = hints
        self._clock = clock
        self._pool = pool
        self._limits = limits or ImapLimits()
        self._accounts = OpenAccounts(root, pool, open_accounts, vfs)
        self._files = files or SystemFiles()
        self._vfs = vfs

    async def close(self) -> None:
        await self._accounts.close()

    # ------------------------------------------------------------ accounts

    async def create(self, account: AccountRef) -> None:
        folder = folder_of(self._root, account)
        await self._in_pool(self._create, account, folder)

    def _create(self, account: AccountRef, folder: Path) -> None:
        """Built under another name and then renamed: it is there whole or not at all."""
        if folder.is_dir():
            return
        making = folder.parent / f".{new_id()}"
        try:
            make_folders(self._files, making / BLOBS)
            build(making / DATABASE, SCHEMA, found(account, self._context()), vfs=self._vfs)
            self._files.sync_folder(making)
            self._files.rename(making, folder)
            self._files.sync_folder(folder.parent)
        except OSError as error:
            shutil.rmtree(making, ignore_errors=True)
            if not folder.is_dir():  # or else another process was first
                raise failure(error) from error

    async def remove(self, account: AccountRef) -> None:
        """Other workers may have it open: the fence stops their writes before the folder goes."""
        folder = folder_of(self._root, account)
        if not folder.is_dir():
            return
        await self._accounts.get(account).write(_fence(account))
        await self._accounts.close_one(account)
        await self._in_pool(self._remove, folder)

    def _remove(self, folder: Path) -> None:
        leaving = folder.parent / f".{new_id()}"
        try:
            self._files.rename(folder, leaving)
            self._files.sync_folder(folder.parent)
        except OSError as error:
            raise failure(error) from error
        shutil.rmtree(leaving, ignore_errors=True)

    # ------------------------------------------------------------ writing

    async def write(self, account: AccountRef, command: Command[T]) -> T:
        """Large changes go in several commits, and what would change nothing is not written."""
        result: Any
        match command:
            case Append():
                result = await self._append(account, command)
            case StoreFlags():
                result = await self._store_flags(account, command)
            case Move():
                result = await self._move(account, command)
            case Expunge():
                result = await self._expunge(account, command)
            case RenameMailbox():
                result = None
                await self._rename(account, command)
            case ClaimRecent():
                result = await self._claim_recent(account, command)
            case _:
                result = await self._commit(account, command)
        return cast(T, result)

    async def _commit(self, account: AccountRef, command: Command[T], place: str = "") -> T:
        script = script_of(account, command, self._context(place))
        database = self._accounts.get(account)
        done = await database.write(script, partial(self._tell, account.id), is_short=_is_short(command))
        if done.dropped:
            await self._in_pool(self._drop, account, done.dropped)
        return done.result

    def _tell(self, account_id: int, done: Done[Any]) -> None:
        self._hints.changed(account_id, done.modseq)

    def _drop(self, account: AccountRef, places: Sequence[str]) -> None:
        blobs = self._blobs(account)
        for place in places:
            blobs.drop(place)

    async def _append(self, account: AccountRef, command: Append) -> Filed:
        """A large body has its lasting name before the row that names it is committed."""
        if command.staged.small is not None:
            return await self._commit(account, command)
        place = await self._in_pool(self._blobs(account).adopt, command.staged)
        try:
            filed = await self._commit(account, command, place)
        except MailError:
            await self._in_pool(self._drop, account, (place,))
            raise
        if filed.repeated:
            await self._in_pool(self._drop, account, (place,))
        return filed

    async def _store_flags(self, account: AccountRef, command: StoreFlags) -> FlagsStored:
        parts = [
            await self._commit(
                account,
                StoreFlags(
                    command.mailbox, uids, command.change, command.flags, command.keywords, command.unchanged_since
                ),
            )
            for uids in _slices(command.uids)
        ]
        return FlagsStored(
            parts[-1].modseq,
            tuple(changed for part in parts for changed in part.changed),
            tuple(uid for part in parts for uid in part.failed),
        )

    async def _move(self, account: AccountRef, command: Move) -> Copied:
        parts = [
            await self._commit(account, Move(command.mailbox, uids, command.target)) for uids in _slices(command.uids)
        ]
        return Copied(
            parts[-1].uidvalidity,
            tuple(uid for part in parts for uid in part.sources),
            tuple(uid for part in parts for uid in part.targets),
            parts[-1].modseq,
        )

    async def _rename(self, account: AccountRef, command: RenameMailbox) -> None:
        """Of an INBOX the first ROWS messages go with the name itself, the rest of those there now after it."""
        database = self._accounts.get(account)
        before = await database.read(queries.mailbox(account, command.name, self._limits))
        await self._commit(account, command)
        if before.role is Role.INBOX and before.messages > ROWS:
            target = await self.mailbox(account, command.new_name)
            uids = await self._accounts.get(account).read(queries.living_uids(account, before.id), in_pool=True)
            await self._move(account, Move(before.id, [uid for uid in uids if uid < before.uidnext], target.id))

    async def _expunge(self, account: AccountRef, command: Expunge) -> tuple[int, ...]:
        uids = command.uids
        if command.only_deleted or uids is None:
            find = queries.deleted_uids if command.only_deleted else queries.living_uids
            found_uids = await self._accounts.get(account).read(find(account, command.mailbox))
            uids = found_uids if uids is None else sorted(set(found_uids).intersection(uids))
        gone: list[int] = []
        for some in _slices(uids) if uids else ():
            marked = await self._commit(account, Expunge(command.mailbox, some, command.only_deleted))
            gone.extend(marked)
        return tuple(gone)

    async def _claim_recent(self, account: AccountRef, command: ClaimRecent) -> int:
        mailbox = await self._accounts.get(account).read(tree.by_id(account, command.mailbox))
        if mailbox.recent_from == mailbox.uidnext:
            return mailbox.recent_from
        return await self._commit(account, command)

    # ------------------------------------------------------------ reading

    async def modseq(self, account: AccountRef) -> int:
        return await self._accounts.get(account).read(queries.modseq(account))

    async def usage(self, account: AccountRef) -> Usage:
        return await self._accounts.get(account).read(queries.usage(account))

    async def mailboxes(self, account: AccountRef) -> tuple[Mailbox, ...]:
        return await self._accounts.get(account).read(tree.every(account))

    async def mailbox(self, account: AccountRef, name: str) -> Mailbox:
        return await self._accounts.get(account).read(queries.mailbox(account, name, self._limits))

    async def subscriptions(self, account: AccountRef) -> tuple[str, ...]:
        return await self._accounts.get(account).read(queries.subscriptions(account))

    async def snapshot(self, account: AccountRef, mailbox: int) -> Snapshot:
        """A scan of the whole mailbox, hence never on the loop."""
        return await self._accounts.get(account).read(queries.snapshot(account, mailbox), in_pool=True)

    async def changes(self, account: AccountRef, mailbox: int, since: int) -> Changes:
        found = await self._accounts.get(account).read(queries.changes(account, mailbox, since, SLICE))
        if found is None:
            everything = queries.changes(account, mailbox, since, None)
            found = await self._accounts.get(account).read(everything, in_pool=True)
        assert found is not None
        return found

    async def entries(
        self, account: AccountRef, mailbox: int, uids: Sequence[int], columns: Sequence[Column]
    ) -> list[tuple[Any, ...]]:
        script = queries.entries(account, mailbox, uids, tuple(columns))
        return await self._accounts.get(account).read(script)

    async def read(self, account: AccountRef, blob: int, start: int, length: int) -> bytes:
        row = await self._accounts.get(account).read(queries.blob(account, blob, start, length))
        place, encoding, _, data = row
        if encoding != "raw":
            raise MailError(Condition.TEMPORARY, "this message cannot be read now", f"blob {blob} is {encoding}")
        if place:
            return await self._in_pool(self._blobs(account).read, place, start, length)
        if data is None:
            raise MailError(Condition.TEMPORARY, "this message is damaged", f"blob {blob} has no bytes; run `check`")
        return cast(bytes, data)

    # ------------------------------------------------------------ locking, proving, tidying

    async def lock_maildrop(self, account: AccountRef) -> maildrop.MaildropLock:
        path = folder_of(self._root, account) / "maildrop.lock"
        return maildrop.MaildropLock(await self._in_pool(maildrop.acquire, path), self._pool)

    def check(self, account: AccountRef, repair: bool) -> AsyncIterator[Finding]:
        return check(account, self._accounts.get, self._blobs(account), self._pool, repair=repair)

    async def sweep(self, account: AccountRef) -> int:
        """Removes day-old files in `blobs/` that no row names; returns how many.  Gives free pages back to the disk."""
        remove = partial(self._blobs(account).sweep, now=self._clock.now())
        removed = await self._accounts.get(account).write(_sweep(account, remove))
        await self._accounts.get(account).shrink()
        return removed

    async def sweep_incoming(self) -> int:
        """Removes what was being received, made or removed when a process died a day ago or earlier."""
        return await self._in_pool(self._sweep_incoming)

    def _sweep_incoming(self) -> int:
        now = self._clock.now()
        incoming = self._root / "incoming"
        removed = sweep_folder(self._files, incoming, now) if incoming.is_dir() else 0
        for folder in (self._root / "accounts").glob("??/.*"):
            if folder.stat().st_ctime < now - SWEPT_AFTER:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        return removed

    # ------------------------------------------------------------ inside

    def _context(self, place: str = "") -> Context:
        return Context(int(self._clock.now()), self._limits, place)

    def _blobs(self, account: AccountRef) -> FileBlobs:
        return FileBlobs(folder_of(self._root, account) / BLOBS, self._files)

    async def _in_pool(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)


def _is_short(command: Command[Any]) -> bool:
    if isinstance(command, StoreFlags):
        return len(command.uids) <= SHORT
    return isinstance(command, (Append, ClaimRecent))


def _slices(uids: Sequence[int]) -> list[Sequence[int]]:
    """In commits of at most ROWS; one, though empty, for none at all."""
    return [uids[start : start + ROWS] for start in range(0, len(uids), ROWS)] or [uids]


def _fence(account: AccountRef) -> Script[None]:
    yield sql.FENCE, (_FENCED_OFF, account.id)


def _sweep(account: AccountRef, remove: Callable[[frozenset[str]], int]) -> Script[int]:
    """`remove` runs while the account is held by `begin`, so that no row comes to name a file meanwhile."""
    yield from begin(account)
    rows = yield sql.PLACES, (account.id,)
    return remove(frozenset(row[0] for row in rows))
