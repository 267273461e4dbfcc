"""Recipients on other servers: into the queue, for those who may, and never for strangers."""

from __future__ import annotations

import pytest

from post_office import PostOffice
from postane.core.address import parse
from postane.core.dialogue import Endpoint
from postane.core.status import Condition, MailError
from postane.flow.accounts import Identity
from postane.flow.receive import Origin, Reception
from postane.proto.smtp.command import Hello, Mail, Mode
from postane.store.api import NewMessage

MESSAGE = b"From: ayse@postane.test\r\nSubject: x\r\n\r\nhello\r\n"


def sending(office: PostOffice | None = None) -> PostOffice:
    office = office or PostOffice()
    office.sends_elsewhere = True
    return office


async def begun(office: PostOffice, mode: Mode, mail: Mail | None = None) -> Reception:
    identity = Identity(office.ayse, office.ayse.version) if mode is Mode.SUBMISSION else None
    origin = Origin(mode, Endpoint("192.0.2.7", 1), Hello("bar.com", True), None, identity)
    sender = "ayse@postane.test" if mode is Mode.SUBMISSION else "a@bar.com"
    return await office.receiver().begin(origin, mail or Mail(parse(sender)))


async def sent(
    office: PostOffice, mode: Mode, *recipients: str, mail: Mail | None = None, message: bytes = MESSAGE
) -> list[MailError | None]:
    reception = await begun(office, mode, mail)
    for recipient in recipients:
        address, _, notify = recipient.partition(" ")
        await reception.add_recipient(parse(address), notify)
    await reception.write(message)
    results = [result async for result in reception.accept()]
    await reception.abort()
    assert office.staging.is_clean
    return results


def rows(message: NewMessage) -> list[tuple[str, bool]]:
    """(address, whether it waits for whoever works off the queue)."""
    return [(each.address, each.due is not None) for each in message.recipients]


def unfolded(prefix: bytes) -> str:
    return prefix.replace(b"\r\n ", b" ").decode()


# ---------------------------------------------------------------- submission


async def test_submission_sends_anywhere_in_one_transaction() -> None:
    office = sending()
    assert await sent(office, Mode.SUBMISSION, "far@elsewhere.test", "bora@postane.test", "çok@elsewhere.test") == [
        None
    ]

    (message,) = office.queue.messages
    assert message.sender == "ayse@postane.test"
    assert rows(message) == [("far@elsewhere.test", True), ("bora@postane.test", False), ("çok@elsewhere.test", True)]
    assert {each.due for each in message.recipients} == {None, int(office.clock.now())}
    assert len({each.delivery_id for each in message.recipients}) == 3
    assert len(office.inbox("bora@postane.test")) == 1
    assert office.wakes == 1
    assert "Delivered-To" not in unfolded(message.prefix)
    assert " for <" not in unfolded(message.prefix)
    assert office.trace.story == ["received", "queued", "filed"]


async def test_one_recipient_elsewhere_is_named_in_received() -> None:
    office = sending()
    await sent(office, Mode.SUBMISSION, "far@elsewhere.test")
    (message,) = office.queue.messages
    assert "for <far@elsewhere.test>;" in unfolded(message.prefix)
    assert "Delivered-To" not in unfolded(message.prefix)
    assert office.queue.results == []
    assert office.trace.story == ["received", "queued"]


async def test_mail_among_people_here_takes_the_straight_way() -> None:
    office = sending()
    await sent(office, Mode.SUBMISSION, "bora@postane.test")
    assert office.queue.messages == []
    assert office.wakes == 0
    assert len(office.inbox("bora@postane.test")) == 1


async def test_what_the_envelope_asks_for_is_kept() -> None:
    office = sending()
    mail = Mail(parse("ayse@postane.test"), utf8=True, ret="FULL", envid="QQ1")
    reception = await begun(office, Mode.SUBMISSION, mail)
    await reception.add_recipient(parse("far@elsewhere.test"), "FAILURE,DELAY", "rfc822;far@elsewhere.test")
    await reception.write(MESSAGE)
    assert [result async for result in reception.accept()] == [None]

    (message,) = office.queue.messages
    (recipient,) = message.recipients
    assert (message.utf8, message.ret, message.envid) == (True, "FULL", "QQ1")
    assert (recipient.notify, recipient.orcpt) == ("FAILURE,DELAY", "rfc822;far@elsewhere.test")
    assert recipient.original == "far@elsewhere.test"


async def test_who_wants_to_hear_of_success_waits_for_the_queue_to_tell() -> None:
    office = sending()
    await sent(office, Mode.SUBMISSION, "bora@postane.test SUCCESS", "ayse@postane.test")
    (message,) = office.queue.messages
    assert rows(message) == [("bora@postane.test", True), ("ayse@postane.test", False)]
    assert office.wakes == 1
    assert office.inbox("bora@postane.test") == []
    assert len(office.inbox("ayse@postane.test")) == 1


