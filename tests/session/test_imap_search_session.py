"""SEARCH against a plain reading of every key, and what it reads to find out."""

from __future__ import annotations

import asyncio
import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imap_world import Client, World, message

from postane.core.flags import NO_FLAGS, Flag
from postane.session.imap import search
from postane.store.api import Column
from postane.store.mail import SqlMailStore


@dataclass(frozen=True)
class Mail:
    """One message of the mailbox, said the way a person would."""

    subject: str
    sender: str
    body: str
    date: str = "Tue, 01 Jul 2025 10:00:00 +0000"
    arrived: int = 1751364000  # 2025-07-01 10:00 UTC
    flags: Flag = NO_FLAGS
    keywords: tuple[str, ...] = ()

    @property
    def octets(self) -> bytes:
        fields = f"From: {self.sender}\r\nSubject: {self.subject}\r\nDate: {self.date}\r\n"
        return f"{fields}Content-Type: text/plain; charset=utf-8\r\n\r\n{self.body}\r\n".encode()

    @property
    def written(self) -> datetime.date:
        return datetime.datetime.strptime(self.date[5:16], "%d %b %Y").date()


MAILS = (
    Mail("Alpha beta", "Ali <ali@x.test>", "one two three"),
    Mail("beta", "Veli <veli@y.test>", "Two İSTANBUL", flags=Flag.SEEN),
    # Written on the 2nd, which is the 3rd in UTC; arrived on the 5th
    Mail("Gamma", "ali@y.test", "four", "Wed, 02 Jul 2025 23:30:00 -0700", 1751673600, Flag.SEEN | Flag.FLAGGED),
    # Written on the 4th, which is the 3rd in UTC
    Mail("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "x@z.test", "alpha", "Fri, 04 Jul 2025 01:00:00 +0900", keywords=("Work",)),
    Mail("folded\r\n beta", "x@z.test", "y" * 3000, flags=Flag.DELETED, keywords=("$Junk", "Work")),
)
DECODED = {"=?utf-8?q?Gr=C3=BC=C3=9Fe?=": "Grüße", "folded\r\n beta": "folded beta"}


def plain(text: str) -> str:
    """Enough of folding for what stands above."""
    for letters, letter in (("İIıi", "i"), ("üÜ", "u"), ("ß", "ss")):
        for each in letters:
            text = text.replace(each, letter)
    return text.lower()


def day(number: int) -> str:
    return f"{number}-Jul-2025"


def is_on(date: datetime.date, relation: str, number: int) -> bool:
    wanted = datetime.date(2025, 7, number)
    return {"BEFORE": date < wanted, "ON": date == wanted, "SINCE": date >= wanted}[relation]


def arrived(mail: Mail) -> datetime.date:
    return datetime.datetime.fromtimestamp(mail.arrived, datetime.UTC).date()


WORDS = st.sampled_from(["alpha", "BETA", "two", "grusse", "istanbul", "ali", "y.test", "x", "yyy", "zzz"])
RELATIONS = st.sampled_from(["BEFORE", "ON", "SINCE"])
Key = tuple[str, frozenset[int]]
"""What is sent, and the messages that match it."""


def key(text: str, *matches: bool) -> Key:
    return text, frozenset(number for number, each in enumerate(matches, 1) if each)


def on_all(text: str, test: Any) -> Key:
    return key(text, *map(test, MAILS))


LEAVES: st.SearchStrategy[Key] = st.one_of(
    st.just(on_all("ALL", lambda mail: True)),
    st.sampled_from(list(Flag)).map(lambda flag: on_all(str(flag.name), lambda mail: flag in mail.flags)),
    st.sampled_from(list(Flag)).map(lambda flag: on_all(f"UN{flag.name}", lambda mail: flag not in mail.flags)),
    st.just(on_all("KEYWORD work", lambda mail: "Work" in mail.keywords)),
    st.just(on_all("UNKEYWORD $JUNK", lambda mail: "$Junk" not in mail.keywords)),
    st.just(on_all("LARGER 1000", lambda mail: len(mail.octets) > 1000)),
    st.just(on_all("SMALLER 1000", lambda mail: len(mail.octets) < 1000)),
    st.just(on_all("NEW", lambda mail: Flag.SEEN not in mail.flags)),
    st.just(on_all("OLD", lambda mail: False)),
    WORDS.map(lambda word: on_all(f"SUBJECT {word}", lambda mail: plain(word) in plain(subject(mail)))),
    WORDS.map(lambda word: on_all(f"FROM {word}", lambda mail: plain(word) in plain(mail.sender))),
    WORDS.map(lambda word: on_all(f"HEADER cc {word}", lambda mail: False)),
    st.just(on_all('HEADER From ""', lambda mail: True)),
    WORDS.map(lambda word: on_all(f"BODY {word}", lambda mail: plain(word) in plain(mail.body))),
    WORDS.map(lambda word: on_all(f"TEXT {word}", lambda mail: plain(word) in plain(whole(mail)))),
    st.tuples(RELATIONS, st.integers(1, 6)).map(
        lambda drawn: on_all(f"{drawn[0]} {day(drawn[1])}", lambda mail: is_on(arrived(mail), *drawn))
    ),
    st.tuples(RELATIONS, st.integers(1, 6)).map(
        lambda drawn: on_all(f"SENT{drawn[0]} {day(drawn[1])}", lambda mail: is_on(mail.written, *drawn))
    ),
    st.lists(st.integers(1, 7), min_size=1, max_size=3).map(
        lambda numbers: key(",".join(map(str, numbers)), *(n in numbers for n in range(1, 6)))
    ),
    st.integers(1, 5).map(lambda first: key(f"UID {first}:*", *(n >= first for n in range(1, 6)))),
)


def subject(mail: Mail) -> str:
    return DECODED.get(mail.subject, mail.subject)


def whole(mail: Mail) -> str:
    return f"{mail.sender}\n{subject(mail)}\n{mail.date}\n{mail.body}\ntext/plain charset=utf-8 from subject"


EVERY = frozenset(range(1, len(MAILS) + 1))


def grown(inner: st.SearchStrategy[Key]) -> st.SearchStrategy[Key]:
    return st.one_of(
        inner.map(lambda each: (f"NOT {each[0]}", EVERY - each[1])),
        st.tuples(inner, inner).map(lambda pair: (f"OR {pair[0][0]} {pair[1][0]}", pair[0][1] | pair[1][1])),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda keys: (f"({' '.join(each for each, _ in keys)})", EVERY.intersection(*(found for _, found in keys)))
        ),
    )


