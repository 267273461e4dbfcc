"""The header section on its way in: what is taken out, put in and refused, in every cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.limits import SmtpLimits
from postane.core.status import Condition, MailError
from postane.flow.header_gate import HeaderGate

HOST = "mail.postane.test"
LIMITS = SmtpLimits(header_bytes=2000, received_fields=3, text_line=500)
NOW = 1_750_000_000.0


def through(message: bytes, cuts: list[int] | None = None, *, submitted_at: float | None = None) -> bytes:
    gate = HeaderGate(LIMITS, HOST, submitted_at)
    at, out = 0, b""
    for end in [*(cuts or []), len(message)]:
        out += gate.feed(message[at:end])
        at = end
    out += gate.finish()
    assert out.startswith(gate.first_line)
    return out


def every_octet(message: bytes) -> list[int]:
    return list(range(1, len(message)))


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (b"Subject: x\r\n\r\nbody\r\n", None),
        (b"Subject: x\r\n", None),
        (b"", None),
        (b"\r\nbody\r\n\r\n", None),
        (b"no header\r\nReturn-Path: <x>\r\n\r\n", None),
        (b"From a@x.test Thu May 21\r\nReturn-Path: <x>\r\nA: b\r\n\r\n", None),
        (b"Return-Path: <x>\r\nA: b\r\n\r\nReturn-Path: <y>\r\n", None),
        (b"Authentication-Results: Mail.Postane.Test; dkim=pass\r\nA: b\r\n\r\n", b"A: b\r\n\r\n"),
        (b"Authentication-Results: (hi) \"mail.postane.test\" 1;\r\n spf=pass\r\nA: b\r\n\r\n", b"A: b\r\n\r\n"),
        (b"Authentication-Results: mail.postane.test\r\n\r\n", b"\r\n"),
        (b"Authentication-Results: other.mail.postane.test.evil; dkim=pass\r\n\r\n", None),
        (b"Authentication-Results: other.test; dkim=pass (mail.postane.test)\r\n\r\n", None),
        (b"Bcc: someone@x.test\r\nA: b\r\n\r\n", None),
    ],
)  # fmt: skip
def test_what_goes_on(message: bytes, kept: bytes | None) -> None:
    expected = message if kept is None else kept

    assert through(message) == expected
    assert through(message, every_octet(message)) == expected


def test_at_submission_bcc_goes_and_what_is_missing_comes() -> None:
    message = (
        b"Return-Path: <x>\r\nFrom: a@x.test\r\nBcc: b@x.test,\r\n c@x.test\r\nbcc : d@x.test\r\n"
        b"RETURN-path :\r\n <x>\r\n\r\nBcc: stays\r\n"
    )
    out = through(message, submitted_at=NOW)
    date, own_id, rest = out.split(b"\r\n", 2)

    assert date == b"Date: Sun, 15 Jun 2025 15:06:40 +0000"
    assert own_id.startswith(b"Message-ID: <")
    assert own_id.endswith(b"@mail.postane.test>")
    assert rest == b"From: a@x.test\r\n\r\nBcc: stays\r\n"


def test_at_submission_what_is_there_stays() -> None:
    message = b"message-id: <1@x>\r\nDATE: yesterday\r\nfrom: a@x.test\r\n\r\n"

    assert through(message, submitted_at=NOW) == message


@pytest.mark.parametrize(
    "message", [b"", b"\r\n", b"Subject: x\r\n\r\nFrom: a@x\r\n", b"no header\r\nFrom: a@x\r\n\r\n"]
)
def test_at_submission_from_is_required(message: bytes) -> None:
    with pytest.raises(MailError) as refused:
        through(message, submitted_at=NOW)
    assert refused.value.condition is Condition.BAD_CONTENT


def test_too_many_received_fields_are_a_loop() -> None:
    stamp = b"Received: from a by b; Thu, 21 May 1998 05:33:29 -0700\r\n"

    assert through(stamp * 3 + b"\r\n" + stamp * 9) == stamp * 3 + b"\r\n" + stamp * 9
    with pytest.raises(MailError) as refused:
        through(stamp * 4 + b"\r\n")
    assert refused.value.condition is Condition.MAIL_LOOP


def test_earlier_deliveries_are_remembered() -> None:
    gate = HeaderGate(LIMITS, HOST, None)
    gate.feed(b"Delivered-To: Ayse@POSTANE.test\r\nDelivered-To: junk\r\ndelivered-to: <b@x.test>\r\n\r\n")

    assert gate.delivered_to == {"ayse@postane.test", "b@x.test"}


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize(
    ("message", "fits"),
    [
        (b"A: " + b"x" * 1994 + b"\r\n\r\n" + b"y" * 5000, False),
        (b"A: x\r\n" * 332 + b"A: xx\r\n\r\n" + b"y" * 5000, False),
        (b"A: x\r\n" * 333 + b"\r\n" + b"y" * 5000, True),
        (b"no header " + b"y" * 300 + b"\r\n" + b"y" * 5000, True),
        (b"\r\n" + b"y" * 5000, True),
    ],
)
def test_the_header_is_bounded(message: bytes, fits: bool, cut: bool) -> None:
    cuts = every_octet(message) if cut else None
    if fits:
        assert through(message, cuts) == message
        return
    with pytest.raises(MailError) as refused:
        through(message, cuts)
    assert refused.value.condition is Condition.MESSAGE_TOO_LARGE


LINES = [
    b"Return-Path: <x>\r\n", b"From: a\r\n", b"Bcc: b\r\n", b" folded\r\n", b"\r\n", b"no field\r\n", b"A: b\r\n",
    b"From x y\r\n", b"Authentication-Results: mail.postane.test; x\r\n", b"tail",
]  # fmt: skip


@given(st.lists(st.sampled_from(LINES), max_size=10), st.sets(st.integers(1, 150)))
def test_every_cut_gives_the_same(lines: list[bytes], cuts: set[int]) -> None:
    message = b"".join(lines)
    whole = through(message)

    assert through(message, sorted(cut for cut in cuts if cut < len(message))) == whole
    assert through(message, every_octet(message)) == whole
