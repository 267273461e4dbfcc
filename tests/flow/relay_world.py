"""A queue on a disk, a zone, scripted servers and the whole relay between them, for the tests of `flow.relay`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fake_directory import FakeDirectory
from scripted_net import FakeNet, FakeServer

from postane.core.clock import TurnedClock
from postane.core.limits import Limits, LoginLimits, RelayLimits
from postane.core.log import NullLog
from postane.flow.accounts import Accounts, LoginPolicy
from postane.flow.passwords import Passwords
from postane.flow.queue import HandOver
from postane.flow.relay.ports import End, Report
from postane.flow.relay.relay import Relay, Sender
from postane.flow.relay.route import Ourselves, Router, Smarthosts
from postane.flow.relay.runner import QueueRunner
from postane.flow.relay.settlement import Settlement
from postane.store.api import (
    AccountRef,
    Filed,
    Leased,
    NewMessage,
    NewRecipient,
    QueuedMessage,
    Role,
    Staged,
    TraceEvent,
)
from postane.store.queue import SCHEMA, SqlQueue
from postane.store.sqlite import Database
from postane.store.staging import FileStaging
from zone import Zone

BODY = b"Subject: hello\r\n\r\n.dots and all\r\n"
PREFIX = b"Return-Path: <ann@home.example>\r\nReceived: from x\r\n"


class FakeMemory:
    def __init__(self) -> None:
        self.domains: set[str] = set()

    async def had_tls(self, domain: str) -> bool:
        return domain in self.domains

    async def note_tls(self, domain: str) -> None:
        self.domains.add(domain)


@dataclass
class FakeFiling:
    """Files into a list, once a delivery id."""

    filed: dict[str, int] = field(default_factory=dict)

    async def scan(self, staged: Staged) -> object:
        return object()

    async def file(self, account: AccountRef, mailbox: Role, staged: Staged, **facts: object) -> Filed:
        repeated = str(facts["delivery_id"]) in self.filed
        self.filed.setdefault(str(facts["delivery_id"]), account.id)
        return Filed(1, 1, 1, "e1", 1, repeated)


class FakeBounces:
    """Tells the sender of everything, in a message of one line; the null sender is told nothing."""

    def __init__(self, staging: FileStaging, clock: TurnedClock) -> None:
        self.reports: list[Report] = []
        self.trouble: Exception | None = None
        self._staging = staging
        self._clock = clock

    async def notices(self, message: QueuedMessage, reports: Sequence[Report]) -> Sequence[NewMessage]:
        if self.trouble:
            raise self.trouble
        told = [report for report in reports if report.end in (End.FAILED, End.DELAYED)]
        self.reports += reports
        if not message.sender or not told:
            return []
        writer = self._staging.begin()
        await writer.write(f"Subject: {told[0].end.value}\r\n\r\n".encode())
        now = int(self._clock.now())
        recipient = NewRecipient(message.sender, message.sender, f"notice-{len(self.reports)}", due=now)
        return [NewMessage("notice", "", b"", await writer.finish(), (recipient,), now)]

    def of(self, end: End) -> list[str]:
        return [report.recipient.address for report in self.reports if report.end is end]


@dataclass
class ListTrace:
    events: list[TraceEvent] = field(default_factory=list)

    def note(self, event: TraceEvent) -> None:
        self.events.append(event)

    async def find(self, trace_id: str) -> tuple[TraceEvent, ...]:
        return tuple(event for event in self.events if event.trace_id == trace_id)


class ListLog(NullLog):
    def __init__(self) -> None:
        self.exceptions: list[str] = []

    def exception(self, event: str, **facts: object) -> None:
        import traceback

        self.exceptions.append(event + traceback.format_exc())


class World:
    """`home.example` is ours, with ann in it.  `runner` is one worker; `another()` makes more on the same queue."""

    def __init__(self, root: Path, limits: RelayLimits | None = None) -> None:
        self.clock = TurnedClock()
        self.limits = Limits(relay=limits or RelayLimits())
        self.pool = ThreadPoolExecutor(2)
        self.staging = FileStaging(root, self.pool)
        self._folder = root / "queue"
        self.zone = Zone()
        self.net = FakeNet(self.clock)
        self.memory = FakeMemory()
        self.filing = FakeFiling()
        self.trace = ListTrace()
        self.log = ListLog()
        self.directory = FakeDirectory("home.example")
        self.directory.put("ann@home.example")
        self.bounces = FakeBounces(self.staging, self.clock)
        self.ourselves = Ourselves(frozenset({"mail.home.example"}), frozenset({"192.0.2.250"}))
        self.smarthosts = Smarthosts()
        self.sender = Sender("mail.home.example")
        self.queues: list[SqlQueue] = []
        self.runner = self.another()
        self.queue = self.queues[0]

    def another(self) -> QueueRunner:
        database = Database(self._folder / "queue.sqlite", SCHEMA, self.pool, create=True)
        queue = SqlQueue(database, self._folder, self.pool, self.clock)
        self.queues.append(queue)
        accounts = Accounts(self.directory, Passwords(self.clock, LoginLimits()), LoginPolicy())  # type: ignore[arg-type]
        hand_over = HandOver(queue, accounts, self.filing, self.trace, self.clock, self.log)  # type: ignore[arg-type]
        dice = random.Random(7)
        settlement = Settlement(queue, self.bounces, self.trace, self.clock, self.log, dice=dice)
        return QueueRunner(
            queue,
            accounts,
            hand_over,
            self.relay(queue),
            settlement,
            self.limits.relay,
            self.clock,
            self.log,
            self.sleep,
        )

    def relay(self, queue: SqlQueue) -> Relay:
        router = Router(self.zone, self.ourselves, self.limits.relay, self.smarthosts, dice=random.Random(7))
        return Relay(queue, router, self.net, self.memory, self.sender, self.limits, self.clock)

    async def sleep(self, seconds: float) -> None:
        self.clock.turn(seconds)
        await asyncio.sleep(0)

    @property
    def now(self) -> int:
        return int(self.clock.now())

    def serve(self, domain: str, *servers: FakeServer | None) -> None:
        """MX records with rising preference at 192.0.2.x; None is a host where nobody listens."""
        lines = [self.zone.text]
        for preference, server in enumerate(servers, 1):
            number = len(self.net.places) + 1
            name = server.name if server else f"dead{number}.{domain}"
            lines += [f"{domain}. MX {preference}0 {name}.", f"{name}. A 192.0.2.{number}"]
            self.net.places[f"192.0.2.{number}"] = server  # type: ignore[assignment]
        self.zone.text = "\n".join(lines)
        self.zone.load(self.zone.text)

    async def enqueue(
        self, *addresses: str, sender: str = "ann@home.example", body: bytes = BODY, **others: object
    ) -> Leased:
        writer = self.staging.begin()
        await writer.write(body)
        staged = await writer.finish()
        recipients = tuple(NewRecipient(address, address, f"id-{address}", due=self.now) for address in addresses)
        message = NewMessage("t1", sender, PREFIX, staged, recipients, self.now, **others)  # type: ignore[arg-type]
        try:
            return await self.queue.enqueue(message, 60)
        finally:
            await staged.close()

    async def left(self) -> list[tuple[str, str]]:
        """Who is in the queue, and what was said last."""
        rows = [each for leased in await self.queue.messages() for each in leased.recipients]
        return [(each.address, each.last_error) for each in rows]

    async def turn_to_next(self) -> None:
        due = await self.queue.next_due()
        assert due is not None
        self.clock.seconds = max(self.clock.seconds, float(due))

    def noted(self, what: str) -> list[dict[str, str]]:
        return [event.facts for event in self.trace.events if event.what == what]


@asynccontextmanager
async def world(root: Path, limits: RelayLimits | None = None) -> AsyncIterator[World]:
    opened = World(root, limits)
    try:
        yield opened
        assert opened.log.exceptions == []
    finally:
        for queue in opened.queues:
            await queue.close()
        opened.pool.shutdown()
