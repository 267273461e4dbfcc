"""Staging and blobs: what is in memory, what is a file, and what a failing disk leaves behind (nothing)."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from failing import FailingFiles, FailingMailStore, files_below
from mail_world import ACCOUNT, LIMITS, PREFIX, World, body_of, world

from postane.core.clock import TurnedClock
from postane.core.status import Condition, MailError
from postane.store.accounts_open import folder_of
from postane.store.api import AccountRef, Copy, Expunge, Hints, Purge, Role, Staged
from postane.store.files import SystemFiles
from postane.store.mail import SqlMailStore
from postane.store.staging import SMALL, FileStaging

DAY = 86_400
LARGE = 1_000_000


def make_store(
    root: Path, hints: Hints, clock: TurnedClock, pool: Executor, *, files: SystemFiles | None = None, bound: int = 256
) -> SqlMailStore:
    return SqlMailStore(root, hints=hints, clock=clock, pool=pool, limits=LIMITS, files=files, open_accounts=bound)


@asynccontextmanager
async def staging(root: Path, files: SystemFiles | None = None) -> AsyncIterator[FileStaging]:
    with ThreadPoolExecutor(2) as pool:
        yield FileStaging(root, pool, files)


async def stage(where: FileStaging, body: bytes, step: int = 10_000) -> Staged:
    writer = where.begin()
    for start in range(0, len(body), step):
        await writer.write(body[start : start + step])
    return await writer.finish()


def blob_files(root: Path) -> list[Path]:
    return list(files_below(folder_of(root, ACCOUNT), "blobs"))


# ---------------------------------------------------------------- staging


@pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1, LARGE])
@pytest.mark.parametrize("step", [1000, LARGE])
async def test_what_was_staged_is_whole(tmp_path: Path, size: int, step: int) -> None:
    body = os.urandom(size)
    async with staging(tmp_path) as where:
        staged = await stage(where, body, step)

        assert (size, hashlib.sha256(body).digest()) == (staged.size, staged.sha256)
        assert body == bytes(staged.view())
        assert (size <= SMALL) == (staged.small is not None)
        assert (size > SMALL) == bool(files_below(tmp_path, "incoming"))
        await staged.close()
        await staged.close()
        assert [] == files_below(tmp_path, "incoming")


async def test_a_view_may_outlive_the_file(tmp_path: Path) -> None:
    body = os.urandom(LARGE)
    async with staging(tmp_path) as where:
        staged = await stage(where, body)
        part = staged.view()[100:200]

        await staged.close()

        assert body[100:200] == bytes(part)


async def test_what_is_aborted_leaves_nothing(tmp_path: Path) -> None:
    async with staging(tmp_path) as where:
        for size in (0, 10, LARGE):
            writer = where.begin()
            await writer.write(bytes(size))
            await writer.abort()
            await writer.abort()

    assert [] == files_below(tmp_path, "incoming")


async def test_what_is_aborted_while_a_thread_writes_leaves_nothing(tmp_path: Path) -> None:
    inside, leave = threading.Event(), threading.Event()

    class SlowFiles(SystemFiles):
        def write(self, file: int, data: bytes | memoryview) -> None:
            inside.set()
            leave.wait(10)
            super().write(file, data)

    async with staging(tmp_path, SlowFiles()) as where:
        writer = where.begin()
        task = asyncio.create_task(writer.write(bytes(LARGE)))
        await asyncio.to_thread(inside.wait, 10)
        task.cancel()
        aborting = asyncio.create_task(writer.abort())
        await asyncio.sleep(0)
        leave.set()
        await aborting

    assert [] == files_below(tmp_path, "incoming")


@pytest.mark.parametrize("step", ["create", "write", "sync"])
@pytest.mark.parametrize(
    ("number", "condition"),
    [
        (errno.ENOSPC, Condition.DISK_FULL),
        (errno.EDQUOT, Condition.DISK_FULL),
        (errno.EIO, Condition.DISK_FULL),
        (errno.EMFILE, Condition.TEMPORARY),
    ],
)
async def test_a_disk_that_fails_leaves_no_half_message(
    tmp_path: Path, step: str, number: int, condition: Condition
) -> None:
    async with staging(tmp_path, FailingFiles([step], number)) as where:
        with pytest.raises(MailError) as error:
            await stage(where, bytes(LARGE))

        assert condition is error.value.condition
        assert [] == files_below(tmp_path, "incoming")
        await stage(where, bytes(LARGE))


# ---------------------------------------------------------------- blobs


async def test_a_large_body_is_a_file_of_its_own_and_a_small_one_none(tmp_path: Path) -> None:
    async with world(tmp_path, make_store) as w:
        await w.append(body_of(SMALL))
        assert [] == blob_files(tmp_path)

        await w.append(body_of(SMALL + 1))

        (file,) = blob_files(tmp_path)
        assert body_of(SMALL + 1) == file.read_bytes()
        assert 0o600 == file.stat().st_mode & 0o777
        assert [] == files_below(tmp_path, "incoming")


async def test_where_links_are_refused_a_copy_does(tmp_path: Path) -> None:
    files = FailingFiles(["link"], errno.EPERM)
    async with world(tmp_path, partial(make_store, files=files)) as w:
        filed = await w.append(body_of(LARGE))

        assert ["link", "create", "write", "sync", "sync_folder"] == files.done[-5:]
        assert PREFIX + body_of(LARGE) == await w.bytes_of(filed.uid)


@pytest.mark.parametrize("steps", [["sync_folder"], ["link", "write"], ["link", "sync"], ["link", "create"]])
async def test_a_full_disk_in_the_middle_of_a_delivery(tmp_path: Path, steps: list[str]) -> None:
    files = FailingFiles()
    async with world(tmp_path, partial(make_store, files=files)) as w:
        files.steps = list(steps)
        with pytest.raises(MailError) as error:
            await w.append(body_of(LARGE))

        assert Condition.DISK_FULL is error.value.condition
        assert ([], []) == (blob_files(tmp_path), await w.uids())
        await w.append(body_of(LARGE))
        assert [1] == await w.uids()


async def test_a_write_that_is_refused_leaves_no_file(tmp_path: Path) -> None:
    async with world(tmp_path, make_store) as w:
        with pytest.raises(MailError):
            await w.append(body_of(LARGE), mailbox=999)
        await w.append(body_of(LARGE), delivery_id="a")
        await w.append(body_of(LARGE), delivery_id="a")

        assert 1 == len(blob_files(tmp_path))


async def test_purging_removes_the_file_with_its_last_message(tmp_path: Path) -> None:
    async with world(tmp_path, make_store) as w:
        filed = await w.append(body_of(LARGE))
        await w.store.write(ACCOUNT, Copy(filed.mailbox, [filed.uid], filed.mailbox))
        for left in (1, 0):
            await w.store.write(ACCOUNT, Expunge(filed.mailbox, (await w.uids())[:1], only_deleted=False))
            w.clock.turn(2 * DAY)
            await w.store.write(ACCOUNT, Purge(int(w.clock.now())))

            assert left == len(blob_files(tmp_path))


async def test_the_sweep_takes_only_what_is_old_and_named_by_no_row(tmp_path: Path) -> None:
    async with world(tmp_path, make_store) as w:
        store = w.store
        assert isinstance(store, SqlMailStore)
        await w.append(body_of(LARGE))
        (named,) = blob_files(tmp_path)
        left = named.with_name("leftoverleftover")
        left.write_bytes(b"x")
        incoming = tmp_path / "incoming" / "half"
        incoming.write_bytes(b"x")
        half_made = folder_of(tmp_path, ACCOUNT).parent / ".halfmade"
        half_made.mkdir()
        w.clock.seconds = left.stat().st_ctime + DAY - 10

        assert (0, 0) == (await store.sweep(ACCOUNT), await store.sweep_incoming())
        w.clock.turn(20)
        assert (1, 2) == (await store.sweep(ACCOUNT), await store.sweep_incoming())

        assert [named] == blob_files(tmp_path)
        assert not incoming.exists()
        assert not half_made.exists()


# ---------------------------------------------------------------- accounts on the disk


@pytest.mark.parametrize("public_id", ["..", "a/b", "", "UPPER", "a" * 100, "nul\0"])
async def test_a_folder_is_never_named_by_anything_else_than_an_id(tmp_path: Path, public_id: str) -> None:
    async with world(tmp_path, make_store) as w:
        with pytest.raises(ValueError, match="no account id"):
            await w.store.create(AccountRef(9, public_id))


@pytest.mark.parametrize("step", ["make_folder", "sync_folder", "rename"])
async def test_an_account_is_made_whole_or_not_at_all(tmp_path: Path, step: str) -> None:
    files = FailingFiles()
    other = AccountRef(8, "zyxwvutsrqponmlkjihgfedc")
    async with world(tmp_path, partial(make_store, files=files)) as w:
        files.steps = [step]
        with pytest.raises(MailError) as error:
            await w.store.create(other)

        assert Condition.DISK_FULL is error.value.condition
        assert not folder_of(tmp_path, other).exists()
        assert [] == files_below(tmp_path, "accounts", "zy")
        await w.store.create(other)
        assert 6 == len(await w.store.mailboxes(other))


async def test_few_accounts_are_open_at_once_and_all_are_served(tmp_path: Path) -> None:
    accounts = [AccountRef(n, f"account{n:017}") for n in range(1, 21)]
    async with world(tmp_path, partial(make_store, bound=3)) as w:
        for account in accounts:
            await w.store.create(account)

        async def serve(account: AccountRef) -> None:
            one = World(w.store, w.staging, w.hints, w.clock, w.root, w.pool, account)
            for _ in range(5):
                await one.append()
                await one.uids()

        await asyncio.gather(*(serve(account) for account in accounts))
        await serve(accounts[0])

        store = w.store
        assert isinstance(store, SqlMailStore)
        assert 3 == len(store._accounts._open)
        for account in accounts[1:]:
            assert 5 == (await store.usage(account)).messages


# ---------------------------------------------------------------- check


async def damage(w: World, sql: str) -> None:
    """Behind the store's back."""
    import apsw

    connection = apsw.Connection(str(folder_of(w.root, ACCOUNT) / "mail.sqlite"))
    connection.set_busy_timeout(1000)
    connection.execute(sql)
    connection.close()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE mailbox SET messages = 9 WHERE role = 'inbox'", "messages says 9, it is 2"),
        ("UPDATE mailbox SET unseen = 9 WHERE role = 'inbox'", "unseen says 9, it is 2"),
        ("UPDATE mailbox SET bytes = 9 WHERE role = 'inbox'", "bytes says 9"),
        ("UPDATE mailbox SET uidnext = 1 WHERE role = 'inbox'", "uidnext says 1, it is 3"),
        ("UPDATE account_state SET bytes = 9", "bytes says 9"),
        ("UPDATE account_state SET undelete_bytes = 9", "undelete bytes says 9, it is 0"),
        ("UPDATE account_state SET modseq = 3", "modseq says"),
        ("UPDATE account_state SET next_id = 1", "next id says"),
        ("UPDATE account_state SET next_uidvalidity = 1", "next uidvalidity says 1"),
        ("UPDATE blob SET uses = 5 WHERE place = ''", "messages says 5, it is 1"),
    ],
)
async def test_counters_are_proved_and_mended(tmp_path: Path, sql: str, said: str) -> None:
    async with world(tmp_path, make_store) as w:
        await w.append()
        await w.append(body_of(LARGE))
        await damage(w, sql)

        found = await w.findings()
        assert any(said in finding for finding in found), found
        assert found == await w.findings(), "looking mends nothing"
        assert all([finding.repaired async for finding in w.store.check(ACCOUNT, True)])

        assert [] == await w.findings()


