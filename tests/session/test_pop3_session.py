"""POP3 whole: dialogues from files in every cut, octets that come out as they went in, and what must not happen."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pop3_world import PASSWORD, USER, FakeMailStore, Kept, World, message

from postane.core.dialogue import Body, Closed, Endpoint, Hangup, Opened, Piece, Secured, TimedOut
from postane.core.limits import Limits, Pop3Limits
from postane.core.listener import Service
from postane.core.status import MailError
from postane.proto.pop3 import Auth, AuthResponse, Pass
from transcript import PEER, play, transcripts

MESSAGES = (message(120, "one"), message(200, "two"))


@pytest.mark.parametrize("path", transcripts("pop3"), ids=lambda path: path.stem)
async def test_transcripts(path):
    limits = Limits(pop3=Pop3Limits(errors=3 if path.stem == "too-many-errors" else 20))
    worlds = []

    def make_session():
        mail = FakeMailStore(*(replace(kept) for kept in MESSAGES))
        worlds.append(World(mail, limits=limits))
        return worlds[-1].session()

    await play(path, World(FakeMailStore(), limits=limits).engine, make_session)
    for world in worlds:
        # However it ended, nothing is held, and only QUIT has deleted.
        assert not world.mail.is_locked
        assert world.connections.count == 0
        assert not world.hints.watchers
        assert bool(world.mail.written) == (path.stem == "rfc1939-session")


class Client:
    """Speaks to an engine and a session directly; what comes back is bytes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.session = world.session()
        self.engine = world.engine()
        self.rung = 0
        self.hung_up = False

    async def open(self, secured: Secured | None = None) -> bytes:
        return await self.tell(Opened(PEER, Endpoint("192.0.2.1", 110), secured, self.ring))

    def ring(self) -> None:
        self.rung += 1

    async def log_in(self) -> None:
        await self.open()
        assert b"+OK" in await self.say(f"USER {USER}\r\nPASS {PASSWORD}\r\n".encode())
        assert self.session.timeout == self.world.limits.pop3.idle

    async def tell(self, event: object) -> bytes:
        return await self.take(self.session.handle(event))

    async def take(self, answers: AsyncIterator[object]) -> bytes:
        said = b""
        async for answer in answers:
            if isinstance(answer, Hangup):
                self.hung_up = True
                continue
            self.engine.send(answer)
            if isinstance(answer, Body):
                async for chunk in answer.chunks:
                    self.engine.send(Piece(chunk))
                    said += self.engine.take_output()
            said += self.engine.take_output()
        return said

    async def say(self, data: bytes) -> bytes:
        self.engine.feed(data)
        said = b""
        while (event := self.engine.next_event()) is not None:
            said += await self.tell(event)
        return said


async def connected(*messages: Kept, **facts: object) -> Client:
    client = Client(World(FakeMailStore(*messages), **facts))
    await client.log_in()
    return client


def unstuffed(said: bytes) -> bytes:
    """What a client that takes LF for a line's end makes of an answer."""
    lines = said.split(b"\n")
    assert lines[-2:] == [b".\r", b""]
    return b"\n".join(line[1:] if line.startswith(b".") else line for line in lines[1:-2]) + b"\n"


@pytest.mark.parametrize(
    "blob",
    [
        b"Subject: x\r\n\r\n.\r\n..\r\n.x\r\n",
        b"Subject: x\r\n\r\n" + b".\r\n" * 70_000,
        b"Subject: x\r\n\r\n" + random.Random(1).randbytes(300_000).replace(b"\n", b"").replace(b"\r", b"") + b"\r\n",
        b"From old mbox\nSubject: bare\n\n.\n.bare\n\r\n",
        b"Subject: nul\r\n\r\n\0\0\r\n",
        b"Subject: header only\r\n",
        b"\r\n",
    ],
)
@pytest.mark.parametrize("prefix", [b"", b"Return-Path: <a@example.org>\r\nReceived: x\r\n"])
async def test_retr_gives_the_octets_that_are_kept(blob, prefix):
    client = await connected(Kept(blob, prefix))
    said = await client.say(b"RETR 1\r\n")
    assert said.startswith(b"+OK %d octets\r\n" % len(prefix + blob))
    assert prefix + blob == unstuffed(said)
    assert b"+OK 1 %d\r\n" % len(prefix + blob) == await client.say(b"LIST 1\r\n")
    assert not client.world.mail.written


