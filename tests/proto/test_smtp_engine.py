"""The SMTP engine alone: bytes in, events out, whatever the cut."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.address import Address
from postane.core.limits import SmtpLimits
from postane.core.status import Condition, Reply
from postane.proto.smtp.command import (
    Auth,
    AuthResponse,
    BodyType,
    Challenge,
    Chunk,
    Data,
    EndOfChunk,
    EndOfMessage,
    Hello,
    Mail,
    Mode,
    Proceed,
    Quit,
    Rcpt,
    Reset,
    Welcome,
)
from postane.proto.smtp.server import SmtpEngine
from postane.proto.smtp.state import State

OK = Reply(250, "2.0.0", "Ok")
LIMITS = SmtpLimits(message_bytes=4000, text_line=1000, recipients=5)
ENVELOPE = b"EHLO relay.test\r\nMAIL FROM:<a@relay.test>\r\nRCPT TO:<b@postane.test>\r\n"


@dataclass
class Dialogue:
    """An engine and a session that says yes to everything, except to recipients called `nobody`."""

    engine: SmtpEngine
    events: list[object] = field(default_factory=list)
    output: bytes = b""
    messages: list[bytes] = field(default_factory=list)
    refused: list[Condition] = field(default_factory=list)
    states: set[State] = field(default_factory=set)
    _text: bytes = b""
    _recipients: int = 0

    def feed(self, data: bytes, cuts: list[int] | None = None) -> Dialogue:
        at = 0
        for end in [*(cuts or []), len(data)]:
            self._note()
            if end > at:  # b"" would say that the client is gone
                self.engine.feed(data[at:end])
                at = end
                self._drain()
        return self

    def end(self) -> None:
        self.engine.feed(b"")
        self._drain()

    def _drain(self) -> None:
        while (event := self.engine.next_event()) is not None:
            self.events.append(event)
            for answer in self._answer(event):
                self.engine.send(answer)
            self._note()
        self.output += self.engine.take_output()

    def _note(self) -> None:
        self.states.add(self.engine.state)

    def _answer(self, event: object) -> list[object]:
        match event:
            case Hello():
                return [Welcome("mail.postane.test", True, ("PLAIN", "LOGIN"))]
            case Mail():
                self._recipients, self._text = 0, b""
            case Rcpt(Address("nobody")):
                return [Reply(550, "5.1.1", "no such user")]
            case Rcpt():
                self._recipients += 1
            case Data():
                return [Proceed()]
            case Chunk(data):
                self._text += data
                return []
            case EndOfChunk(_, _, flaw) if flaw:
                return [flaw.reply]
            case EndOfMessage(_, flaw):
                count = self._recipients if self.engine._mode is Mode.LMTP else 1
                if flaw:
                    self.refused.append(flaw.condition)
                else:
                    self.messages.append(self._text)
                self._text = b""
                return [flaw.reply if flaw else OK] * count
            case Auth(_, initial) if initial is None:
                return [Challenge(b"Username:")]
            case Auth() | AuthResponse():
                return [Reply(235, "2.7.0", "in")]
            case Quit():
                return [Reply(221, "2.0.0", "bye")]
        return [OK]

    @property
    def told(self) -> list[str]:
        """The events but for the chunks, whose sizes are the cut's."""
        return [repr(event) for event in self.events if not isinstance(event, Chunk)]

    @property
    def codes(self) -> list[int]:
        """The reply codes, one a reply."""
        return [int(line[:3]) for line in self.output.split(b"\r\n") if line[3:4] == b" "]

    @property
    def lines(self) -> list[str]:
        return self.output.decode().split("\r\n")


def talk(data: bytes, cuts: list[int] | None = None, mode: Mode = Mode.SMTP, limits: SmtpLimits = LIMITS) -> Dialogue:
    return Dialogue(SmtpEngine(mode, limits)).feed(data, cuts)


