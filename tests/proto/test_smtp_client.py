"""The client's engine against a scripted peer: cut at every octet, closed at every octet, early, wrong and endless."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.limits import SmtpClientLimits, SmtpLimits
from postane.core.status import Reply
from postane.proto.smtp.client import Broken, ClientEngine
from postane.proto.smtp.client_envelope import Envelope, Recipient
from postane.proto.smtp.client_reply import ServerReply, Step
from postane.proto.smtp.command import Chunk, Data, EndOfChunk, EndOfMessage, Hello, Mail, Mode, Proceed, Rcpt, Welcome
from postane.proto.smtp.server import SmtpEngine

LIMITS = SmtpClientLimits()
Program = Generator[None, ServerReply, None]

PIPELINED = [
    (b"", b"220-mail.far.test\r\n220 ready\r\n"),
    (b"EHLO us.test\r\n", b"250-mail.far.test hi\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 ENHANCEDSTATUSCODES\r\n"),
    (
        b"MAIL FROM:<a@us.test> SIZE=13\r\nRCPT TO:<b@far.test>\r\nRCPT TO:<c@far.test>\r\nDATA\r\n",
        b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n550-5.1.1 no such\r\n550 5.1.1 user\r\n354 go on\r\n",
    ),
    (b"..hidden\r\n..\r\n.\r\n", b"250 2.0.0 queued as 42\r\n"),
    (b"QUIT\r\n", b"221 2.0.0 bye\r\n"),
]


@dataclass
class Peer:
    """Says its next words once it has read the words it waits for; what comes is checked octet by octet."""

    script: list[tuple[bytes, bytes]]
    at: int = 0
    heard: bytes = b""

    def hear(self, data: bytes) -> bytes:
        self.heard += data
        said = b""
        while self.at < len(self.script):
            wanted, words = self.script[self.at]
            assert self.heard[: len(wanted)] == wanted[: len(self.heard)]
            if len(self.heard) < len(wanted):
                break
            self.heard = self.heard[len(wanted) :]
            said += words
            self.at += 1
        return said


@dataclass
class Talk:
    """Runs a program of ours against a peer; the program is told each reply.  `cuts` are places in the peer's words."""

    peer: Peer
    program: Program
    engine: ClientEngine
    cuts: frozenset[int] = frozenset()
    close_at: int | None = None
    replies: list[ServerReply | Broken] = field(default_factory=list)
    _said: int = 0

    def run(self) -> list[ServerReply | Broken]:
        next(self.program)
        while said := self.peer.hear(self.engine.take_output()):
            if self._feed(said):
                break
        return self.replies

    def _feed(self, said: bytes) -> bool:
        piece = b""
        for octet in said:
            if self._said == self.close_at:
                break
            piece += bytes([octet])
            self._said += 1
            if self._said in self.cuts:
                self._give(piece)
                piece = b""
        if piece:
            self._give(piece)
        if self._said == self.close_at:
            self._give(b"")
            return True
        return False

    def _give(self, piece: bytes) -> None:
        self.engine.feed(piece)
        while (reply := self.engine.next_reply()) is not None:
            self.replies.append(reply)
            if isinstance(reply, Broken):
                return
            try:
                self.program.send(reply)
            except StopIteration:
                return


def one_message(engine: ClientEngine, text: bytes = b".hidden\r\n.\r\n") -> Program:
    yield
    engine.hello("us.test")
    yield
    engine.mail(Envelope("a@us.test", size=13))
    engine.rcpt(Recipient("b@far.test"))
    engine.rcpt(Recipient("c@far.test"))
    engine.data()
    for _ in range(3):
        yield
    if (yield).code == 354:
        engine.text(text)
        engine.end()
        yield
    engine.quit()
    yield