KEYS = st.recursive(LEAVES, grown, max_leaves=6)


async def mailbox(folder: Path) -> tuple[World, Client]:
    world = World(folder)
    await world.__aenter__()
    for mail in MAILS:
        await world.deliver(mail.octets, at=mail.arrived, flags=mail.flags, keywords=mail.keywords)
    client = await world.client()
    await client.say(b"SELECT INBOX")
    return world, client


def numbers(said: bytes) -> list[int]:
    found = re.match(rb"\* SEARCH([ \d]*)\r\nt\d+ OK ", said)
    assert found, said
    return [int(number) for number in found[1].split()]


def test_every_key_means_what_it_says(tmp_path: Path) -> None:
    runner = asyncio.Runner()
    world, client = runner.run(mailbox(tmp_path))

    @settings(max_examples=300, deadline=None)
    @given(KEYS)
    def check(wanted: Key) -> None:
        assert numbers(runner.run(client.say(b"SEARCH " + wanted[0].encode()))) == sorted(wanted[1]), wanted[0]

    try:
        check()
    finally:
        runner.run(world.__aexit__())
        runner.close()


async def test_sets_and_columns_come_before_headers_and_headers_before_bodies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, client = await mailbox(tmp_path)
    asked: list[tuple[list[int], bool]] = []
    opened: list[int] = []
    entries, read = SqlMailStore.entries, SqlMailStore.read

    async def watched(
        self: SqlMailStore, account: Any, box: int, uids: Sequence[int], columns: Sequence[Column]
    ) -> Any:
        asked.append((list(uids), Column.HEADER in columns))
        return await entries(self, account, box, uids, columns)

    async def opening(self: SqlMailStore, account: Any, blob: int, start: int, length: int) -> bytes:
        opened.append(blob)
        return await read(self, account, blob, start, length)

    monkeypatch.setattr(SqlMailStore, "entries", watched)
    monkeypatch.setattr(SqlMailStore, "read", opening)

    assert numbers(await client.say(b"SEARCH 1:4 UNSEEN SUBJECT beta TEXT three")) == [1]
    # The set leaves four, UNSEEN two of them, SUBJECT one of those, and only its body is opened
    assert asked == [([1, 2, 3, 4], False), ([1, 4], True), ([1], True)]
    assert len(opened) == 1

    asked.clear()
    opened.clear()

    assert numbers(await client.say(b"SEARCH 2:3,5 NOT UID 5")) == [2, 3]
    assert numbers(await client.say(b"SEARCH OR SEEN BODY one")) == [1, 2, 3]
    # A set alone reads nothing; what is \Seen already is not opened
    assert [uids for uids, _ in asked] == [[1, 2, 3, 4, 5], [1, 4, 5]]
    assert len(opened) == 3
    await world.__aexit__()


async def test_text_parts_of_a_large_message_are_read_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "WHOLE", 1000)
    parts = ["Content-Type: text/plain\r\n\r\nneedle one", "Content-Type: image/png\r\n\r\n" + "needle two " * 500]
    inner = "Content-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?needl=C3=A9?= three\r\n\r\nneedle four"
    body = "".join(f"--b\r\n{part}\r\n" for part in (*parts, inner)) + "--b--"
    async with World(tmp_path) as world:
        await world.deliver(message("outer", body, Content_Type='multipart/mixed; boundary="b"'))
        client = await world.client()
        await client.say(b"SELECT INBOX")

        for text, found in ((b"one", [1]), (b"two", []), (b"three", [1]), (b"four", [1])):
            assert numbers(await client.say(b'SEARCH BODY "needle %b"' % text)) == found


async def test_text_beyond_what_is_held_at_once_is_looked_at_in_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "AT_ONCE", 10)
    world, client = await mailbox(tmp_path)

    assert numbers(await client.say(b"SEARCH NOT BODY zzz")) == [1, 2, 3, 4, 5]
    assert numbers(await client.say(b"SEARCH BODY two")) == [1, 2]
    await world.__aexit__()


async def test_what_another_has_expunged_is_found_until_it_is_told(tmp_path: Path) -> None:
    world, client = await mailbox(tmp_path)
    other = await world.client()
    await other.say(b"SELECT INBOX")
    await other.say(b"EXPUNGE")

    assert numbers((await client.say(b"SEARCH DELETED")).replace(b"OK [EXPUNGEISSUED]", b"OK")) == [5]
    assert b"* 5 EXPUNGE\r\n" in await client.say(b"NOOP")
    assert numbers(await client.say(b"SEARCH ALL")) == [1, 2, 3, 4]
    await world.__aexit__()