def three_cuttings(data: bytes, mode: Mode = Mode.SMTP, seed: int = 0) -> Dialogue:
    """Whole, octet by octet, at random: the same replies, messages and state; returns the whole one."""
    whole = talk(data, mode=mode)
    some = sorted(random.Random(seed).sample(range(len(data) + 1), min(len(data), 7)))
    for cuts in (list(range(1, len(data))), some):
        other = talk(data, cuts, mode)
        assert other.output == whole.output
        assert other.messages == whole.messages
        assert other.refused == whole.refused
        assert other.engine.state is whole.engine.state
        assert other.engine.closed == whole.engine.closed
        assert other.told == whole.told
    return whole


# ---------------------------------------------------------------- commands


def test_extensions_are_named() -> None:
    said = talk(b"EHLO relay.test\r\n")

    assert said.lines == [
        "250-mail.postane.test",
        "250-PIPELINING",
        "250-SIZE 4000",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-CHUNKING",
        "250-ENHANCEDSTATUSCODES",
        "250-LIMITS RCPTMAX=5",
        "250-DSN",
        "250-STARTTLS",
        "250 AUTH PLAIN LOGIN",
        "",
    ]


def test_helo_gets_one_line() -> None:
    assert talk(b"HELO relay.test\r\n").output == b"250 mail.postane.test\r\n"


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"MAIL FROM:<>", Mail(None)),
        (b"mail from:<A@B.test>", Mail(Address("A", "b.test"))),
        (b"MAIL FROM: <a@b.test>", Mail(Address("a", "b.test"))),
        (b"MAIL  FROM:<a@b.test>   SIZE=100", Mail(Address("a", "b.test"), 100)),
        (b"MAIL FROM:<a@b.test> BODY=8BITMIME", Mail(Address("a", "b.test"), None, BodyType.EIGHT_BIT)),
        (b"MAIL FROM:<a@b.test> body=7bit size=0", Mail(Address("a", "b.test"), 0)),
        (b"MAIL FROM:<@x.test,@y.test:a@b.test>", Mail(Address("a", "b.test"))),
        (b'MAIL FROM:<"a>b c"@b.test>', Mail(Address("a>b c", "b.test"))),
        ("MAIL FROM:<çağrı@örnek.test> SMTPUTF8".encode(), Mail(Address("çağrı", "xn--rnek-4qa.test"), utf8=True)),
        (b"MAIL FROM:<> RET=hdrs ENVID=QQ+2B1", Mail(None, ret="HDRS", envid="QQ+2B1")),
        (b"MAIL FROM:<> envid=x ret=FULL", Mail(None, ret="FULL", envid="x")),
        (b"MAIL FROM:<a@[192.0.2.1]>", Mail(Address("a", "[192.0.2.1]"))),
        (b"MAIL FROM:<a@[IPv6:2001:db8::1]>", Mail(Address("a", "[IPv6:2001:db8::1]"))),
    ],
)
def test_mail_is_read(line: bytes, event: Mail) -> None:
    assert talk(b"EHLO x\r\n" + line + b"\r\n").events[-1] == event


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"MAIL", "501 5.5.4"),
        (b"MAIL TO:<a@b.test>", "501 5.5.4"),
        (b"MAIL FROM:a@b.test", "501 5.1.7"),
        (b"MAIL FROM:<a@b.test", "501 5.1.7"),
        (b"MAIL FROM:<a@b.test>SIZE=1", "501 5.1.7"),
        (b"MAIL FROM:<a>", "501 5.1.7"),
        (b"MAIL FROM:<a@b..test>", "501 5.1.7"),
        (b'MAIL FROM:<"a@b.test>', "501 5.1.7"),
        (b"MAIL FROM:<" + b"a" * 65 + b"@b.test>", "501 5.1.7"),
        (b"MAIL FROM:<a@b.test> SIZE=x", "501 5.5.4"),
        (b"MAIL FROM:<a@b.test> SIZE", "501 5.5.4"),
        (b"MAIL FROM:<a@b.test> SIZE=" + b"9" * 21, "501 5.5.4"),
        (b"MAIL FROM:<a@b.test> SIZE=4001", "552 5.3.4"),
        (b"MAIL FROM:<a@b.test> SIZE=1 SIZE=1", "501 5.5.4"),
        (b"MAIL FROM:<a@b.test> SMTPUTF8=1", "501 5.5.4"),
        (b"MAIL FROM:<a@b.test> BODY=BINARYMIME", "555 5.5.4"),
        (b"MAIL FROM:<a@b.test> RET=ALL", "501 5.5.4"),
        (b"MAIL FROM:<a@b.test> RET", "501 5.5.4"),
        (b"MAIL FROM:<a@b.test> RET=FULL RET=FULL", "501 5.5.4"),
        (b"MAIL FROM:<a@b.test> ENVID", "501 5.5.4"),
        (b"MAIL FROM:<a@b.test> ENVID=a+0Ab", "501 5.5.4"),
        (b"MAIL FROM:<a@b.test> ENVID=" + b"x" * 101, "501 5.5.4"),
        (b"MAIL FROM:<a@b.test> NOTIFY=NEVER", "555 5.5.4"),
        (b"MAIL FROM:<a@b.test> AUTH=<>", "555 5.5.4"),
        (b"MAIL FROM:<a@b.test> =", "501 5.5.4"),
        ("MAIL FROM:<ç@b.test>".encode(), "553 5.6.7"),
        ("MAIL FROM:<c@örnek.test>".encode(), "553 5.6.7"),
        (b"MAIL FROM:<\xff@b.test>", "500 5.5.2"),
        (b"MAIL FROM:<a\x00@b.test>", "500 5.5.2"),
        (b"MAIL FROM:<a@b.test>\rRCPT TO:<c@d.test>", "500 5.5.2"),
        (b"RCPT TO:<a@b.test>", "503 5.5.1"),
        (b"DATA", "503 5.5.1"),
        (b"FOO", "500 5.5.1"),
        (b"LHLO x", "500 5.5.1"),
        (b"", "500 5.5.1"),
        (b"EXPN list", "502 5.5.1"),
        (b"AUTH PLAIN", "502 5.5.1"),
        (b"VRFY", "501 5.5.4"),
        (b"RSET now", "501 5.5.4"),
        (b"QUIT now", "501 5.5.4"),
        (b"STARTTLS now", "501 5.5.4"),
        (b"EHLO", "501 5.5.4"),
        (b"EHLO " + b"x" * 256, "501 5.5.4"),
        (b"NOOP " + b"x" * 5000, "500 5.5.6"),
        (b"BDAT 1 FIRST", "501 5.5.4"),
    ],
)
def test_refusals(line: bytes, reply: str) -> None:
    said = three_cuttings(b"EHLO x\r\n" + line + b"\r\n")

    assert said.lines[11].startswith(reply), said.lines[11]
    assert len(said.events) == 1


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"RCPT TO:<a>", "501 5.1.3"),
        (b"RCPT TO:<>", "501 5.1.3"),
        (b"RCPT TO:<a@b.test> NOTIFY=NEVER,DELAY", "501 5.5.4"),
        (b"RCPT TO:<a@b.test> NOTIFY=DELAY,DELAY", "501 5.5.4"),
        (b"RCPT TO:<a@b.test> NOTIFY=ALWAYS", "501 5.5.4"),
        (b"RCPT TO:<a@b.test> NOTIFY", "501 5.5.4"),
        (b"RCPT TO:<a@b.test> NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4"),
        (b"RCPT TO:<a@b.test> ORCPT=a@b.test", "501 5.5.4"),
        (b"RCPT TO:<a@b.test> ORCPT=rfc822;a+b", "501 5.5.4"),
        (b"RCPT TO:<a@b.test> ORCPT=r(c;a@b.test", "501 5.5.4"),
        (b"RCPT TO:<a@b.test> ORCPT=rfc822;" + b"x" * 500, "501 5.5.4"),
        ("RCPT TO:<a@b.test> ORCPT=utf-8;ç@b.test".encode(), "553 5.6.7"),
        (b"RCPT TO:<a@b.test> RET=FULL", "555 5.5.4"),
        ("RCPT TO:<ç@b.test>".encode(), "553 5.6.7"),
        (b"MAIL FROM:<a@b.test>", "503 5.5.1"),
        (b"STARTTLS", "503 5.5.1"),
        (b"DATA", "503 5.5.1"),
    ],
)
def test_refusals_after_mail(line: bytes, reply: str) -> None:
    said = three_cuttings(b"EHLO x\r\nMAIL FROM:<>\r\n" + line + b"\r\n")

    assert said.lines[12].startswith(reply), said.lines[12]


