"""SMTP, LMTP and submission as dialogues, and what they leave behind."""

from __future__ import annotations

import asyncio
import base64
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from post_office import PostOffice
from postane.core.dialogue import Endpoint, Hangup, Opened, StartTls
from postane.core.limits import Limits, SmtpLimits
from postane.core.listener import Service
from postane.core.status import Condition, MailError
from postane.proto.smtp.server import SmtpEngine
from postane.proto.smtp.state import State
from postane.session.smtp import MODES, SmtpSession
from postane.store.api import AccountState
from transcript import FOLDER, PEER, SECURED, Cut, parse, play, play_turns

GREETING = "S: 220 mail.postane.test ESMTP Postane\nC: HELO bar.com\nS: 250 mail.postane.test\n"
MAIL = "C: MAIL FROM:<a@bar.com>\nS: 250 2.1.0 Ok\n"
RCPT = "C: RCPT TO:<ayse@postane.test>\nS: 250 2.1.5 Ok\n"
DATA = "C: DATA\nS: 354 Start mail input; end with <CRLF>.<CRLF>\n"
OK = r"S~ 250 2\.0\.0 Ok: [a-z2-7]{24}" + "\n"
AUTH = "C: AUTH PLAIN {}\nS: 235 2.7.0 You are logged in\n".format(
    base64.b64encode(b"\0ayse@postane.test\0gizli").decode()
)


class Played:
    """Every world that a dialogue was played in; all have come to the same."""

    def __init__(self, service: Service = Service.SMTP, limits: Limits | None = None) -> None:
        self.service = service
        self.limits = limits or Limits()
        self.offices: list[PostOffice] = []

    def engine(self) -> SmtpEngine:
        return SmtpEngine(MODES[self.service], self.limits.smtp)

    def session(self) -> SmtpSession:
        self.offices.append(PostOffice(self.limits))
        self.arrange(self.offices[-1])
        return self.offices[-1].session(self.service)

    def arrange(self, office: PostOffice) -> None: ...

    async def say(self, text: str, **options: object) -> PostOffice:
        """Plays `text` in every cut; gives the last world."""
        for cut in Cut:
            session = self.session()
            await play_turns(parse(text), self.engine(), session, cut, **options)  # type: ignore[arg-type]
            assert self.offices[-1].staging.is_clean
            assert self.offices[-1].connections.count == 0
        return self.offices[-1]


@pytest.mark.parametrize("path", sorted((FOLDER / "smtp").glob("*.txt")), ids=lambda path: path.stem)
async def test_smtp(path: Path) -> None:
    world = Played()
    await play(path, world.engine, world.session)
    assert all(office.staging.is_clean for office in world.offices)


@pytest.mark.parametrize("path", sorted((FOLDER / "lmtp").glob("*.txt")), ids=lambda path: path.stem)
async def test_lmtp(path: Path) -> None:
    world = Played(Service.LMTP)
    await play(path, world.engine, world.session)
    assert all(office.staging.is_clean for office in world.offices)


async def test_submission_by_starttls() -> None:
    world = Played(Service.SUBMISSION)
    await play(FOLDER / "smtp" / "submission" / "starttls-and-plain.txt", world.engine, world.session)

    for office in world.offices:
        (message,) = office.inbox("bora@postane.test")
        prefix, data = office.kept("bora@postane.test")[0]
        assert data.startswith(b"Date: Sun, 15 Jun 2025 15:06:40 +0000\r\nMessage-ID: <")
        assert data.endswith(b">\r\nFrom: ayse@postane.test\r\nSubject: x\r\n\r\nhello\r\n")
        assert b"with ESMTPSA" in prefix
        assert b"Bcc" not in message
        assert b"near@" not in message
        assert office.connections.count == 0


async def test_login_mechanism_from_this_machine() -> None:
    world = Played(Service.SUBMISSION)
    path = FOLDER / "smtp" / "submission" / "login-mechanism.txt"
    await play(path, world.engine, world.session, peer=Endpoint("127.0.0.1", 5))


async def test_the_same_checks_on_465() -> None:
    office = await Played(Service.SUBMISSIONS).say(
        GREETING + "C: MAIL FROM:<ayse@postane.test>\nS: 530 5.7.0 log in first\n" + AUTH +
        "C: MAIL FROM:<bora@postane.test>\n"
        "S: 550 5.7.1 <bora@postane.test> is no address of the account ayse@postane.test; send as <ayse@postane.test>\n"
        "C: MAIL FROM:<ayse@postane.test>\nS: 250 2.1.0 Ok\n" + RCPT + DATA +
        "C: Subject: no From\nC: .\nS: 554 5.6.0 the message has no From field (RFC 5322 3.6.2)\n",
        implicit_tls=True,
    )  # fmt: skip
    assert office.inbox("ayse@postane.test") == []


