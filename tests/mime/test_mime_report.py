"""Delivery reports, read back by the standard library's parser."""

from __future__ import annotations

import quopri
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postane.mime.report import (
    MAX_RETURNED,
    MAX_RETURNED_HEADER,
    Action,
    Composed,
    DeliveryReport,
    Letter,
    RecipientStatus,
    Returned,
    compose,
    returned,
)
from postane.mime.report_text import english

LETTER = Letter("ann@example.org", "abcdefgh", 1_750_000_000.0, "<m1@example.org>")
BOB = RecipientStatus(
    "bob@example.com", "5.1.1", "550 5.1.1 no such user", "mx.example.com", "rfc822;bob+2Btag@example.com"
)
REPORT = DeliveryReport(
    Action.FAILED, "mail.example.org", (BOB,), 1_749_999_000.0, 1_750_000_000.0, "traceid", "QQ 314", "Lunch"
)
MESSAGE = b"Subject: Lunch\r\nMessage-ID: <m1@example.org>\r\n\r\nAt noon?\r\n"


def composed(report: DeliveryReport = REPORT, content: Returned | None = None, letter: Letter = LETTER) -> Composed:
    return compose(letter, report, english(report), content or Returned(MESSAGE, is_whole=True))


def read(report: Composed) -> EmailMessage:
    message = cast(EmailMessage, message_from_bytes(report.data, policy=policy.default))
    assert message.defects == []
    assert all(line.endswith(b"\r\n") for line in report.data.splitlines(keepends=True))
    assert b"\n" not in report.data.replace(b"\r\n", b"")
    return message


def parts(report: Composed) -> list[Any]:
    return cast(list[Any], read(report).get_payload())


def test_the_report_is_one_of_rfc_6522() -> None:
    message = read(composed())
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    assert message["To"] == "ann@example.org"
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@mail.example.org>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == message["References"] == "<m1@example.org>"
    assert message["Message-ID"] == "<abcdefgh@mail.example.org>"
    assert [part.get_content_type() for part in parts(composed())] == [
        "text/plain", "message/delivery-status", "message/rfc822",
    ]  # fmt: skip


def test_the_fields_are_those_of_rfc_3464() -> None:
    about_message, about_bob = parts(composed())[1].get_payload()
    assert dict(about_message.items()) == {
        "Original-Envelope-Id": "QQ 314",
        "Reporting-MTA": "dns; mail.example.org",
        "Arrival-Date": "Sun, 15 Jun 2025 14:50:00 +0000",
    }
    assert dict(about_bob.items()) == {
        "Original-Recipient": "rfc822; bob+tag@example.com",
        "Final-Recipient": "rfc822; bob@example.com",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.com",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
        "Last-Attempt-Date": "Sun, 15 Jun 2025 15:06:40 +0000",
        "Final-Log-Id": "traceid",
    }


def test_what_this_server_says_is_no_reply_of_smtp() -> None:
    here = replace(BOB, host="", words="550 5.4.6 the message is in a loop", original="")
    (_, about) = parts(composed(replace(REPORT, recipients=(here,))))[1].get_payload()
    assert "Remote-MTA" not in about
    assert "Original-Recipient" not in about
    assert about["Diagnostic-Code"] == "x-postane; 550 5.4.6 the message is in a loop"


def test_a_delay_says_until_when() -> None:
    late = replace(BOB, status="4.4.1", retry_until=1_750_400_000)
    report = replace(REPORT, action=Action.DELAYED, recipients=(late,))
    (_, about) = parts(composed(report))[1].get_payload()
    assert about["Action"] == "delayed"
    assert about["Will-Retry-Until"] == "Fri, 20 Jun 2025 06:13:20 +0000"
    assert "It is tried until Fri, 20 Jun 2025 06:13:20 +0000." in english(report).text


def test_international_addresses_have_the_global_form() -> None:
    report = replace(REPORT, recipients=(BOB, replace(BOB, address="çağrı@example.com", original="utf-8;\\x{E7}@x")))
    made = composed(report)
    status = parts(made)[1]
    assert made.data.isascii()
    assert not made.is_8bit
    assert not made.needs_utf8
    assert status.get_content_type() == "message/global-delivery-status"
    text = quopri.decodestring(made.data.split(b"--=_abcdefgh")[2])
    assert "Final-Recipient: utf-8; çağrı@example.com\r\n".encode() in text
    assert "Original-Recipient: utf-8; ç@x\r\n".encode() in text


