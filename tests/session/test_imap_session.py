"""What holds for every command of an IMAP session: limits, failures of the store, leaving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from imap_world import PASSWORD, USER, World, message

from postane.core.limits import ImapLimits, Limits
from postane.core.status import Condition, MailError
from postane.flow.deliver import Filing
from postane.proto.imap.command import Tagged
from postane.store.api import Append, ClaimRecent, Purge, SetQuota
from postane.store.mail import SqlMailStore

LOGIN = f"LOGIN {USER} {PASSWORD}".encode()


class Broken:
    """A store of which the named methods fail."""

    def __init__(self, store: SqlMailStore, *broken: str, fails: Callable[[Any], bool] = lambda _: True) -> None:
        self._store = store
        self._broken = broken
        self._fails = fails

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in self._broken:
            return method

        async def call(*arguments: Any) -> Any:
            if self._fails(arguments[-1]):
                raise MailError(Condition.DISK_FULL, "there is no space left", "/secret/path")
            return await method(*arguments)

        return call


def with_broken(world: World, *names: str, **more: Any) -> Any:
    mail: Any = Broken(world.mail, *names, **more)
    return replace(world.services, mail=mail, filing=Filing(mail, world.limits.mime))


async def test_the_time_that_is_waited_follows_what_the_client_does(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        client = await world.client(login=False)
        limits = world.limits.imap
        assert client.session.timeout == limits.login
        world.clock.turn(20)
        assert client.session.timeout == limits.login - 20

        await client.say(LOGIN)
        assert client.session.timeout == limits.idle

        await client.say(b"IDLE")
        assert client.session.timeout == limits.heartbeat
        world.clock.turn(10 * limits.idle)
        assert await client.time_out() == b"* OK Still here\r\n"

        await client.send(b"DONE\r\n")
        await client.send(b"a APPEND INBOX {10}\r\n")
        assert client.session.timeout == limits.body_idle


async def test_an_account_has_so_many_connections_and_gives_them_back(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        world.connections.most = 1
        first = await world.client()
        second = await world.client(login=False)

        assert b"NO [LIMIT]" in await second.say(LOGIN)
        await second.close()
        assert world.connections.count == 1
        await first.close()
        await first.close()
        assert world.connections.count == 0
        assert world.hints.calls == {world.account.id: []}
        await world.client()


async def test_a_heartbeat_looks_again_at_what_hints_may_have_missed(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        client = await world.client()
        await client.say(b"SELECT INBOX")
        await client.say(b"IDLE")
        missed, world.hints.calls = world.hints.calls, {}
        await world.deliver(message())
        world.hints.calls = missed
        assert await client.push() == b""

        assert await client.time_out() == b"* OK Still here\r\n* 1 EXISTS\r\n* 1 RECENT\r\n"

        world.directory.change(USER, verifier="another")
        assert (await client.time_out()).startswith(b"* BYE [EXPIRED]")
        assert client.is_over


async def test_only_a_waiting_client_is_rung(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        client = await world.client()
        await client.say(b"SELECT INBOX")
        await world.deliver(message())
        assert (client.rings, await client.push()) == (0, b"")

        await client.say(b"IDLE")
        client.rings = 0
        await world.deliver(message())
        assert client.rings == 1
        assert await client.push() == b"* 2 EXISTS\r\n* 2 RECENT\r\n"
        assert await client.push() == b""


async def test_another_change_of_the_account_does_not_end_the_session(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        client = await world.client()
        world.hints.revoked(world.account.id)

        assert client.rings == 1
        assert await client.push() == b""
        assert not client.is_over


async def test_append_asks_the_quota_before_the_message_comes(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        client = await world.client()
        await world.mail.write(world.account, SetQuota(100, 1))

        assert b"a NO [OVERQUOTA]" in await client.send(b"a APPEND INBOX {101}\r\n")
        assert b"+ OK" in await client.send(b"b APPEND INBOX {30}\r\n")
        assert b"b OK [APPENDUID" in await client.send(b"Subject: x\r\n\r\n%b\r\n" % (b"y" * 16))
        assert b"c NO [OVERQUOTA]" in await client.send(b"c APPEND INBOX {10}\r\n")


async def test_a_full_disk_in_the_middle_of_append_is_told_at_its_end(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        client = await world.client(services=with_broken(world, "write", fails=lambda it: isinstance(it, Append)))

        said = await client.send(b"a APPEND INBOX {12+}\r\nSubject: x\r\n\r\nb NOOP\r\n")

        assert said == b"a NO [UNAVAILABLE] there is no space left\r\nb OK Nothing done\r\n"
        assert not any((tmp_path / "incoming").glob("*"))


async def test_a_client_that_goes_in_the_middle_of_append_leaves_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        client = await world.client()
        await client.send(b"a APPEND INBOX {1000000+}\r\n" + b"x" * 600_000)
        assert any((tmp_path / "incoming").glob("*"))

        await client.close()

        assert not any((tmp_path / "incoming").glob("*"))
        assert (await world.mail.mailbox(world.account, "INBOX")).messages == 0


async def test_a_store_that_fails_is_no_more_than_a_no(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.deliver(message())
        names = ("entries", "read", "snapshot", "usage", "write", "mailbox")
        client = await world.client(services=with_broken(world, *names))
        for command in (b"SELECT INBOX", b"STATUS INBOX (MESSAGES)", b"CREATE x", b"DELETE x", b"SUBSCRIBE x"):
            said = await client.say(command)

            assert said == b"t%d NO [UNAVAILABLE] there is no space left\r\n" % client.number
        assert b"NO [UNAVAILABLE]" in await client.send(b"a APPEND INBOX {10}\r\n")

        broken: list[str] = []
        client = await world.client(services=with_broken(world, *names, "modseq", "changes", fails=lambda _: broken))
        await client.say(b"SELECT INBOX")
        broken.append("now")
        for command in (b"FETCH 1 FLAGS", b"SEARCH UNSEEN", b"STORE 1 +FLAGS (\\Seen)", b"COPY 1 Trash", b"CLOSE"):
            assert b"NO [UNAVAILABLE] there is no space left\r\n" in await client.say(command)
        assert b" OK " in await client.say(b"NOOP")
        broken.clear()
        assert b"* 1 FETCH (FLAGS (\\Recent))" in await client.say(b"FETCH 1 FLAGS")


async def test_a_full_disk_keeps_nobody_from_reading(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.deliver(message())
        services = with_broken(world, "write", fails=lambda it: isinstance(it, ClaimRecent))
        client = await world.client(services=services)

        assert b"* 1 EXISTS\r\n* 0 RECENT\r\n" in await client.say(b"SELECT INBOX")
        await world.deliver(message())
        assert b"* 2 EXISTS\r\n* 0 RECENT\r\n" in await client.say(b"NOOP")


@pytest.mark.parametrize("command", [b'LIST "" "*"', b'LSUB "" "*"'])
async def test_a_list_that_fails_ends_the_connection_lest_outlook_drop_its_cache(
    command: bytes, tmp_path: Path
) -> None:
    async with World(tmp_path) as world:
        client = await world.client(services=with_broken(world, "mailboxes"))

        assert await client.say(command) == b"* BYE [UNAVAILABLE] Try again later: there is no space left\r\n"
        assert client.is_over


async def test_marks_below_the_floor_are_found_by_what_is_left(tmp_path: Path) -> None:
    """The whole mailbox is looked at anew, and the client is told the same as ever."""
    async with World(tmp_path) as world:
        for _ in range(4):
            await world.deliver(message())
        client, other = await world.client(), await world.client()
        await client.say(b"SELECT INBOX")
        await other.say(b"SELECT INBOX")
        await other.say(b"STORE 1,3 +FLAGS (\\Deleted)")
        await other.say(b"EXPUNGE")
        world.clock.turn(3 * 86_400)
        await world.mail.write(world.account, Purge(int(world.clock.now())))
        await world.deliver(message())

        said = await client.say(b"NOOP")

        assert said.startswith(b"* 1 EXPUNGE\r\n* 2 EXPUNGE\r\n* 3 EXISTS\r\n* 3 RECENT\r\nt")


async def test_many_messages_go_out_in_slices_and_change_in_batches(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for _ in range(600):
            await world.deliver(message())
        client = await world.client()
        await client.say(b"SELECT INBOX")

        said = await client.say(b"FETCH 1:* (UID RFC822.SIZE)")
        assert said.count(b" FETCH (UID ") == 600
        said = await client.say(b"STORE 2:600 +FLAGS (\\Deleted)")
        assert said.count(b" FETCH (FLAGS ") == 599
        said = await client.say(b"EXPUNGE")
        assert said.startswith(b"* 2 EXPUNGE\r\n* 2 EXPUNGE\r\n")
        assert said.count(b" EXPUNGE\r\n") == 599


async def test_a_fatal_line_ends_the_connection(tmp_path: Path) -> None:
    async with World(tmp_path, Limits(imap=ImapLimits(drained=1000))) as world:
        client = await world.client()

        said = await client.send(b"a APPEND missing {5000+}\r\n" + b"x" * 3000)

        assert b"a NO [TRYCREATE]" in said
        assert b"* BYE" in said
        assert client.is_over


async def test_before_the_connection_is_opened_nothing_is_answered(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        session = world.session()

        assert session.timeout == world.limits.imap.login
        assert [answer async for answer in session.handle(Tagged)] == []
        assert [answer async for answer in session.pushed()] == []
        await session.aclose()
