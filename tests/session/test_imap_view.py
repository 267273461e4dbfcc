"""What clients believe is what the store holds: several sessions, random commands, a simple model of a client."""

from __future__ import annotations

import asyncio
import re
import tempfile
from array import array
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imap_world import Client, World, message

from postane.core import flags
from postane.core.status import MailError
from postane.proto.imap.command import SequenceSet
from postane.session.imap.view import Access, Shows, View
from postane.store.api import SLICE, AccountRef, Changed, Column, Mailbox, Purge, Role

LINE = re.compile(rb"\* (\d+) (EXISTS|RECENT|EXPUNGE|FETCH)(?: \((.*)\))?\r\n")
FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
UID = re.compile(rb"UID (\d+)")


@dataclass
class Known:
    """What a client believes of one message; None where it has not been told."""

    uid: int | None = None
    flags: frozenset[bytes] | None = None


@dataclass
class Believer:
    """A client that believes what it is told, and checks that it could be so."""

    client: Client
    world: World
    messages: list[Known] = field(default_factory=list)
    recent: dict[int, int] = field(default_factory=dict)
    """UID -> the session that was told it is recent; shared by all."""
    session: int = 0
    is_idle: bool = False

    async def select(self, session: int) -> None:
        self.messages = []
        self.session = session
        self.hear(await self.client.say(b"SELECT INBOX"), may_expunge=False)
        await self.ask(b"FETCH 1:* (UID FLAGS)")

    async def ask(self, command: bytes) -> bytes:
        if self.is_idle:
            self.is_idle = False
            self.hear(await self.client.send(b"DONE\r\n"), may_expunge=True)
        said = await self.client.say(command)
        verb = command.split()[0]
        self.hear(said, may_expunge=verb not in (b"FETCH", b"STORE", b"SEARCH"))
        assert re.search(rb"t\d+ (OK|NO \[EXPUNGEISSUED\])|\+ idling", said), (command, said)
        self.is_idle = verb == b"IDLE"
        return said

    def hear(self, said: bytes, *, may_expunge: bool) -> None:
        for number_, what, inside in LINE.findall(said):
            number = int(number_)
            if what == b"EXISTS":
                assert number >= len(self.messages), "EXISTS went down"
                self.messages += [Known() for _ in range(number - len(self.messages))]
            elif what == b"EXPUNGE":
                assert may_expunge
                assert 1 <= number <= len(self.messages)
                del self.messages[number - 1]
            elif what == b"FETCH":
                assert 1 <= number <= len(self.messages), "FETCH before EXISTS"
                self._fetched(self.messages[number - 1], inside)

    def _fetched(self, known: Known, inside: bytes) -> None:
        if found := UID.search(inside):
            assert known.uid in (None, int(found[1])), "the numbers have shifted"
            known.uid = int(found[1])
        if listed := FLAGS.search(inside):
            said = frozenset(listed[1].split())
            known.flags = said - {b"\\Recent"}
            if b"\\Recent" in said and known.uid:
                assert self.recent.setdefault(known.uid, self.session) == self.session, "recent to two"

    def assume(self, numbers: list[int], mode: bytes, names: frozenset[bytes]) -> None:
        """.SILENT: the client works out for itself what the flags are now."""
        for number in numbers:
            known = self.messages[number - 1]
            if known.flags is not None:
                change = {b"+": known.flags | names, b"-": known.flags - names, b"": names}
                known.flags = change[mode]

    async def compare(self) -> None:
        truth = await truth_of(self.world)
        assert len(self.messages) == len(truth)
        for known, (uid, names) in zip(self.messages, truth, strict=True):
            assert known.uid in (None, uid)
            assert known.flags in (None, names)


async def truth_of(world: World) -> list[tuple[int, frozenset[bytes]]]:
    inbox = await world.mail.mailbox(world.account, "INBOX")
    uids = (await world.mail.snapshot(world.account, inbox.id)).uids
    assert len(uids) <= SLICE
    rows = await world.mail.entries(world.account, inbox.id, uids, (Column.UID, Column.FLAGS, Column.KEYWORDS))
    return [(uid, frozenset(flags.wire(bits, names).split())) for uid, bits, names in rows]


NAMES = st.lists(st.sampled_from([b"\\Seen", b"\\Deleted", b"\\Deleted", b"\\Flagged", b"Work"]), max_size=3).map(
    frozenset
)
PICKS = st.lists(st.integers(0, 7), min_size=1, max_size=3)
STEPS = st.one_of(
    st.tuples(st.just("store"), PICKS, st.sampled_from([b"", b"+", b"+", b"-"]), st.booleans(), st.booleans(), NAMES),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("fetch"), PICKS, st.sampled_from([b"(UID FLAGS)", b"BODY[]", b"(UID BODY.PEEK[])"])),
    st.tuples(st.sampled_from(["copy", "move"]), PICKS, st.booleans(), st.sampled_from([b"INBOX", b"Trash"])),
    st.tuples(st.just("uid expunge"), PICKS),
    st.tuples(st.sampled_from(["expunge", "noop", "noop", "idle", "search", "reselect", "purge"])),
)
SCRIPT = st.lists(st.tuples(st.integers(0, 2), STEPS), min_size=5, max_size=30)


async def take_step(world: World, who: Believer, step: tuple[Any, ...], session: int) -> None:
    verb, *rest = step
    if verb == "deliver":
        await world.deliver(message("new"))
    elif verb == "purge":
        world.clock.turn(3 * 86_400)
        await world.mail.write(world.account, Purge(int(world.clock.now())))
    elif verb == "reselect":
        await who.ask(b"UNSELECT")
        await who.select(session)
    elif verb in ("expunge", "noop", "idle"):
        await who.ask(verb.upper().encode())
    elif verb == "search":
        await who.ask(b"SEARCH UNSEEN")
    elif who.messages:
        await on_messages(who, verb, *rest)