# ---------------------------------------------------------------- the trace of one message


async def test_what_receipt_adds() -> None:
    office = await Played().say(
        GREETING + MAIL + RCPT + DATA +
        "C: Return-Path: <elsewhere@example.org>\nC: Authentication-Results: mail.postane.test; dkim=pass\n"
        "C: Authentication-Results: other.test; dkim=pass\nC: Subject: x\nC: \nC: hello\nC: .\n" + OK
    )  # fmt: skip
    ((prefix, data),) = office.kept("ayse@postane.test")
    (trace_id,) = {event.trace_id for event in office.trace.events}

    assert data == (
        b"Return-Path: <elsewhere@example.org>\r\nAuthentication-Results: other.test; dkim=pass\r\n"
        b"Subject: x\r\n\r\nhello\r\n"
    )
    unfolded = prefix.replace(b"\r\n ", b" ").decode()
    assert unfolded == (
        "Return-Path: <a@bar.com>\r\nDelivered-To: ayse@postane.test\r\n"
        f"Received: from bar.com ([192.0.2.7]) by mail.postane.test with SMTP id {trace_id} "
        "for <ayse@postane.test>; Sun, 15 Jun 2025 15:06:40 +0000\r\n"
    )
    assert office.trace.story == ["received", "filed"]


@pytest.mark.parametrize(
    ("text", "line"),
    [("C: no header here\n", b"\r\n\r\nno header here\r\n"), ("", b"\r\n\r\n"), ("C: \nC: x\n", b"\r\n\r\nx\r\n")],
    ids=["no header", "nothing at all", "an empty header"],
)
async def test_a_message_without_header_is_kept_apart_from_ours(text: str, line: bytes) -> None:
    office = await Played().say(GREETING + MAIL + RCPT + DATA + text + "C: .\n" + OK)

    (message,) = office.inbox("ayse@postane.test")
    assert message.endswith(b"+0000" + line)


async def test_a_first_line_that_would_continue_our_field_is_refused() -> None:
    office = await Played().say(
        GREETING + MAIL + RCPT + DATA + "C:  evil\nC: Subject: x\nC: .\n"
        r"S~ 554 5\.6\.0 The message begins with white space.*" + "\n"
    )
    assert office.inbox("ayse@postane.test") == []


async def test_several_recipients_go_by_the_queue() -> None:
    office = await Played().say(
        GREETING + MAIL + RCPT + "C: RCPT TO:<team@postane.test>\nS: 250 2.1.5 Ok\n" + DATA
        + "C: Subject: x\nC: .\n" + OK
    )  # fmt: skip

    (message,) = office.queue.messages
    assert [each.address for each in message.recipients] == ["ayse@postane.test", "bora@postane.test"]
    assert len({each.delivery_id for each in message.recipients}) == 2
    assert [len(office.inbox(name)) for name in ("ayse@postane.test", "bora@postane.test")] == [1, 1]
    assert b"Delivered-To: bora@postane.test\r\n" in office.inbox("bora@postane.test")[0]
    assert b"for <" not in office.inbox("bora@postane.test")[0]
    assert office.trace.story == ["received", "queued", "filed", "filed"]


async def test_two_names_of_one_account_get_one_copy() -> None:
    office = await Played().say(
        GREETING + MAIL + RCPT + "C: RCPT TO:<ayse+x@postane.test>\nS: 250 2.1.5 Ok\n" + DATA + "C: .\n" + OK
    )
    assert len(office.inbox("ayse@postane.test")) == 1
    assert office.queue.messages == []


# ---------------------------------------------------------------- refusals


async def test_loops_are_refused() -> None:
    many = "C: Received: from x by y; Thu, 21 May 1998 05:33:29 -0700\n" * 51
    office = await Played().say(
        GREETING + MAIL + RCPT + DATA + many + "C: \nC: x\nC: .\n"
        "S: 554 5.4.6 the message has gone through more than 50 servers: it is in a loop\n" +
        MAIL + RCPT + DATA + "C: Delivered-To: Ayse@Postane.Test\nC: \nC: x\nC: .\n"
        "S: 554 5.4.6 the message has been delivered to <ayse@postane.test> before: it is in a loop\n"
    )  # fmt: skip
    assert office.mail.kept == {}
    assert office.trace.story == ["refused", "received", "refused"]


