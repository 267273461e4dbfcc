"""Who is told what became of a message, and who is not."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes
from typing import Any, cast

import pytest

from post_office import HOST, FakeStaged, PostOffice
from postane.core.status import Condition, MailError
from postane.flow.bounce import Bouncer
from postane.flow.relay.ports import End, Report
from postane.flow.relay.verdict import Fate, Verdict, deferred, refused
from postane.store.api import NewMessage, NewRecipient, QueuedMessage, QueuedRecipient

BODY = b"Message-ID: <m1@postane.test>\r\nSubject: =?utf-8?q?=C3=96=C4=9Fle?=\r\n\r\nAt noon?\r\n"
PREFIX = b"Return-Path: <ayse@postane.test>\r\n"
REFUSED = refused("5.1.1", "no such user", "mx.elsewhere.test")
TAKEN = Verdict(Fate.RELAYED, 250, "2.0.0", "ok", "mx.elsewhere.test")
RECIPIENT = QueuedRecipient(7, 1, "far@elsewhere.test", "far@elsewhere.test", "d", 1, 0, "waiting", "", "t")


def bouncer(office: PostOffice) -> Bouncer:
    return Bouncer(
        HOST,
        office.accounts,
        office.queue,  # type: ignore[arg-type]
        office.staging,
        office.trace,
        office.clock,
        office.limits.mime,
    )


async def queued(office: PostOffice, sender: str = "ayse@postane.test", **facts: Any) -> QueuedMessage:
    staged = FakeStaged(BODY, office.staging)
    new = NewMessage("traced", sender, PREFIX, staged, (NewRecipient("far@elsewhere.test", "", "d"),), 1_749_999_000)
    message = (await office.queue.enqueue(new, 300)).message
    return replace(message, **facts)


async def told(office: PostOffice, message: QueuedMessage, *reports: Report) -> list[NewMessage]:
    return list(await bouncer(office).notices(message, reports))


def text(notice: NewMessage) -> str:
    return bytes(notice.staged.view()).decode()


def last_part(notice: NewMessage) -> Any:
    return cast(list[Any], message_from_bytes(bytes(notice.staged.view())).get_payload())[2]


async def test_a_failure_goes_back_to_the_sender_by_the_same_queue() -> None:
    office = PostOffice()
    message = await queued(office, envid="QQ+2B1")
    (notice,) = await told(office, message, Report(replace(RECIPIENT, orcpt="rfc822;f@x"), End.FAILED, REFUSED))

    (recipient,) = notice.recipients
    assert notice.sender == ""
    assert notice.prefix == b"Return-Path: <>\r\n"
    assert recipient.address == "ayse@postane.test"
    assert recipient.due == notice.arrived_at == int(office.clock.now())
    assert recipient.delivery_id
    assert (notice.body, notice.utf8) == ("7BIT", False)
    for said in (
        "To: <ayse@postane.test>\r\n", "Auto-Submitted: auto-replied\r\n", "In-Reply-To: <m1@postane.test>\r\n",
        "Original-Envelope-Id: QQ+1\r\n", "Original-Recipient: rfc822; f@x\r\n", "Action: failed\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n", "Final-Log-Id: traced\r\n",
    ):  # fmt: skip
        assert said in text(notice)
    of_message, of_notice = office.trace.events
    assert (of_message.what, of_message.trace_id) == ("told-failed", "traced")
    assert of_message.facts == {"to": "ayse@postane.test", "notice": notice.trace_id}
    assert (of_notice.what, of_notice.trace_id) == ("report", notice.trace_id)
    assert of_notice.facts == {"to": "ayse@postane.test", "about": "traced"}


@pytest.mark.parametrize(
    ("notify", "heard"),
    [
        ("", {End.FAILED, End.DELAYED}),
        ("NEVER", set()),
        ("FAILURE", {End.FAILED}),
        ("DELAY", {End.DELAYED}),
        ("success", {End.DELIVERED, End.RELAYED}),
        ("SUCCESS,FAILURE,DELAY", set(End)),
    ],
)
async def test_only_what_was_asked_for_is_told(notify: str, heard: set[End]) -> None:
    office = PostOffice()
    message = await queued(office)
    recipient = replace(RECIPIENT, notify=notify)
    verdicts = {End.FAILED: REFUSED, End.DELAYED: deferred("4.4.1", "x"), End.DELIVERED: TAKEN, End.RELAYED: TAKEN}
    for end, verdict in verdicts.items():
        notices = await told(office, message, Report(recipient, end, verdict))
        assert len(notices) == (end in heard)
        for notice in notices:
            assert f"Action: {end.value}\r\n" in text(notice)


async def test_the_next_server_tells_what_it_has_taken_on() -> None:
    office = PostOffice()
    taken = replace(TAKEN, passes_dsn=True)
    report = Report(replace(RECIPIENT, notify="SUCCESS"), End.RELAYED, taken)
    assert await told(office, await queued(office), report) == []


async def test_recipients_share_a_report_of_one_kind() -> None:
    office = PostOffice()
    other = replace(RECIPIENT, id=8, address="more@elsewhere.test")
    late = replace(RECIPIENT, id=9, address="late@elsewhere.test")
    failed, delayed = await told(
        office,
        await queued(office),
        Report(RECIPIENT, End.FAILED, REFUSED),
        Report(late, End.DELAYED, deferred("4.4.1", "no answer"), 1_750_400_000),
        Report(other, End.FAILED, REFUSED),
    )
    assert text(failed).count("Final-Recipient:") == 2
    assert text(delayed).count("Final-Recipient:") == 1
    assert "Will-Retry-Until: Fri, 20 Jun 2025 06:13:20 +0000\r\n" in text(delayed)


@pytest.mark.parametrize(
    ("ret", "body", "end", "kind"),
    [
        ("FULL", "8BITMIME", End.FAILED, "message/rfc822"),
        ("full", "7BIT", End.FAILED, "message/rfc822"),
        ("HDRS", "8BITMIME", End.FAILED, "text/rfc822-headers"),
        ("", "8BITMIME", End.FAILED, "text/rfc822-headers"),
        ("FULL", "BINARYMIME", End.FAILED, "text/rfc822-headers"),
        ("FULL", "8BITMIME", End.DELAYED, "text/rfc822-headers"),
    ],
)
async def test_what_goes_back_is_what_was_asked_for(ret: str, body: str, end: End, kind: str) -> None:
    office = PostOffice()
    message = await queued(office, ret=ret, body=body)
    (notice,) = await told(office, message, Report(RECIPIENT, end, REFUSED))
    assert last_part(notice).get_content_type() == kind
    assert ("At noon?" in text(notice)) is (kind == "message/rfc822")
    assert "Return-Path: <ayse@postane.test>" in text(notice)


async def test_a_bounce_is_never_bounced_but_told_to_the_postmaster_once() -> None:
    office = PostOffice()
    message = await queued(office, sender="")
    (notice,) = await told(office, message, Report(RECIPIENT, End.FAILED, REFUSED))

    assert [each.address for each in notice.recipients] == ["ayse@postane.test"]
    assert notice.sender == ""
    assert "This is for the postmaster." in text(notice)
    assert office.trace.story == ["told-postmaster", "report"]

    (recipient,) = notice.recipients
    again = replace(RECIPIENT, address=recipient.address, notify=recipient.notify)
    assert await told(office, message, Report(again, End.FAILED, REFUSED)) == []


@pytest.mark.parametrize("end", [End.DELAYED, End.DELIVERED, End.RELAYED])
async def test_nobody_hears_of_a_report_that_is_late_or_arrived(end: End) -> None:
    office = PostOffice()
    recipient = replace(RECIPIENT, notify="SUCCESS,DELAY")
    assert await told(office, await queued(office, sender=""), Report(recipient, end, TAKEN)) == []


async def test_where_there_is_no_postmaster_the_trace_knows() -> None:
    office = PostOffice()
    office.directory.people.clear()
    assert await told(office, await queued(office, sender=""), Report(RECIPIENT, End.FAILED, REFUSED)) == []
    assert office.trace.events[-1].what == "nobody-to-tell"


async def test_a_report_without_its_message_is_better_than_none() -> None:
    office = PostOffice()
    message = await queued(office, ret="FULL")
    office.queue.gone = True
    (notice,) = await told(office, message, Report(RECIPIENT, End.FAILED, REFUSED))
    assert last_part(notice).get_payload().strip() == PREFIX.decode().strip()
    assert "In-Reply-To" not in text(notice)


async def test_bytes_that_cannot_be_read_do_not_keep_the_report() -> None:
    class Unreadable(FakeStaged):
        def view(self) -> bytes:
            raise FileNotFoundError("the blob is gone")

    office = PostOffice()
    message = await queued(office, ret="FULL")
    unreadable = Unreadable(b"", office.staging)
    office.queue.messages[0] = replace(office.queue.messages[0], staged=unreadable)
    (notice,) = await told(office, message, Report(RECIPIENT, End.FAILED, REFUSED))
    assert "Action: failed" in text(notice)
    assert not unreadable.is_open


async def test_a_full_disk_leaves_nothing_behind() -> None:
    office = PostOffice()
    message = await queued(office)
    office.staging.room = 100
    with pytest.raises(MailError) as full:
        await told(office, message, Report(RECIPIENT, End.FAILED, REFUSED))
    assert full.value.condition is Condition.DISK_FULL
    assert office.staging.is_clean


async def test_a_second_notice_that_fails_takes_the_first_along() -> None:
    office = PostOffice()
    message = await queued(office)
    reports = [Report(RECIPIENT, End.DELAYED, REFUSED), Report(RECIPIENT, End.FAILED, REFUSED)]
    size = len(text((await told(office, message, *reports))[0]))
    office.staging.staged.clear()
    office.staging.room = size + 20  # the delay's words are shorter than the failure's

    with pytest.raises(MailError):
        await told(office, message, *reports)
    assert len(office.staging.staged) == 1
    assert office.staging.is_clean


async def test_a_hostile_message_id_reaches_no_field() -> None:
    office = PostOffice()
    message = await queued(office)
    for bad in (b"<a b@c>", b"<" + b"x" * 5000 + b"@y>", "<ö@c>".encode(), b"<a\x01b@c>"):
        office.queue.messages[0].staged.data = b"Message-ID: %b\r\n\r\n" % bad  # type: ignore[attr-defined]
        (notice,) = await told(office, message, Report(RECIPIENT, End.FAILED, REFUSED))
        assert "In-Reply-To" not in text(notice)
