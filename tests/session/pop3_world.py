"""What a POP3 session needs of the world, in memory: one account, one INBOX."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from postane.core.clock import TurnedClock
from postane.core.limits import Limits
from postane.core.listener import Listener, Service
from postane.core.log import NullLog
from postane.core.status import Condition, MailError
from postane.flow.accounts import Attempt, Identity
from postane.proto.pop3 import Pop3Engine
from postane.session.pop3 import Pop3Session
from postane.session.services import Services
from postane.store.api import SLICE, Account, AccountRef, AccountState, Column, Expunge, Mailbox, Role, Snapshot

USER = "mrose@example.org"
PASSWORD = "tanstaaf secret"
ACCOUNT = Account(AccountRef(7, "r4nd0m"), USER, "", AccountState.ACTIVE, 1, 0, 0, 0)


@dataclass
class Kept:
    blob: bytes
    prefix: bytes = b""
    expunged: bool = False

    @property
    def header(self) -> bytes:
        head, empty, _ = self.blob.partition(b"\r\n\r\n")
        return self.prefix + head + (b"\r\n\r\n" if empty else b"")


class FakeLock:
    def __init__(self, mail: FakeMailStore) -> None:
        self.mail = mail

    async def release(self) -> None:
        self.mail.is_locked = False


class FakeMailStore:
    """Just what a maildrop asks; notes the commands and how much was asked at once."""

    def __init__(self, *messages: Kept) -> None:
        self.messages = dict(enumerate(messages, 101))
        self.is_locked = False
        self.written: list[Expunge] = []
        self.fails: set[str] = set()

    async def lock_maildrop(self, account: AccountRef) -> FakeLock:
        if self.is_locked:
            raise MailError(Condition.MAILBOX_IN_USE, "another session has the maildrop")
        self.is_locked = True
        return FakeLock(self)

    async def mailbox(self, account: AccountRef, name: str) -> Mailbox:
        self._fail_on("mailbox")
        return Mailbox(1, "m", name, Role.INBOX, True, 1, 200, len(self.messages), 0, 0, 0, 1, 0)

    async def snapshot(self, account: AccountRef, mailbox: int) -> Snapshot:
        living = array("I", (uid for uid, kept in self.messages.items() if not kept.expunged))
        return Snapshot(await self.mailbox(account, "INBOX"), 1, living, 0, ())

    async def entries(
        self, account: AccountRef, mailbox: int, uids: Sequence[int], columns: Sequence[Column]
    ) -> list[tuple[Any, ...]]:
        assert len(uids) <= SLICE
        self._fail_on("entries")
        return [
            tuple(self._value(uid, self.messages[uid], column) for column in columns)
            for uid in uids
            if uid in self.messages
        ]

    def _value(self, uid: int, kept: Kept, column: Column) -> Any:
        match column:
            case Column.UID | Column.BLOB:
                return uid
            case Column.SIZE:
                return len(kept.prefix) + len(kept.blob)
            case Column.UIDL:
                return f"whqtswo00wbw418f9t5jx{uid}"
            case Column.PREFIX:
                return kept.prefix
            case Column.BLOB_SIZE:
                return len(kept.blob)
            case Column.HEADER:
                return kept.header
            case Column.BODY:
                return kept.blob if len(kept.blob) <= SMALL else None
            case _:
                raise AssertionError(f"a maildrop does not ask for {column}")

    async def read(self, account: AccountRef, blob: int, start: int, length: int) -> bytes:
        assert length <= 64 * 1024
        self._fail_on("read")
        return self.messages[blob].blob[start : start + length]

    async def write(self, account: AccountRef, command: Expunge) -> tuple[int, ...]:
        self._fail_on("write")
        assert isinstance(command, Expunge)
        assert not command.only_deleted
        self.written.append(command)
        for uid in command.uids or ():
            self.messages[uid].expunged = True
        return tuple(command.uids or ())

    def _fail_on(self, what: str) -> None:
        if what in self.fails:
            raise MailError(Condition.TEMPORARY, "the disk does not answer")


SMALL = 32 * 1024
"""Bodies that lie in the row itself (store.api.Staged)."""


class FakeAccounts:
    def __init__(self) -> None:
        self.is_valid = True
        self.attempts: list[Attempt] = []

    def may_offer_login(self, listener: Listener, peer: object, is_secured: bool) -> bool:
        return is_secured or listener.plaintext_login

    async def login(self, attempt: Attempt) -> Identity:
        self.attempts.append(attempt)
        if not self.may_offer_login(attempt.listener, attempt.peer, attempt.is_secured):
            raise MailError(Condition.TLS_REQUIRED, "choose SSL/TLS on port 995, or STARTTLS on this port")
        if (attempt.user, attempt.password, attempt.authorization) != (USER, PASSWORD, ""):
            raise MailError(Condition.AUTH_FAILED, "the user name or the password is wrong")
        return Identity(ACCOUNT, ACCOUNT.version)

    async def still_valid(self, identity: Identity) -> bool:
        return self.is_valid


class FakeHints:
    def __init__(self) -> None:
        self.watchers: list[Callable[[], None]] = []

    def watch(self, account_id: int, changed: Callable[[], None], revoked: Callable[[], None]) -> Callable[[], None]:
        assert account_id == ACCOUNT.ref.id
        self.watchers.append(revoked)
        return lambda: self.watchers.remove(revoked)

    def revoke(self) -> None:
        for revoked in tuple(self.watchers):
            revoked()


class FakeConnections:
    def __init__(self) -> None:
        self.count = 0
        self.limit = 10

    def enter(self, account_id: int) -> bool:
        if self.count >= self.limit:
            return False
        self.count += 1
        return True

    def leave(self, account_id: int) -> None:
        self.count -= 1


@dataclass
class World:
    mail: FakeMailStore
    accounts: FakeAccounts = field(default_factory=FakeAccounts)
    hints: FakeHints = field(default_factory=FakeHints)
    connections: FakeConnections = field(default_factory=FakeConnections)
    clock: TurnedClock = field(default_factory=TurnedClock)
    limits: Limits = field(default_factory=Limits)
    plaintext_login: bool = True
    service: Service = Service.POP3

    def session(self) -> Pop3Session:
        services = Services(
            host_name="dewey.example.org",
            accounts=self.accounts,
            mail=self.mail,
            staging=None,
            filing=None,
            hints=self.hints,
            trace=None,
            connections=self.connections,
            limits=self.limits,
            clock=self.clock,
            log=NullLog(),
        )
        return Pop3Session(services, Listener(self.service, self.plaintext_login))

    def engine(self) -> Pop3Engine:
        return Pop3Engine(self.limits.pop3)


def message(size: int, subject: str = "of RFC 1939") -> Kept:
    """A message of exactly so many octets."""
    start = f"Subject: {subject}\r\n\r\n".encode()
    return Kept(start + b"." * (size - len(start) - 2) + b"\r\n")
