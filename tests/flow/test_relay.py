"""One message to other servers: hosts, verdicts, TLS, reuse; against scripted servers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from relay_world import BODY, PREFIX, world
from scripted_net import Do, FakeServer, web_trusted

from postane.core.limits import RelayLimits
from postane.core.outgoing import PeerTls, TlsFailure, Verify
from postane.flow.relay.ports import End
from postane.flow.relay.relay import Sender
from postane.flow.relay.route import Credentials, Security, Smarthost, Smarthosts

COMMANDS = ["greeting", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "."]


def once(line_start: str, answer: str | Do) -> object:
    """Says `answer` the first time such a line comes, then behaves."""
    left = [answer]

    def script(line: str) -> str | Do | None:
        return left.pop() if left and line.startswith(line_start) else None

    return script


def always(**answers: str | Do) -> object:
    return lambda line: next((answer for start, answer in answers.items() if line.startswith(start)), None)


async def test_a_message_arrives_whole_and_leaves_the_queue(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        await at.enqueue("bob@far.example", "eve@far.example")

        assert await at.runner.run_due() == 2
        (mail,) = far.mails
        assert mail.text == b"Received: from x\r\n" + BODY
        assert mail.params == f"<ann@home.example> SIZE={len(mail.text)} BODY=8BITMIME"
        assert (mail.recipients, mail.tls) == (["bob@far.example", "eve@far.example"], True)
        assert await at.left() == []
        assert at.noted("relayed")[0] == {
            "to": "bob@far.example",
            "host": "mx.far.example",
            "code": "250",
            "enhanced": "2.0.0",
            "text": "taken",
            "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384 unverified",
        }
        assert at.bounces.of(End.RELAYED) == ["bob@far.example", "eve@far.example"]


async def test_what_the_sender_asked_to_be_told_goes_along_where_it_can(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example", ("PIPELINING", "DSN", "8BITMIME"))
        at.serve("far.example", far)
        leased = await at.enqueue("bob@far.example", envid="e1", ret="HDRS")
        assert leased.recipients == ()
        await at.runner.run_due()

        assert far.mails[0].params == "<ann@home.example> BODY=8BITMIME RET=HDRS ENVID=e1"
        assert at.bounces.reports == []


@pytest.mark.parametrize("pipelining", [True, False])
async def test_each_recipient_has_a_fate_of_its_own(tmp_path: Path, pipelining: bool) -> None:
    def script(line: str) -> str | None:
        if line.startswith("RCPT TO:<gone"):
            return "550 5.1.1 no such user"
        if line.startswith("RCPT TO:<later"):
            return "450 4.2.1 greylisted"
        return None

    async with world(tmp_path) as at:
        extensions = ("PIPELINING",) if pipelining else ("HELP",)
        far = FakeServer("mx.far.example", extensions, script)
        at.serve("far.example", far)
        await at.enqueue("bob@far.example", "gone@far.example", "later@far.example", "eve@far.example")
        await at.runner.run_due()

        assert far.delivered == ["bob@far.example", "eve@far.example"]
        assert await at.left() == [("later@far.example", "450 4.2.1 greylisted")]
        assert at.bounces.of(End.FAILED) == ["gone@far.example"]
        assert list(at.filing.filed.values()) == [1], "the bounce has come to ann"
        far.script = lambda line: None
        await at.turn_to_next()
        await at.runner.run_due()
        assert far.delivered[2:] == ["later@far.example"]
        assert await at.left() == []


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("start", "answer", "end"),
    [
        ("MAIL", "550 5.7.1 not from you", "bounced"),
        ("RCPT", "550 5.1.1 no", "bounced"),
        ("DATA", "554 5.6.0 no", "bounced"),
        (".", "554 5.7.1 spam", "bounced"),
        ("RCPT", "552 5.5.3 too many", "later"),
        ("MAIL", "451 4.3.0 later", "later"),
        ("RCPT", "450 4.2.0 later", "later"),
        ("DATA", "451 4.3.0 later", "later"),
        (".", "452 4.3.1 full", "later"),
        ("greeting", "421 4.3.2 busy", "later"),
        ("greeting", "554 5.7.1 not you", "bounced"),
        ("EHLO", "421 4.3.2 busy", "later"),
        ("MAIL", "421 4.3.2 busy", "later"),
        (".", "421 4.3.2 busy", "later"),
    ],
)
async def test_no_is_heard_at_every_command(
    tmp_path: Path, pipelining: bool, start: str, answer: str, end: str
) -> None:
    async with world(tmp_path) as at:
        extensions = ("PIPELINING",) if pipelining else ("HELP",)
        far = FakeServer("mx.far.example", extensions, once(start, answer))
        at.serve("far.example", far)
        await at.enqueue("bob@far.example")
        await at.runner.run_due()

        assert far.delivered == []
        said = [("bob@far.example", answer)] if end == "later" else []
        assert await at.left() == said
        assert at.bounces.of(End.FAILED) == ([] if said else ["bob@far.example"])
        if said:
            await at.turn_to_next()
            await at.runner.run_due()
            assert (far.delivered, await at.left()) == (["bob@far.example"], [])


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize("what", [Do.CUT, Do.HANG])
@pytest.mark.parametrize("command", COMMANDS)
async def test_a_server_that_breaks_off_loses_and_doubles_nothing(
    tmp_path: Path, command: str, what: Do, pipelining: bool
) -> None:
    async with world(tmp_path) as at:
        extensions = ("PIPELINING", "STARTTLS") if pipelining else ("STARTTLS",)
        far = FakeServer("mx.far.example", extensions, once(command, what))
        at.serve("far.example", far)
        await at.enqueue("bob@far.example", "eve@far.example")
        await at.runner.run_due()

        assert (far.delivered, at.bounces.reports) == ([], [])
        assert len(await at.left()) == 2
        await at.turn_to_next()
        await at.runner.run_due()
        assert sorted(far.delivered) == ["bob@far.example", "eve@far.example"]
        assert await at.left() == []
        await at.runner.stop(1)
        assert at.net.open == set()


async def test_only_a_lost_last_answer_doubles(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        first = FakeServer("mx1.far.example", script=once(".", Do.TAKE_AND_CUT))
        second = FakeServer("mx2.far.example")
        at.serve("far.example", first, second)
        await at.enqueue("bob@far.example")
        await at.runner.run_due()

        assert (first.delivered, second.connections) == (["bob@far.example"], 0), "not at once elsewhere"
        ((_, error),) = await at.left()
        assert error.endswith("it may have taken the message all the same")
        await at.turn_to_next()
        await at.runner.run_due()
        assert (first.delivered, await at.left()) == (["bob@far.example"] * 2, [])


@pytest.mark.parametrize("command", ["greeting", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("what", [Do.CUT, Do.HANG, "421 4.3.2 busy"])
async def test_the_next_host_does_what_the_first_one_cannot(tmp_path: Path, command: str, what: Do | str) -> None:
    async with world(tmp_path) as at:
        first = FakeServer("mx1.far.example", ("PIPELINING",), always(**{command: what}))
        second = FakeServer("mx2.far.example")
        at.serve("far.example", first, second)
        await at.enqueue("bob@far.example")
        await at.runner.run_due()

        assert (first.delivered, second.delivered, await at.left()) == ([], ["bob@far.example"], [])


async def test_hosts_where_nobody_is_are_passed_by(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", None, None, far)
        at.net.places["192.0.2.2"] = Do.HANG
        await at.enqueue("bob@far.example")
        await at.runner.run_due()

        assert at.net.tried == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        assert far.delivered == ["bob@far.example"]


async def test_what_one_host_has_refused_for_good_no_other_is_asked(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        first = FakeServer("mx1.far.example", script=always(RCPT="550 5.1.1 no"))
        second = FakeServer("mx2.far.example")
        at.serve("far.example", first, second)
        await at.enqueue("bob@far.example")
        await at.runner.run_due()

        assert (second.connections, await at.left()) == (0, [])


async def test_an_old_server_is_greeted_as_of_old(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example", script=always(EHLO="502 what?"))
        at.serve("far.example", far)
        await at.enqueue("bob@far.example", body=b"Subject: plain\r\n\r\nascii\r\n")
        await at.runner.run_due()

        assert far.heard[:3] == ["EHLO mail.home.example", "HELO mail.home.example", "MAIL FROM:<ann@home.example>"]
        assert far.delivered == ["bob@far.example"]


async def test_a_server_that_is_called_as_we_are_is_ourselves(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        at.serve("far.example", FakeServer("mail.home.example"))
        at.zone.load("far.example. MX 1 alias.far.example.\nalias.far.example. A 192.0.2.1")
        await at.enqueue("bob@far.example", sender="")
        await at.runner.run_due()

        assert await at.left() == []
        assert at.noted("failed")[0]["enhanced"] == "5.4.6"


async def test_a_server_says_how_many_recipients_it_wants(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        taken: list[str] = []

        def script(line: str) -> str | None:
            if line.startswith(("MAIL", "RSET")):
                taken.clear()
            if line.startswith("RCPT"):
                taken.append(line)
                return "452 4.5.3 enough" if len(taken) > 2 else None
            return None

        far.script = script
        at.serve("far.example", far)
        await at.enqueue(*(f"u{number}@far.example" for number in range(5)))
        await at.runner.run_due()

        assert [len(mail.recipients) for mail in far.mails] == [2, 2, 1]
        assert (far.connections, await at.left()) == (1, [])


# ------------------------------------------------------------ what the next server must be able to


@pytest.mark.parametrize(
    ("extensions", "sender", "recipient", "body", "status"),
    [
        (("SIZE 20",), "ann@home.example", "bob@far.example", BODY, "5.3.4"),
        (("HELP",), "änn@home.example", "bob@far.example", BODY, "5.6.7"),
        (("HELP",), "ann@home.example", "bøb@far.example", BODY, "5.6.7"),
        (("HELP",), "ann@home.example", "bob@far.example", "Subject: ä\r\n\r\n".encode(), "5.6.9"),
        (("SMTPUTF8",), "ann@home.example", "bob@far.example", "Subject: a\r\n\r\nä\r\n".encode(), "5.6.3"),
    ],
)
async def test_what_a_server_cannot_take_is_not_offered_to_it(
    tmp_path: Path, extensions: tuple[str, ...], sender: str, recipient: str, body: bytes, status: str
) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example", extensions)
        at.serve("far.example", far)
        await at.enqueue(recipient, sender=sender, body=body, utf8=True)
        await at.runner.run_due()

        assert not any(line.startswith("MAIL FROM:<") and "bob" in line for line in far.heard)
        assert far.mails == []
        assert at.noted("failed")[0]["enhanced"] == status


async def test_one_recipients_letters_are_no_other_ones_trouble(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example", ("PIPELINING",))
        at.serve("far.example", far)
        await at.enqueue("bøb@far.example", "eve@far.example", "gone@far.example", "joe@far.example")
        far.script = always(**{"RCPT TO:<gone": "550 5.1.1 no"})
        await at.runner.run_due()

        assert far.delivered == ["eve@far.example", "joe@far.example"]
        assert sorted(at.bounces.of(End.FAILED)) == ["bøb@far.example", "gone@far.example"]


async def test_of_an_endless_answer_the_beginning_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example", script=always(RCPT="550-no\r\n" * 20_000 + "550 5.1.1 no"))
        at.serve("far.example", far)
        await at.enqueue("bob@far.example")
        await at.runner.run_due()

        (report,) = (report for report in at.bounces.reports if report.end is End.FAILED)
        assert (report.verdict.code, len(report.verdict.text)) == (550, 2000)


async def test_a_server_that_takes_too_long_over_it_all_is_left(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)

        def dripping(line: str) -> None:
            at.clock.turn(250)  # just in time, every time

        far.script = dripping
        await at.enqueue(*(f"u{number}@far.example" for number in range(50)))
        await at.runner.run_due()

        assert far.mails == []
        assert {error for _, error in await at.left()} == {"451 4.4.2 the server took too long over it all"}


async def test_plain_text_goes_to_a_server_that_knows_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example", ("HELP",))
        at.serve("far.example", far)
        await at.enqueue("bob@far.example", utf8=True)
        await at.runner.run_due()

        assert far.mails[0].params == "<ann@home.example>"


@pytest.mark.parametrize("size", [70_000, 200_001])
async def test_a_large_message_comes_whole(tmp_path: Path, size: int) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        body = b"Subject: x\r\n\r\n" + b".123456789\r\n" * (size // 12)
        await at.enqueue("bob@far.example", body=body)
        await at.runner.run_due()

        assert far.mails[0].text == PREFIX.split(b"\r\n", 1)[1] + body


async def test_an_early_no_is_the_answer_to_the_message(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example", ("HELP",))
        at.serve("far.example", far)
        far.script = always(DATA="354 go on\r\n552 5.3.4 I see it is large")
        await at.enqueue("bob@far.example", body=b"Subject: x\r\n\r\n" + b"y\r\n" * 90_000)
        await at.runner.run_due()

        assert at.noted("failed")[0]["text"] == "I see it is large"


# ------------------------------------------------------------ TLS


async def test_tls_that_fails_is_done_without_where_there_never_was_any(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example", tls=TlsFailure("wrong version"))
        at.serve("far.example", far)
        await at.enqueue("bob@far.example")
        await at.runner.run_due()

        assert [mail.tls for mail in far.mails] == [False]
        assert at.noted("relayed")[0]["tls"] == "none: TLS did not come about: wrong version"
        assert at.memory.domains == set()


@pytest.mark.parametrize("how", ["fails", "is refused", "is gone"])
async def test_who_had_tls_once_is_never_talked_to_in_the_clear(tmp_path: Path, how: str) -> None:
    async with world(tmp_path, RelayLimits(idle=0.0)) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        await at.enqueue("bob@far.example")
        await at.runner.run_due()
        assert at.memory.domains == {"far.example"}

        match how:
            case "fails":
                far.tls = TlsFailure("wrong version")
            case "is refused":
                far.script = always(STARTTLS="454 4.7.0 not now")
            case "is gone":
                far.extensions = ("PIPELINING",)
        await at.enqueue("bob@far.example")
        await at.runner.run_due()
        assert len(far.mails) == 1
        ((_, error),) = await at.left()
        assert error.startswith("451 4.7.")

        far.tls, far.script, far.extensions = web_trusted(), lambda line: None, ("STARTTLS",)
        await at.turn_to_next()
        await at.runner.run_due()
        assert [mail.tls for mail in far.mails] == [True, True]


@pytest.mark.parametrize("answer", ["454 4.7.0 not now", "500 5.5.1 what?"])
async def test_a_stranger_may_refuse_tls(tmp_path: Path, answer: str) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example", script=always(STARTTLS=answer))
        at.serve("far.example", far)
        await at.enqueue("bob@far.example")
        await at.runner.run_due()

        assert [mail.tls for mail in far.mails] == [False]


# ------------------------------------------------------------ smarthosts


async def test_a_smarthost_takes_all_domains_together_behind_a_login(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        hub = FakeServer("hub.example", ("PIPELINING", "STARTTLS", "AUTH PLAIN"), tls=web_trusted())
        at.net.places["192.0.2.99"] = hub
        at.zone.load("hub.example. A 192.0.2.99")
        at.smarthosts = Smarthosts(for_all=Smarthost("hub.example", login=Credentials("u", "secret")))
        runner = at.another()
        await at.enqueue("bob@far.example", "eve@near.example")
        await runner.run_due()

        assert [mail.recipients for mail in hub.mails] == [["bob@far.example", "eve@near.example"]]
        assert [(demand.server_name, demand.verify) for demand in hub.demands] == [("hub.example", Verify.WEBPKI)]
        assert "AUTH PLAIN AHUAc2VjcmV0" in hub.heard
        assert not any("secret" in str(event) for event in at.trace.events)


@pytest.mark.parametrize(
    ("hub", "words"),
    [
        (FakeServer("hub", ("STARTTLS", "AUTH PLAIN"), tls=PeerTls("TLSv1.3", "x", (), problem="expired")), "expired"),
        (FakeServer("hub", ("STARTTLS", "AUTH PLAIN"), tls=TlsFailure("no cipher")), "no cipher"),
        (FakeServer("hub", ("AUTH PLAIN",), tls=web_trusted()), "does not offer"),
        (FakeServer("hub", ("STARTTLS",), tls=web_trusted()), "no way to log in"),
        (FakeServer("hub", ("STARTTLS", "AUTH PLAIN"), always(AUTH="535 5.7.8 bad"), tls=web_trusted()), "535 bad"),
    ],
)
async def test_a_login_is_said_only_to_the_right_server(tmp_path: Path, hub: FakeServer, words: str) -> None:
    async with world(tmp_path) as at:
        hub = replace(hub, mails=[], heard=[], demands=[])
        at.net.places["192.0.2.99"] = hub
        at.smarthosts = Smarthosts(for_all=Smarthost("192.0.2.99", login=Credentials("u", "secret")))
        runner = at.another()
        await at.enqueue("bob@far.example")
        await runner.run_due()

        ((_, error),) = await at.left()
        assert error.startswith("451 4.7.")
        assert words in error
        assert hub.mails == []


async def test_tls_from_the_first_octet(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        hub = FakeServer("hub.example", tls=web_trusted())
        at.net.places["192.0.2.99"] = hub
        at.smarthosts = Smarthosts(for_all=Smarthost("192.0.2.99", 465, Security.IMPLICIT))
        runner = at.another()
        await at.enqueue("bob@far.example")
        await runner.run_due()

        assert [mail.tls for mail in hub.mails] == [True]
        assert "STARTTLS" not in hub.heard


async def test_we_come_from_the_address_that_is_set(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        at.sender = Sender("mail.home.example", ("192.0.2.250", "2001:db8::250"))
        runner = at.another()
        far = FakeServer("mx.far.example")
        at.net.places = {"192.0.2.1": far, "2001:db8::1": far}
        at.zone.load("far.example. MX 1 mx.far.example.\nmx.far.example. A 192.0.2.1\nmx.far.example. AAAA 2001:db8::1")
        far.script = once("greeting", Do.CUT)
        await at.enqueue("bob@far.example")
        await runner.run_due()

        assert at.net.tried == ["2001:db8::1", "192.0.2.1"]
        assert far.sources == ["2001:db8::250", "192.0.2.250"]


# ------------------------------------------------------------ connections


async def test_a_connection_carries_the_next_message_too(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        for _ in range(3):
            await at.enqueue("bob@far.example")
            await at.runner.run_due()

        assert (len(far.mails), far.connections) == (3, 1)
        assert far.heard.count("RSET") == 2
        at.clock.turn(5)
        await at.runner._relay.tidy()
        assert (far.heard[-1], at.net.open) == ("QUIT", set())
        await at.enqueue("bob@far.example")
        await at.runner.run_due()
        assert (len(far.mails), far.connections) == (4, 2)


async def test_a_connection_is_given_up_after_so_many_messages(tmp_path: Path) -> None:
    async with world(tmp_path, RelayLimits(messages=2)) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        for _ in range(5):
            await at.enqueue("bob@far.example")
            await at.runner.run_due()

        assert (len(far.mails), far.connections) == (5, 3)


@pytest.mark.parametrize("what", [Do.CUT, Do.HANG, "421 4.3.2 idle for too long", "550 5.5.1 what?"])
async def test_a_kept_connection_that_is_of_no_use_is_nobodys_failure(tmp_path: Path, what: Do | str) -> None:
    async with world(tmp_path) as at:
        far = FakeServer("mx.far.example", script=once("RSET", what))
        at.serve("far.example", far)
        for _ in range(2):
            await at.enqueue("bob@far.example")
            await at.runner.run_due()

        assert (len(far.mails), far.connections, await at.left()) == (2, 2, [])


async def test_many_messages_share_few_connections(tmp_path: Path) -> None:
    async with world(tmp_path, RelayLimits(connections=3)) as at:
        far = FakeServer("mx.far.example")
        at.serve("far.example", far)
        for _ in range(40):
            await at.enqueue("bob@far.example")
        await at.runner.run_due()

        assert len(far.mails) == 40
        assert far.connections <= 3


async def test_a_destination_that_answers_nobody_rests_and_everyone_waits_by_its_own_schedule(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        at.serve("far.example", None)
        for _ in range(30):
            await at.enqueue("bob@far.example")
        await at.runner.run_due()

        assert len(at.net.tried) < 10
        assert len(await at.left()) == 30
        at.clock.turn(600)
        at.net.places["192.0.2.1"] = FakeServer("mx.far.example")
        await at.runner.run_due()
        assert await at.left() == []


async def test_no_connection_outlives_its_runner(tmp_path: Path) -> None:
    async with world(tmp_path) as at:
        at.serve("far.example", FakeServer("mx.far.example"))
        await at.enqueue("bob@far.example")
        await at.runner.run_due()
        await at.runner.stop(1)

        assert at.net.open == set()