def play(
    script: list[tuple[bytes, bytes]],
    mode: Mode = Mode.SMTP,
    cuts: frozenset[int] = frozenset(),
    close_at: int | None = None,
) -> Talk:
    engine = ClientEngine(mode, LIMITS)
    talk = Talk(Peer(script), one_message(engine), engine, cuts, close_at)
    talk.run()
    return talk


def words(script: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(said for _, said in script)


def opened(*offered: str, mode: Mode = Mode.SMTP) -> ClientEngine:
    """An engine that has read the greeting and such an answer to its hello."""
    engine = ClientEngine(mode, LIMITS)
    engine.hello("us.test")
    lines = ["far.test", *offered]
    engine.feed(b"220 hi\r\n")
    engine.feed("".join(f"250{' ' if line == lines[-1] else '-'}{line}\r\n" for line in lines).encode())
    assert [engine.next_reply().step, engine.next_reply().step] == [Step.GREETING, Step.HELLO]
    engine.take_output()
    return engine


def drain(engine: ClientEngine) -> list[ServerReply | Broken]:
    replies = []
    while (reply := engine.next_reply()) is not None:
        replies.append(reply)
        if isinstance(reply, Broken):
            break
    return replies


def in_text(*offered: str, mode: Mode = Mode.SMTP, recipients: int = 1) -> ClientEngine:
    """An engine whose DATA was answered 354, with that many recipients accepted."""
    engine = opened("PIPELINING", *offered, mode=mode)
    engine.mail(Envelope("a@us.test"))
    for number in range(recipients):
        engine.rcpt(Recipient(f"r{number}@far.test"))
    engine.data()
    engine.feed(b"250 ok\r\n" * (1 + recipients) + b"354 go\r\n")
    drain(engine)
    engine.take_output()
    return engine


# ---------------------------------------------------------------- every cut and every end


def test_a_pipelined_transaction():
    talk = play(PIPELINED)

    assert talk.peer.at == len(PIPELINED)
    assert [(reply.step, reply.code, reply.enhanced, reply.text, reply.recipient) for reply in talk.replies] == [
        (Step.GREETING, 220, "", "mail.far.test\nready", None),
        (Step.HELLO, 250, "", "mail.far.test hi\nPIPELINING\nSIZE 1000\nENHANCEDSTATUSCODES", None),
        (Step.MAIL, 250, "2.1.0", "ok", None),
        (Step.RCPT, 250, "2.1.5", "ok", 0),
        (Step.RCPT, 550, "5.1.1", "no such\nuser", 1),
        (Step.DATA, 354, "", "go on", None),
        (Step.END, 250, "2.0.0", "queued as 42", None),
        (Step.QUIT, 221, "2.0.0", "bye", None),
    ]
    assert talk.engine.accepted == (0,)
    assert talk.engine.is_over


def test_every_cut_gives_the_same_replies():
    whole = play(PIPELINED).replies
    length = len(words(PIPELINED))

    assert play(PIPELINED, cuts=frozenset(range(length + 1))).replies == whole
    for cut in range(1, length):
        assert play(PIPELINED, cuts=frozenset({cut})).replies == whole


def test_a_close_at_every_octet_is_told_and_loses_no_reply():
    whole = play(PIPELINED).replies
    seen = set()
    for close_at in range(len(words(PIPELINED))):
        talk = play(PIPELINED, close_at=close_at)
        replies = [reply for reply in talk.replies if isinstance(reply, ServerReply)]
        last = talk.engine.next_reply()

        assert replies == whole[: len(replies)]
        assert talk.engine.is_over
        if last is None:  # in answer to QUIT the peer may close without a word
            assert len(replies) == len(whole) - 1
        else:
            assert last.awaiting is whole[len(replies)].step
            assert last.is_in_doubt is (last.awaiting is Step.END)
            seen.add(last.reason)
    assert seen == {
        "the server closed the connection in the middle of a reply",
        "the server closed the connection without an answer to the connection",
        "the server closed the connection without an answer to hello",
        "the server closed the connection without an answer to MAIL",
        "the server closed the connection without an answer to RCPT",
        "the server closed the connection without an answer to DATA",
        "the server closed the connection without an answer to the end of the message",
    }


def test_without_pipelining_commands_go_one_by_one():
    talk = play(
        [
            (b"", b"220 hi\r\n"),
            (b"EHLO us.test\r\n", b"250 far.test\r\n"),
            (b"MAIL FROM:<a@us.test>\r\n", b"250 ok\r\n"),
            (b"RCPT TO:<b@far.test>\r\n", b"550 no\r\n"),
            (b"RCPT TO:<c@far.test>\r\n", b"450 later\r\n"),
            (b"DATA\r\n", b"503 no recipients\r\n"),
            (b"QUIT\r\n", b"221 bye\r\n"),
        ]
    )

    assert [reply.code for reply in talk.replies] == [220, 250, 250, 550, 450, 503, 221]
    assert talk.engine.accepted == ()


def test_nothing_is_said_before_the_greeting():
    engine = ClientEngine(Mode.SMTP, LIMITS)
    engine.hello("us.test")
    engine.feed(b"220-first\r\n")
    assert engine.take_output() == b""

    engine.feed(b"220 last\r\n")

    assert engine.take_output() == b"EHLO us.test\r\n"


def test_a_group_ends_where_the_next_words_depend_on_the_answer():
    engine = opened("PIPELINING")
    engine.reset()
    engine.mail(Envelope(""))
    engine.rcpt(Recipient("b@far.test"))
    engine.noop()
    engine.quit()
    assert engine.take_output() == b"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<b@far.test>\r\nNOOP\r\n"

    engine.feed(b"250 ok\r\n" * 3)
    assert engine.take_output() == b""
    engine.feed(b"250 ok\r\n")

    assert engine.take_output() == b"QUIT\r\n"


def test_the_next_message_follows_the_final_dot_in_one_group():
    engine = in_text()
    engine.text(b"hi")
    engine.end()
    engine.mail(Envelope("b@us.test"))

    assert engine.take_output() == b"hi\r\n.\r\nMAIL FROM:<b@us.test>\r\n"


def test_helo_when_ehlo_is_refused():
    engine = ClientEngine(Mode.SMTP, LIMITS)
    engine.hello("us.test")
    engine.feed(b"220 old\r\n502 what?\r\n")
    engine.helo("us.test")
    engine.feed(b"250-old.test\r\n250 PIPELINING\r\n")

    assert [reply.code for reply in drain(engine)] == [220, 502, 250]
    assert engine.take_output() == b"EHLO us.test\r\nHELO us.test\r\n"
    assert "PIPELINING" not in engine.capabilities
    assert engine.capabilities.name == "old.test"


# ---------------------------------------------------------------- odd replies


def test_a_reply_of_100_kb_and_of_eight_bits():
    engine = opened()
    engine.noop()
    engine.feed(b"250-" + b"x" * 100_000 + b"\r\n250-" + "günaydın".encode() + b"\r\n250-caf\xe9\x07\tok\r\n250\r\n")

    (reply,) = drain(engine)
    assert reply.text == "x" * 100_000 + "\ngünaydın\ncafé? ok\n"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"250-a\r\n550 b\r\n", "said 250 and 550 in one reply"),
        (b"hello\r\n", "said 'hello', which is no SMTP reply"),
        (b"\r\n", "said '', which is no SMTP reply"),
        (b"150 wait\r\n", "said '150 wait', which is no SMTP reply"),
        (b"600 what\r\n", "said '600 what', which is no SMTP reply"),
        (b"2500 ok\r\n", "said '2500 ok', which is no SMTP reply"),
        (b"354 go on\r\n", "answered 354 to NOOP"),
        (b"334 \r\n", "answered 334 to NOOP"),
        (b"421 4.3.2 shutting down\r\n", "closes the connection: shutting down"),
        (b"250 ok\r\n250 ok\r\n", "said 250 unasked: ok"),
        (b"250 ok\r\n421 idle too long\r\n", "said 421 unasked: idle too long"),
        (b"250-" + b"x" * LIMITS.reply_bytes, f"gave a reply of more than {LIMITS.reply_bytes} octets"),
        (b"250-x\r\n" * (LIMITS.reply_bytes // 7 + 1), f"gave a reply of more than {LIMITS.reply_bytes} octets"),
    ],
)
def test_what_cannot_be_trusted_ends_the_dialogue(said, reason):
    for pieces in ([said], [said[i : i + 1000] for i in range(0, len(said), 1000)]):
        engine = opened()
        engine.noop()
        for piece in pieces:
            engine.feed(piece)
        broken = drain(engine)[-1]

        assert isinstance(broken, Broken)
        assert broken.reason == f"the server {reason}"
        assert not broken.is_in_doubt
        assert engine.next_reply() == broken
        engine.feed(b"250 ok\r\n")
        engine.noop()
        assert (engine.next_reply(), engine.take_output()) == (broken, b"NOOP\r\n")


