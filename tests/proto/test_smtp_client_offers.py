"""What a server offers, what is then said with MAIL and RCPT, and how a client logs in."""

from __future__ import annotations

import time

from postane.proto.smtp.client_auth import choose_login
from postane.proto.smtp.client_capabilities import Capabilities, read_capabilities
from postane.proto.smtp.client_envelope import Envelope, Recipient, mail_line, rcpt_line
from postane.proto.smtp.command import BodyType

EVERYTHING = read_capabilities(
    ("far.test", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "REQUIRETLS", "MT-PRIORITY MIXER", "DELIVERBY", "BINARYMIME")
)
FULL = Envelope("ışık@us.test", 42, BodyType.EIGHT_BIT, True, "HDRS", "QQ+3D1", True, -4, "120;R")


def test_offers_are_read_in_any_spelling():
    offered = read_capabilities(
        (
            "mail.far.test at your service",
            "size 35882577",
            "Auth Plain login",
            "AUTH=LOGIN XOAUTH2",
            "LIMITS RCPTMAX=100 MailMax=5 RCPTDOMAINMAX=0 SOMETHING",
            "",
            "X-ODD a b",
        )
    )

    assert offered.name == "mail.far.test"
    assert offered.size == 35882577
    assert offered.mechanisms == ("PLAIN", "LOGIN", "XOAUTH2")
    assert [offered.limit(name) for name in ("RCPTMAX", "MAILMAX", "RCPTDOMAINMAX")] == [100, 5, None]
    assert "X-ODD" in offered
    assert "PIPELINING" not in offered


def test_a_size_without_sense_is_no_bound():
    for line in ("SIZE", "SIZE 0", "SIZE many", "SIZE -1", "SIZE " + "9" * 30):
        assert read_capabilities(("far.test", line)).size is None
    assert read_capabilities(("",)).name == ""
    assert Capabilities().mechanisms == ()


def test_forty_thousand_offers_are_read_at_once():
    started = time.process_time()
    offered = read_capabilities(("far.test", *["AUTH X"] * 40_000))

    assert len(offered.keywords["AUTH"]) == 40_000
    assert time.process_time() - started < 5


def test_everything_is_said_where_everything_is_offered():
    assert mail_line(FULL, EVERYTHING) == (
        "MAIL FROM:<ışık@us.test> SIZE=42 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+3D1"
        " REQUIRETLS MT-PRIORITY=-4 BY=120;R"
    )
    assert mail_line(Envelope("", body=BodyType.SEVEN_BIT), EVERYTHING) == "MAIL FROM:<> BODY=7BIT"
    assert rcpt_line(Recipient("b@far.test", "FAILURE,DELAY", "rfc822;B+2B@far.test"), EVERYTHING) == (
        "RCPT TO:<b@far.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;B+2B@far.test"
    )
    assert rcpt_line(Recipient("b@far.test"), EVERYTHING) == "RCPT TO:<b@far.test>"


def test_nothing_is_said_that_is_not_offered():
    assert mail_line(FULL, Capabilities()) == "MAIL FROM:<ışık@us.test>"
    assert mail_line(FULL, read_capabilities(("far.test", "SIZE 1"))) == "MAIL FROM:<ışık@us.test> SIZE=42"
    assert rcpt_line(Recipient("b@far.test", "NEVER", "rfc822;c@d.test"), Capabilities()) == "RCPT TO:<b@far.test>"


def test_logins():
    plain = choose_login(("LOGIN", "PLAIN"), "me", "şifre")
    login = choose_login(("XOAUTH2", "LOGIN"), "me", "şifre")

    assert plain is not None and login is not None
    assert (plain.mechanism, plain.initial, plain.respond(b"?")) == ("PLAIN", b"\0me\0" + "şifre".encode(), None)
    assert (login.mechanism, login.initial) == ("LOGIN", None)
    assert [login.respond(b"any prompt") for _ in range(3)] == [b"me", "şifre".encode(), None]
    assert choose_login(("SCRAM-SHA-1", "GSSAPI"), "me", "şifre") is None