@pytest.mark.parametrize(
    ("parameters", "notify", "orcpt"),
    [
        ("", "", ""),
        (" NOTIFY=never", "NEVER", ""),
        (" NOTIFY=Success,failure,DELAY", "SUCCESS,FAILURE,DELAY", ""),
        (" ORCPT=rfc822;A+2Bb@B.test NOTIFY=DELAY", "DELAY", "rfc822;A+2Bb@B.test"),
        (" ORCPT=utf-8;\\x{E7}@b.test", "", "utf-8;\\x{E7}@b.test"),
        (" ORCPT=utf-8;ç@b.test", "", "utf-8;ç@b.test"),
    ],
)
def test_what_the_sender_wants_to_be_told(parameters: str, notify: str, orcpt: str) -> None:
    said = talk(f"EHLO x\r\nMAIL FROM:<> SMTPUTF8\r\nRCPT TO:<a@b.test>{parameters}\r\n".encode())
    assert said.events[-1] == Rcpt(Address("a", "b.test"), notify, orcpt)


def test_reports_are_not_offered_by_lmtp() -> None:
    said = talk(b"LHLO x\r\nMAIL FROM:<> RET=FULL\r\n", mode=Mode.LMTP)
    assert not any("DSN" in line for line in said.lines)
    assert said.codes[-1] == 555