async def test_lmtp_refuses_the_looping_recipient_only() -> None:
    office = await Played(Service.LMTP).say(
        "S: 220 mail.postane.test LMTP Postane\nC: LHLO x\n" + "S~ 250-.*\n" * 8 + "S: 250 STARTTLS\n" +
        MAIL + RCPT + "C: RCPT TO:<bora@postane.test>\nS: 250 2.1.5 Ok\n" + DATA +
        "C: Delivered-To: ayse@postane.test\nC: \nC: x\nC: .\n"
        "S: 554 5.4.6 the message has been delivered to <ayse@postane.test> before: it is in a loop\n" + OK
    )  # fmt: skip
    assert len(office.inbox("bora@postane.test")) == 1


async def test_over_quota_is_refused_at_rcpt() -> None:
    class Full(Played):
        def arrange(self, office: PostOffice) -> None:
            office.mail.quota = 1000
            office.directory.limit("ayse@postane.test", 1000)

    office = await Full().say(
        GREETING + "C: MAIL FROM:<a@bar.com> SIZE=1001\nS: 250 2.1.0 Ok\n"
        "C: RCPT TO:<ayse@postane.test>\nS: 452 4.2.2 the mailbox of <ayse@postane.test> is full\n"
        "C: RSET\nS: 250 2.0.0 Ok\n" + MAIL + RCPT + DATA + "C: " + "x" * 998 + "\nC: .\n" + OK + MAIL +
        "C: RCPT TO:<ayse@postane.test>\nS: 452 4.2.2 the mailbox of <ayse@postane.test> is full\n"
    )  # fmt: skip
    assert len(office.inbox("ayse@postane.test")) == 1


async def test_disabled_and_moving_accounts_are_refused() -> None:
    class Away(Played):
        def arrange(self, office: PostOffice) -> None:
            office.directory.change("ayse@postane.test", state=AccountState.DISABLED)
            office.directory.change("bora@postane.test", state=AccountState.MOVING)

    await Away().say(
        GREETING + MAIL + "C: RCPT TO:<ayse@postane.test>\nS~ 550 5\\.2\\.1 <ayse@postane.test> is disabled.*\n"
        "C: RCPT TO:<bora@postane.test>\nS~ 450 4\\.2\\.1 <bora@postane.test> is being moved.*\n"
    )


async def test_too_many_recipients() -> None:
    limits = Limits(smtp=SmtpLimits(recipients=2))
    await Played(limits=limits).say(
        GREETING + MAIL + RCPT + RCPT + "C: RCPT TO:<bora@postane.test>\n"
        "S: 452 4.5.3 too many recipients; send the others a copy later\n"
    )


@pytest.mark.parametrize(
    ("limits", "lines"),
    [
        (SmtpLimits(message_bytes=40), "S: 552 5.3.4 the message is larger than 40 octets\n"),
        (SmtpLimits(header_bytes=30), "S: 552 5.3.4 the header section is larger than 30 octets\n"),
        (SmtpLimits(text_line=20), "S: 554 5.6.0 a line of the message is longer than 20 octets\n"),
    ],
    ids=["message", "header", "line"],
)
async def test_too_large(limits: SmtpLimits, lines: str) -> None:
    office = await Played(limits=Limits(smtp=limits)).say(
        GREETING + MAIL + RCPT + DATA + "C: Subject: 123456789012345678901234\nC: \nC: hello, world\nC: .\n" + lines
        + "C: NOOP\nS: 250 2.0.0 Ok\n"
    )  # fmt: skip
    assert office.mail.kept == {}


@pytest.mark.parametrize("place", ["write", "finish", "file", "enqueue"])
async def test_a_full_disk_keeps_nothing_half(place: str) -> None:
    full = MailError(Condition.DISK_FULL, "no room for the message now")

    class Crammed(Played):
        def arrange(self, office: PostOffice) -> None:
            office.staging.room = 10 if place == "write" else 1 << 40
            office.staging.fails_at_finish = place == "finish"
            office.mail.failure = full if place == "file" else None
            office.queue.failure = full if place == "enqueue" else None

    rcpt = "C: RCPT TO:<team@postane.test>\nS: 250 2.1.5 Ok\n" if place == "enqueue" else RCPT
    office = await Crammed().say(
        GREETING + MAIL + rcpt + DATA + "C: Subject: x\nC: \nC: hello\nC: .\n"
        "S: 452 4.3.1 no room for the message now\nC: NOOP\nS: 250 2.0.0 Ok\n"
    )
    assert office.mail.kept == {}
    assert office.trace.story[-1] == "refused"