def test_421_is_an_answer_and_the_end():
    engine = opened("PIPELINING")
    engine.mail(Envelope("a@us.test"))
    engine.rcpt(Recipient("b@far.test"))
    engine.feed(b"421 4.7.0 too many\r\n250 ok\r\n")

    reply, broken = drain(engine)
    assert (reply.step, reply.code) == (Step.MAIL, 421)
    assert (broken.awaiting, broken.reply) == (Step.RCPT, reply)


def test_250_to_data_is_no_acceptance():
    engine = opened("PIPELINING")
    engine.mail(Envelope("a@us.test"))
    engine.rcpt(Recipient("b@far.test"))
    engine.data()
    engine.feed(b"250 ok\r\n250 ok\r\n250 ok\r\n")

    broken = drain(engine)[-1]
    assert broken.reason == "the server answered 250 to DATA"
    assert not engine.is_awaiting_text


# ---------------------------------------------------------------- early replies


def test_a_no_in_the_middle_of_the_text_is_its_answer():
    engine = in_text()
    engine.text(b"half")
    engine.feed(b"552 5.3.4 too big\r\n")
    engine.text(b"the rest")
    engine.end()

    reply, broken = drain(engine)
    assert (reply.step, reply.code, reply.enhanced) == (Step.END, 552, "5.3.4")
    assert broken.reason == "the server said 552 in the middle of the message: too big"
    assert not broken.is_in_doubt
    assert engine.take_output() == b"half"