def test_bare_postmaster_is_a_recipient() -> None:
    """RFC 5321 4.1.1.3."""
    assert talk(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<Postmaster>\r\n").events[-1] == Rcpt(Address("Postmaster", ""))


def test_hello_comes_first() -> None:
    assert talk(b"MAIL FROM:<>\r\nNOOP\r\nRSET\r\nMAIL FROM:<>\r\n").codes == [503, 250, 250, 503]


def test_lines_may_end_with_a_bare_lf_outside_of_messages() -> None:
    """Someone types through nc; a command can smuggle nothing."""
    assert talk(b"EHLO x\nNOOP\nQUIT\n").codes == [250, 250, 221]


def test_http_is_shown_the_door() -> None:
    said = talk(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<>\r\n")

    assert said.codes == [421]
    assert said.events == []
    assert said.engine.closed


def test_too_many_errors_end_the_session() -> None:
    said = three_cuttings(b"FOO\r\n" * 30)

    assert said.codes == [500] * 20 + [421]
    assert said.engine.closed


def test_too_many_unknown_recipients_end_the_session_but_not_by_lmtp() -> None:
    recipients = b"MAIL FROM:<>\r\n" + b"RCPT TO:<nobody@postane.test>\r\n" * 30

    assert talk(b"EHLO x\r\n" + recipients).engine.closed
    assert not talk(b"LHLO x\r\n" + recipients, mode=Mode.LMTP).engine.closed


def test_too_many_commands_end_the_session() -> None:
    said = talk(b"NOOP\r\n" * 6, limits=SmtpLimits(commands=5))

    assert said.codes == [250] * 5 + [421]


@pytest.mark.parametrize("mode", [Mode.SMTP, Mode.LMTP])
def test_commands_count_anew_after_each_message_that_was_accepted(mode: Mode) -> None:
    hello = b"LHLO x\r\n" if mode is Mode.LMTP else b"EHLO x\r\n"
    transaction = b"MAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\nx: y\r\n.\r\n"
    accepted = talk(hello + transaction * 10, mode=mode, limits=SmtpLimits(commands=5))
    assert len(accepted.messages) == 10
    assert 421 not in accepted.codes

    refused = talk(hello + transaction.replace(b"x: y", b"x\ny") * 10, mode=mode, limits=SmtpLimits(commands=5))
    assert refused.codes[-1] == 421
    assert len(refused.refused) == 1
    idle = talk(hello + transaction + b"NOOP\r\n" * 6, mode=mode, limits=SmtpLimits(commands=5))
    assert idle.codes[-6:] == [250] * 5 + [421]


def test_garbage_without_an_end_costs_bounded_memory() -> None:
    said = Dialogue(SmtpEngine(Mode.SMTP, LIMITS))
    for _ in range(200):
        said.feed(b"x" * 65536)
        assert len(said.engine._buffer) < 3 * 65536

    assert said.engine.closed
    assert said.codes[-1] == 421


def test_replies_hold_no_control_characters_and_only_ascii() -> None:
    engine = SmtpEngine(Mode.SMTP, LIMITS)
    engine.send(Reply(550, "5.1.1", "a\rb\x00\x1b ç\nsecond " + "x" * 2000))

    first, second, rest = engine.take_output().split(b"\r\n")
    assert first == b"550-5.1.1 a?b?? \\xe7"
    assert second.startswith(b"550 5.1.1 second xxx")
    assert len(second) <= 510
    assert rest == b""


# ---------------------------------------------------------------- DATA


def test_data_unstuffs_and_ends() -> None:
    said = three_cuttings(ENVELOPE + b"DATA\r\nSubject: x\r\n\r\n..\r\n.dot\r\n.\r\nQUIT\r\n")

    assert said.messages == [b"Subject: x\r\n\r\n.\r\ndot\r\n"]
    assert said.codes == [250, 250, 250, 354, 250, 221]


def test_an_empty_message_is_one() -> None:
    assert three_cuttings(ENVELOPE + b"DATA\r\n.\r\n").messages == [b""]


ENDS = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r.\n", b"\n\n.\r\n",
    b"\r\r\n.\r\r\n",
    b"\n\r.\r\n", b"\r\n\x00.\r\n", b"\r\n.\x00\r\n", b"\r\n\r.\r\n", b"\n.\r\r\n", b"\r\n..\n.\r", b"\r\n.\r\x00\n",
]  # fmt: skip


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_no_false_end_smuggles(end: bytes) -> None:
    """Whatever another server takes for an end is read past; the whole is refused, with the octet's name."""
    inner = b"MAIL FROM:<evil@relay.test>\r\nRCPT TO:<b@postane.test>\r\nDATA\r\nevil\r\n"
    data = ENVELOPE + b"DATA\r\nSubject: x\r\n\r\nhello" + end + inner + b".\r\nNOOP\r\n"
    said = three_cuttings(data)

    assert said.messages == []
    assert said.codes == [250, 250, 250, 354, 554, 250]
    assert [type(e) for e in said.events].count(Mail) == 1
    assert any(word in said.lines[-3] for word in ("octet 10", "octet 13", "octet 0"))


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"x", b"\x00", b"\r\n."]), max_size=30))
def test_only_the_true_end_ends(pieces: list[bytes]) -> None:
    wire = b"\r\n" + b"".join(pieces) + b"\r\n.\r\n"
    said = three_cuttings(ENVELOPE + b"DATA" + wire)

    stuffed = wire[: wire.find(b"\r\n.\r\n") + 2]
    whole = stuffed.replace(b"\r\n.", b"\r\n")[2:]
    bare = whole.replace(b"\r\n", b"")
    if b"\r" in bare or b"\n" in bare or b"\0" in bare:
        assert said.messages == []
        assert len(said.refused) == 1
    else:
        assert said.messages == [whole]


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        (b"x\x00y\r\n", Condition.BAD_CONTENT),
        (b"x" * 999 + b"\r\n", Condition.BAD_CONTENT),
        ((b"x" * 98 + b"\r\n") * 41, Condition.MESSAGE_TOO_LARGE),
        (b"a\rb\r\nc\nd\r\n", Condition.BARE_LINE_END),
    ],
)
def test_flaws_of_messages(text: bytes, condition: Condition) -> None:
    by_data = three_cuttings(ENVELOPE + b"DATA\r\n" + text + b".\r\nNOOP\r\n")
    by_bdat = three_cuttings(ENVELOPE + b"BDAT %d LAST\r\n" % len(text) + text + b"NOOP\r\n")

    assert by_data.refused == by_bdat.refused == [condition]
    assert by_data.codes[-1] == by_bdat.codes[-1] == 250