async def on_messages(who: Believer, verb: str, picks: list[int], *rest: Any) -> None:
    numbers = sorted({pick % len(who.messages) + 1 for pick in picks})
    chosen = b",".join(b"%d" % number for number in numbers)
    if verb == "store":
        mode, is_silent, is_uid, names = rest
        uids = [who.messages[number - 1].uid for number in numbers]
        if is_uid and None in uids:
            return
        chosen = b",".join(b"%d" % uid for uid in uids if uid) if is_uid else chosen
        if is_silent:
            # The expunged are passed over, which the client can't know; it is told that they have gone.
            who.assume(numbers, mode, names)
        command = (b"UID STORE" if is_uid else b"STORE", chosen, mode + b"FLAGS" + (b".SILENT" if is_silent else b""))
        await who.ask(b"%b %b %b (%b)" % (*command, b" ".join(sorted(names))))
    elif verb == "fetch":
        await who.ask(b"FETCH %b %b" % (chosen, rest[0]))
    elif verb in ("copy", "move"):
        is_uid, target = rest
        command = verb.upper().encode()
        if is_uid:
            uids = [who.messages[number - 1].uid for number in numbers]
            if None in uids:
                return
            command, chosen = b"UID " + command, b",".join(b"%d" % uid for uid in uids if uid)
        await who.ask(b"%b %b %b" % (command, chosen, target))
    else:
        await who.ask(b"UID EXPUNGE %b" % b",".join(b"%d" % (pick + 1) for pick in picks))


async def perform(script: list[tuple[int, tuple[Any, ...]]], folder: Path) -> None:
    async with World(folder) as world:
        for subject in ("one", "two", "three"):
            await world.deliver(message(subject))
        recent: dict[int, int] = {}
        believers = [Believer(await world.client(), world, recent=recent) for _ in range(3)]
        for session, who in enumerate(believers):
            await who.select(session)
        for session, (number, step) in enumerate(script, 3):
            await take_step(world, believers[number], step, session)
            for who in believers:
                if who.is_idle:
                    who.hear(await who.client.push(), may_expunge=True)
                    await who.compare()
        for who in believers:
            await who.ask(b"NOOP")
            await who.compare()
            await who.ask(b"FETCH 1:* (UID FLAGS)")
            await who.compare()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCRIPT)
def test_what_clients_believe_is_what_the_store_holds(script: list[tuple[int, tuple[Any, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(perform(script, Path(folder)))


# ---------------------------------------------------------------- sets


def view_of(uids: list[int], access: Access = Access.READ_WRITE) -> View:
    mailbox = Mailbox(1, "m", "INBOX", Role.INBOX, True, 1, 1, 0, 0, 0, 0, 0, 1)
    view = View(None, AccountRef(1, "a"), mailbox, access, 500)  # type: ignore[arg-type]
    view.uids = array("I", uids)
    return view


NUMBER = st.integers(0, 12)


@given(
    st.lists(st.integers(1, 20), unique=True, max_size=8).map(sorted),
    st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=5),
)
def test_a_set_of_uids_names_those_that_are_there(uids: list[int], ranges: list[tuple[int, int]]) -> None:
    view = view_of(uids)
    last = max(uids, default=0)
    wanted = {uid for a, b in ranges for uid in uids if min(a or last, b or last) <= uid <= max(a or last, b or last)}

    found = view.ranges(SequenceSet(tuple(ranges)), is_uid=True)

    assert list(view.uids_in(found)) == sorted(wanted)
    assert [uid for _, part in view.slices(found, 2) for uid in part] == sorted(wanted)
    assert all(a.stop < b.start for a, b in pairwise(found))


@given(st.integers(1, 9), st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=5))
def test_a_set_of_numbers_must_be_within_the_mailbox(exists: int, ranges: list[tuple[int, int]]) -> None:
    view = view_of(list(range(11, 11 + exists)))
    ends = [(a or exists, b or exists) for a, b in ranges]
    wanted = {number for a, b in ends for number in range(min(a, b), max(a, b) + 1)}
    if max(wanted) > exists:
        with pytest.raises(MailError):
            view.ranges(SequenceSet(tuple(ranges)), is_uid=False)

    found = view.ranges(SequenceSet(tuple(ranges)), is_uid=False, is_lenient=True)

    assert [n for part, _ in view.slices(found, 3) for n in part] == sorted(n for n in wanted if n <= exists)


def test_a_large_view_is_an_array_of_numbers_and_its_expunges_take_linear_time() -> None:
    view = view_of(list(range(1, 200_001)))
    assert view.uids.itemsize * len(view.uids) == 800_000

    view._gone = set(range(1, 200_001, 2))
    said = b"".join(line.data for line in view.report(Shows.EVERYTHING))

    assert said.startswith(b"* 1 EXPUNGE\r\n* 2 EXPUNGE\r\n* 3 EXPUNGE\r\n")
    assert view.exists == 100_000
    assert said.count(b"\r\n") == 100_000


def test_a_silent_change_of_what_another_has_changed_is_told() -> None:
    view = view_of([1, 2])
    view.modseq = 10
    view.absorb(11, (Changed(1, flags.Flag.SEEN, "", 11, False),), is_silent=True)

    assert list(view.report(Shows.EVERYTHING)) == []
    assert view.modseq == 11

    view.absorb(13, (Changed(1, 0, "", 13, False),), is_silent=True)

    assert view.modseq == 11, "someone wrote in between: the store is to be asked"