@pytest.mark.parametrize("blob", [b"", b"Subject: cut", b"Subject: x\r\n\r\nends bare\n", b"Subject: x\r\n\r\nends\r"])
async def test_an_answer_ends_although_the_message_does_not(blob):
    client = await connected(Kept(blob))
    said = await client.say(b"RETR 1\r\nNOOP\r\n")
    assert said.endswith(b"\r\n.\r\n+OK here\r\n")
    text = said.removeprefix(b"+OK %d octets\r\n" % len(blob)).removesuffix(b".\r\n+OK here\r\n")
    assert text in (blob, blob + b"\r\n")


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
async def test_top_counts_the_lines_of_the_body(end):
    lines = [b"line %d" % number + b"." * (number % 200) for number in range(3000)]
    blob = b"Subject: x\r\n\r\n" + b"".join(line + end for line in lines)
    client = await connected(Kept(blob, b"Return-Path: <>\r\n"))
    for count in (0, 1, 2, 700, 2999, 3000, 3001, 9999999999):
        said = unstuffed(await client.say(b"TOP 1 %d\r\n" % count))
        expected = b"Return-Path: <>\r\nSubject: x\r\n\r\n" + b"".join(line + end for line in lines[:count])
        if end == b"\n" and count:
            expected += b"\r\n"  # what the final dot needs
        assert expected == said


async def test_a_large_maildrop_is_listed_whole():
    client = await connected(*(Kept(b"x" * number) for number in range(2000)))
    assert b"+OK 2000 %d\r\n" % sum(range(2000)) == await client.say(b"STAT\r\n")
    await client.say(b"DELE 300\r\n")
    listing = (await client.say(b"LIST\r\n")).split(b"\r\n")
    assert [b"%d %d" % (number + 1, number) for number in range(2000) if number != 299] == listing[1:-2]
    uidls = (await client.say(b"UIDL\r\n")).split(b"\r\n")
    assert len(uidls) == 1999 + 3
    assert b"2000 whqtswo00wbw418f9t5jx2100" in uidls


async def test_only_quit_deletes():
    for last in (Closed(), TimedOut(), Closed(shutdown=True)):
        client = await connected(*(replace(kept) for kept in MESSAGES))
        await client.say(b"DELE 1\r\n")
        await client.tell(last)
        await client.session.aclose()
        assert not client.world.mail.written
        assert not client.world.mail.is_locked

    client = await connected(*(replace(kept) for kept in MESSAGES))
    await client.say(b"DELE 2\r\nQUIT\r\n")
    assert [kept.expunged for kept in client.world.mail.messages.values()] == [False, True]
    assert client.engine.closed


async def test_a_failing_update_says_so_and_lets_go_of_the_lock():
    client = await connected(*(replace(kept) for kept in MESSAGES))
    client.world.mail.fails.add("write")
    assert b"-ERR [SYS/TEMP] the disk does not answer\r\n" in await client.say(b"DELE 1\r\nQUIT\r\n")
    assert not client.world.mail.is_locked


async def test_the_maildrop_is_locked_from_login_to_the_end():
    client = await connected(*MESSAGES)
    second = Client(client.world)
    await second.open()
    assert b"-ERR [IN-USE]" in await second.say(f"USER {USER}\r\nPASS {PASSWORD}\r\n".encode())
    assert client.world.connections.count == 1
    assert len(client.world.hints.watchers) == 1
    await client.say(b"QUIT\r\n")
    assert b"+OK 2 messages" in await second.say(f"USER {USER}\r\nPASS {PASSWORD}\r\n".encode())


async def test_a_maildrop_that_does_not_open_holds_nothing():
    world = World(FakeMailStore(*MESSAGES))
    world.mail.fails.add("entries")
    client = Client(world)
    await client.open()
    assert b"-ERR [SYS/TEMP]" in await client.say(f"USER {USER}\r\nPASS {PASSWORD}\r\n".encode())
    assert (False, 0, []) == (world.mail.is_locked, world.connections.count, world.hints.watchers)