def test_the_longest_message_and_line_fit() -> None:
    text = (b"x" * 998 + b"\r\n") * 4

    assert three_cuttings(ENVELOPE + b"DATA\r\n" + text + b".\r\n").messages == [text]
    assert three_cuttings(ENVELOPE + b"BDAT 4000 LAST\r\n" + text).messages == [text]


def test_a_message_without_end_ends_the_session() -> None:
    said = Dialogue(SmtpEngine(Mode.SMTP, LIMITS)).feed(ENVELOPE + b"DATA\r\n")
    for _ in range(9):
        said.feed(b"x" * 998 + b"\r\n")

    assert said.engine.closed
    assert said.codes[-1] == 421


# ---------------------------------------------------------------- BDAT


def test_chunks_join() -> None:
    said = three_cuttings(ENVELOPE + b"BDAT 3\r\na\r\nBDAT 0\r\nBDAT 5\r\n.\r\n.\rBDAT 1 LAST\r\n\nQUIT\r\n")

    assert said.messages == [b"a\r\n.\r\n.\r\n"]
    assert said.codes == [250, 250, 250, 250, 250, 250, 250, 221]


def test_zero_last_ends_a_message() -> None:
    assert three_cuttings(ENVELOPE + b"BDAT 3\r\na\r\nBDAT 0 LAST\r\n").messages == [b"a\r\n"]
    assert three_cuttings(ENVELOPE + b"BDAT 0 LAST\r\n").messages == [b""]


