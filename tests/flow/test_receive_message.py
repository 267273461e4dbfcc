"""A reception by itself: what it lets go of, and when."""

from __future__ import annotations

from post_office import PostOffice
from postane.core.address import Address
from postane.core.dialogue import Endpoint
from postane.core.status import Condition, MailError
from postane.flow.receive import Origin, Reception
from postane.proto.smtp.command import Hello, Mail, Mode

AYSE = Address("ayse", "postane.test")


async def begun(office: PostOffice, *recipients: Address) -> Reception:
    origin = Origin(Mode.SMTP, Endpoint("192.0.2.7", 1), Hello("bar.com", True), None, None)
    reception = await office.receiver().begin(origin, Mail(Address("a", "bar.com")))
    for recipient in recipients:
        await reception.add_recipient(recipient)
    return reception


async def test_a_full_disk_frees_what_was_written_at_once() -> None:
    office = PostOffice()
    office.staging.room = 10
    reception = await begun(office, AYSE)
    await reception.write(b"Subject: x\r\n\r\nmore than ten octets\r\n")

    assert reception.failure is not None
    assert reception.failure.condition is Condition.DISK_FULL
    assert office.staging.is_clean
    await reception.write(b"the rest")
    assert len(office.staging.writers) == 1


async def test_a_flaw_of_the_bytes_goes_before_all_else() -> None:
    office = PostOffice()
    reception = await begun(office, AYSE)
    await reception.write(b"Subject: x\r\n\r\n")
    flaw = MailError(Condition.BARE_LINE_END, "bare")

    assert [result async for result in reception.accept(flaw)] == [flaw]
    assert office.mail.kept == {}
    assert office.staging.is_clean


async def test_a_header_is_not_written_before_it_is_whole() -> None:
    office = PostOffice()
    reception = await begun(office, AYSE)
    await reception.write(b"Authentication-Results: mail.postane.test; none\r\nSubject: x")
    assert office.staging.writers == []
    await reception.write(b"\r\n\r\nbody")
    assert office.staging.writers[0].data == b"Subject: x\r\n\r\nbody"
    await reception.abort()
    await reception.abort()
    assert office.staging.is_clean


async def test_the_trace_tells_who_was_refused_and_why() -> None:
    office = PostOffice()
    reception = await begun(office)
    try:
        await reception.add_recipient(Address("nobody", "postane.test"))
    except MailError:
        pass
    (event,) = await office.trace.find(reception.trace_id)

    assert event.what == "refused"
    assert event.facts["to"] == "nobody@postane.test"
    assert event.facts["reason"].startswith("550 5.1.1 ")
    assert event.facts["peer"] == "192.0.2.7:1"


async def test_a_bare_postmaster_has_no_domain_in_the_trace_field() -> None:
    office = PostOffice()
    reception = await begun(office, Address("Postmaster", ""))
    await reception.write(b"Subject: x\r\n\r\n")

    assert [result async for result in reception.accept()] == [None]
    ((prefix, _),) = office.kept("ayse@postane.test")
    assert b"for <Postmaster>;" in prefix.replace(b"\r\n ", b" ")
    await reception.abort()
