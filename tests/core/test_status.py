"""The one failure type: each condition is itself, and its codes are of the right kind."""

from __future__ import annotations

import re

import pytest

from postane.core.status import Condition, MailError, Reply


def test_no_condition_is_an_alias_of_another() -> None:
    assert len(Condition) == len(Condition.__members__)


@pytest.mark.parametrize("condition", list(Condition))
def test_codes_agree(condition: Condition) -> None:
    assert condition.label == condition.name
    assert re.fullmatch(r"[45]\.\d{1,3}\.\d{1,3}", condition.enhanced)
    # RFC 2034 3: the class of the enhanced code is the first digit of the reply.
    assert str(condition.code)[0] == condition.enhanced[0]
    assert re.fullmatch(r"[A-Z]*", condition.imap)
    assert condition.pop3 in {"", "AUTH", "IN-USE", "SYS/TEMP", "SYS/PERM", "LOGIN-DELAY"}


def test_error_keeps_its_detail_private() -> None:
    error = MailError(Condition.OVER_QUOTA, "the mailbox is full", "account 7 at 1000 of 1000")

    assert Reply(452, "4.2.2", "the mailbox is full") == error.reply
    assert error.is_temporary
    assert "account 7" not in str(error)
