"""Durable before acknowledged, proved by replay: `kill -9` keeps the page cache and so proves nothing about fsync.

Deliveries are recorded step by step; then the power goes at every step.  What
was acknowledged must be there, whole; whatever else is there must be whole too.
Then each fsync of a delivery is taken away in turn: every time the proof must fail.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from crash_disk import DURABLE, KEPT, TORN, Disk, Recorder, Step
from mail_world import ACCOUNT, DATE, PREFIX, RecordingHints, World, body_of, facts

from postane.core.clock import TurnedClock
from postane.core.flags import Flag
from postane.core.status import MailError
from postane.store.api import Append, Column, FlagChange, Role, StoreFlags
from postane.store.mail import SqlMailStore
from postane.store.staging import FileStaging

SMALL, LARGE = body_of(4000, "small"), body_of(300_000, "large")
CREATED = "created"


class Lost(Exception):
    """What was acknowledged is not there, or something is there that is not whole."""


@dataclass
class Recording:
    disk: Callable[[], Disk]
    """As it was before the first step."""
    steps: Sequence[Step]


Deeds = Callable[[World, Recorder], Awaitable[None]]


async def record(root: Path, deeds: Deeds, *, prepare: Deeds | None = None) -> Recording:
    """What `deeds` do to the disk, including the closing of the store; `prepare` goes before and lasts."""
    root.mkdir()
    recorder = Recorder(root)
    clock, hints = TurnedClock(), RecordingHints()
    with ThreadPoolExecutor(4) as pool:
        store = SqlMailStore(root, hints=hints, clock=clock, pool=pool, files=recorder, vfs=recorder.layer.name)
        one = World(store, FileStaging(root, pool, recorder), hints, clock, root, pool)
        if prepare is not None:
            await prepare(one, recorder)
        before = root.with_name("before")
        shutil.copytree(root, before)
        recorder.steps.clear()
        await deeds(one, recorder)
        await store.close()
    return Recording(lambda: Disk(before), list(recorder.steps))


async def deliver(w: World, recorder: Recorder, body: bytes, label: str) -> None:
    """The message, acknowledged once it is durable; only then `incoming/` lets go of it."""
    staged = await w.staged(body)
    await w.store.write(ACCOUNT, Append(Role.INBOX, staged, facts(body), PREFIX, DATE))
    recorder.say(label)
    await staged.close()


async def verify(root: Path, said: Iterable[str]) -> None:
    """Raises Lost unless everything that was said is so, and all that is there is whole."""
    said = set(said)
    with ThreadPoolExecutor(2) as pool:
        store = SqlMailStore(root, hints=RecordingHints(), clock=TurnedClock(), pool=pool)
        try:
            there = await _look(World(store, None, RecordingHints(), TurnedClock(), root, pool))  # type: ignore[arg-type]
        except MailError as error:
            if said:
                raise Lost(str(error.detail)) from error
            return
        finally:
            await store.close()
    if missing := said - {CREATED} - there:
        raise Lost(f"{missing} was acknowledged")


async def _look(w: World) -> set[str]:
    """Which of the messages and flags are there.  MailError where there is no account yet."""
    await w.store.usage(ACCOUNT)
    findings = await w.findings()
    if findings:
        raise Lost("; ".join(findings))
    there = set()
    for uid in await w.uids():
        body = await w.bytes_of(uid)
        labels = {PREFIX + SMALL: "small", PREFIX + LARGE: "large"}
        if body not in labels or labels[body] in there:
            raise Lost(f"UID {uid} is not what was delivered, or twice")
        there.add(labels[body])
        if await w.column(Column.FLAGS, uid) == Flag.FLAGGED:
            there.add("flagged")
    return there


async def crash(recording: Recording, steps: Sequence[Step], root: Path, unsynced: str, seed: int = 0) -> None:
    """The power goes after `steps`; then the store is opened and looked at."""
    disk = recording.disk()
    disk.play(steps)
    shutil.rmtree(root, ignore_errors=True)
    disk.lay_out(root, unsynced, seed)
    await verify(root, [step.path for step in steps if step.what == "said"])


def moments(recording: Recording, unsynced: str) -> list[int]:
    """After how many steps the power may go, each a different disk or a different promise."""
    telling = {"sync", "sync_folder", "said"} if unsynced == DURABLE else {step.what for step in recording.steps}
    return [0, *(count for count, step in enumerate(recording.steps, 1) if step.what in telling)]


async def create(w: World, recorder: Recorder) -> None:
    await w.store.create(ACCOUNT)
    recorder.say(CREATED)


async def create_and_warm(w: World, recorder: Recorder) -> None:
    """So that the WAL is there already, as it is for all deliveries but the first."""
    await w.store.create(ACCOUNT)
    await w.store.write(ACCOUNT, StoreFlags(1, [], FlagChange.ADD, Flag.SEEN))


async def small(w: World, recorder: Recorder) -> None:
    await deliver(w, recorder, SMALL, "small")


async def large(w: World, recorder: Recorder) -> None:
    await deliver(w, recorder, LARGE, "large")


async def everything(w: World, recorder: Recorder) -> None:
    await small(w, recorder)
    await large(w, recorder)
    inbox = (await w.box()).id
    await w.store.write(ACCOUNT, StoreFlags(inbox, [1], FlagChange.ADD, Flag.FLAGGED))
    recorder.say("flagged")


async def everything_from_nothing(w: World, recorder: Recorder) -> None:
    await create(w, recorder)
    await everything(w, recorder)


@pytest.mark.parametrize("unsynced", [DURABLE, KEPT])
async def test_every_moment_from_an_empty_folder_on(tmp_path: Path, unsynced: str) -> None:
    recording = await record(tmp_path / "data", everything_from_nothing)

    for count in moments(recording, unsynced):
        await crash(recording, recording.steps[:count], tmp_path / "crashed", unsynced)


@pytest.mark.parametrize("seed", range(3))
async def test_any_part_of_what_was_not_synced_may_last(tmp_path: Path, seed: int) -> None:
    recording = await record(tmp_path / "data", everything, prepare=create_and_warm)

    for count in moments(recording, TORN):
        await crash(recording, recording.steps[:count], tmp_path / "crashed", TORN, seed=1000 * seed + count)


@pytest.mark.parametrize(
    ("delivery", "needed"),
    [
        (small, ["sync mail.sqlite-wal"]),
        (large, ["sync (incoming)", "sync_folder blobs", "sync mail.sqlite-wal"]),
    ],
)
async def test_no_fsync_can_be_spared(tmp_path: Path, delivery: Deeds, needed: list[str]) -> None:
    recording = await record(tmp_path / "data", delivery, prepare=create_and_warm)
    acknowledged = next(count for count, step in enumerate(recording.steps, 1) if step.what == "said")
    steps = list(recording.steps[:acknowledged])
    syncs = [step for step in steps if step.what.startswith("sync")]
    assert needed == [str(step) if "incoming" not in step.path else "sync (incoming)" for step in syncs]
    await crash(recording, steps, tmp_path / "crashed", DURABLE)

    for spared in syncs:
        without = [step for step in steps if step is not spared]
        with pytest.raises(Lost):
            await crash(recording, without, tmp_path / "crashed", DURABLE)


async def test_a_row_never_comes_before_its_bytes(tmp_path: Path) -> None:
    """Were the row committed first, some moment would show it without them."""
    recording = await record(tmp_path / "data", large, prepare=create_and_warm)
    steps = recording.steps[: next(count for count, step in enumerate(recording.steps) if step.what == "said")]
    of_bytes = [step for step in steps if {"incoming", "blobs"}.intersection(Path(step.path).parts)]
    reordered = [step for step in steps if step not in of_bytes] + of_bytes

    with pytest.raises(Lost):
        for count in range(len(reordered)):
            await crash(recording, reordered[:count], tmp_path / "crashed", DURABLE)