async def test_lost_and_altered_bytes_are_found_and_nothing_is_removed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):  # the world's own check at the end finds the damage again
        async with world(tmp_path, make_store) as w:
            await w.append()
            for _ in range(3):
                await w.append(body_of(LARGE))
            altered, short, lost = blob_files(tmp_path)
            altered.write_bytes(b"z" * LARGE)
            short.write_bytes(b"")
            lost.unlink()
            await damage(w, "UPDATE blob SET bytes = x'00' WHERE place = ''")

            found = sorted(finding.partition("): ")[2] or finding for finding in await w.findings(repair=True))

            assert 4 == len(found), found
            assert found[0].startswith("blob ")
            assert "it has 1 bytes instead of 60" in found[0]
            assert any("it has 0 bytes" in finding for finding in found)
            assert any("it cannot be read" in finding for finding in found)
            assert any("SHA-256 differs" in finding for finding in found)
            assert 4 == len(await w.uids())
            raise AssertionError


async def test_rows_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="seen"):
        async with world(tmp_path, make_store) as w:
            await w.fill(4)
            await damage(w, "PRAGMA foreign_keys = OFF; DELETE FROM message WHERE id = (SELECT min(id) FROM message)")
            await damage(w, "PRAGMA foreign_keys = OFF; DELETE FROM blob WHERE id = (SELECT max(id) FROM blob)")
            await damage(w, "UPDATE entry SET size = 1 WHERE uid = 2")
            await damage(w, "DELETE FROM header WHERE message_id = (SELECT message_id FROM entry WHERE uid = 3)")

            found = await w.findings(repair=True)

            for uid, problem in ((1, "message is missing"), (2, "sizes differ"), (3, "header"), (4, "blob is missing")):
                assert any(f"UID {uid}: " in finding and problem in finding for finding in found), found
            raise AssertionError("seen")


# ---------------------------------------------------------------- the store that fails


async def test_the_failing_store_fails_as_told_and_then_no_more(tmp_path: Path) -> None:
    async with world(tmp_path, make_store) as w:
        failing = FailingMailStore(w.store)
        w.store = failing  # type: ignore[assignment]
        failing.fail("Append", Condition.DISK_FULL, times=2)
        for _ in range(2):
            with pytest.raises(MailError, match="told to fail"):
                await w.append()
        failing.fail("Append", OSError(errno.EIO, "told to fail"), after=True)
        with pytest.raises(OSError, match="told to fail"):
            await w.append()
        failing.fail("snapshot")
        with pytest.raises(MailError):
            await w.uids()

        assert [1] == await w.uids()
        assert Role.INBOX is (await w.box()).role