def test_a_cr_at_the_very_end_is_bare() -> None:
    said = three_cuttings(ENVELOPE + b"BDAT 2 LAST\r\na\r")

    assert said.refused == [Condition.BARE_LINE_END]


@pytest.mark.parametrize("before", [b"EHLO x\r\n", b"", b"EHLO x\r\nMAIL FROM:<>\r\n"])
def test_bdat_out_of_sequence_drains_its_octets(before: bytes) -> None:
    said = three_cuttings(before + b"BDAT 6\r\nQUIT\r\nNOOP\r\n")

    assert said.codes[-2:] == [503, 250]
    assert not any(isinstance(event, Quit) for event in said.events)


def test_after_a_refused_chunk_the_rest_is_drained_until_reset() -> None:
    """RFC 3030 2."""
    said = three_cuttings(
        ENVELOPE + b"BDAT 3\r\na\nbBDAT 6\r\nQUIT\r\nBDAT 2 LAST\r\n\r\nDATA\r\nRSET\r\nMAIL FROM:<>\r\n"
    )

    assert said.codes == [250, 250, 250, 554, 503, 503, 503, 250, 250]
    assert said.messages == []
    assert Reset() in said.events


def test_data_after_bdat_is_out_of_sequence() -> None:
    """RFC 3030 2."""
    assert talk(ENVELOPE + b"BDAT 3\r\na\r\nDATA\r\n").codes[-1] == 503


@pytest.mark.parametrize("size", [b"9223372036854775808", b"9" * 20, b"8001", b"-1", b"x", b"1 LAST LAST", b""])
def test_a_chunk_size_not_to_be_believed_ends_the_session(size: bytes) -> None:
    """Nobody knows where the next command begins."""
    said = three_cuttings(ENVELOPE + b"BDAT " + size + b"\r\nQUIT\r\n")

    assert said.codes[3] in (501, 552)
    assert said.codes[4:] == [421]
    assert said.engine.closed


# ---------------------------------------------------------------- LMTP