async def test_nothing_is_told_twice_behind_one_alias() -> None:
    office = sending()
    office.directory.lead("all", "postane.test", "bora@postane.test", "far@elsewhere.test", "x@elsewhere.test")
    await sent(office, Mode.SUBMISSION, "all@postane.test SUCCESS,FAILURE", "both@postane.test SUCCESS")
    (message,) = office.queue.messages
    assert [(each.address, each.original, each.notify) for each in message.recipients] == [
        ("bora@postane.test", "all@postane.test", "SUCCESS,FAILURE"),
        ("far@elsewhere.test", "all@postane.test", "FAILURE"),
        ("x@elsewhere.test", "all@postane.test", "FAILURE"),
        ("ayse@postane.test", "both@postane.test", "SUCCESS"),
    ]


async def test_success_alone_is_asked_of_one_and_nothing_of_the_others() -> None:
    office = sending()
    office.directory.lead("two", "postane.test", "x@elsewhere.test", "y@elsewhere.test")
    await sent(office, Mode.SUBMISSION, "two@postane.test SUCCESS")
    assert [each.notify for each in office.queue.messages[0].recipients] == ["SUCCESS", "NEVER"]


async def test_a_queue_that_fails_refuses_the_whole_message() -> None:
    office = sending()
    office.queue.failure = MailError(Condition.DISK_FULL, "no room for the message now")
    assert await sent(office, Mode.SUBMISSION, "far@elsewhere.test", "bora@postane.test") == [office.queue.failure]
    assert office.inbox("bora@postane.test") == []
    assert office.wakes == 0


# ---------------------------------------------------------------- port 25 and LMTP


@pytest.mark.parametrize("mode", [Mode.SMTP, Mode.LMTP])
@pytest.mark.parametrize("address", ["far@elsewhere.test", "postmaster@elsewhere.test", "a@[192.0.2.1]"])
async def test_never_an_open_relay(mode: Mode, address: str) -> None:
    office = sending()
    reception = await begun(office, mode)
    with pytest.raises(MailError) as refused:
        await reception.add_recipient(parse(address))
    assert refused.value.condition is Condition.RELAY_DENIED
    assert office.queue.messages == []


@pytest.mark.parametrize("mode", [Mode.SMTP, Mode.LMTP])
async def test_an_alias_of_ours_leads_elsewhere_with_its_sender_kept(mode: Mode) -> None:
    office = sending()
    assert await sent(office, mode, "away@postane.test") == [None]
    (message,) = office.queue.messages
    assert message.sender == "a@bar.com"
    assert rows(message) == [("far@elsewhere.test", True)]
    assert message.recipients[0].original == "away@postane.test"
    assert "\r\nDelivered-To: away@postane.test\r\n" in unfolded(message.prefix)
    assert office.wakes == 1


async def test_an_alias_that_leads_here_and_elsewhere() -> None:
    office = sending()
    assert await sent(office, Mode.SMTP, "both+tag@postane.test") == [None]
    assert rows(office.queue.messages[0]) == [("ayse@postane.test", False), ("far@elsewhere.test", True)]
    assert len(office.inbox("ayse@postane.test")) == 1


async def test_several_recipients_do_not_learn_of_each_other() -> None:
    office = sending()
    await sent(office, Mode.SMTP, "away@postane.test", "bora@postane.test")
    assert "away@" not in unfolded(office.queue.messages[0].prefix)
    assert b"away@" not in office.inbox("bora@postane.test")[0]


async def test_a_forward_that_comes_back_is_a_loop() -> None:
    office = sending()
    await sent(office, Mode.SMTP, "away@postane.test")
    returning = office.queue.messages[0].prefix + MESSAGE
    (refused,) = await sent(office, Mode.SMTP, "away@postane.test", message=returning)
    assert refused is not None
    assert refused.condition is Condition.MAIL_LOOP
    assert len(office.queue.messages) == 1
    assert await sent(office, Mode.SMTP, "bora@postane.test", message=returning) == [None]


async def test_by_lmtp_each_recipient_has_its_own_answer() -> None:
    office = sending()
    results = await sent(
        office, Mode.LMTP, "away@postane.test", "bora@postane.test", message=b"Delivered-To: away@postane.test\r\n\r\n"
    )
    assert [result.condition if result else None for result in results] == [Condition.MAIL_LOOP, None]


@pytest.mark.parametrize(
    ("mode", "address"), [(Mode.SUBMISSION, "far@elsewhere.test"), (Mode.SMTP, "away@postane.test")]
)
async def test_where_nobody_works_off_the_queue_nothing_is_taken_for_elsewhere(mode: Mode, address: str) -> None:
    office = PostOffice()
    reception = await begun(office, mode)
    with pytest.raises(MailError) as refused:
        await reception.add_recipient(parse(address))
    assert refused.value.condition is Condition.RELAY_DENIED
    assert "sends nothing there" in refused.value.text

    assert await sent(office, Mode.SUBMISSION, "bora@postane.test SUCCESS") == [None]
    assert len(office.inbox("bora@postane.test")) == 1
