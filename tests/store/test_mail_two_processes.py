"""Two processes (two stores with threads of their own) that write the same accounts never wait in a ring."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mail_world import DATE, PREFIX, RecordingHints, body_of, facts

from postane.core.clock import TurnedClock
from postane.store.api import AccountRef, Append, Role
from postane.store.mail import SqlMailStore
from postane.store.staging import FileStaging

ACCOUNTS = [AccountRef(number, f"account{number:017d}") for number in range(1, 13)]
EACH = 20


async def fill(store: SqlMailStore, staging: FileStaging, account: AccountRef) -> None:
    for _ in range(EACH):
        writer = staging.begin()
        body = body_of(100)
        await writer.write(body)
        staged = await writer.finish()
        await store.write(account, Append(Role.INBOX, staged, facts(body), PREFIX, DATE))
        await staged.close()


async def test_writers_of_the_same_accounts_all_come_to_an_end(tmp_path: Path) -> None:
    pools = [ThreadPoolExecutor(2) for _ in range(2)]
    stores = [SqlMailStore(tmp_path, hints=RecordingHints(), clock=TurnedClock(), pool=pool) for pool in pools]
    staging = FileStaging(tmp_path, pools[0])
    for account in ACCOUNTS:
        await stores[0].create(account)
    work = (fill(store, staging, account) for account in ACCOUNTS for store in stores)

    async with asyncio.timeout(60):
        await asyncio.gather(*work)

    for account in ACCOUNTS:
        assert 2 * EACH == (await stores[0].usage(account)).messages
    for store, pool in zip(stores, pools, strict=True):
        await store.close()
        pool.shutdown()