def test_lmtp_answers_once_a_recipient() -> None:
    """RFC 2033 4.2."""
    said = three_cuttings(
        b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nRCPT TO:<nobody@b.test>\r\nRCPT TO:<c@b.test>\r\n"
        b"DATA\r\nx\r\n.\r\nQUIT\r\n",
        Mode.LMTP,
    )

    assert said.codes == [250, 250, 250, 550, 250, 354, 250, 250, 221]


def test_lmtp_knows_no_helo() -> None:
    assert three_cuttings(b"EHLO x\r\nHELO x\r\n", Mode.LMTP).codes == [500, 500]


def test_lmtp_last_chunk_without_recipients_has_no_answer() -> None:
    """RFC 2033 4.3; one that is not the last has its one answer."""
    before = b"LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<nobody@b.test>\r\n"

    assert three_cuttings(before + b"BDAT 3 LAST\r\na\r\nNOOP\r\n", Mode.LMTP).codes == [250, 250, 550, 250]
    assert three_cuttings(before + b"BDAT 3\r\na\r\nNOOP\r\n", Mode.LMTP).codes == [250, 250, 550, 503, 250]


# ---------------------------------------------------------------- AUTH and TLS


def submission(data: bytes) -> Dialogue:
    return three_cuttings(b"EHLO x\r\n" + data, Mode.SUBMISSION)


def test_auth_with_initial_response() -> None:
    """Two blanks, as Windows Mail writes them."""
    said = submission(
        b"AUTH  PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\nAUTH PLAIN AAA=\r\nMAIL FROM:<a@b.test> AUTH=<>\r\n"
    )

    assert said.events[1] == Auth("PLAIN", b"\0tim\0tanstaaftanstaaf")
    assert said.codes == [250, 235, 503, 250]


def test_auth_by_steps() -> None:
    said = submission(b"AUTH login\r\ndGlt\r\nMAIL FROM:<a@b.test>\r\n")

    assert said.events[1:3] == [Auth("LOGIN", None), AuthResponse(b"tim")]
    assert said.lines[11] == "334 VXNlcm5hbWU6"
    assert said.codes == [250, 334, 235, 250]


def test_auth_empty_initial_response() -> None:
    assert submission(b"AUTH PLAIN =\r\n").events[1] == Auth("PLAIN", b"")


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (b"AUTH LOGIN\r\n*\r\nNOOP\r\n", [334, 501, 250]),
        (b"AUTH LOGIN\r\n!!!!\r\nNOOP\r\n", [334, 501, 250]),
        (b"AUTH LOGIN\r\n" + b"A" * 13000 + b"\r\nNOOP\r\n", [334, 500, 250]),
        (b"AUTH PLAIN !!!!\r\n", [501]),
        (b"AUTH\r\n", [501]),
        (b"AUTH PLAIN A B\r\n", [501]),
        (b"MAIL FROM:<>\r\nAUTH PLAIN\r\n", [250, 503]),
        (b"MAIL FROM:<a@b.test> AUTH=a+3\r\n", [501]),
        (b"MAIL FROM:<a@b.test> AUTH=e+3Dmc2@example.com\r\n", [250]),
        (b"NOOP " + b"x" * 5000 + b"\r\n", [500]),
    ],
)
def test_auth_refusals(lines: bytes, codes: list[int]) -> None:
    assert submission(lines).codes[1:] == codes


def test_auth_takes_the_longest_line() -> None:
    """RFC 4954 4: 12288 octets."""
    said = submission(b"AUTH PLAIN " + b"A" * 12000 + b"\r\n")

    assert said.codes == [250, 235]


