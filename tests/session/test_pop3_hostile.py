"""Any octets from any state: the same answers in every cut, nothing held afterwards, nothing for the log."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from pop3_world import PASSWORD, USER, FakeMailStore, World, message

from postane.core.dialogue import Secured
from postane.net.pump import Stopping, converse
from postane.net.stream import Signal
from transcript import INTERNAL_ERROR, LOCAL, PEER, CarefulLog

LOGIN = f"USER {USER}\r\nPASS {PASSWORD}\r\n".encode()
BEGINNINGS = {
    "connected": b"",
    "named": f"USER {USER}\r\n".encode(),
    "challenged": b"AUTH PLAIN\r\n",
    "half a LOGIN": b"AUTH LOGIN\r\nbXJvc2VAZXhhbXBsZS5vcmc=\r\n",
    "logged in": LOGIN,
    "with a deleted message": LOGIN + b"DELE 1\r\n",
}
LINES = (
    "USER u|PASS p|PASS|AUTH|AUTH PLAIN|AUTH LOGIN|AUTH PLAIN =|AUTH NTLM|*|=|AHUAcA==|STLS|CAPA|STAT|LIST|LIST 1|"
    "LIST 3|UIDL|UIDL 2|RETR 1|RETR 2|RETR 0|TOP 1 0|TOP 2 1|TOP 2 99999|DELE 1|"
    "DELE 2|NOOP|RSET|QUIT|HELO x|\0|\xff\xfe|\u00fc|."
)
COMMANDS = st.sampled_from([line.encode("latin-1") + b"\r\n" for line in LINES.split("|")])
MAIL = st.sampled_from([b"RETR 1\r\n", b"RETR 2\r\n", b"TOP 2 1\r\n", b"DELE 1\r\n", b"LIST\r\n", b"QUIT\r\n"])
JUNK = st.sampled_from([b"\r", b"\n", b" ", b"x" * 600, b"y" * 13_000, b"RETR", LOGIN]) | st.binary(max_size=20)
PARTS = st.lists(st.one_of(COMMANDS, MAIL, JUNK), min_size=2, max_size=10)


class Pieces:
    """A stream that gives what it was given, then the end, and keeps what was said."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = iter(pieces)
        self.said = b""
        self.peer, self.local = PEER, LOCAL
        self.is_lost = False
        self.lost = None

    async def receive(self, timeout: float) -> bytes | Signal:
        return next(self.pieces, Signal.EOF)

    async def start_tls(self, context: object) -> Secured:
        return Secured("TLSv1.3", "")

    async def drain(self) -> bool:
        return True

    def write(self, data: bytes) -> None:
        self.said += data

    def poke(self) -> None: ...

    def close(self) -> None: ...


async def outcome(pieces: list[bytes]) -> tuple[bytes, list[bool]]:
    mail = FakeMailStore(replace(message(120)), replace(message(80_000)))
    world = World(mail)
    stream, log = Pieces(pieces), CarefulLog()
    await converse(
        stream,
        world.engine(),
        world.session(),
        tls=object(),
        implicit_tls=False,
        stopping=Stopping(),
        log=log,
        internal_error=INTERNAL_ERROR,
    )
    if log.failure is not None:
        raise log.failure
    assert (False, 0, []) == (mail.is_locked, world.connections.count, world.hints.watchers)
    return stream.said, [kept.expunged for kept in mail.messages.values()]


reached: Counter[str] = Counter()


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.sampled_from(sorted(BEGINNINGS)), PARTS, st.lists(st.integers(0, 50_000), max_size=5))
def test_every_cut_from_every_state(beginning, parts, places):
    # What is sent behind STLS is dropped as far as it has come, which is a matter of the cut.
    data = BEGINNINGS[beginning] + b"".join(parts).replace(b"STLS", b"STLX")
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    whole = asyncio.run(outcome([data]))
    assert whole == asyncio.run(outcome([data[a:b] for a, b in itertools.pairwise(edges) if a < b]))
    if len(data) < 1000:
        assert whole == asyncio.run(outcome([bytes([octet]) for octet in data]))
    reached[beginning] += 1
    for words in (b"good-bye, 1", b"octets\r\n", b"the top follows", b"[AUTH]", b"too long", b"+OK 2 messages"):
        reached[words.decode()] += words in whole[0]


def test_all_was_reached():
    test_every_cut_from_every_state()
    assert all(reached[name] for name in BEGINNINGS)
    assert all(reached.values()), reached