async def test_a_message_that_another_client_purged():
    client = await connected(*MESSAGES)
    del client.world.mail.messages[101]
    for command in (b"RETR 1", b"TOP 1 0", b"UIDL 1"):
        assert b"-ERR message 1 is gone" in await client.say(command + b"\r\n")
    assert b"+OK unique ids follow\r\n2 whqtswo00wbw418f9t5jx102\r\n.\r\n" == await client.say(b"UIDL\r\n")


async def test_a_listing_that_fails_in_the_middle_is_not_passed_off_as_whole():
    client = await connected(Kept(b"Subject: x\r\n\r\n" + b"y\r\n" * 100_000))
    client.world.mail.fails.add("read")
    with pytest.raises(MailError):
        await client.say(b"TOP 1 50000\r\n")


async def test_login_before_tls_is_refused_in_words():
    client = Client(World(FakeMailStore(), plaintext_login=False))
    await client.open()
    capabilities = await client.say(b"CAPA\r\n")
    assert b"STLS" in capabilities
    assert b"USER" not in capabilities
    assert b"SASL" not in capabilities
    refusal = b"-ERR [AUTH] choose SSL/TLS on port 995, or STARTTLS on this port\r\n"
    for asking in (f"USER {USER}", "AUTH PLAIN", "AUTH LOGIN", "AUTH PLAIN AHUAcA=="):
        assert await client.say(f"{asking}\r\n".encode()) == refusal  # never "+", which would have the password sent
    assert b"USER comes before PASS" in await client.say(f"PASS {PASSWORD}\r\n".encode())
    assert b"AUTH knows PLAIN LOGIN" in await client.say(b"AUTH CRAM-MD5\r\n")


async def test_implicit_tls_offers_no_stls():
    client = Client(World(FakeMailStore(), plaintext_login=False, service=Service.POP3S))
    await client.open(Secured("TLSv1.3", "x"))
    assert b"STLS" not in await client.say(b"CAPA\r\n")
    assert b"USER" in await client.say(b"CAPA\r\n")
    assert b"+OK 0 messages" in await client.say(f"USER {USER}\r\nPASS {PASSWORD}\r\n".encode())
    assert client.world.accounts.attempts[0].is_secured


async def test_too_many_connections_of_an_account():
    world = World(FakeMailStore())
    world.connections.limit = 0
    client = Client(world)
    await client.open()
    assert b"-ERR [SYS/TEMP] the account has too many connections" in await client.say(
        f"USER {USER}\r\nPASS {PASSWORD}\r\n".encode()
    )
    assert not world.mail.is_locked


async def test_a_changed_account_ends_its_sessions():
    client = await connected(*MESSAGES)
    client.world.hints.revoke()
    assert client.rung == 1
    assert b"" == await client.take(client.session.pushed())
    assert not client.hung_up

    client.world.accounts.is_valid = False
    client.world.hints.revoke()
    assert b"" == await client.take(client.session.pushed())
    assert client.hung_up
    assert not client.world.mail.is_locked

    client = await connected(*MESSAGES)
    client.world.accounts.is_valid = False
    client.world.hints.revoke()
    assert b"-ERR [SYS/TEMP] the account was changed; log in again\r\n" == await client.say(b"DELE 1\r\n")
    assert client.hung_up


async def test_time_for_login_is_not_won_by_bytes():
    world = World(FakeMailStore())
    client = Client(world)
    await client.open()
    world.clock.turn(50)
    await client.say(b"CAPA\r\n")
    assert client.session.timeout == world.limits.pop3.login - 50
    world.clock.turn(500)
    assert client.session.timeout == 0
    await client.tell(TimedOut())
    assert client.hung_up


async def test_secrets_are_in_no_text():
    for event in (Pass(PASSWORD), Auth("PLAIN", PASSWORD.encode()), AuthResponse(PASSWORD.encode())):
        assert PASSWORD not in repr(event)
