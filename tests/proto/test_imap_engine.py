"""The IMAP engine alone: transcripts, and what must hold for whatever octets in whatever cuts."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imap_parrot import Parrot

from postane.core.dialogue import Hangup, Piece, StartTls
from postane.core.limits import ImapLimits
from postane.proto.imap.capability import CAPABILITIES, capabilities
from postane.proto.imap.command import (
    AppendBegin,
    AppendChunk,
    AppendEnd,
    AppendMessage,
    Authenticate,
    Challenge,
    Command,
    Continue,
    Ending,
    Idle,
    IdleDone,
    Proceed,
    SaslResponse,
    State,
    Tagged,
    Wire,
    Wrong,
)
from postane.proto.imap.legality import LEGAL
from postane.proto.imap.server import ImapEngine
from transcript import play, transcripts

LIMITS = ImapLimits(line=1000, literal=1000, command=2000, append_bytes=5000, drained=20_000)


@pytest.mark.parametrize("path", transcripts("imap_engine"), ids=lambda path: path.stem)
async def test_transcripts(path: Path) -> None:
    await play(path, lambda: ImapEngine(LIMITS), Parrot)


# ---------------------------------------------------------------- any octets, any cut

STARTS: dict[str, bytes] = {
    "not authenticated": b"",
    "authenticated": b"a LOGIN u p\r\n",
    "selected": b"a LOGIN u p\r\nb SELECT INBOX\r\n",
    "sasl": b"a AUTHENTICATE PLAIN\r\n",
    "idle": b"a LOGIN u p\r\nb IDLE\r\n",
    "literal": b"a LOGIN u p\r\nb SELECT {20}\r\n",
    "append asked": b"a LOGIN u p\r\nb APPEND x (\\Seen) {10}\r\n",
    "append message": b"a LOGIN u p\r\nb APPEND x {30+}\r\nabc",
    "append end": b"a LOGIN u p\r\nb APPEND x {3+}\r\nabc",
    "refused": b"a LOGIN u p\r\nb APPEND refused {30+}\r\nabc",
    "long line": b"a NOOP " + b"x" * 2000,
}

WORDS = [
    b"a ", b"A1 ", b"\r\n", b"\n", b"\r", b" ", b"(", b")", b"NOOP", b"CAPABILITY", b"LOGIN u p", b"AUTHENTICATE PLAIN",
    b"AUTHENTICATE PLAIN =", b"STARTTLS", b"SELECT INBOX", b"CREATE a/", b"LIST \"\" *", b"STATUS x (MESSAGES)",
    b"NAMESPACE", b"SUBSCRIBE x", b"DELETE x", b"RENAME x y", b"SEARCH ALL", b"IDLE", b"DONE", b"LOGOUT",
    b"APPEND x ", b"APPEND refused ", b"APPEND flooded ", b"(\\Seen) ", b"{3}\r\n", b"{3+}\r\nabc",
    b"{9+}\r\n", b"{99999999999}\r\n", b"{1001+}\r\n", b"{19999+}\r\n", b"{4294967295+}\r\n", b"{0}\r\n", b"{0+}\r\n",
    b"FETCH 1:* (FLAGS BODY[1.MIME]<0.9>)", b"STORE 1 +FLAGS x", b"UID ", b"COPY 1 x", b"SEARCH ", b"OR SEEN NOT ",
    b"*", b"TEXT ", b"\"q\\\"\"", b"CLOSE", b"EXPUNGE", b"CHECK", b"ID NIL", b"ENABLE X", b"\0", b"\xff", b"YWJj\r\n",
    b"*\r\n", b"x" * 990, b"y" * 3000, b"=\r\n", b"bW9yZQ==\r\n",
]  # fmt: skip
OCTETS = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=8)), max_size=25).map(b"".join)


def dialogue(pieces: Iterable[bytes]) -> tuple[list[object], bytes, ImapEngine]:
    """What a session hears and a client reads."""
    engine, parrot, output = ImapEngine(LIMITS), Parrot(), b""
    for piece in pieces:
        engine.feed(piece)
        while (event := engine.next_event()) is not None:
            for answer in parrot.answers(event):
                engine.send(answer)
                if isinstance(answer, StartTls):
                    engine.secure()
        output += engine.take_output()
    return parrot.heard, output, engine


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    places = [0, *sorted({place % (len(data) + 1) for place in at}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places) if start < end]


@settings(max_examples=250, deadline=None)
@given(start=st.sampled_from(sorted(STARTS)), rest=OCTETS, places=st.lists(st.integers(0, 20_000), max_size=12))
def test_three_cuttings_agree(start: str, rest: bytes, places: list[int]) -> None:
    data = (STARTS[start] + rest).replace(b"STARTTLS", b"CHECK")
    whole = dialogue([data])[:2]

    assert dialogue(data[at : at + 1] for at in range(len(data)))[:2] == whole
    assert dialogue(cut(data, places))[:2] == whole


@settings(max_examples=300, deadline=None)
@given(start=st.sampled_from(sorted(STARTS)), rest=OCTETS)
def test_every_octet_is_answered_or_awaited(start: str, rest: bytes) -> None:
    """After any octets the engine still follows, unless it has ended or waits for more."""
    heard, output, engine = dialogue([STARTS[start] + rest])
    for line in output.split(b"\r\n")[:-1]:
        assert line.startswith((b"* ", b"+ ")) or b" OK " in line or b" NO " in line or b" BAD " in line
    if not engine.closed and not engine.pending:
        count = len(heard)
        engine.feed(b"zz CAPABILITY\r\n")
        assert engine.next_event() is not None
        assert len(heard) == count
    tags = [event.tag for event in heard if isinstance(event, Command)]
    assert b"A666" not in tags


def test_the_fuzz_reaches_every_state_and_event() -> None:
    """The same words by a plain random walk: a fuzz that never left the first state would prove nothing."""
    wild = random.Random(7)
    kinds: set[type] = set()
    modes: set[str] = set()
    states: set[State] = set()
    for start in STARTS.values():
        for _ in range(300):
            engine, parrot = ImapEngine(LIMITS), Parrot()
            walk = [start, *wild.choices(WORDS, k=15)]
            if wild.random() < 0.5:
                walk = [start, *(word + b"\r\n" for word in wild.choices([b"a " + word for word in WORDS], k=6))]
            for piece in walk:
                engine.feed(piece)
                while (event := engine.next_event()) is not None:
                    kinds.add(type(event))
                    for answer in parrot.answers(event):
                        engine.send(answer)
                    modes.add(engine._mode.name)
                    states.add(engine.state)
                modes.add(engine._mode.name)

    assert states == set(State)
    assert modes == {mode.name for mode in type(engine._mode)}
    commands = set().union(*LEGAL.values())
    assert kinds >= commands | {Wrong, SaslResponse, IdleDone, AppendMessage, AppendChunk, AppendEnd}


# ---------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    "hostile",
    [
        b"a SELECT {4294967295}\r\n" * 500,
        b"a SEARCH " + b"(" * 60_000 + b"\r\n",
        b"a SEARCH " + b"NOT " * 15_000 + b"ALL\r\n",
        b"a SEARCH " + b"OR " * 20_000 + b"\r\n",
        b"a FETCH " + b"4294967295:*,1:4294967295," * 2400 + b"1 FLAGS\r\n",
        b"a FETCH 1 (" + b"BODY[] " * 9000 + b")\r\n",
        b"a FETCH 1 BODY[" + b"1." * 30_000 + b"1]\r\n",
        b"a FETCH 1 BODY[HEADER.FIELDS (" + b"a " * 30_000 + b")]\r\n",
        b"a FETCH 1 BODY[HEADER.FIELDS (" + b"a " * 30_000 + b'"\r\n',
        b'a LOGIN "' + b'\\"' * 30_000 + b"\r\n",
        b"a " + b" " * 60_000 + b"NOOP!\r\n",
        b"a" * 65_000 + b"\r\n",
        b"a STORE 1 FLAGS (" + b"x " * 30_000 + b"\r\n",
        b"a " + b"{0+}\r\n" * 40_000 + b"\r\n",
        b"a LOGIN " + b"{0+}\r\n " * 30_000 + b"\r\n",
        b"t" * 60_000 + b" LOGIN " + b"{0+}\r\n " * 30_000 + b"\r\n",
        b"a APPEND " + b"{0+}\r\n " * 30_000 + b"\r\n",
        b"a CREATE " + b"&" * 60_000 + b"\r\n",
        b"\n" * 50_000,
        b"a NOOP\n" * 20_000,
    ],
    ids=lambda hostile: f"{hostile[:24]!r}-{len(hostile)}",
)
def test_hostile_input_takes_linear_time_and_is_answered(hostile: bytes) -> None:
    engine, parrot = ImapEngine(ImapLimits()), Parrot()
    engine.state = State.SELECTED
    began = time.process_time()
    engine.feed(hostile)
    while (event := engine.next_event()) is not None:
        for answer in parrot.answers(event):
            engine.send(answer)

    assert time.process_time() - began < 10  # some of these would take minutes if anything were quadratic
    assert parrot.heard
    assert engine.take_output()


def test_a_line_without_end_keeps_bounded_memory_and_ends() -> None:
    engine = ImapEngine(LIMITS)
    events: list[object] = []
    for _ in range(100):
        engine.feed(b"x" * 1000)
        if (event := engine.next_event()) is not None:
            events.append(event)

    assert len(engine._buffer) <= 2 * LIMITS.line
    assert [(event.is_fatal, event.code) for event in events if isinstance(event, Wrong)] == [(True, b"TOOBIG")]
    assert engine.closed


def test_a_refused_message_over_the_bound_ends_the_connection() -> None:
    engine = ImapEngine(LIMITS)
    engine.state = State.AUTHENTICATED
    engine.feed(b"a APPEND x {30000+}\r\n")
    assert isinstance(engine.next_event(), AppendBegin)
    assert engine.next_event() == AppendMessage(*(0, (), None, 30_000, False))  # type: ignore[arg-type]
    engine.send(Tagged(b"a", Ending.NO, "too large", b"TOOBIG"))

    wrong = engine.next_event()

    assert isinstance(wrong, Wrong)
    assert wrong.is_fatal
    assert engine.closed


# ---------------------------------------------------------------- answers and barriers


def test_answers_become_octets() -> None:
    engine = ImapEngine(LIMITS)
    for answer in (
        Wire(b"* OK hello\r\n"),
        Wire(b"* 1 FETCH (BODY[] {3}\r\n"),
        Piece(b"a\0b"),
        Wire(b")\r\n"),
        Tagged(b"a", Ending.OK, "done", b"READ-WRITE"),
        Tagged(b"", Ending.BAD, "what?\r\n* BYE injected"),
        Continue("idling"),
        Challenge(b""),
        Challenge(b"\xff"),
    ):
        engine.send(answer)

    assert engine.take_output() == (
        b"* OK hello\r\n* 1 FETCH (BODY[] {3}\r\na\0b)\r\na OK [READ-WRITE] done\r\n"
        b"* BAD what?* BYE injected\r\n+ idling\r\n+ \r\n+ /w==\r\n"
    )
    assert engine.take_output() == b""
    with pytest.raises(TypeError):
        engine.send("text")


def test_pending_is_true_while_a_command_or_a_body_is_partly_read() -> None:
    engine = ImapEngine(LIMITS)
    assert not engine.pending
    engine.feed(b"a LOG")
    assert engine.next_event() is None
    assert engine.pending
    engine.feed(b"IN u {1}\r\n")
    assert engine.next_event() is None
    assert engine.pending
    engine.feed(b"p\r\n")
    assert engine.next_event() is not None
    assert not engine.pending
    engine.send(Tagged(b"a", Ending.OK, "in", state=State.AUTHENTICATED))

    engine.feed(b"b IDLE\r\nDO")
    assert engine.next_event() == Idle(b"b")
    engine.send(Continue("idling"))
    assert engine.next_event() is None
    assert not engine.pending
    engine.feed(b"NE\r\nc APPEND x {2}\r\n")
    assert engine.next_event() == IdleDone()
    engine.send(Tagged(b"b", Ending.OK, "done"))
    assert isinstance(engine.next_event(), AppendBegin)
    assert isinstance(engine.next_event(), AppendMessage)
    assert engine.next_event() is None
    assert engine.pending
    engine.send(Proceed())
    engine.feed(b"ab")
    assert engine.next_event() == AppendChunk(b"ab")
    assert engine.pending
    engine.feed(b"\r\n")
    assert engine.next_event() == AppendEnd(b"c")
    assert not engine.pending


def test_secure_forgets_plaintext_state_and_halves() -> None:
    engine = ImapEngine(LIMITS)
    engine.state = State.AUTHENTICATED
    engine.feed(b"a SELECT {5}\r\nINB")
    assert engine.next_event() is None
    engine.secure()

    assert engine.state is State.NOT_AUTHENTICATED
    assert not engine.pending
    engine.feed(b"b NOOP\r\n")
    event = engine.next_event()
    assert isinstance(event, Command)
    assert event.tag == b"b"


def test_nothing_is_heard_after_the_end() -> None:
    for ending in (Hangup(), Tagged(b"a", Ending.OK, "bye", state=State.LOGOUT)):
        engine = ImapEngine(LIMITS)
        engine.feed(b"b NOOP\r\n")
        engine.send(ending)
        assert engine.closed
        assert engine.next_event() is None
        engine.feed(b"c NOOP\r\n")
        assert engine.next_event() is None


def test_secrets_are_not_in_the_events_text() -> None:
    heard, _, _ = dialogue([b"a AUTHENTICATE PLAIN c2VjcmV0\r\nc2VjcmV0\r\nb LOGIN u secret\r\n"])

    assert isinstance(heard[0], Authenticate)
    assert heard[0].initial == b"secret"
    assert "secret" not in repr(heard)


# ---------------------------------------------------------------- capabilities


def test_capabilities_by_state() -> None:
    plain = capabilities(State.NOT_AUTHENTICATED, can_start_tls=True, may_login=False)
    secure = capabilities(State.NOT_AUTHENTICATED, can_start_tls=False, may_login=True)
    inside = capabilities(State.SELECTED, can_start_tls=True, may_login=True)

    assert {b"STARTTLS", b"LOGINDISABLED"} <= set(plain)
    assert not {b"AUTH=PLAIN", b"SASL-IR"} & set(plain)
    assert {b"AUTH=PLAIN", b"SASL-IR"} <= set(secure)
    assert not {b"STARTTLS", b"LOGINDISABLED"} & set(secure)
    assert not {b"STARTTLS", b"LOGINDISABLED", b"AUTH=PLAIN"} & set(inside)
    assert b"IMAP4rev1" in plain and b"IMAP4rev1" in secure and b"IMAP4rev1" in inside
    assert b"LITERAL-" not in {offer.name for offer in CAPABILITIES}  # RFC 7888 5: never beside LITERAL+