def test_a_yes_in_the_middle_of_the_text_is_no_answer():
    engine = in_text()
    engine.text(b"half")
    engine.feed(b"250 thanks\r\n")

    (broken,) = drain(engine)
    assert broken.reason == "the server said 250 in the middle of the message: thanks"


def test_a_close_in_the_middle_of_the_text():
    engine = in_text()
    engine.text(b"half")
    engine.feed(b"")

    (broken,) = drain(engine)
    assert (broken.reason, broken.is_in_doubt) == (
        "the server closed the connection in the middle of the message",
        False,
    )


def test_a_chunk_may_be_refused_early_but_not_accepted():
    for code, fine in ((b"552 big", True), (b"250 ok", False)):
        engine = opened("PIPELINING", "CHUNKING")
        engine.mail(Envelope("a@us.test"))
        engine.rcpt(Recipient("b@far.test"))
        engine.bdat(10, last=True)
        engine.text(b"12345")
        engine.feed(b"250 ok\r\n250 ok\r\n" + code + b"\r\n")
        last = drain(engine)[-1]

        if fine:
            assert (last.step, last.code) == (Step.END, 552)
            engine.take_output()
            engine.text(b"67890")
            engine.reset()
            assert engine.take_output() == b"67890RSET\r\n"
        else:
            assert last.reason == "the server answered 250 to the end of the message before it was all said"
            assert not last.is_in_doubt


