"""From the queue into mailboxes: once each, whatever fails in between."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fake_directory import FakeDirectory
from hypothesis import given, settings
from hypothesis import strategies as st

from postane.core.clock import TurnedClock
from postane.core.limits import LoginLimits
from postane.core.log import Log, NullLog
from postane.core.status import Condition, MailError
from postane.flow.accounts import Accounts, LoginPolicy
from postane.flow.passwords import Passwords
from postane.flow.queue import AT_ONCE, LEASE_SECONDS, HandOver
from postane.flow.relay.verdict import Fate
from postane.flow.schedule import Schedule
from postane.store.api import (
    AccountRef,
    AccountState,
    Filed,
    Leased,
    NewMessage,
    NewRecipient,
    Outcome,
    RecipientResult,
    Role,
    Staged,
    TraceEvent,
)
from postane.store.queue import SCHEMA, SqlQueue
from postane.store.sqlite import Database
from postane.store.staging import SMALL, FileStaging

BODY = b"Subject: x\r\n\r\nbody\r\n"


@dataclass
class FakeFiling:
    """Files into a list, once a delivery id; `trouble` is called before and after, and may raise."""

    filed: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    known: set[tuple[int, str]] = field(default_factory=set)
    scans: int = 0
    running: int = 0
    most: int = 0
    trouble: Callable[[str], None] = lambda when: None

    async def scan(self, staged: Staged) -> object:
        self.scans += 1
        return object()

    async def file(
        self,
        account: AccountRef,
        mailbox: Role,
        staged: Staged,
        *,
        internal_date: int,
        prefix: bytes,
        delivery_id: str,
        facts: object,
    ) -> Filed:
        assert mailbox is Role.INBOX
        assert facts is not None
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        self.trouble("before")
        repeated = (account.id, delivery_id) in self.known
        if not repeated:
            self.known.add((account.id, delivery_id))
            self.filed.append((account.id, prefix, bytes(staged.view())))
        self.trouble("after")
        return Filed(1, 1, len(self.filed), f"e{len(self.filed)}", 1, repeated)


@dataclass
class ListTrace:
    events: list[TraceEvent] = field(default_factory=list)

    def note(self, event: TraceEvent) -> None:
        self.events.append(event)

    async def find(self, trace_id: str) -> tuple[TraceEvent, ...]:
        return tuple(self.events)


class ListLog(NullLog):
    def __init__(self) -> None:
        self.exceptions: list[str] = []

    def exception(self, event: str, **facts: object) -> None:
        self.exceptions.append(event)


class House:
    def __init__(self, root: Path) -> None:
        self.clock = TurnedClock()
        self.pool = ThreadPoolExecutor(2)
        self.staging = FileStaging(root, self.pool)
        folder = root / "queue"
        self.queue = SqlQueue(
            Database(folder / "queue.sqlite", SCHEMA, self.pool, create=True), folder, self.pool, self.clock
        )
        self.directory = FakeDirectory("example.com")
        for name in ("ann", "bob", "eve"):
            self.directory.put(f"{name}@example.com")
        self.filing = FakeFiling()
        self.trace = ListTrace()
        self.log: Log = ListLog()
        accounts = Accounts(self.directory, Passwords(self.clock, LoginLimits()), LoginPolicy())
        self.hand_over = HandOver(self.queue, accounts, self.filing, self.trace, self.clock, self.log)  # type: ignore[arg-type]

    @property
    def now(self) -> int:
        return int(self.clock.now())

    async def enqueue(self, *addresses: str, body: bytes = BODY) -> Leased:
        writer = self.staging.begin()
        await writer.write(body)
        staged = await writer.finish()
        recipients = tuple(NewRecipient(address, address, f"id-{address}") for address in addresses)
        message = NewMessage("trace1", "s@a.example", b"Received: x\r\n", staged, recipients, self.now)
        try:
            return await self.queue.enqueue(message, LEASE_SECONDS)
        finally:
            await staged.close()

    async def run_due(self) -> int:
        """As whoever works off the queue would, but that nobody is given up."""
        count = 0
        while due := await self.queue.lease_due(self.now, LEASE_SECONDS, 100):
            for leased in due:
                await self.hand_over.deliver(leased)
                count += len(leased.recipients)
        return count

    async def left(self) -> list[tuple[str, str, str, int]]:
        rows = [each for leased in await self.queue.messages() for each in leased.recipients]
        return [(each.address, each.state, each.last_error, each.next_attempt - self.now) for each in rows]

    def fail(self, condition: Condition, text: str = "so it is") -> None:
        def trouble(when: str) -> None:
            if when == "before":
                raise MailError(condition, text)

        self.filing.trouble = trouble


@asynccontextmanager
async def house(root: Path) -> AsyncIterator[House]:
    opened = House(root)
    try:
        yield opened
    finally:
        await opened.queue.close()
        opened.pool.shutdown()


@pytest.mark.parametrize("body", [BODY, BODY + b"x" * SMALL])
async def test_each_recipient_gets_the_message_under_its_own_address(tmp_path: Path, body: bytes) -> None:
    async with house(tmp_path) as at:
        leased = await at.enqueue("ann@example.com", "bob@example.com", body=body)

        results = await at.hand_over.deliver(leased)

        assert [result.outcome for result in results] == [Outcome.DELIVERED] * 2
        assert [result.recipient for result in results] == [each.id for each in leased.recipients]
        assert sorted(at.filing.filed) == [
            (1, b"Delivered-To: ann@example.com\r\nReceived: x\r\n", body),
            (2, b"Delivered-To: bob@example.com\r\nReceived: x\r\n", body),
        ]
        assert at.filing.scans == 1
        assert await at.left() == []
        assert {(event.what, event.account, event.trace_id) for event in at.trace.events} == {
            ("filed", 1, "trace1"),
            ("filed", 2, "trace1"),
        }


async def test_what_the_caller_has_at_hand_is_not_read_or_scanned_again(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        leased = await at.enqueue("ann@example.com")
        staged = await at.queue.staged(leased.message)
        await at.hand_over.deliver(leased, staged, object())  # type: ignore[arg-type]

        assert at.filing.scans == 0
        assert bytes(staged.view()) == BODY


async def test_many_recipients_are_filed_side_by_side_but_not_all_at_once(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        addresses = [f"u{number}@example.com" for number in range(AT_ONCE * 2)]
        for address in addresses:
            at.directory.put(address)
        await at.hand_over.deliver(await at.enqueue(*addresses))

        assert len(at.filing.filed) == AT_ONCE * 2
        assert at.filing.most == AT_ONCE


async def test_what_cannot_be_filed_waits_less_and_less_often(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        at.fail(Condition.OVER_QUOTA, "the mailbox is full")
        await at.hand_over.deliver(await at.enqueue("ann@example.com"))
        assert await at.left() == [("ann@example.com", "waiting", "452 4.2.2 the mailbox is full", 60)]

        waits = []
        for _ in range(4):
            waits.append((await at.left())[0][3])
            at.clock.turn(waits[-1] - 1)
            assert await at.run_due() == 0
            at.clock.turn(1)
            assert await at.run_due() == 1
        assert waits == [60, 120, 240, 480]
        assert [event.what for event in at.trace.events] == ["retry"] * 5


async def test_one_recipients_trouble_is_no_other_ones(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        leased = await at.enqueue("ann@example.com", "gone@example.com", "bob@example.com", "x@elsewhere.example")
        at.directory.change("bob@example.com", state=AccountState.DISABLED)

        results = await at.hand_over.deliver(leased)
        assert [result.outcome for result in results] == [Outcome.DELIVERED, *[Outcome.RETRY] * 3]
        assert [(address, error[:9]) for address, _, error, _ in await at.left()] == [
            ("gone@example.com", "550 5.1.1"),
            ("bob@example.com", "550 5.2.1"),
            ("x@elsewhere.example", "550 5.7.1"),
        ]
        assert [account for account, _, _ in at.filing.filed] == [1]


async def test_a_try_tells_the_fate_of_each_and_the_queue_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        leased = await at.enqueue("ann@example.com", "gone@example.com", "bob@example.com")
        at.directory.change("bob@example.com", state=AccountState.MOVING)

        verdicts = await at.hand_over.attempt(leased.message, leased.recipients)
        assert [(verdict.fate, verdict.status) for verdict in verdicts] == [
            (Fate.DELIVERED, "2.1.5"),
            (Fate.REFUSED, "5.1.1"),
            (Fate.DEFERRED, "4.2.1"),
        ]
        assert len(await at.left()) == 3


async def test_an_address_that_became_an_alias_is_followed(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        leased = await at.enqueue("team@example.com")
        at.directory.lead("team", "example.com", "ann@example.com", "eve@example.com")
        await at.hand_over.deliver(leased)

        assert sorted(account for account, _, _ in at.filing.filed) == [1, 3]


async def test_a_message_whose_bytes_are_gone_waits_and_says_why(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        leased = await at.enqueue("ann@example.com", body=b"x" * (SMALL + 1))
        for path in (tmp_path / "queue" / "blobs").iterdir():
            path.unlink()

        (result,) = await at.hand_over.deliver(leased)
        assert result.outcome is Outcome.RETRY
        assert len(await at.left()) == 1


async def test_a_defect_is_logged_and_keeps_no_other_message_waiting(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        first = await at.enqueue("ann@example.com")
        await at.enqueue("bob@example.com")
        at.clock.turn(LEASE_SECONDS)

        def trouble(when: str) -> None:
            if when == "before" and not at.log.exceptions:  # type: ignore[attr-defined]
                raise KeyError("oops")

        at.filing.trouble = trouble
        assert await at.run_due() == 2
        assert at.log.exceptions == ["hand-over failed"]  # type: ignore[attr-defined]
        ((address, state, error, _),) = await at.left()
        assert (address, state) == (first.recipients[0].address, "waiting")
        assert "oops" not in error


async def test_a_queue_that_cannot_be_told_files_once_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path) as at:
        leased = await at.enqueue("ann@example.com")

        async def full(*_: object) -> None:
            raise MailError(Condition.DISK_FULL, "no space")

        with monkeypatch.context() as broken:
            broken.setattr(at.queue, "finish", full)
            (result,) = await at.hand_over.deliver(leased)
        assert result == RecipientResult(leased.recipients[0].id, Outcome.DELIVERED)
        assert len(await at.left()) == 1

        at.clock.turn(LEASE_SECONDS)
        assert await at.run_due() == 1
        assert await at.left() == []
        assert len(at.filing.filed) == 1
        assert [event.what for event in at.trace.events] == ["filed", "queue-unreachable", "filed-before"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["fine", "before", "after", "crash"]), max_size=20))
def test_every_recipient_gets_it_exactly_once(script: list[str]) -> None:
    """Failures before and after filing, and crashes before the queue is told, in any order."""
    asyncio.run(_play(list(script)))


async def _play(script: list[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        async with house(Path(root)) as at:

            def trouble(when: str) -> None:
                if script and script[0] == when:
                    script.pop(0)
                    raise MailError(Condition.TEMPORARY, "not now")
                if script and script[0] == "fine" and when == "after":
                    script.pop(0)

            at.filing.trouble = trouble
            await at.enqueue("ann@example.com", "bob@example.com", "eve@example.com")
            while await at.left():
                at.clock.turn(max(LEASE_SECONDS, Schedule().longest_wait))
                if script and script[0] == "crash":
                    script.pop(0)
                    for leased in await at.queue.lease_due(at.now, LEASE_SECONDS, 2):
                        await at.hand_over.attempt(leased.message, leased.recipients)
                    continue
                await at.run_due()
            assert await at.left() == []
            assert Counter(account for account, _, _ in at.filing.filed) == {1: 1, 2: 1, 3: 1}
