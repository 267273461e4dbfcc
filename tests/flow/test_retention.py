"""The janitor's round: marks old enough go, in slices, and one bad account stops nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from fake_directory import FakeDirectory

from postane.core.clock import TurnedClock
from postane.core.log import NullLog
from postane.core.status import Condition, MailError
from postane.flow.retention import DAY, Janitor, RetentionPolicy, Round
from postane.store.api import SLICE, AccountRef, Purge, Purged


@dataclass
class FakeMail:
    """`marked` holds when each entry of an account was marked; a purge takes three seconds."""

    clock: TurnedClock
    marked: dict[int, list[int]] = field(default_factory=dict)
    broken: dict[int, Exception] = field(default_factory=dict)
    slices: list[int] = field(default_factory=list)

    async def write(self, account: AccountRef, command: Any) -> Purged:
        assert isinstance(command, Purge)
        self.clock.turn(3)
        if account.id in self.broken:
            raise self.broken[account.id]
        marks = self.marked.setdefault(account.id, [])
        going = [at for at in marks if at < command.marked_before][: command.limit]
        self.marked[account.id] = [at for at in marks if at not in going]
        self.slices.append(len(going))
        return Purged(len(going), 10 * len(going))

    async def sweep(self, account: AccountRef) -> int:
        return 1

    async def sweep_incoming(self) -> int:
        return 10


class FakeQueue:
    async def sweep(self) -> int:
        return 100


@dataclass
class FakeTrace:
    kept: int = 0

    async def prune(self, keep_days: int) -> int:
        self.kept = keep_days
        return 5


class House:
    def __init__(self, policy: RetentionPolicy) -> None:
        self.clock = TurnedClock()
        self.mail = FakeMail(self.clock)
        self.trace = FakeTrace()
        self.rests: list[float] = []
        self.directory = FakeDirectory("example.com")
        for name in ("ann", "bob", "eve"):
            self.directory.put(f"{name}@example.com")
        self.janitor = Janitor(
            self.directory,  # type: ignore[arg-type]
            self.mail,  # type: ignore[arg-type]
            FakeQueue(),
            self.trace,
            policy,
            self.clock,
            NullLog(),
            self.rest,
        )

    async def rest(self, seconds: float) -> None:
        self.rests.append(seconds)

    def ago(self, days: float) -> int:
        return int(self.clock.now() - days * DAY)


@pytest.mark.parametrize(("setting", "days"), [(14, 14), (1, 1), (0, 1), (-5, 1)])
async def test_only_marks_older_than_the_setting_go_and_never_one_younger_than_a_day(setting: int, days: int) -> None:
    house = House(RetentionPolicy(undelete=setting))
    old, young = house.ago(days) - 60, house.ago(days) + 60
    house.mail.marked = {1: [old, young]}

    done = await house.janitor.run()
    assert house.mail.marked[1] == [young]
    assert (done.entries, done.bytes) == (1, 10)


async def test_a_round_cleans_everything_and_says_what_went() -> None:
    house = House(RetentionPolicy(undelete=14, trace=7))
    house.mail.marked = {2: [0, 1], 3: [2]}

    assert await house.janitor.run() == Round(accounts=3, entries=3, bytes=30, files=113, trace_segments=5, failed=0)
    assert house.trace.kept == 7


async def test_large_purges_go_in_slices_with_a_rest_as_long_as_each() -> None:
    house = House(RetentionPolicy())
    house.mail.marked = {1: list(range(2 * SLICE + 5))}

    assert (await house.janitor.run()).entries == 2 * SLICE + 5
    assert house.mail.slices == [SLICE, SLICE, 5, 0, 0, 0]
    assert house.rests == [3, 3, 3, 3, 0, 3, 0, 3, 0]


@pytest.mark.parametrize(
    "failure", [MailError(Condition.TEMPORARY, "damaged", "secret path"), FileNotFoundError("blobs")]
)
async def test_an_account_that_cannot_be_cleaned_keeps_no_other_waiting(failure: Exception) -> None:
    house = House(RetentionPolicy())
    house.mail.marked = {1: [0], 3: [0]}
    house.mail.broken = {2: failure}

    done = await house.janitor.run()
    assert replace(done, files=0) == Round(accounts=2, entries=2, bytes=20, trace_segments=5, failed=1)
