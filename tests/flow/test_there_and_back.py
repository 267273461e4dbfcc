"""From submission to another server and back: reception, queue, runner, relay and reports together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from relay_world import World, world
from scripted_net import FakeServer

from postane.core.address import parse
from postane.core.dialogue import Endpoint
from postane.flow.accounts import Accounts, Identity, LoginPolicy
from postane.flow.bounce import Bouncer
from postane.flow.passwords import Passwords
from postane.flow.queue import HandOver
from postane.flow.receive import Origin, Receiver
from postane.flow.relay.runner import QueueRunner
from postane.proto.smtp.command import Hello, Mail, Mode
from postane.store.api import AccountRef, Filed, Role, Staged

MESSAGE = b"From: ann@home.example\r\nSubject: Lunch\r\n\r\nAt noon?\r\n"
HOURS = 3600.0


class Mailroom:
    """Files into lists, a delivery id once."""

    def __init__(self) -> None:
        self.inbox: list[str] = []
        self._known: set[str] = set()

    async def scan(self, staged: Staged) -> object:
        return object()

    async def file(self, account: AccountRef, mailbox: Role, staged: Staged, **facts: Any) -> Filed:
        delivery_id = facts.get("delivery_id") or f"straight {len(self.inbox)}"
        if delivery_id not in self._known:
            self._known.add(delivery_id)
            self.inbox.append((facts["prefix"] + bytes(staged.view())).decode())
        return Filed(1, 1, len(self.inbox), "e", 1)


class PostOffice:
    """`home.example` with ann, its only person and so its postmaster; fwd@ leads to bob@far.example."""

    def __init__(self, at: World) -> None:
        self.at = at
        self.mailroom = at.filing = Mailroom()  # type: ignore[assignment]
        at.directory.lead("fwd", "home.example", "bob@far.example")
        self.accounts = Accounts(at.directory, Passwords(at.clock, at.limits.login), LoginPolicy())  # type: ignore[arg-type]
        host = "mail.home.example"
        at.bounces = Bouncer(  # type: ignore[assignment]
            host, self.accounts, at.queue, at.staging, at.trace, at.clock, at.limits.mime
        )
        self.runner: QueueRunner = at.another()
        filing: Any = self.mailroom
        hand_over = HandOver(at.queue, self.accounts, filing, at.trace, at.clock, at.log)
        self.receiver = Receiver(
            host, self.accounts, None, at.staging, filing, at.queue, hand_over, at.trace, at.limits, at.clock,  # type: ignore[arg-type]
            self.runner.wake,
        )  # fmt: skip

    async def submit(self, *recipients: str, notify: str = "", ret: str = "") -> None:
        ann = await self.at.directory.account("ann@home.example")
        assert ann is not None
        await self._take(
            Mode.SUBMISSION, Identity(ann, ann.version), Mail(parse(ann.address), ret=ret), recipients, notify
        )

    async def receive(self, sender: str, *recipients: str) -> None:
        await self._take(Mode.SMTP, None, Mail(parse(sender) if sender else None), recipients, "")

    async def _take(
        self, mode: Mode, identity: Identity | None, mail: Mail, recipients: tuple[str, ...], notify: str
    ) -> None:
        origin = Origin(mode, Endpoint("192.0.2.99", 1), Hello("x.example", True), None, identity)
        reception = await self.receiver.begin(origin, mail)
        for recipient in recipients:
            await reception.add_recipient(parse(recipient), notify)
        await reception.write(MESSAGE)
        assert [result async for result in reception.accept()] == [None]
        await reception.abort()

    async def days_pass(self, days: float) -> None:
        end = self.at.clock.now() + days * 24 * HOURS
        while (due := await self.at.queue.next_due()) is not None and due <= end:
            self.at.clock.seconds = max(self.at.clock.seconds, float(due))
            await self.runner.run_due()
        self.at.clock.seconds = end


@asynccontextmanager
async def office(tmp_path: Path) -> AsyncIterator[PostOffice]:
    async with world(tmp_path) as at:
        yield PostOffice(at)
        assert await at.left() == []
        assert list((tmp_path / "incoming").iterdir()) == []


def refusing(name: str, recipient: str, reply: str = "550 5.1.1 nobody of that name") -> FakeServer:
    return FakeServer(name, script=lambda line: reply if line.startswith(f"RCPT TO:<{recipient}") else None)


async def test_who_is_refused_over_there_is_told_of_here(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        far = refusing("mx.far.example", "bob@")
        here.at.serve("far.example", far)
        await here.submit("bob@far.example", "eve@far.example", ret="FULL")
        await here.runner.run_due()

        assert far.delivered == ["eve@far.example"]
        (told,) = here.mailroom.inbox
        assert told.startswith("Return-Path: <>\r\nDelivered-To: ann@home.example\r\n")
        assert "Diagnostic-Code: smtp; 550 5.1.1 nobody of that name\r\n" in told
        assert "Final-Recipient: rfc822; bob@far.example\r\n" in told
        assert "eve@" not in told.partition("Content-Type: message/rfc822")[0]
        assert "At noon?" in told


async def test_success_is_told_where_it_was_asked_for(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        here.at.serve("far.example", FakeServer("mx.far.example"))
        await here.submit("bob@far.example", "ann@home.example", notify="SUCCESS")
        await here.runner.run_due()

        reports = [text for text in here.mailroom.inbox if "multipart/report" in text]
        assert sorted(next(line for line in text.split("\r\n") if line.startswith("Action:")) for text in reports) == [
            "Action: delivered", "Action: relayed",
        ]  # fmt: skip
        assert len(here.mailroom.inbox) == 3


async def test_a_next_server_that_reports_itself_is_left_to_it(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        here.at.serve("far.example", FakeServer("mx.far.example", ("PIPELINING", "DSN", "8BITMIME")))
        await here.submit("bob@far.example", notify="SUCCESS")
        await here.runner.run_due()
        assert here.mailroom.inbox == []


async def test_a_forward_bounces_to_its_sender_and_a_bounce_that_bounces_to_the_postmaster(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        far, third = refusing("mx.far.example", "bob@"), refusing("mx.third.example", "carl@")
        here.at.serve("far.example", far)
        here.at.serve("third.example", third)
        await here.receive("dora@third.example", "fwd@home.example")
        await here.runner.run_due()
        (bounce,) = third.mails
        assert bounce.params.startswith("<> ")
        assert bounce.recipients == ["dora@third.example"]
        assert b"Return-Path" not in bounce.text.partition(b"\r\n\r\n")[0]
        assert here.mailroom.inbox == []

        await here.receive("carl@third.example", "fwd@home.example")
        await here.runner.run_due()
        assert len(third.mails) == 1
        (told,) = here.mailroom.inbox
        assert "This is for the postmaster." in told
        assert "Final-Recipient: rfc822; carl@third.example\r\n" in told


async def test_who_waits_long_is_told_once_and_then_of_the_end(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        here.at.serve("far.example", None)
        await here.submit("bob@far.example")
        await here.days_pass(1)
        (late,) = here.mailroom.inbox
        assert "Action: delayed\r\n" in late
        assert "Subject: Your message is delayed\r\n" in late

        await here.days_pass(6)
        _, last = here.mailroom.inbox
        assert "Action: failed\r\n" in last


async def test_never_means_never(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        here.at.serve("far.example", None)
        await here.submit("bob@far.example", notify="NEVER")
        await here.days_pass(7)
        assert here.mailroom.inbox == []
