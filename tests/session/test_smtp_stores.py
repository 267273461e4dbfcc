"""SMTP and LMTP onto the real stores: what was acknowledged is in the mailboxes, and nothing else is anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from post_office import HOST, FakeConnections, FakeHints, ListTrace, PlainPasswords
from postane.core.clock import TurnedClock
from postane.core.limits import Limits
from postane.core.listener import Listener, Service
from postane.core.log import NullLog
from postane.flow.accounts import Accounts, LoginPolicy
from postane.flow.deliver import Filing
from postane.flow.queue import HandOver
from postane.flow.receive import Receiver
from postane.proto.smtp.server import SmtpEngine
from postane.session.services import Services
from postane.session.smtp import MODES, SmtpSession
from postane.store import directory, queue
from postane.store.api import Account, Alias, Column, SetQuota
from postane.store.directory import SqlDirectory
from postane.store.mail import SqlMailStore
from postane.store.queue import SqlQueue
from postane.store.sqlite import Database
from postane.store.staging import SMALL, FileStaging
from postane.store.stamp import Stamp
from transcript import parse, play_turns

HELLO = "S~ 220 .*\nC: HELO bar.com\nS~ 250 .*\n"
LHLO = "S~ 220 .*\nC: LHLO bar.com\n" + "S~ 250-.*\n" * 8 + "S~ 250 .*\n"
TO_BOTH = "".join(f"C: RCPT TO:<{name}@postane.test>\nS: 250 2.1.5 Ok\n" for name in ("ayse", "bora"))
OK = "S~ 250 2\\.0\\.0 Ok: .*\n"
BODIES = [b"Subject: small\r\n\r\nhello\r\n", b"Subject: large\r\n\r\n" + b"0123456789\r\n" * (SMALL // 10)]


@dataclass
class House:
    root: Path
    directory: SqlDirectory
    mail: SqlMailStore
    queue: SqlQueue
    services: Services
    receiver: Receiver
    people: dict[str, Account]

    async def say(self, service: Service, text: str) -> None:
        session = SmtpSession(self.services, self.receiver, Listener(service))
        await play_turns(parse(text), SmtpEngine(MODES[service], self.services.limits.smtp), session)

    async def inbox(self, name: str) -> list[bytes]:
        account = self.people[name].ref
        mailbox = await self.mail.mailbox(account, "INBOX")
        uids = (await self.mail.snapshot(account, mailbox.id)).uids
        columns = (Column.PREFIX, Column.BLOB, Column.BLOB_SIZE)
        rows = await self.mail.entries(account, mailbox.id, uids, columns)
        return [prefix + await self.mail.read(account, blob, 0, size) for prefix, blob, size in rows]

    @property
    def left_behind(self) -> list[Path]:
        return [path for path in (self.root / "incoming").rglob("*") if path.is_file()]


@asynccontextmanager
async def house(root: Path) -> AsyncIterator[House]:
    clock, hints, trace, limits = TurnedClock(), FakeHints(), ListTrace(), Limits()
    pool = ThreadPoolExecutor(2)
    people_file = Database(root / "directory.sqlite", directory.SCHEMA, pool, create=True)
    queue_file = Database(root / "queue" / "queue.sqlite", queue.SCHEMA, pool, create=True)
    people = SqlDirectory(people_file, clock, Stamp(root / "directory.stamp"))
    mail = SqlMailStore(root, hints=hints, clock=clock, pool=pool)
    waiting = SqlQueue(queue_file, root / "queue", pool, clock)
    staging = FileStaging(root, pool)
    accounts = Accounts(people, PlainPasswords(), LoginPolicy())
    filing = Filing(mail, limits.mime)
    hand_over = HandOver(waiting, accounts, filing, trace, clock, NullLog())
    receiver = Receiver(HOST, accounts, mail, staging, filing, waiting, hand_over, trace, limits, clock)
    services = Services(
        HOST, accounts, mail, staging, filing, hints, trace, FakeConnections(), limits, clock, NullLog()
    )  # fmt: skip
    await people.add_domain("postane.test")
    made = {}
    for name in ("ayse", "bora"):
        made[name] = await people.add_account(f"{name}@postane.test", "x", name, 0, 0)
        await mail.create(made[name].ref)
    await people.put_alias(Alias("team", "postane.test", ("ayse@postane.test", "bora@postane.test")))
    yield House(root, people, mail, waiting, services, receiver, made)
    await mail.close()
    await people_file.close()
    await queue_file.close()
    pool.shutdown()


@pytest.mark.parametrize("body", BODIES, ids=["in the row", "in a file"])
async def test_one_recipient_goes_straight_in(tmp_path: Path, body: bytes) -> None:
    async with house(tmp_path) as at:
        await at.say(
            Service.SMTP,
            HELLO + "C: MAIL FROM:<a@bar.com>\nS: 250 2.1.0 Ok\n"
            "C: RCPT TO:<ayse@postane.test>\nS: 250 2.1.5 Ok\n"
            f"C+ BDAT {len(body)} LAST\\r\\n{body.decode().encode('unicode_escape').decode()}\n" + OK,
        )
        (message,) = await at.inbox("ayse")
        assert message.startswith(b"Return-Path: <a@bar.com>\r\nDelivered-To: ayse@postane.test\r\nReceived: ")
        assert message.endswith(b"+0000\r\n" + body)
        assert await at.inbox("bora") == []
        assert at.left_behind == []


@pytest.mark.parametrize("body", BODIES, ids=["in the row", "in a file"])
async def test_several_recipients_go_by_the_queue_which_is_then_empty(tmp_path: Path, body: bytes) -> None:
    text = "".join(f"C: {line}\n" for line in body.decode().split("\r\n")[:-1])
    async with house(tmp_path) as at:
        await at.say(
            Service.SMTP,
            HELLO + "C: MAIL FROM:<>\nS: 250 2.1.0 Ok\n" + TO_BOTH
            + "C: RCPT TO:<team@postane.test>\nS: 250 2.1.5 Ok\nC: DATA\nS~ 354 .*\n" + text + "C: .\n" + OK,
        )  # fmt: skip
        for name in ("ayse", "bora"):
            (message,) = await at.inbox(name)
            assert f"Delivered-To: {name}@postane.test\r\n".encode() in message
            assert b"Return-Path: <>\r\n" in message
            assert message.endswith(b"+0000\r\n" + body)
        assert await at.queue.messages() == ()
        assert at.left_behind == []


async def test_lmtp_goes_straight_into_each_mailbox(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.say(
            Service.LMTP,
            LHLO + "C: MAIL FROM:<a@bar.com>\nS: 250 2.1.0 Ok\n" + TO_BOTH
            + "C: DATA\nS~ 354 .*\nC: Subject: x\nC: \nC: hello\nC: .\n" + OK + OK,
        )  # fmt: skip
        for name in ("ayse", "bora"):
            (message,) = await at.inbox(name)
            assert message.endswith(b"+0000\r\nSubject: x\r\n\r\nhello\r\n")
            assert b"with LMTP id" in message.replace(b"\r\n ", b" ")


async def test_a_client_that_goes_leaves_no_file(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.say(
            Service.SMTP,
            HELLO + "C: MAIL FROM:<a@bar.com>\nS: 250 2.1.0 Ok\nC: RCPT TO:<ayse@postane.test>\nS: 250 2.1.5 Ok\n"
            "C: DATA\nS~ 354 .*\n" + "C: 0123456789\n" * SMALL + "** close\n",
        )
        assert await at.inbox("ayse") == []
        assert at.left_behind == []


async def test_quota_is_the_accounts_own(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        await at.directory.update_account(at.people["ayse"].ref.id, quota_bytes=500)
        await at.mail.write(at.people["ayse"].ref, SetQuota(500, 0))
        await at.say(
            Service.SMTP,
            HELLO + "C: MAIL FROM:<a@bar.com> SIZE=501\nS: 250 2.1.0 Ok\n"
            "C: RCPT TO:<ayse@postane.test>\nS: 452 4.2.2 the mailbox of <ayse@postane.test> is full\n"
            "C: RSET\nS: 250 2.0.0 Ok\nC: MAIL FROM:<a@bar.com>\nS: 250 2.1.0 Ok\n"
            "C: RCPT TO:<ayse@postane.test>\nS: 250 2.1.5 Ok\nC: DATA\nS~ 354 .*\nC: " + "x" * 900 + "\nC: .\n"
            "S~ 452 4\\.2\\.2 .*\n",
        )
        assert await at.inbox("ayse") == []
        assert at.left_behind == []