async def test_a_hand_over_that_fails_after_the_commit_is_no_refusal() -> None:
    class Failing(Played):
        def arrange(self, office: PostOffice) -> None:
            office.mail.failure = MailError(Condition.ACCOUNT_BUSY, "later")

    office = await Failing().say(
        GREETING + MAIL + "C: RCPT TO:<team@postane.test>\nS: 250 2.1.5 Ok\n" + DATA + "C: .\n" + OK
    )
    assert len(office.queue.messages) == 1
    assert len(office.queue.results) == 2


async def test_a_chunk_that_finds_the_disk_full_says_so_at_once() -> None:
    class Crammed(Played):
        def arrange(self, office: PostOffice) -> None:
            office.staging.room = 10

    await Crammed().say(
        GREETING + MAIL + RCPT + r"C+ BDAT 16\r\nx\r\n\r\n0123456789\r" + "\n" + r"C+ BDAT 1\r\n" + "\n"
        + r"C+ \n" + "\nS: 452 4.3.1 no room for the message now\n"
        "S: 503 5.5.1 a chunk was refused: say RSET\nC: RSET\nS: 250 2.0.0 Ok\n"
    )  # fmt: skip


# ---------------------------------------------------------------- the connection


async def test_a_changed_account_ends_its_session() -> None:
    world = Played(Service.SUBMISSIONS)

    def change() -> None:
        world.offices[-1].directory.change("ayse@postane.test", verifier="new")
        world.offices[-1].hints.revoked(world.offices[-1].ayse.ref.id)

    await world.say(
        GREETING + AUTH + "** change\nS: 421 4.7.0 your account was changed; log in again\n** closed\n",
        implicit_tls=True,
        events={"change": change},
    )


async def test_a_hint_without_a_change_ends_nothing() -> None:
    world = Played(Service.SUBMISSIONS)
    await world.say(
        GREETING + AUTH + "** hint\nC: NOOP\nS: 250 2.0.0 Ok\n",
        implicit_tls=True,
        events={"hint": lambda: world.offices[-1].hints.revoked(world.offices[-1].ayse.ref.id)},
    )


async def test_too_many_connections_of_an_account() -> None:
    class Busy(Played):
        def arrange(self, office: PostOffice) -> None:
            office.connections.most = 0

    await Busy(Service.SUBMISSIONS).say(
        GREETING + AUTH.split("\n")[0] + "\nS: 421 4.7.0 too many connections of this account\n** closed\n",
        implicit_tls=True,
    )


async def test_a_session_may_not_last_for_ever() -> None:
    world = Played()
    await world.say(
        GREETING + "** later\nC: NOOP\nS: 421 4.4.2 this session has lasted too long; good-bye\n** closed\n",
        events={"later": lambda: world.offices[-1].clock.turn(3601)},
    )


async def test_a_client_that_goes_in_the_middle_leaves_nothing() -> None:
    office = await Played().say(GREETING + MAIL + RCPT + DATA + "C: Subject: x\nC: \nC: half\n** close\n")

    assert office.mail.kept == {}
    assert len(office.staging.writers) == 1


async def test_reset_forgets_recipients_and_bytes() -> None:
    office = await Played().say(
        GREETING + MAIL + RCPT + r"C+ BDAT 7\r\nhello\r\n" + "\nS: 250 2.0.0 7 octets received\n"
        "C: RSET\nS: 250 2.0.0 Ok\n" + MAIL + "C: RCPT TO:<bora@postane.test>\nS: 250 2.1.5 Ok\n"
        + DATA + "C: .\n" + OK
    )  # fmt: skip
    assert office.inbox("ayse@postane.test") == []
    assert len(office.inbox("bora@postane.test")) == 1


async def test_tls_forgets_a_login_made_before() -> None:
    """RFC 3207 4.2; and the account's connections are counted once."""
    office = await Played(Service.SUBMISSION).say(
        GREETING + AUTH + "C: STARTTLS\nS: 220 2.0.0 Ready to start TLS\n** tls\nC: HELO bar.com\n"
        "S: 250 mail.postane.test\nC: MAIL FROM:<ayse@postane.test>\nS: 530 5.7.0 log in first\n" + AUTH
        + "C: MAIL FROM:<ayse@postane.test>\nS: 250 2.1.0 Ok\n",
        peer=Endpoint("127.0.0.1", 5),
    )  # fmt: skip
    assert office.hints.watchers == {office.ayse.ref.id: []}


# ---------------------------------------------------------------- any octets

