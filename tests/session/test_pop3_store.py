"""POP3 over the real store: real mail comes out octet for octet, DELE is final at QUIT, the lock is a lock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from pop3_world import ACCOUNT, PASSWORD, USER, World
from test_pop3_session import Client, unstuffed

from post_office import FakeHints
from postane.core.clock import TurnedClock
from postane.core.limits import MimeLimits
from postane.flow.deliver import Filing
from postane.store.api import Column, Role
from postane.store.mail import SqlMailStore
from postane.store.staging import FileStaging

LOGIN = f"USER {USER}\r\nPASS {PASSWORD}\r\n".encode()
PREFIX = b"Return-Path: <a@example.org>\r\nDelivered-To: mrose@example.org\r\n"


@asynccontextmanager
async def stored(root: Path, *messages: bytes) -> AsyncIterator[SqlMailStore]:
    """A store whose one INBOX holds the messages, each behind PREFIX."""
    with ThreadPoolExecutor(4) as pool:
        mail = SqlMailStore(root, hints=FakeHints(), clock=TurnedClock(), pool=pool)
        staging = FileStaging(root, pool)
        filing = Filing(mail, MimeLimits())
        await mail.create(ACCOUNT.ref)
        for content in messages:
            writer = staging.begin()
            await writer.write(content)
            staged = await writer.finish()
            await filing.file(ACCOUNT.ref, Role.INBOX, staged, internal_date=1, prefix=PREFIX)
            await staged.close()
        try:
            yield mail
        finally:
            await mail.close()


async def flags(mail: SqlMailStore) -> list[int]:
    mailbox = (await mail.mailbox(ACCOUNT.ref, "INBOX")).id
    uids = (await mail.snapshot(ACCOUNT.ref, mailbox)).uids
    return [bits for (bits,) in await mail.entries(ACCOUNT.ref, mailbox, uids, (Column.FLAGS,))]


async def test_real_mail_comes_out_octet_for_octet(tmp_path, vectors):
    paths = [*sorted((vectors / "mime-cpython").glob("msg_*.txt")), *sorted((vectors / "mail-sample").rglob("*"))[:150]]
    mails = [path.read_bytes() for path in paths if path.is_file()]
    mails += [b"Subject: large\r\n\r\n" + b".\r\n..x\r\n" * 60_000, b"Subject: crlf\r\n\r\nbody\r\n"]
    mails += [content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for content in mails[::2]]
    async with stored(tmp_path, *mails) as mail:
        client = Client(World(mail))
        await client.log_in()
        total = sum(len(PREFIX + content) for content in mails)
        assert b"+OK %d %d\r\n" % (len(mails), total) == await client.say(b"STAT\r\n")
        for number, content in enumerate(mails, 1):
            said = await client.say(b"RETR %d\r\n" % number)
            assert said.startswith(b"+OK %d octets\r\n" % len(PREFIX + content))
            whole = PREFIX + content
            assert unstuffed(said) in (whole, whole + b"\r\n")
            assert unstuffed(await client.say(b"TOP %d 9999999\r\n" % number)) == unstuffed(said)
        assert set(await flags(mail)) == {0}
        await client.say(b"QUIT\r\n")


async def test_unique_ids_outlive_the_session_and_deleted_messages_are_gone(tmp_path):
    async with stored(tmp_path, *(b"Subject: %d\r\n\r\nx\r\n" % number for number in range(5))) as mail:
        client = Client(World(mail))
        await client.log_in()
        before = (await client.say(b"UIDL\r\n")).split(b"\r\n")[1:-2]
        assert len({line.split()[1] for line in before}) == 5
        await client.say(b"DELE 2\r\nDELE 4\r\nQUIT\r\n")

        again = Client(World(mail))
        await again.log_in()
        after = (await again.say(b"UIDL\r\n")).split(b"\r\n")[1:-2]
        assert [before[index].split()[1] for index in (0, 2, 4)] == [line.split()[1] for line in after]
        assert [b"1", b"2", b"3"] == [line.split()[0] for line in after]


async def test_the_lock_holds_and_a_client_that_goes_while_it_is_taken_leaves_none(tmp_path):
    async with stored(tmp_path, b"Subject: x\r\n\r\nx\r\n") as mail:
        world = World(mail)
        first, second = Client(world), Client(world)
        await first.log_in()
        await second.open()
        assert b"-ERR [IN-USE]" in await second.say(LOGIN)
        await first.session.aclose()

        # Cancelled at each point of the login in turn: whatever had begun, nothing is held.
        for steps in range(12):
            hasty = Client(world)
            await hasty.open()
            task = asyncio.ensure_future(hasty.say(LOGIN))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await hasty.session.aclose()
            assert world.connections.count == 0
            lock = await mail.lock_maildrop(ACCOUNT.ref)
            await lock.release()
