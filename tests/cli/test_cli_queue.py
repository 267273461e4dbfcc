"""`postane queue`, on a queue that was filled beforehand."""

from __future__ import annotations

import asyncio
import time

import pytest
from commanding import Commands

from postane.app import Stores, open_stores
from postane.core.limits import Limits
from postane.prepare import PassingHints
from postane.store.api import Leased, NewMessage, NewRecipient, Outcome, RecipientResult

LATER = int(time.time()) + 3600


@pytest.fixture
def filled(postane: Commands, ada: str) -> Commands:
    """one: bob and eve at example.com, refused once; two: a bounce to carl; three: to dan, held."""

    async def fill(stores: Stores) -> None:
        leased = await put(stores, "one", "ada@example.org", "bob@example.com", "eve@example.com")
        error = "450 4.2.1 try again later"
        results = [
            RecipientResult(each.id, Outcome.RETRY, error, LATER, 450, "mx.example.com") for each in leased.recipients
        ]
        await stores.queue.finish(leased, results)
        await put(stores, "two", "", "carl@example.net", due=LATER)
        await put(stores, "three", "ada@example.org", "dan@example.net", due=LATER)

    in_stores(postane, fill)
    postane("queue", "hold", "three")
    return postane


async def put(stores: Stores, name: str, sender: str, *addresses: str, due: int | None = None) -> Leased:
    writer = stores.staging.begin()
    await writer.write(b"Subject: x\r\n\r\n")
    staged = await writer.finish()
    recipients = tuple(NewRecipient(each, each, f"{name}-{each}", due=due) for each in addresses)
    new = NewMessage(name, sender, b"", staged, recipients, 1_750_000_000, envid="QQ1", ret="HDRS")
    leased = await stores.queue.enqueue(new, 300)
    await staged.close()
    return leased


def in_stores(postane: Commands, work) -> None:  # type: ignore[no-untyped-def]
    async def run() -> None:
        stores = open_stores(postane.data, "test", PassingHints(postane.data / "run"), Limits())
        try:
            await work(stores)
        finally:
            await stores.close()

    asyncio.run(run())


def listed(postane: Commands, *options: str) -> list[str]:
    return [row["recipient"] for row in postane("queue", "list", "--json", *options).json]


def states(postane: Commands) -> dict[str, str]:
    return {row["recipient"].partition("@")[0]: row["state"] for row in postane("queue", "list", "--json").json}


def due(postane: Commands) -> set[str]:
    rows = postane("queue", "list", "--json").json
    return {row["recipient"].partition("@")[0] for row in rows if row["next_attempt"] < LATER}


def test_the_list_says_why(filled: Commands) -> None:
    rows = filled("queue", "list", "--json").json
    assert [row["recipient"] for row in rows] == [
        "bob@example.com", "eve@example.com", "carl@example.net", "dan@example.net",
    ]  # fmt: skip
    assert rows[0]["last_error"] == "450 4.2.1 try again later"
    assert rows[0]["last_host"] == "mx.example.com"
    assert rows[0]["attempts"] == 1
    said = filled("queue", "list")
    assert "450 4.2.1 try again later" in said.out
    assert "<>" in said.out
    assert "4 recipients of 3 messages: 0 due, 0 being tried, 1 held" in said.err


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--domain", "Example.COM"], ["bob@example.com", "eve@example.com"]),
        (["--sender", "Ada@example.org"], ["bob@example.com", "eve@example.com", "dan@example.net"]),
        (["--sender", "<>"], ["carl@example.net"]),
        (["--recipient", "eve@example.com"], ["eve@example.com"]),
        (["--state", "held"], ["dan@example.net"]),
        (["--state", "waiting", "--domain", "example.net"], ["carl@example.net"]),
        (["--limit", "1"], ["bob@example.com"]),
        (["--limit", "0"], ["bob@example.com", "eve@example.com", "carl@example.net", "dan@example.net"]),
    ],
)
def test_filters(filled: Commands, options: list[str], names: list[str]) -> None:
    assert listed(filled, *options) == names


def test_what_is_not_shown_is_told(filled: Commands) -> None:
    assert "; 2 shown, see --limit" in filled("queue", "list", "--limit", "2").err
    assert "Nothing in the queue is like that" in filled("queue", "list", "--domain", "nowhere.test").out


def test_show_tells_all_of_one_message(filled: Commands) -> None:
    shown = filled("queue", "show", "one", "--json").json
    assert (shown["id"], shown["sender"], shown["envid"], shown["ret"]) == ("one", "ada@example.org", "QQ1", "HDRS")
    assert [each["recipient"] for each in shown["recipients"]] == ["bob@example.com", "eve@example.com"]
    text = filled("queue", "show", "one").out
    assert "mx.example.com said: 450 4.2.1 try again later" in text
    assert "bob@example.com: waiting, tried 1 times, next at " in text
    assert "postane trace nobody" in filled("queue", "show", "nobody", status=1).err


def test_hold_and_release(filled: Commands) -> None:
    assert filled("queue", "hold", "--domain", "example.com", "--json").json == {"held": 2}
    assert states(filled) == {"bob": "held", "eve": "held", "carl": "waiting", "dan": "held"}
    assert filled("queue", "release", "one", "three", "--json").json == {"released": 3}
    assert set(states(filled).values()) == {"waiting"}
    assert due(filled) == {"bob", "eve", "dan"}
    assert "nothing to change" in filled("queue", "release", "one").out


def test_retry_and_flush_leave_the_held_alone(filled: Commands) -> None:
    assert filled("queue", "retry", "one", "--recipient", "eve@example.com", "--json").json == {"due": 1}
    assert due(filled) == {"eve"}
    assert "2 recipients are tried now." in filled("queue", "flush").out
    assert due(filled) == {"bob", "eve", "carl"}


def test_drop_asks_first(filled: Commands) -> None:
    said = filled("queue", "drop", "one", status=1)
    assert "2 recipients will never get it" in said.err
    assert len(listed(filled)) == 4
    assert filled("queue", "drop", "one", "--yes", "--json").json == {"dropped": 2}
    assert listed(filled) == ["carl@example.net", "dan@example.net"]
    assert filled("queue", "drop", "--all", "--yes", "--json").json == {"dropped": 2}
    assert "The queue is empty" in filled("queue", "list").out
    assert filled("queue", "drop", "--all", "--json").json == {"dropped": 0}


@pytest.mark.parametrize("verb", ["hold", "release", "retry", "drop"])
def test_nothing_changes_without_a_choice(filled: Commands, verb: str) -> None:
    assert "It is not said which messages" in filled("queue", verb, status=1).err
    assert "There is no message nobody" in filled("queue", verb, "nobody", status=1).err


def test_all_and_a_choice_contradict_each_other(filled: Commands) -> None:
    assert "--all leaves nothing to choose" in filled("queue", "hold", "--all", "one", status=1).err