SEEDS = {
    State.START: b"",
    State.READY: b"EHLO x\r\n",
    State.MAIL: b"EHLO x\r\nMAIL FROM:<ayse@postane.test>\r\n",
    State.RCPT: b"EHLO x\r\nMAIL FROM:<ayse@postane.test>\r\nRCPT TO:<ayse@postane.test>\r\n",
}
SEEDS[State.CHUNKS] = SEEDS[State.RCPT] + b"BDAT 9\r\nFrom: x\r\n"
SEEDS[State.FAILED] = SEEDS[State.RCPT] + b"BDAT 3\r\na\nb"
PLAIN = AUTH.split("\n")[0].removeprefix("C: ").encode() + b"\r\n"
WORDS = [
    b"EHLO x\r\n", b"LHLO x\r\n", b"MAIL FROM:<>\r\n", b"MAIL FROM:<ayse@postane.test>\r\n", b"DATA\r\n",
    b"RCPT TO:<bora@postane.test>\r\n", b"RCPT TO:<team@postane.test>\r\n", b"RCPT TO:<postmaster>\r\n",
    b"RCPT TO:<far@elsewhere.test>\r\n", b"BDAT 4\r\n", b"BDAT 2 LAST\r\n", b"a\r\n", b"\r\n.\r\n", b"From: x\r\n",
    b" blank\r\n", b"RSET\r\n", b"HELP\r\n", b"VRFY x\r\n", b"STARTTLS\r\n", b"AUTH LOGIN\r\n", b"YQ==\r\n", PLAIN,
    b"QUIT\r\n", b"\x00", b"\n", b"NOOP\r\n",
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(list(State)),
    st.sampled_from([Service.SMTP, Service.LMTP, Service.SUBMISSIONS]),
    st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=8)), max_size=14),
)
def test_no_octets_from_any_state_surprise_the_session(state: State, service: Service, pieces: list[bytes]) -> None:
    """Nothing but a refusal comes of any input, nothing stays open, and what is said keeps to RFC 5321 4.2."""
    login = PLAIN if service is Service.SUBMISSIONS and state is not State.START else b""
    seed = SEEDS[state].replace(b"EHLO x\r\n", b"EHLO x\r\n" + login)
    if service is Service.LMTP:
        seed = seed.replace(b"EHLO", b"LHLO")
    asyncio.run(_talk(state, service, seed, b"".join(pieces)))


async def _talk(state: State, service: Service, seed: bytes, data: bytes) -> None:
    office = PostOffice()
    session = office.session(service)
    engine = SmtpEngine(MODES[service], office.limits.smtp)
    secured = SECURED if service is Service.SUBMISSIONS else None

    async def answer(event: object) -> bool:
        async for one in session.handle(event):
            if isinstance(one, Hangup):
                return False
            if isinstance(one, StartTls):
                engine.secure()
                return await answer(SECURED)
            engine.send(one)
        return True

    goes_on = await answer(Opened(PEER, PEER, secured, lambda: None))
    for piece in (seed, data):
        engine.feed(piece or b"NOOP\r\n")
        while goes_on and (event := engine.next_event()) is not None:
            goes_on = await answer(event)
        assert piece is not seed or engine.state is state
    await session.aclose()

    assert office.staging.is_clean
    assert office.connections.count == 0
    for line in engine.take_output().split(b"\r\n")[:-1]:
        assert re.fullmatch(rb"[2-5][0-9]{2}[ -][ -~]*", line)


def test_the_peer_of_the_player_is_far() -> None:
    """The refusals of plain-text logins above rest on it."""
    assert PEER.host == "192.0.2.7"


# ---------------------------------------------------------------- elsewhere


class Sending(Played):
    def arrange(self, office: PostOffice) -> None:
        office.sends_elsewhere = True


async def test_what_the_sender_asks_for_goes_along_with_a_forward() -> None:
    office = await Sending().say(
        GREETING + "C: MAIL FROM:<a@bar.com> RET=HDRS ENVID=QQ+2B1\nS: 250 2.1.0 Ok\n"
        "C: RCPT TO:<away@postane.test> NOTIFY=failure,delay ORCPT=rfc822;Away@postane.test\nS: 250 2.1.5 Ok\n"
        + DATA + "C: Subject: x\nC: .\n" + OK
    )  # fmt: skip
    (message,) = office.queue.messages
    (recipient,) = message.recipients
    assert (message.ret, message.envid) == ("HDRS", "QQ+2B1")
    assert (recipient.notify, recipient.orcpt) == ("FAILURE,DELAY", "rfc822;Away@postane.test")
    assert office.wakes == 1
