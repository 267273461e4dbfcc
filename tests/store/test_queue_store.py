"""The queue's store: two workers on one folder beside a simple model, with a clock that is turned by hand."""

from __future__ import annotations

import asyncio
import errno
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from postane.core.clock import TurnedClock
from postane.core.status import Condition, MailError
from postane.store import queue_sql
from postane.store.api import (
    EVERYTHING,
    Leased,
    NewMessage,
    NewRecipient,
    Outcome,
    QueueCounts,
    QueuedRecipient,
    QueueFilter,
    QueueState,
    QueueStore,
    RecipientResult,
    Staged,
)
from postane.store.files import SystemFiles
from postane.store.queue import SCHEMA, SqlQueue
from postane.store.schema import Schema
from postane.store.script import Script, just
from postane.store.sqlite import Database
from postane.store.staging import SMALL, FileStaging

LARGE = b"x" * (SMALL + 1)


class House:
    """A data folder with its staging; `worker()` is one process's view of the queue."""

    def __init__(self, root: Path, clock: TurnedClock) -> None:
        self.root = root
        self.clock = clock
        self.pool = ThreadPoolExecutor(2)
        self.staging = FileStaging(root, self.pool)
        self.blobs = root / "queue" / "blobs"
        self.workers: list[SqlQueue] = []

    def worker(self, files: SystemFiles | None = None) -> SqlQueue:
        folder = self.root / "queue"
        database = Database(folder / "queue.sqlite", SCHEMA, self.pool, create=True)
        queue = SqlQueue(database, folder, self.pool, self.clock, files)
        self.workers.append(queue)
        return queue

    async def stage(self, body: bytes) -> Staged:
        writer = self.staging.begin()
        await writer.write(body)
        return await writer.finish()

    async def enqueue(self, queue: SqlQueue, body: bytes, *addresses: str, lease: int = 60) -> Leased:
        staged = await self.stage(body)
        try:
            return await queue.enqueue(new_message(staged, *addresses), lease)
        finally:
            await staged.close()

    async def close(self) -> None:
        for queue in self.workers:
            await queue.close()
        self.pool.shutdown()

    def files(self) -> int:
        return len(list(self.blobs.iterdir()))


@asynccontextmanager
async def house(root: Path) -> AsyncIterator[House]:
    opened = House(root, TurnedClock())
    try:
        yield opened
    finally:
        await opened.close()


def new_message(staged: Staged, *addresses: str, due: int | None = None) -> NewMessage:
    recipients = tuple(NewRecipient(address, f"to-{address}", f"id-{address}", due=due) for address in addresses)
    return NewMessage("trace1", "sender@a.example", b"Received: x\r\n", staged, recipients, 1_750_000_000, utf8=True)


def results(leased: Leased, *outcomes: Outcome, later: int = 0) -> list[RecipientResult]:
    pairs = zip(leased.recipients, outcomes, strict=True)
    return [RecipientResult(recipient.id, outcome, f"was {outcome.value}", later) for recipient, outcome in pairs]


def fills_the_port(queue: SqlQueue) -> QueueStore:
    return queue


# ------------------------------------------------------------ one by one