# ---------------------------------------------------------------- STARTTLS and AUTH


def test_what_stands_behind_the_220_of_starttls_is_dropped():
    engine = opened("STARTTLS", "PIPELINING")
    engine.starttls()
    engine.hello("us.test")
    engine.mail(Envelope("a@us.test"))
    assert engine.take_output() == b"STARTTLS\r\n"

    engine.feed(b"220 go\r\n250-evil.test\r\n250 AUTH PLAIN\r\n")
    engine.feed(b"250 more\r\n")
    assert [reply.step for reply in drain(engine)] == [Step.STARTTLS]
    assert engine.take_output() == b""
    engine.secure()

    assert engine.take_output() == b"EHLO us.test\r\n"
    assert engine.capabilities.mechanisms == ()
    engine.feed(b"250 far.test\r\n")
    assert [reply.step for reply in drain(engine)] == [Step.HELLO]


def test_a_refused_starttls_leads_on():
    engine = opened("STARTTLS")
    engine.starttls()
    engine.feed(b"454 4.7.0 no\r\n")
    engine.mail(Envelope("a@us.test"))

    assert engine.take_output() == b"STARTTLS\r\nMAIL FROM:<a@us.test>\r\n"


def test_auth_in_steps():
    engine = opened("AUTH LOGIN", "PIPELINING")
    engine.auth("LOGIN")
    engine.mail(Envelope("a@us.test"))
    engine.feed(b"334 VXNlcm5hbWU6\r\n")
    assert [reply.challenge for reply in drain(engine)] == [b"Username:"]
    engine.respond(b"me")
    engine.feed(b"334 UGFzc3dvcmQ6\r\n")
    drain(engine)
    engine.respond(b"")
    assert engine.take_output() == b"AUTH LOGIN\r\nbWU=\r\n\r\n"
    engine.feed(b"235 2.7.0 in\r\n")

    assert [(reply.step, reply.code) for reply in drain(engine)] == [(Step.AUTH, 235)]
    assert engine.take_output() == b"MAIL FROM:<a@us.test>\r\n"


def test_initial_responses():
    engine = opened("AUTH PLAIN")
    engine.auth("PLAIN", b"\0me\0secret")
    engine.feed(b"535 5.7.8 no\r\n")
    engine.auth("EXTERNAL", b"")
    engine.feed(b"501 no\r\n")
    engine.auth("PLAIN", b"\0me\0" + b"x" * 400)
    engine.feed(b"334 \r\n235 ok\r\n")

    first, second, third, fourth, _ = engine.take_output().split(b"\r\n")
    assert (first, second, third) == (b"AUTH PLAIN AG1lAHNlY3JldA==", b"AUTH EXTERNAL =", b"AUTH PLAIN")
    assert len(fourth) == 540
    assert [reply.code for reply in drain(engine)] == [535, 501, 235]


def test_a_cancelled_and_a_spoilt_exchange():
    engine = opened("AUTH LOGIN")
    engine.auth("LOGIN")
    engine.feed(b"334 Pz8/\r\n")
    engine.cancel()
    assert engine.take_output() == b"AUTH LOGIN\r\n*\r\n"
    engine.feed(b"501 5.7.0 cancelled\r\n")
    engine.auth("LOGIN")
    engine.feed(b"334 User name:\r\n")

    assert drain(engine)[-1].reason == "the server gave a challenge that is no base64"


# ---------------------------------------------------------------- LMTP and BDAT


def test_lmtp_answers_once_for_each_accepted_recipient():
    engine = opened("PIPELINING", mode=Mode.LMTP)
    engine.mail(Envelope("a@us.test"))
    for name in ("b", "c", "d"):
        engine.rcpt(Recipient(f"{name}@far.test"))
    engine.data()
    engine.feed(b"250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n")
    drain(engine)
    engine.text(b"hi\r\n")
    engine.end()
    engine.feed(b"250 2.0.0 done\r\n")
    engine.feed(b"452 4.2.2 full\r\n")

    assert [(reply.step, reply.code, reply.recipient) for reply in drain(engine)] == [
        (Step.END, 250, 0),
        (Step.END, 452, 2),
    ]
    assert engine.awaiting is None