def test_tls_drops_what_was_sent_in_plain_text() -> None:
    """RFC 3207 4.2."""
    said = talk(b"EHLO x\r\n")
    said.engine.feed(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@b.test>\r\n")
    said.engine.next_event()
    said.engine.send(Reply(220, "2.0.0", "go"))
    said.engine.secure()

    assert said.engine.next_event() is None
    assert not said.engine.pending
    assert said.engine.state is State.START
    said.output = b""
    assert said.feed(b"MAIL FROM:<>\r\n").codes[-1] == 503


def test_pending_while_something_is_half_read() -> None:
    said = talk(b"EHLO x\r\n")
    assert not said.engine.pending
    assert said.feed(b"NOO").engine.pending
    said.feed(b"P\r\nMAIL FROM:<>\r\nRCPT TO:<b@c.test>\r\n")
    assert not said.engine.pending
    assert said.feed(b"DATA\r\n").engine.pending
    assert not said.feed(b"x\r\n.\r\n").engine.pending


def test_the_end_of_the_stream_closes() -> None:
    said = talk(ENVELOPE + b"DATA\r\nhalf a mess")
    said.end()

    assert said.engine.closed
    assert said.messages == []


# ---------------------------------------------------------------- fuzz, from every state

SEEDS: dict[State, bytes] = {
    State.START: b"",
    State.READY: b"EHLO x\r\n",
    State.MAIL: b"EHLO x\r\nMAIL FROM:<a@b.test>\r\n",
    State.RCPT: ENVELOPE,
    State.CHUNKS: ENVELOPE + b"BDAT 3\r\na\r\n",
    State.FAILED: ENVELOPE + b"BDAT 3\r\na\nb",
}
WORDS = [
    b"EHLO x\r\n", b"HELO x\r\n", b"LHLO x\r\n", b"MAIL FROM:<a@b.test>", b"RCPT TO:<c@d.test>", b" SIZE=12",
    b" SMTPUTF8",
    b"DATA\r\n", b"BDAT 4\r\n", b"BDAT 3 LAST\r\n", b"BDAT 0 LAST\r\n", b"BDAT ", b"RSET\r\n", b"NOOP\r\n",
    b"VRFY a\r\n", b"HELP\r\n", b"QUIT\r\n", b"AUTH PLAIN\r\n", b"AUTH LOGIN AAAA\r\n", b"*\r\n", b"AAAA\r\n",
    b"\r\n", b"\r", b"\n",
    b".", b"\r\n.\r\n", b"\x00", b"\xff", b"<", b">", b'"', b"9" * 25, b"x" * 1100,
]  # fmt: skip


@pytest.mark.parametrize("state", list(State), ids=lambda state: state.value)
def test_each_seed_reaches_its_state(state: State) -> None:
    assert talk(SEEDS[state]).engine.state is state


@given(
    st.sampled_from(list(State)),
    st.sampled_from(list(Mode)),
    st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=12)), max_size=12),
    st.integers(0, 1000),
)
def test_any_octets_from_any_state_are_cut_alike(state: State, mode: Mode, pieces: list[bytes], seed: int) -> None:
    greeting = SEEDS[state].replace(b"EHLO", b"LHLO") if mode is Mode.LMTP else SEEDS[state]
    said = three_cuttings(greeting + b"".join(pieces), mode, seed)

    assert state in said.states


def test_published_seeds_from_every_state(vectors: Path) -> None:
    words = [line.strip().strip(b'"') for line in (vectors / "fuzz" / "smtp.dict").read_bytes().splitlines()]
    sessions = [path.read_bytes() for path in sorted((vectors / "fuzz" / "smtp").glob("*.raw"))]
    reached: set[State] = set()
    for number, (state, seed) in enumerate(SEEDS.items()):
        chance = random.Random(number)
        for session in sessions:
            reached |= three_cuttings(seed + session, seed=number).states
        for _ in range(60):
            said = three_cuttings(seed + _mutate(chance, words, chance.choice(sessions)), seed=number)
            reached |= said.states
            assert state in said.states

    assert reached == set(State)


def _mutate(chance: random.Random, words: list[bytes], session: bytes) -> bytes:
    data = bytearray(session)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(3):
            case 0:
                data[at:at] = chance.choice(words) + chance.choice([b"\r\n", b" ", b"", b" 5 LAST\r\n"])
            case 1:
                del data[at : at + chance.randint(1, 9)]
            case _:
                data[at : at + 1] = bytes([chance.randrange(256)])
    return bytes(data)