async def test_what_is_queued_comes_back_leased_and_whole(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        leased = await at.enqueue(queue, b"small\r\n", "a@x.example", "b@x.example", lease=60)

        message = leased.message
        assert (message.trace_id, message.sender, message.prefix) == ("trace1", "sender@a.example", b"Received: x\r\n")
        assert (message.size, message.arrived_at, message.utf8, message.body) == (7, 1_750_000_000, True, "8BITMIME")
        first, second = leased.recipients
        assert (first.address, first.original, first.delivery_id) == ("a@x.example", "to-a@x.example", "id-a@x.example")
        assert (first.attempts, first.state, first.next_attempt) == (1, "waiting", 1_750_000_060)
        assert first.message == second.message == message.id
        assert first.lease_token == second.lease_token != ""
        assert await queue.messages() == (leased,)
        assert await queue.lease_due(1_750_000_059, 60, 10) == ()


@pytest.mark.parametrize("body", [b"", b"small", LARGE])
async def test_the_bytes_outlive_their_staging_and_go_with_the_last_recipient(tmp_path: Path, body: bytes) -> None:
    async with house(tmp_path) as at:
        queue, other = at.worker(), at.worker()
        leased = await at.enqueue(queue, body, "a@x.example", "b@x.example")
        assert at.files() == (body is LARGE)
        assert list((tmp_path / "incoming").iterdir()) == []

        staged = await other.staged(leased.message)
        assert (bytes(staged.view()), staged.size) == (body, len(body))
        assert staged.sha256 == (await at.stage(body)).sha256
        await staged.close()
        again = await other.staged(leased.message)
        assert bytes(again.view()) == body
        await again.close()

        await queue.finish(leased, results(leased, Outcome.DELIVERED, Outcome.RETRY, later=1_750_000_001))
        assert at.files() == (body is LARGE)
        (left,) = await queue.lease_due(1_750_000_001, 60, 10)
        assert [each.address for each in left.recipients] == ["b@x.example"]
        await queue.finish(left, results(left, Outcome.DELIVERED))
        assert await other.messages() == ()
        assert at.files() == 0
        with pytest.raises(MailError) as failure:
            await other.staged(leased.message)
        assert failure.value.condition is Condition.TEMPORARY


async def test_who_failed_goes_and_the_notice_comes_in_one_step(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        leased = await at.enqueue(queue, LARGE, "a@x.example")
        notice = await at.stage(LARGE + b"notice")
        await queue.finish(leased, results(leased, Outcome.FAILED), [new_message(notice, "s@a.example", due=7)])
        await notice.close()

        ((told),) = await queue.messages()
        ((row),) = told.recipients
        assert (row.address, row.attempts, row.next_attempt, row.lease_token) == ("s@a.example", 0, 7, "")
        assert (at.files(), list((tmp_path / "incoming").iterdir())) == (1, [])
        assert bytes((await queue.staged(told.message)).view()) == LARGE + b"notice"


async def test_whose_results_are_not_heard_sends_no_notice(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        slow, quick = at.worker(), at.worker()
        leased = await at.enqueue(slow, b"x", "a@x.example", lease=60)
        (taken,) = await quick.lease_due(1_750_000_060, 60, 10)
        notice = await at.stage(LARGE)

        await slow.finish(leased, results(leased, Outcome.FAILED), [new_message(notice, "s@a.example", due=7)])
        assert (await slow.messages(), at.files()) == ((taken,), 0)
        await quick.finish(taken, results(taken, Outcome.FAILED), [new_message(notice, "s@a.example", due=7)])
        assert ([one.recipients[0].address for one in await slow.messages()], at.files()) == (["s@a.example"], 1)


async def test_a_notice_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        leased = await at.enqueue(queue, b"x", "a@x.example")
        notice = replace(new_message(await at.stage(LARGE), "s@a.example", due=7), body="9BIT")
        with pytest.raises(Exception, match="CHECK"):
            await queue.finish(leased, results(leased, Outcome.FAILED), [notice])

        assert (await queue.messages(), at.files()) == ((leased,), 0)


async def test_only_who_is_not_due_later_comes_back_leased(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        now = NewRecipient("a@x.example", "a@x.example", "i1")
        later = NewRecipient("b@Y.example", "b@Y.example", "i2", "NEVER", "rfc822;b@y.example", due=1_750_000_100)
        message = replace(
            new_message(await at.stage(b"x")), recipients=(now, later), priority=3, envid="e", ret="HDRS", expires=9
        )
        leased = await queue.enqueue(message, 60)

        assert [each.address for each in leased.recipients] == ["a@x.example"]
        assert (leased.message.envid, leased.message.ret, leased.message.expires) == ("e", "HDRS", 9)
        (waiting,) = await queue.lease_due(1_750_000_100, 60, 1, avoid=["x.example"])
        (row,) = waiting.recipients
        assert (row.address, row.attempts, row.domain, row.priority) == ("b@Y.example", 1, "Y.example", 3)
        assert (row.notify, row.orcpt, row.noticed) == ("NEVER", "rfc822;b@y.example", False)


async def test_what_the_last_server_said_stays_with_the_recipient(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        leased = await at.enqueue(queue, b"x", "a@x.example")
        said = RecipientResult(leased.recipients[0].id, Outcome.RETRY, "451 4.7.1 grey", 5, 451, "mx.example", True)
        await queue.finish(leased, [said])
        (again,) = await queue.lease_due(5, 60, 1)
        await queue.finish(again, [replace(said, noticed=False, error="", code=0, host="")])

        row = again.recipients[0]
        assert (row.last_error, row.last_code, row.last_host, row.noticed) == (
            "451 4.7.1 grey",
            451,
            "mx.example",
            True,
        )
        assert (await queue.messages())[0].recipients[0].noticed


async def test_the_urgent_go_first_and_domains_to_be_avoided_are(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        for priority, address in ((0, "a@x.example"), (-9, "b@x.example"), (9, "c@x.example"), (0, "d@y.example")):
            staged = await at.stage(b"x")
            await queue.enqueue(replace(new_message(staged, address, due=priority + 20), priority=priority), 60)

        assert await queue.next_due() == 11
        assert [each.address for each in await leased_by(queue, 29, 2, ["y.example"])] == ["a@x.example", "c@x.example"]
        assert [each.address for each in await leased_by(queue, 29, 9, ["y.example"])] == ["b@x.example"]
        assert await queue.next_due() == 20
        assert [each.address for each in await leased_by(queue, 29, 9)] == ["d@y.example"]
        assert await queue.next_due() == 29 + 60


async def leased_by(queue: SqlQueue, now: int, limit: int, avoid: list[str] | None = None) -> list[QueuedRecipient]:
    taken = await queue.lease_due(now, 60, limit, avoid or ())
    return sorted((each for one in taken for each in one.recipients), key=lambda each: each.address)


async def test_a_lease_can_be_renewed_while_it_is_held(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        leased = await at.enqueue(queue, b"x", "a@x.example", "b@x.example", lease=60)
        await queue.finish(leased, results(leased, Outcome.RETRY, Outcome.DELIVERED, later=1_750_000_010)[:1])
        await queue.renew([leased], 1_750_000_200)

        assert [each.address for each in await leased_by(queue, 1_750_000_199, 9)] == ["a@x.example"]
        assert [each.address for each in await leased_by(queue, 1_750_000_200, 9)] == ["b@x.example"]


async def test_who_is_held_is_not_tried_until_released(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        leased = await at.enqueue(queue, b"x", "a@x.example", "b@y.example", lease=60)
        assert await queue.hold(QueueFilter(domain="X.example")) == 1
        assert await queue.hold(QueueFilter(domain="x.example")) == 0
        await queue.finish(leased, results(leased, Outcome.RETRY, Outcome.RETRY, later=1_750_000_010))

        assert [each.address for each in await leased_by(queue, 1_750_000_500, 9)] == ["b@y.example"]
        assert await queue.release(EVERYTHING, 1_750_000_500) == 1
        assert [each.address for each in await leased_by(queue, 1_750_000_500, 9)] == ["a@x.example"]


async def test_who_is_released_while_tried_keeps_the_lease(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        leased = await at.enqueue(queue, b"x", "a@x.example", lease=60)
        await queue.hold(EVERYTHING)
        assert await queue.next_due() is None
        await queue.release(EVERYTHING, 1_750_000_001)

        assert await queue.messages() == (leased,)


async def test_people_find_what_they_look_for(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        first = await at.enqueue(queue, b"x", "a@x.example", "b@y.example", lease=60)
        second = await at.enqueue(queue, b"x", "a@x.example", lease=0)
        await queue.hold(QueueFilter(recipient=first.recipients[1].id))

        async def found(where: QueueFilter) -> list[int]:
            return [each.id for one in await queue.messages(where=where) for each in one.recipients]

        (a, b), (c,) = ([each.id for each in one.recipients] for one in (first, second))
        assert await found(QueueFilter(trace_id="trace1")) == [a, b, c]
        assert await found(QueueFilter(trace_id="other")) == []
        assert await found(QueueFilter(sender="Sender@A.example", address="A@x.example")) == [a, c]
        assert await found(QueueFilter(sender="<>")) == []
        assert await found(QueueFilter(state=QueueState.HELD)) == [b]
        assert await found(QueueFilter(message=second.message.id)) == [c]
        assert [one.message.id for one in await queue.messages(0, 1, QueueFilter(domain="x.example"))] == [
            first.message.id
        ]
        assert await queue.counts(1_750_000_000) == QueueCounts(2, 3, due=1, leased=2, held=1, oldest=1_750_000_000)
        assert await queue.counts(1_750_000_000, QueueFilter(domain="z.example")) == QueueCounts(0, 0, 0, 0, 0, 0)


async def test_what_is_dropped_goes_with_its_bytes_and_no_late_word_counts(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        leased = await at.enqueue(queue, LARGE, "a@x.example", "b@y.example")
        assert await queue.drop(QueueFilter(address="a@x.example")) == 1
        assert at.files() == 1
        assert await queue.drop(EVERYTHING) == 1
        assert (await queue.messages(), at.files()) == ((), 0)
        await queue.finish(leased, results(leased, Outcome.RETRY, Outcome.FAILED))
        assert await queue.messages() == ()


async def test_many_are_changed_in_several_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_sql, "SLICE_OF_CHANGES", 2)
    async with house(tmp_path) as at:
        queue = at.worker()
        for number in range(5):
            await at.enqueue(queue, LARGE, f"u{number}@x.example", lease=0)

        assert await queue.hold(EVERYTHING) == 5
        assert await queue.release(EVERYTHING, 1_750_000_100) == 5
        assert await queue.drop(EVERYTHING) == 5
        assert (await queue.messages(), at.files()) == ((), 0)


async def test_a_queue_of_the_first_version_goes_on_and_its_failed_are_tried_again(tmp_path: Path) -> None:
    pool = ThreadPoolExecutor(1)
    (tmp_path / "queue").mkdir()
    path = tmp_path / "queue" / "queue.sqlite"
    old = Database(path, Schema(SCHEMA.name, SCHEMA.application_id, SCHEMA.steps[:1]), pool, create=True)
    await old.write(_first_version())
    await old.close()
    pool.shutdown()

    async with house(tmp_path) as at:
        queue = at.worker()
        (kept,) = await queue.lease_due(1_750_000_000, 60, 10)
        assert [(each.address, each.domain, each.state, each.last_error) for each in kept.recipients] == [
            ('"a@b"@x.example', "x.example", "waiting", ""),
            ("c@y.example", "y.example", "waiting", "550 no"),
        ]
        assert (kept.message.trace_id, kept.message.expires) == ("t", 0)


def _first_version() -> Script[None]:
    yield "INSERT INTO message VALUES (1, 't', 's@a.example', x'', 1, 5, 0, '7BIT', '', '', x'', '', x'78')", ()
    for id, address, state, error in ((2, '"a@b"@x.example', "waiting", ""), (3, "c@y.example", "failed", "550 no")):
        yield (
            "INSERT INTO recipient (id, message_id, address, original, delivery_id, notify, orcpt, state, next_attempt,"
            " last_error) VALUES (?, 1, ?, '', 'd', '', '', ?, 7, ?)",
            (id, address, state, error),
        )


async def test_the_search_for_what_is_due_reads_nothing_but_its_index(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        for script in (queue_sql.lease_due(0, "t", 1, 5, ["x.example"]), queue_sql.next_due()):
            for statement, values in (next(script), script.send([(0,)])):
                plan = await queue._database.read(just(f"EXPLAIN QUERY PLAN {statement}", values))
                steps = [row[3] for row in plan if "recipient USING INTEGER PRIMARY KEY" not in row[3]]
                assert any("COVERING INDEX recipient_due" in step for step in steps)
                assert not any("SCAN" in step or "B-TREE" in step for step in steps), steps


async def test_a_dead_workers_lease_returns_and_its_late_word_is_not_heard(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        slow, quick = at.worker(), at.worker()
        leased = await at.enqueue(slow, b"x", "a@x.example", lease=60)
        (taken,) = await quick.lease_due(1_750_000_060, 60, 10)

        await slow.finish(leased, results(leased, Outcome.DELIVERED))
        assert await slow.messages() == (taken,)
        await quick.finish(taken, results(taken, Outcome.RETRY, later=1_750_000_100))
        await slow.finish(leased, results(leased, Outcome.FAILED))
        ((row,),) = [message.recipients for message in await slow.messages()]
        assert (row.state, row.next_attempt, row.lease_token) == ("waiting", 1_750_000_100, "")


async def test_no_token_is_no_key(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        leased = await at.enqueue(queue, b"x", "a@x.example")
        await queue.finish(leased, results(leased, Outcome.RETRY, later=5))

        bare = replace(leased, recipients=(replace(leased.recipients[0], lease_token=""),))
        await queue.finish(bare, results(bare, Outcome.DELIVERED))
        await queue.finish(replace(leased, recipients=()), results(leased, Outcome.DELIVERED))
        assert len(await queue.messages()) == 1


async def test_retry_now_leaves_alone_what_is_being_tried(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        leased = await at.enqueue(queue, b"x", "a@x.example", "b@x.example", lease=60)
        await queue.finish(leased, results(leased, Outcome.RETRY, Outcome.RETRY, later=1_750_009_999)[1:])

        assert await queue.retry_now(QueueFilter(message=leased.message.id), 1_750_000_001) == 1
        assert [each.address for each in await leased_by(queue, 1_750_000_001, 9)] == ["b@x.example"]


async def test_the_longest_due_go_first_and_no_more_than_asked_for(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        for number, wait in enumerate((30, 10, 20)):
            leased = await at.enqueue(queue, b"x", f"u{number}@x.example")
            await queue.finish(leased, results(leased, Outcome.RETRY, later=1_750_000_000 + wait))

        due = [await queue.lease_due(1_750_000_025, 60, 1) for _ in range(3)]
        assert [[each.address for one in some for each in one.recipients] for some in due] == [
            ["u1@x.example"],
            ["u2@x.example"],
            [],
        ]


async def test_listing_goes_on_behind_the_last_message(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        made = [await at.enqueue(queue, b"x", "a@x.example", "b@x.example") for _ in range(3)]

        assert await queue.messages(limit=2) == tuple(made[:2])
        assert await queue.messages(after=made[1].message.id) == (made[2],)


async def test_ids_are_never_given_twice(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        first = await at.enqueue(queue, b"x", "a@x.example", "b@x.example")
        await queue.drop(QueueFilter(message=first.message.id))
        second = await at.enqueue(queue, b"x", "a@x.example")

        assert second.message.id > max(each.id for each in first.recipients)


async def test_two_workers_never_hold_the_same_recipient(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        one, two = at.worker(), at.worker()
        for number in range(20):
            await at.enqueue(one, b"x", f"u{number}@x.example", lease=0)

        taken = await asyncio.gather(*(queue.lease_due(1_750_000_000, 60, 3) for queue in (one, two) * 5))
        addresses = [each.address for some in taken for one in some for each in one.recipients]
        assert len(addresses) == len(set(addresses)) == 20


async def test_a_full_disk_queues_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    class Full(SystemFiles):
        def sync_folder(self, path: Path) -> None:
            if path.name == "blobs":
                raise OSError(errno.ENOSPC, "No space left on device")
            super().sync_folder(path)

    async with house(tmp_path) as at:
        queue = at.worker(Full())
        with pytest.raises(MailError) as failure:
            await at.enqueue(queue, LARGE, "a@x.example")

        assert failure.value.condition is Condition.DISK_FULL
        assert (at.files(), await queue.messages()) == (0, ())


async def test_a_row_that_is_refused_takes_its_file_along(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        staged = await at.stage(LARGE)
        with pytest.raises(Exception, match="CHECK"):
            await queue.enqueue(replace(new_message(staged, "a@x.example"), body="9BIT"), 60)
        await staged.close()

        assert (at.files(), await queue.messages()) == (0, ())


async def test_a_message_for_nobody_is_a_defect(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        with pytest.raises(ValueError, match="recipient"):
            await at.enqueue(at.worker(), LARGE)
        assert at.files() == 0


async def test_the_file_lasts_before_the_row_and_the_row_goes_before_the_file(tmp_path: Path) -> None:
    class Recording(SystemFiles):
        def __init__(self) -> None:
            self.done: list[str] = []

        def link(self, source: Path, target: Path) -> None:
            super().link(source, target)
            self.done.append("link")

        def sync_folder(self, path: Path) -> None:
            super().sync_folder(path)
            self.done.append(f"sync {path.name}")

        def unlink(self, path: Path) -> None:
            super().unlink(path)
            self.done.append("unlink")

    files = Recording()
    async with house(tmp_path) as at:
        queue = at.worker(files)
        write = queue._database.write

        async def recorded(script: object, *rest: object) -> object:
            result = await write(script, *rest)  # type: ignore[arg-type]
            files.done.append("commit")
            return result

        queue._database.write = recorded  # type: ignore[method-assign,assignment]
        files.done.clear()
        leased = await at.enqueue(queue, LARGE, "a@x.example")
        await queue.finish(leased, results(leased, Outcome.DELIVERED))

        assert files.done == ["link", "sync blobs", "commit", "commit", "unlink"]


async def test_the_sweep_takes_old_files_without_a_row_and_no_others(tmp_path: Path) -> None:
    async with house(tmp_path) as at:
        queue = at.worker()
        leased = await at.enqueue(queue, LARGE, "a@x.example")
        (at.blobs / "orphan").write_bytes(b"x")
        at.clock.seconds = time.time()
        assert await queue.sweep() == 0

        at.clock.turn(86_500)
        assert await queue.sweep() == 1
        staged = await queue.staged(leased.message)
        assert bytes(staged.view()) == LARGE
        await staged.close()


# --------------------------------------------------------- beside a model


@dataclass
class Model:
    """What is known of one recipient: `token` and `until` of its lease, `due` when it has none."""

    message: int
    token: str
    due: int
    state: str = "waiting"


class TwoWorkers(RuleBasedStateMachine):
    """Every recipient ends as delivered, failed or dropped by hand; until then it is in the queue exactly once."""

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.house = House(self.folder, TurnedClock())
        self.queues = [self.house.worker(), self.house.worker()]
        self.model: dict[int, Model] = {}
        self.large: set[int] = set()
        self.held: list[Leased] = []

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.house.close())
            self.loop.close()
            shutil.rmtree(self.folder)

    @property
    def now(self) -> int:
        return int(self.house.clock.now())

    def run(self, awaitable: object) -> object:
        return self.loop.run_until_complete(awaitable)  # type: ignore[arg-type]

    @rule(worker=st.integers(0, 1), count=st.integers(1, 3), large=st.booleans(), lease=st.integers(0, 100))
    def enqueue(self, worker: int, count: int, large: bool, lease: int) -> None:
        addresses = [f"u{number}@x.example" for number in range(count)]
        body = LARGE if large else b"small"
        leased: Leased = self.run(self.house.enqueue(self.queues[worker], body, *addresses, lease=lease))  # type: ignore[assignment]
        for each in leased.recipients:
            assert each.id not in self.model
            self.model[each.id] = Model(leased.message.id, each.lease_token, self.now + lease)
        if large:
            self.large.add(leased.message.id)
        self.held.append(leased)

    @rule(worker=st.integers(0, 1), limit=st.integers(1, 5), lease=st.integers(0, 100))
    def lease(self, worker: int, limit: int, lease: int) -> None:
        due = [(one.due, id) for id, one in self.model.items() if one.state == "waiting" and one.due <= self.now]
        wanted = {id for _, id in sorted(due)[:limit]}
        taken: tuple[Leased, ...] = self.run(self.queues[worker].lease_due(self.now, lease, limit))  # type: ignore[assignment]
        got = [each for leased in taken for each in leased.recipients]
        assert {each.id for each in got} == wanted
        assert len(got) == len(wanted)
        for each in got:
            self.model[each.id].token, self.model[each.id].due = each.lease_token, self.now + lease
        self.held.extend(taken)

    @rule(worker=st.integers(0, 1), data=st.data())
    def finish(self, worker: int, data: st.DataObject) -> None:
        if not self.held:
            return
        leased = self.held[data.draw(st.integers(0, len(self.held) - 1))]
        outcomes = data.draw(
            st.lists(st.sampled_from(Outcome), min_size=len(leased.recipients), max_size=len(leased.recipients))
        )
        later = self.now + data.draw(st.integers(0, 50))
        self.run(self.queues[worker].finish(leased, results(leased, *outcomes, later=later)))
        for each, outcome in zip(leased.recipients, outcomes, strict=True):
            one = self.model.get(each.id)
            if one is None or one.token != each.lease_token:
                continue
            match outcome:
                case Outcome.DELIVERED | Outcome.FAILED:
                    del self.model[each.id]
                case Outcome.RETRY:
                    one.token, one.due = "", later

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.house.clock.turn(seconds)

    @rule(worker=st.integers(0, 1), data=st.data(), decision=st.sampled_from(["hold", "release", "retry", "drop"]))
    def decide(self, worker: int, data: st.DataObject, decision: str) -> None:
        if not self.model:
            return
        message = data.draw(st.sampled_from(sorted({one.message for one in self.model.values()})))
        queue, where = self.queues[worker], QueueFilter(message=message)
        these = {id: one for id, one in self.model.items() if one.message == message}
        match decision:
            case "drop":
                self.run(queue.drop(where))
                self.model = {id: one for id, one in self.model.items() if id not in these}
            case "hold":
                self.run(queue.hold(where))
                for one in these.values():
                    one.state = "held"
            case "release":
                self.run(queue.release(where, self.now))
                for one in these.values():
                    if one.state == "held":
                        one.state = "waiting"
                        one.due = one.due if one.token and one.due > self.now else self.now
            case "retry":
                self.run(queue.retry_now(where, self.now))
                for one in these.values():
                    if one.state == "waiting" and not one.token:
                        one.due = min(one.due, self.now)

    @rule(worker=st.integers(0, 1))
    def die(self, worker: int) -> None:
        self.run(self.queues[worker].close())
        self.queues[worker] = self.house.worker()

    @invariant()
    def the_queue_is_what_the_model_says(self) -> None:
        if not hasattr(self, "queues"):
            return
        listed: tuple[Leased, ...] = self.run(self.queues[0].messages(limit=1000))  # type: ignore[assignment]
        rows = {each.id: each for leased in listed for each in leased.recipients}
        assert {id: (one.message, one.state, one.token) for id, one in self.model.items()} == {
            id: (each.message, each.state, each.lease_token) for id, each in rows.items()
        }
        assert all(rows[id].next_attempt == one.due for id, one in self.model.items())
        alive = {one.message for one in self.model.values()}
        assert {leased.message.id for leased in listed} == alive
        assert self.house.files() == len(alive & self.large)


TwoWorkers.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestTwoWorkers = TwoWorkers.TestCase