def test_lmtp_that_closes_between_its_answers_leaves_the_rest_in_doubt():
    engine = in_text(mode=Mode.LMTP, recipients=2)
    engine.end()
    engine.feed(b"250 done\r\n")
    engine.feed(b"")

    reply, broken = drain(engine)
    assert (reply.recipient, broken.awaiting, broken.is_in_doubt) == (0, Step.END, True)


def test_the_last_chunk_by_lmtp_waits_until_its_answers_can_be_counted():
    engine = opened("PIPELINING", "CHUNKING", mode=Mode.LMTP)
    engine.mail(Envelope("a@us.test"))
    engine.rcpt(Recipient("b@far.test"))
    engine.rcpt(Recipient("c@far.test"))
    engine.bdat(4, last=True)
    engine.text(b"hi\r\n")
    assert engine.take_output().endswith(b"RCPT TO:<c@far.test>\r\n")
    engine.feed(b"250 ok\r\n" * 3)

    assert engine.take_output() == b"BDAT 4 LAST\r\nhi\r\n"
    engine.feed(b"250 one\r\n250 two\r\n")
    assert [reply.recipient for reply in drain(engine) if reply.step is Step.END] == [0, 1]


def test_chunks_without_pipelining_wait_with_their_octets():
    engine = opened("CHUNKING")
    engine.mail(Envelope("a@us.test"))
    engine.rcpt(Recipient("b@far.test"))
    engine.bdat(3, last=False)
    engine.text(b".\r\n")
    assert engine.take_output() == b"MAIL FROM:<a@us.test>\r\n"
    engine.feed(b"250 ok\r\n")
    engine.feed(b"250 ok\r\n")
    engine.bdat(0, last=True)
    assert engine.take_output() == b"RCPT TO:<b@far.test>\r\nBDAT 3\r\n.\r\n"
    engine.feed(b"250 ok\r\n")

    assert engine.take_output() == b"BDAT 0 LAST\r\n"
    assert engine.awaiting is Step.END


# ---------------------------------------------------------------- our own mistakes


def test_commands_out_of_place_are_refused_before_they_are_said():
    engine = in_text()
    for mistake in (engine.noop, engine.quit, lambda: engine.respond(b""), lambda: engine.bdat(3, last=True)):
        with pytest.raises(ValueError, match=r"being said|no challenge"):
            mistake()
    engine = opened("CHUNKING")
    for mistake in (engine.end, lambda: engine.text(b"x"), lambda: engine.hello("us\r\nQUIT")):
        with pytest.raises(ValueError, match=r"due|control"):
            mistake()
    engine.bdat(3, last=True)
    with pytest.raises(ValueError, match="not so much"):
        engine.text(b"1234")
    assert engine.take_output() == b"BDAT 3 LAST\r\n"


def test_how_long_a_server_may_be_silent():
    engine = ClientEngine(Mode.SMTP, LIMITS)
    assert engine.timeout == LIMITS.greeting
    engine = opened("PIPELINING")
    engine.mail(Envelope("a@us.test"))
    assert engine.timeout == LIMITS.command
    engine = in_text()
    assert engine.timeout == LIMITS.text
    engine.end()
    assert engine.timeout == LIMITS.end
    engine.feed(b"250 ok\r\n")
    engine.quit()
    assert engine.timeout == LIMITS.quit


# ---------------------------------------------------------------- against our own server


