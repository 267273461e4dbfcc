"""The POP3 engine: the same events in any cut, every state reached, nothing raised for what the network says."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postane.core.dialogue import Piece
from postane.core.limits import Pop3Limits
from postane.core.status import Condition
from postane.proto.pop3 import (
    Auth,
    AuthCancelled,
    AuthResponse,
    Capa,
    Challenge,
    Dele,
    End,
    Err,
    Event,
    List,
    LoggedIn,
    Multiline,
    Noop,
    Ok,
    Pass,
    Pop3Engine,
    Quit,
    Refused,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
)

LIMITS = Pop3Limits(command_line=40, auth_line=60)
LINES = (
    "USER u|user u|PASS p|PASS  |AUTH|AUTH PLAIN|AUTH PLAIN\r\n*|AUTH PLAIN\r\nAHUAcA==|AUTH PLAIN =|AUTH X Y Z|"
    "STLS|CAPA|STAT|LIST|LIST 1|UIDL|UIDL 1|UIDL x|RETR 1|RETR|RETR -1|TOP 1 1|TOP 1|DELE 1|DELE 99999999999|NOOP|RSET|"
    "QUIT|QUIT 1|APOP a b|*|=|AHUAcA==|\xff|\0||HELO x"
)
COMMANDS = st.sampled_from([line.encode("latin-1") for line in LINES.split("|")])
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b" \r\n", b"x" * 70 + b"\r\n"])
INPUT = st.lists(st.tuples(COMMANDS, ENDS).map(b"".join), max_size=8).map(b"".join)


def converse(pieces: list[bytes], engine: Pop3Engine) -> tuple[list[Event], bytes]:
    """A session that says yes to everything."""
    events, said = [], b""
    for piece in pieces:
        engine.feed(piece)
        while (event := engine.next_event()) is not None:
            events.append(event)
            match event:
                case Auth("PLAIN", None):
                    engine.send(Challenge(b""))
                case Pass() | AuthResponse():
                    engine.send(LoggedIn("in"))
                case Refused(_, text):
                    engine.send(Err(text))
                case _:
                    engine.send(Ok("yes"))
            said += engine.take_output()
    return events, said


reached: Counter[str] = Counter()


@settings(max_examples=400, derandomize=True)
@given(st.booleans(), INPUT, st.lists(st.integers(0, 400), max_size=6))
def test_every_cut_gives_the_same(logged_in, data, places):
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    cuts = [data[a:b] for a, b in itertools.pairwise(edges)]
    outcomes = []
    for pieces in ([data], [bytes([octet]) for octet in data], cuts):
        engine = Pop3Engine(LIMITS)
        if logged_in:
            engine.send(LoggedIn("in"))
            engine.take_output()
        outcomes.append((*converse(pieces, engine), engine.closed))
    reached.update(type(event).__name__ for event in outcomes[0][0])

    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0][1].count(b"\r\n") == len(outcomes[0][0])


def test_the_property_reached_every_event():
    test_every_cut_gives_the_same()
    wanted = {Capa, Stls, User, Pass, Auth, AuthResponse, AuthCancelled, Stat, List, Uidl, Retr, Top, Dele, Noop, Rset,
              Quit, Refused}  # fmt: skip
    assert not {each.__name__ for each in wanted} - reached.keys()


AUTHORIZATION = [
    (b"CAPA", Capa()),
    (b"STLS", Stls()),
    (b"USER a b@x ", User("a b@x")),
    ("USER gülçin@örnek.example".encode(), User("gülçin@örnek.example")),
    (b"PASS  two  spaces ", Pass(" two  spaces ")),
    (b"AUTH", Auth("", None)),
    (b"AUTH ", Auth("", None)),
    (b"AUTH plain", Auth("PLAIN", None)),
    (b"AUTH  PLAIN  AHUAcA==", Auth("PLAIN", b"\0u\0p")),
    (b"AUTH PLAIN =", Auth("PLAIN", b"")),
    (b"QUIT", Quit()),
]
TRANSACTION = [
    (b"STAT", Stat()),
    (b"LIST", List(None)),
    (b"list 12", List(12)),
    (b"LIST ", List(None)),
    (b"UIDL", Uidl(None)),
    (b"UIDL 1", Uidl(1)),
    (b"RETR 0001", Retr(1)),
    (b"TOP 1 0", Top(1, 0)),
    (b"TOP  1  9999999999", Top(1, 9999999999)),
    (b"DELE 4", Dele(4)),
    (b"NOOP", Noop()),
    (b"RSET", Rset()),
    (b"CAPA", Capa()),
    (b"QUIT", Quit()),
]


@pytest.mark.parametrize(("line", "event"), AUTHORIZATION)
def test_commands_before_login(line, event):
    assert [event] == converse([line + b"\r\n"], Pop3Engine(Pop3Limits()))[0]


@pytest.mark.parametrize(("line", "event"), TRANSACTION)
def test_commands_after_login(line, event):
    engine = Pop3Engine(Pop3Limits())
    engine.send(LoggedIn("in"))
    assert [event] == converse([line + b"\r\n"], engine)[0]


@pytest.mark.parametrize("line", sorted({line.split()[0] for line, _ in TRANSACTION} - {b"CAPA", b"QUIT", b"list"}))
def test_no_mail_before_login(line):
    ((event,), _) = converse([line + b" 1\r\n"], Pop3Engine(Pop3Limits()))
    assert event.condition is Condition.BAD_SEQUENCE


def test_nothing_is_a_command_after_quit():
    engine = Pop3Engine(LIMITS)
    assert [Quit()] == converse([b"QUIT\r\nCAPA\r\n"], engine)[0]
    assert engine.closed


def test_tls_drops_what_was_before():
    engine = Pop3Engine(LIMITS)
    engine.feed(b"STLS\r\nUSER injected\r\n")
    assert Stls() == engine.next_event()
    engine.secure()
    assert engine.next_event() is None
    assert not engine.pending


def test_pending_says_whether_something_is_partly_read():
    engine = Pop3Engine(LIMITS)
    engine.feed(b"CA")
    assert engine.pending
    engine.feed(b"PA\r\n")
    engine.next_event()
    assert not engine.pending
    engine.send(Challenge(b""))
    assert engine.pending


def test_a_line_without_end_is_refused_again_and_again_in_bounded_memory():
    engine = Pop3Engine(LIMITS)
    refusals = 0
    for _ in range(100):
        engine.feed(b"x" * 10_000)
        while (event := engine.next_event()) is not None:
            assert event.condition is Condition.LINE_TOO_LONG
            refusals += 1
    assert refusals > 10


def test_a_multiline_answer_is_stuffed_and_ended():
    engine = Pop3Engine(LIMITS)
    for answer in (Multiline("text"), Piece(b".a\r\n."), Piece(b"\r\n..b"), End(), Ok("after")):
        engine.send(answer)
    assert b"+OK text\r\n..a\r\n..\r\n...b\r\n.\r\n+OK after\r\n" == engine.take_output()


def test_no_text_breaks_a_line():
    engine = Pop3Engine(LIMITS)
    engine.send(Err("one\r\ntwo", "SYS/TEMP"))
    assert engine.take_output() == b"-ERR [SYS/TEMP] one  two\r\n"