def test_a_report_to_an_international_sender_needs_smtputf8() -> None:
    made = composed(letter=replace(LETTER, to="çağrı@example.org"))
    assert made.needs_utf8
    assert made.is_8bit
    assert read(made)["To"] == "çağrı@example.org"


@pytest.mark.parametrize(
    ("content", "kind", "encoding"),
    [
        (Returned(MESSAGE, True), "message/rfc822", None),
        (Returned(MESSAGE + b"\xe7\r\n", True), "message/rfc822", "8bit"),
        (Returned(MESSAGE + "ç\r\n".encode(), True, utf8=True), "message/global", "base64"),
        (Returned(MESSAGE, True, utf8=True), "message/rfc822", None),
        (Returned(b"Subject: x\r\n\r\n", False), "text/rfc822-headers", None),
        (Returned("Subject: ç\r\n\r\n".encode(), False, utf8=True), "message/global-headers", "base64"),
    ],
)
def test_what_goes_back(content: Returned, kind: str, encoding: str | None) -> None:
    made = composed(content=content)
    last = parts(made)[2]
    assert last.get_content_type() == kind
    assert last["Content-Transfer-Encoding"] == encoding
    assert made.is_8bit is (encoding == "8bit")
    if encoding != "base64":
        assert content.data in made.data


def test_only_so_much_goes_back() -> None:
    prefix = b"Return-Path: <a@b>\r\n"
    whole = returned(memoryview(MESSAGE), prefix=prefix, wants_whole=True, utf8=False)
    assert whole == Returned(prefix + MESSAGE, is_whole=True)
    header = returned(MESSAGE, prefix=prefix, wants_whole=False, utf8=False)
    assert header == Returned(prefix + MESSAGE[:-10], is_whole=False)
    large = returned(MESSAGE + b"x" * MAX_RETURNED, prefix=prefix, wants_whole=True, utf8=False)
    assert large == header
    endless = returned(b"X: y\r\n" * 50_000, prefix=prefix, wants_whole=True, utf8=False)
    assert endless.is_whole
    cut = returned(b"X: y\r\n" * 50_000, prefix=prefix, wants_whole=False, utf8=False)
    assert len(cut.data) <= MAX_RETURNED_HEADER
    assert cut.data.endswith(b"X: y\r\n")


def test_people_are_told_who_why_what_was_said_and_what_to_do() -> None:
    words = english(REPORT)
    assert words.subject == "Your message could not be delivered"
    for said in (
        '"Lunch"', "<bob@example.com>", "There is no such mailbox.", "The server mx.example.com said:",
        "550 5.1.1 no such user", "Check the spelling of the part before the @.", "traceid",
    ):  # fmt: skip
        assert said in words.text
    assert max(map(len, words.text.splitlines())) <= 78


@pytest.mark.parametrize(
    ("status", "why"),
    [("5.1.10", "takes no mail"), ("5.1.1", "no such mailbox"), ("5.2.2", "full"), ("4.4.1", "not be reached"),
     ("5.0.0", "did not take it"), ("5.1.7", "not accepted"), ("5.7.26", "by its rules")],
)  # fmt: skip
def test_reasons(status: str, why: str) -> None:
    assert why in english(replace(REPORT, recipients=(replace(BOB, status=status),))).text


@pytest.mark.parametrize("action", [Action.DELIVERED, Action.RELAYED])
def test_good_news_names_no_trouble(action: Action) -> None:
    text = english(replace(REPORT, action=action, recipients=(replace(BOB, status="2.0.0", words="250 ok"),))).text
    assert "What you can do" not in text
    assert "did not take" not in text


hostile = st.text(max_size=1500)


@settings(max_examples=60)
@given(words=hostile, host=hostile, original=hostile, subject=hostile, envelope_id=hostile)
def test_whatever_others_said_the_report_is_well_formed(
    words: str, host: str, original: str, subject: str, envelope_id: str
) -> None:
    each = replace(BOB, words=words, host=host[:255], original=original[:500])
    made = composed(replace(REPORT, recipients=(each,), subject=subject, envelope_id=envelope_id[:100]))
    message = read(made)
    assert len(cast(list[Any], message.get_payload())) == 3
    assert message.keys().count("To") == 1
    assert max(map(len, made.data.split(b"\r\n"))) <= 998