@dataclass
class Taker:
    """Our server's engine, taking everything but recipients called `no`."""

    engine: SmtpEngine
    mode: Mode
    messages: list[bytes] = field(default_factory=list)
    _text: bytes = b""
    _recipients: int = 0

    def hear(self, data: bytes) -> bytes:
        if data:
            self.engine.feed(data)
        while (event := self.engine.next_event()) is not None:
            for answer in self._answers(event):
                self.engine.send(answer)
        return self.engine.take_output()

    def _answers(self, event: object) -> list[object]:
        match event:
            case Hello():
                return [Welcome("far.test")]
            case Mail():
                self._text, self._recipients = b"", 0
            case Rcpt(recipient):
                if recipient.local == "no":
                    return [Reply(550, "5.1.1", "no")]
                self._recipients += 1
            case Data():
                return [Proceed()]
            case Chunk(data):
                self._text += data
                return []
            case EndOfMessage(_, None):
                self.messages.append(self._text)
                return [Reply(250, "2.0.0", "taken")] * (self._recipients if self.mode is Mode.LMTP else 1)
            case EndOfChunk(_, _, None):
                pass
        return [Reply(250, "2.0.0", "ok")]


LINES = st.lists(st.sampled_from([b".", b"..", b"", b"x", b".x", b" .", b"a.b\xff"]), max_size=8)


@given(
    st.sampled_from([Mode.SMTP, Mode.LMTP]),
    st.booleans(),
    LINES,
    st.lists(st.sampled_from(["yes", "no"]), min_size=1, max_size=5),
    st.integers(1, 40),
)
def test_our_own_server_takes_exactly_what_was_given(mode, by_chunks, lines, recipients, step):
    text = b"".join(line + b"\r\n" for line in lines)
    server = Taker(SmtpEngine(mode, SmtpLimits()), mode)
    engine = ClientEngine(mode, LIMITS)
    replies: list[ServerReply | Broken] = []

    def exchange() -> None:
        while said := server.hear(engine.take_output()):
            for at in range(0, len(said), step):
                engine.feed(said[at : at + step])
            replies.extend(drain(engine))

    engine.feed(b"220 far.test\r\n")
    engine.hello("us.test")
    exchange()
    engine.mail(Envelope("a@us.test", size=len(text)))
    for number, name in enumerate(recipients):
        engine.rcpt(Recipient(f"{name}@far{number}.test"))
    exchange()
    if "yes" in recipients:
        pieces = [text[at : at + step] for at in range(0, len(text), step)]
        if by_chunks:
            for piece in pieces:
                engine.bdat(len(piece), last=False)
                engine.text(piece)
            engine.bdat(0, last=True)
        else:
            engine.data()
            exchange()
            for piece in pieces:
                engine.text(piece)
            engine.end()
        exchange()

    assert server.messages == ([text] if "yes" in recipients else [])
    assert not [reply for reply in replies if isinstance(reply, Broken)]
    accepted = [number for number, name in enumerate(recipients) if name == "yes"]
    assert list(engine.accepted) == accepted
    ends = [reply.recipient for reply in replies if reply.step is Step.END]
    assert ends == (accepted if mode is Mode.LMTP else [None] * bool(accepted))
    assert engine.awaiting is None


@given(
    st.lists(
        st.sampled_from([b"250 ok\r\n", b"250-a\r\n", b"354 x\r\n", b"421 bye\r\n", b"\xff", b"\r\n", b"2", b"550"])
    ),
    st.integers(1, 9),
)
def test_any_octets_give_the_same_in_any_cut_and_never_an_exception(said, step):
    def listen(pieces: list[bytes]) -> list[ServerReply | Broken]:
        engine = opened("PIPELINING")
        engine.mail(Envelope("a@us.test"))
        engine.rcpt(Recipient("b@far.test"))
        engine.data()
        for piece in pieces:
            engine.feed(piece)
        engine.feed(b"")
        return drain(engine)

    whole = b"".join(said)
    result = listen([whole] if whole else [])

    assert result == listen([whole[at : at + step] for at in range(0, len(whole), step)])
    assert isinstance(result[-1], Broken)
