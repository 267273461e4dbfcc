"""The queue worked off: who is tried when, by whom, and what becomes of everyone; with a clock that is turned."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relay_world import World, world
from scripted_net import Do, FakeServer

from postane.core.limits import RelayLimits
from postane.core.status import Condition, MailError
from postane.flow.queue import LEASE_SECONDS
from postane.flow.relay.ports import End
from postane.flow.relay.runner import RENEW_EVERY, QueueRunner
from postane.flow.schedule import Schedule
from postane.store.api import EVERYTHING, QueueFilter

HOUR = 3600


def refuse(code: str) -> Callable[[str], str | None]:
    return lambda line: f"{code} so it is" if line.startswith("RCPT") else None


async def quick(seconds: float) -> None:
    """For whoever runs beside the test: time goes on, a little."""
    await asyncio.sleep(0.001)


async def work_off(at: World, runner: QueueRunner | None = None) -> None:
    """To the end of the queue, however long that takes."""
    for _ in range(10_000):
        if await at.queue.next_due() is None:
            return
        await at.turn_to_next()
        await (runner or at.runner).run_due()
    pytest.fail("the queue has no end")


# ------------------------------------------------------------ ends


async def test_local_and_remote_recipients_of_one_message_are_served_together(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far, near = FakeServer("mx.far.example"), FakeServer("mx.near.example")
        at.serve("far.example", far)
        at.serve("near.example", near)
        await at.enqueue("ann@home.example", "bob@far.example", "eve@near.example", "x@nowhere.example")
        assert await at.runner.run_due() == 5, "one of them is the bounce"

        assert (far.delivered, near.delivered) == (["bob@far.example"], ["eve@near.example"])
        assert at.filing.filed["id-ann@home.example"] == 1
        assert at.bounces.of(End.FAILED) == ["x@nowhere.example"]
        assert await at.left() == []


async def test_the_sender_hears_after_four_hours_once_and_after_five_days(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example", script=refuse("451 4.3.0"))
        at.serve("far.example", far)
        began = at.now
        await at.enqueue("bob@far.example")
        told: dict[End, list[int]] = defaultdict(list)
        for _ in range(1000):
            known = len(at.bounces.reports)
            await at.runner.run_due()
            for report in at.bounces.reports[known:]:
                told[report.end].append(at.now - began)
            if await at.queue.next_due() is None:
                break
            await at.turn_to_next()

        assert {end: at for end, at in told.items() if end is not End.DELIVERED} == {
            End.DELAYED: [4 * HOUR],
            End.FAILED: [5 * 24 * HOUR],
        }
        (delayed,) = (report for report in at.bounces.reports if report.end is End.DELAYED)
        assert delayed.retry_until == began + 5 * 24 * HOUR
        assert delayed.verdict.words == "451 4.3.0 so it is"
        assert len(at.noted("retry")) + 1 == len([line for line in far.heard if line.startswith("RCPT")])


async def test_a_message_has_the_end_that_was_asked_for(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        at.serve("far.example", FakeServer("mx.far.example", script=refuse("451 4.3.0")))
        began = at.now
        await at.enqueue("bob@far.example", expires=at.now + 100)
        await work_off(at)

        assert at.bounces.of(End.FAILED) == ["bob@far.example"]
        assert at.now == began + 100


async def test_no_notice_no_end(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        at.serve("far.example", FakeServer("mx.far.example", script=refuse("550 5.1.1")))
        at.bounces.trouble = MailError(Condition.DISK_FULL, "no space")
        await at.enqueue("bob@far.example")
        await at.runner.run_due()
        assert await at.left() == [("bob@far.example", "550 5.1.1 so it is")]

        at.bounces.trouble = None
        await at.turn_to_next()
        await at.runner.run_due()
        assert at.bounces.of(End.FAILED) == ["bob@far.example"]
        assert await at.left() == []


async def test_what_was_delivered_is_delivered_though_no_notice_can_be_made(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        at.bounces.trouble = KeyError("a defect")
        await at.enqueue("bob@far.example")
        await at.runner.run_due()

        assert (len(far.mails), await at.left()) == (1, [])
        assert "KeyError" in at.log.exceptions.pop()


async def test_a_queue_that_cannot_be_told_is_told_later_and_nothing_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        finish, failures = at.queue.finish, [1, 2, 3]

        async def full(*arguments: object) -> None:
            if failures:
                failures.pop()
                raise MailError(Condition.DISK_FULL, "no space")
            await finish(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(at.queue, "finish", full)
        await at.enqueue("bob@far.example")
        await at.runner.run_due()
        await at.runner.run_due()
        assert (len(far.mails), failures, await at.left()) == (1, [], [])


async def test_a_defect_is_logged_and_keeps_no_other_message_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)

        async def broken(*_: object) -> None:
            raise KeyError("oops")

        monkeypatch.setattr(at.runner._hand_over, "attempt", broken)
        await at.enqueue("ann@home.example", "bob@far.example")
        await at.runner.run_due()

        assert far.delivered == ["bob@far.example"]
        assert await at.left() == [("ann@home.example", "451 4.3.0 the server made a mistake here")]
        assert "oops" in at.log.exceptions.pop()


async def test_held_mail_is_not_tried(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        await at.enqueue("bob@far.example")
        await at.queue.hold(EVERYTHING)
        assert await at.runner.run_due() == 0
        await at.queue.release(EVERYTHING, at.now)
        assert await at.runner.run_due() == 1
        assert len(far.mails) == 1


# ------------------------------------------------------------ workers


async def test_the_leases_of_a_dead_worker_return(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        await at.enqueue("bob@far.example")
        await at.queue.lease_due(at.now, LEASE_SECONDS, 10)  # and then it dies
        runner = at.another()
        assert await runner.run_due() == 0
        at.clock.turn(LEASE_SECONDS)
        assert await runner.run_due() == 1
        assert len(far.mails) == 1


async def test_a_long_delivery_keeps_its_lease(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        gate = asyncio.Event()
        deliver = at.runner._relay.deliver

        async def slow(*arguments: object) -> object:
            await gate.wait()
            return await deliver(*arguments)  # type: ignore[arg-type]

        at.runner._relay.deliver = slow  # type: ignore[method-assign,assignment]
        await at.enqueue("bob@far.example")
        task = asyncio.create_task(at.runner.run_due())
        while not at.runner._tasks:
            await asyncio.sleep(0.001)
        other = at.another()
        for _ in range(10):
            at.clock.turn(RENEW_EVERY)
            await at.runner.renew()
            assert await other.run_due() == 0
        gate.set()
        assert await task == 1
        assert (len(far.mails), await at.left()) == (1, [])


async def test_two_workers_never_try_the_same(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        other = at.another()
        for number in range(60):
            await at.enqueue(f"u{number}@far.example")
        counts = await asyncio.gather(at.runner.run_due(), other.run_due())

        assert sum(counts) == 60
        assert sorted(Counter(far.delivered).values()) == [1] * 60


async def test_it_runs_by_itself_wakes_when_called_and_stops(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        at.runner._sleep = quick
        running = asyncio.create_task(at.runner.run())
        await asyncio.sleep(0.01)
        await at.enqueue("bob@far.example")
        at.runner.wake()
        for _ in range(1000):
            if far.mails and not await at.left():
                break
            await asyncio.sleep(0.001)
        await at.runner.stop(5)
        await asyncio.wait_for(running, 5)
        assert len(far.mails) == 1
        assert at.net.open == set()


async def test_what_is_broken_off_at_the_end_is_tried_again_by_another(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)

        async def never(*_: object) -> None:
            await asyncio.Event().wait()

        at.runner._relay.deliver = never  # type: ignore[method-assign,assignment]
        await at.enqueue("bob@far.example")
        await at.runner._lease()
        await asyncio.sleep(0)
        await at.runner.stop(0.01)
        assert far.mails == []
        at.clock.turn(LEASE_SECONDS)
        assert await at.another().run_due() == 1
        assert len(far.mails) == 1


# ------------------------------------------------------------ fairness and size


async def test_a_slow_domain_leaves_room_for_the_others(tmp_path: Path) -> None:
    async with world(tmp_path, RelayLimits(in_flight=20)) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        at.runner._sleep = quick
        gate = asyncio.Event()
        deliver = at.runner._relay.deliver

        async def slow(route: object, *arguments: object) -> object:
            if route.domain == "a-slow.example":  # type: ignore[attr-defined]
                await gate.wait()
            return await deliver(route, *arguments)  # type: ignore[arg-type]

        at.runner._relay.deliver = slow  # type: ignore[method-assign,assignment]
        at.serve("a-slow.example", FakeServer("mx.a-slow.example"))
        for number in range(10):
            await at.enqueue(f"u{number}@a-slow.example")
        running = asyncio.create_task(at.runner.run())
        while at.runner._in_flight < 10:
            await asyncio.sleep(0.001)
        for number in range(100):
            await at.enqueue(f"u{number}@a-slow.example")
        for number in range(30):
            await at.enqueue(f"v{number}@far.example")
        at.runner.wake()
        for _ in range(2000):
            if len(far.mails) == 30:
                break
            await asyncio.sleep(0.001)
        assert len(far.mails) == 30
        assert at.runner._in_flight <= 20
        gate.set()
        await at.runner.stop(5)
        await running


async def test_a_large_message_list_goes_in_transactions_of_a_hundred(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        await at.enqueue(*(f"u{number}@far.example" for number in range(250)))
        await at.runner.run_due()

        assert sorted(len(mail.recipients) for mail in far.mails) == [50, 100, 100]


# ------------------------------------------------------------ beside a model

FATES = ["250", "450 4.2.1", "550 5.1.1", "cut", "hang", "down", "crash", "doubt"]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.lists(st.sampled_from(FATES), max_size=6), st.booleans()),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.sampled_from([*range(4)]), max_size=2),
)
def test_everyone_ends_in_exactly_one_way(plan: list[tuple[int, list[str], bool]], dropped: list[int]) -> None:
    """For each message: how many recipients, what its server does at each try (then it behaves, or never does)."""
    asyncio.run(_play(plan, dropped))


async def _play(plan: list[tuple[int, list[str], bool]], dropped: list[int]) -> None:
    with tempfile.TemporaryDirectory() as root:
        async with world(Path(root)) as at:
            peers = [_Peer(at, number, list(fates), recovers) for number, (_, fates, recovers) in enumerate(plan)]
            for peer, (count, _, _) in zip(peers, plan, strict=True):
                await at.enqueue(*(f"u{each}@d{peer.number}.example" for each in range(count)))
            by_hand: set[str] = set()
            for turn in itertools.count():
                if turn == 2:
                    for number in dropped:
                        gone = QueueFilter(domain=f"d{number}.example")
                        rows = await at.queue.messages(where=gone)
                        by_hand |= {each.address for one in rows for each in one.recipients}
                        await at.queue.drop(gone)
                if await at.queue.next_due() is None:
                    break
                await at.turn_to_next()
                if any(peer.crashes() for peer in peers):
                    await at.queue.lease_due(at.now, LEASE_SECONDS, 5)  # the worker dies with what it has leased
                    continue
                await at.runner.run_due()
            _judge(at, plan, peers, by_hand)


class _Peer:
    """The server of one domain, which does at each connection what the script says next."""

    def __init__(self, at: World, number: int, fates: list[str], recovers: bool) -> None:
        self.number = number
        self.fates = fates
        self.recovers = recovers
        self.doubts = 0
        self.tried: dict[str, list[int]] = defaultdict(list)
        self._at = at
        self._now = "250"
        self.server = FakeServer(f"mx.d{number}.example", script=self._script)
        at.serve(f"d{number}.example", self.server)

    def crashes(self) -> bool:
        if self.fates[:1] == ["crash"]:
            self.fates.pop(0)
            return True
        return False

    def _script(self, line: str) -> str | Do | None:
        if line == "greeting":
            default = "250" if self.recovers else "450 4.2.1"
            self._now = self.fates.pop(0) if self.fates else default
            if self._now == "down":
                return "421 4.3.2 not now"
        if line.startswith("RCPT"):
            self.tried[line.split("<")[1].split(">")[0]].append(self._at.now)
            if self._now[0] in "45":
                return f"{self._now} so it is"
        if line == "DATA" and self._now in ("cut", "hang"):
            return Do.CUT if self._now == "cut" else Do.HANG
        if line == "." and self._now == "doubt":
            self.doubts += 1
            return Do.TAKE_AND_CUT
        return None


def _judge(at: World, plan: list[tuple[int, list[str], bool]], peers: list[_Peer], by_hand: set[str]) -> None:
    bounced = Counter(at.bounces.of(End.FAILED))
    for peer, (count, _, _) in zip(peers, plan, strict=True):
        delivered = Counter(peer.server.delivered)
        relayed = Counter(facts["to"] for facts in at.noted("relayed"))
        for each in range(count):
            address = f"u{each}@d{peer.number}.example"
            ends = relayed[address] + bounced[address] + (address in by_hand)
            assert ends == 1, (address, relayed, bounced, by_hand)
            assert delivered[address] <= relayed[address] + peer.doubts
            assert delivered[address] >= relayed[address]
            _judge_times(peer.tried[address])
    notices = sum(account for id, account in at.filing.filed.items() if id.startswith("notice"))
    told = {report.end for report in at.bounces.reports} & {End.FAILED, End.DELAYED}
    assert bool(notices) == bool(told), "what was to be told has come to ann, who is account 1"


def _judge_times(tried: list[int]) -> None:
    """Never sooner than the schedule says, but for the last moments before a notice and the end."""
    schedule = Schedule()
    began = tried[0] if tried else 0
    edges = (schedule.notice_after, schedule.give_up_after)
    for attempt, (before, after) in enumerate(itertools.pairwise(tried), 1):
        least = schedule.wait(attempt, 0.0)
        assert after - before >= least or after == before or any(abs(after - began - edge) < 1500 for edge in edges)
