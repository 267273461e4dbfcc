"""The SQLite store keeps the contract of mail stores."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

from mail_contract import MessageContract
from mail_contract_changes import ChangeContract
from mail_contract_mailboxes import MailboxContract
from mail_world import LIMITS

from postane.core.clock import TurnedClock
from postane.store.api import Hints
from postane.store.mail import SqlMailStore


def make_store(root: Path, hints: Hints, clock: TurnedClock, pool: Executor) -> SqlMailStore:
    return SqlMailStore(root, hints=hints, clock=clock, pool=pool, limits=LIMITS)


class TestMessages(MessageContract):
    make_store = staticmethod(make_store)


class TestChanges(ChangeContract):
    make_store = staticmethod(make_store)


class TestMailboxes(MailboxContract):
    make_store = staticmethod(make_store)
