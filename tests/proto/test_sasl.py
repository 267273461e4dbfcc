"""PLAIN and LOGIN, as RFC 4616 and Outlook want them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.status import Condition, MailError
from postane.proto.sasl import MAX_FIELD, NAMES, Credentials, mechanism


def test_plain_example_of_the_rfc() -> None:
    """RFC 4616 4, first example."""
    plain = mechanism("PLAIN")

    assert plain.step(None) == b""
    assert plain.step(b"\0tim\0tanstaaftanstaaf") == Credentials("", "tim", "tanstaaftanstaaf")


def test_plain_with_authorization_identity() -> None:
    """RFC 4616 4, second example."""
    assert mechanism("plain").step(b"Ursel\0Kurt\0xipj3plmq") == Credentials("Ursel", "Kurt", "xipj3plmq")


def test_login_prompts_exactly() -> None:
    login = mechanism("LOGIN")

    assert login.step(None) == b"Username:"
    assert login.step(b"ayse@postane.test") == b"Password:"
    assert login.step("şifre".encode()) == Credentials("", "ayse@postane.test", "şifre")


def test_login_initial_response_is_the_user() -> None:
    login = mechanism("LOGIN")

    assert login.step(b"ayse") == b"Password:"
    assert login.step(b"x") == Credentials("", "ayse", "x")


@pytest.mark.parametrize(
    ("said", "condition"),
    [
        (b"", Condition.SYNTAX),
        (b"tim\0pass", Condition.SYNTAX),
        (b"\0tim\0pass\0more", Condition.SYNTAX),
        (b"\0\0pass", Condition.AUTH_FAILED),
        (b"\0tim\0", Condition.AUTH_FAILED),
        (b"\0tim\0\xff\xfe", Condition.AUTH_FAILED),
        (b"\0tim\0" + b"x" * (MAX_FIELD + 1), Condition.AUTH_FAILED),
    ],
)
def test_plain_refuses_nonsense(said: bytes, condition: Condition) -> None:
    with pytest.raises(MailError) as refused:
        mechanism("PLAIN").step(said)
    assert refused.value.condition is condition


def test_login_refuses_a_nul() -> None:
    with pytest.raises(MailError) as refused:
        mechanism("LOGIN").step(b"a\0b")
    assert refused.value.condition is Condition.SYNTAX


def test_unknown_mechanism() -> None:
    assert mechanism("CRAM-MD5") is None


def test_a_password_never_shows() -> None:
    assert "tanstaaf" not in repr(Credentials("", "tim", "tanstaaf"))


@given(st.sampled_from(NAMES), st.lists(st.none() | st.binary(max_size=40), max_size=4))
def test_any_octets_end_in_a_value_or_a_mail_error(name: str, messages: list[bytes | None]) -> None:
    exchange = mechanism(name)
    for said in messages:
        try:
            answer = exchange.step(said)
        except MailError:
            return
        assert isinstance(answer, bytes | Credentials)
        if isinstance(answer, Credentials):
            assert answer.user
            assert answer.password
            return
