"""Everything a session of SMTP stands on, in memory: who there is, mailboxes, staging, queue, trace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flow.fake_directory import FakeDirectory
from postane.core.clock import TurnedClock
from postane.core.limits import Limits
from postane.core.listener import Listener, Service
from postane.core.log import NullLog
from postane.core.status import Condition, MailError
from postane.flow.accounts import Accounts, LoginPolicy
from postane.flow.deliver import Filing
from postane.flow.passwords import Passwords
from postane.flow.queue import HandOver
from postane.flow.receive import Receiver
from postane.session.services import Services
from postane.session.smtp import SmtpSession
from postane.store.api import (
    AccountRef,
    Append,
    Credential,
    Filed,
    Leased,
    NewMessage,
    Outcome,
    QueuedMessage,
    QueuedRecipient,
    RecipientResult,
    Staged,
    TraceEvent,
    Usage,
)

HOST = "mail.postane.test"
PORTS = {Service.SUBMISSION: 587, Service.SUBMISSIONS: 465}


class PlainPasswords(Passwords):
    """A verifier is the password itself; nothing is hashed, so no threads."""

    def __init__(self) -> None: ...

    async def verify(self, credential: Credential | None, password: str, host: str) -> bool:
        return credential is not None and credential.verifier == password


@dataclass
class FakeStaged:
    data: bytes
    office: FakeStaging
    is_open: bool = True

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.data).digest()

    @property
    def small(self) -> bytes | None:
        return self.data

    def view(self) -> bytes:
        return self.data

    async def close(self) -> None:
        self.is_open = False


class FakeWriter:
    def __init__(self, office: FakeStaging) -> None:
        self.office = office
        self.data = b""
        self.is_over = False
        office.writers.append(self)

    async def write(self, chunk: bytes) -> None:
        assert not self.is_over
        self.data += chunk
        if len(self.data) > self.office.room:
            raise MailError(Condition.DISK_FULL, "no room for the message now")

    async def finish(self) -> Staged:
        assert not self.is_over
        if self.office.fails_at_finish:
            raise MailError(Condition.DISK_FULL, "no room for the message now")
        self.is_over = True
        staged = FakeStaged(self.data, self.office)
        self.office.staged.append(staged)
        return staged

    async def abort(self) -> None:
        self.is_over = True


@dataclass
class FakeStaging:
    room: int = 1 << 40
    fails_at_finish: bool = False
    writers: list[FakeWriter] = field(default_factory=list)
    staged: list[FakeStaged] = field(default_factory=list)

    def begin(self) -> FakeWriter:
        return FakeWriter(self)

    @property
    def is_clean(self) -> bool:
        return all(w.is_over for w in self.writers) and not any(s.is_open for s in self.staged)


@dataclass
class FakeMail:
    """Keeps what is filed: (prefix, bytes) by account id."""

    kept: dict[int, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    quota: int = 0
    failure: MailError | None = None
    appends: list[Append] = field(default_factory=list)

    async def usage(self, account: AccountRef) -> Usage:
        mine = self.kept.get(account.id, [])
        return Usage(sum(len(p) + len(d) for p, d in mine), len(mine), self.quota, 0, 6)

    async def write(self, account: AccountRef, command: Any) -> Filed:
        if self.failure:
            raise self.failure
        assert isinstance(command, Append)
        self.appends.append(command)
        mine = self.kept.setdefault(account.id, [])
        mine.append((command.prefix, bytes(command.staged.view())))
        return Filed(1, 1, len(mine), f"e{account.id}-{len(mine)}", len(mine))


@dataclass
class FakeQueue:
    messages: list[NewMessage] = field(default_factory=list)
    results: list[RecipientResult] = field(default_factory=list)
    failure: MailError | None = None
    notices: list[NewMessage] = field(default_factory=list)
    gone: bool = False

    async def enqueue(self, message: NewMessage, lease_seconds: int) -> Leased:
        if self.failure:
            raise self.failure
        self.messages.append(message)
        number = len(self.messages)
        return Leased(
            QueuedMessage(
                number, message.trace_id, message.sender, message.prefix, message.staged.size, message.arrived_at,
                message.utf8, message.body,
            ),
            tuple(
                QueuedRecipient(at, number, new.address, new.original, new.delivery_id, 1, 0, "waiting", "", "t")
                for at, new in enumerate(message.recipients)
                if new.due is None
            ),
        )  # fmt: skip

    async def finish(
        self, leased: Leased, results: Iterable[RecipientResult], notices: Sequence[NewMessage] = ()
    ) -> None:
        self.results.extend(results)
        self.notices.extend(notices)

    async def staged(self, message: QueuedMessage) -> Staged:
        if self.gone:
            raise MailError(Condition.TEMPORARY, "the message is no longer in the queue")
        return self.messages[message.id - 1].staged

    @property
    def outcomes(self) -> list[Outcome]:
        return [result.outcome for result in self.results]


@dataclass
class ListTrace:
    events: list[TraceEvent] = field(default_factory=list)

    def note(self, event: TraceEvent) -> None:
        self.events.append(event)

    async def find(self, trace_id: str) -> tuple[TraceEvent, ...]:
        return tuple(event for event in self.events if event.trace_id == trace_id)

    @property
    def story(self) -> list[str]:
        return [event.what for event in self.events]


@dataclass
class FakeHints:
    watchers: dict[int, list[Callable[[], None]]] = field(default_factory=dict)

    def watch(self, account_id: int, changed: Callable[[], None], revoked: Callable[[], None]) -> Callable[[], None]:
        self.watchers.setdefault(account_id, []).append(revoked)
        return lambda: self.watchers[account_id].remove(revoked)

    def changed(self, account_id: int, modseq: int) -> None: ...

    def revoked(self, account_id: int) -> None:
        for call in self.watchers.get(account_id, []):
            call()


@dataclass
class FakeConnections:
    most: int = 10
    count: int = 0

    def enter(self, account_id: int) -> bool:
        if self.count >= self.most:
            return False
        self.count += 1
        return True

    def leave(self, account_id: int) -> None:
        self.count -= 1


class PostOffice:
    """ayse and bora live at postane.test; team@ leads to both, away@ elsewhere, both@ here and elsewhere."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.clock = TurnedClock()
        self.directory = FakeDirectory("postane.test", "xn--rnek-4qa.test")
        self.ayse = self.directory.put("ayse@postane.test", "gizli")
        self.bora = self.directory.put("bora@postane.test", "sifre")
        self.cagri = self.directory.put("çağrı@postane.test", "x")
        self.directory.lead("team", "postane.test", "ayse@postane.test", "bora@postane.test")
        self.directory.lead("away", "postane.test", "far@elsewhere.test")
        self.directory.lead("both", "postane.test", "ayse@postane.test", "far@elsewhere.test")
        self.mail = FakeMail()
        self.staging = FakeStaging()
        self.queue = FakeQueue()
        self.trace = ListTrace()
        self.hints = FakeHints()
        self.sends_elsewhere = False
        self.wakes = 0
        self.connections = FakeConnections()
        self.accounts = Accounts(
            self.directory,  # type: ignore[arg-type]
            PlainPasswords(),
            LoginPolicy(PORTS),
        )
        self.filing = Filing(self.mail, self.limits.mime)  # type: ignore[arg-type]

    def receiver(self) -> Receiver:
        return Receiver(
            HOST,
            self.accounts,
            self.mail,  # type: ignore[arg-type]
            self.staging,
            self.filing,
            self.queue,  # type: ignore[arg-type]
            HandOver(self.queue, self.accounts, self.filing, self.trace, self.clock, NullLog()),  # type: ignore[arg-type]
            self.trace,
            self.limits,
            self.clock,
            self._wake if self.sends_elsewhere else None,
        )

    def _wake(self) -> None:
        assert self.queue.messages, "woken before there was anything"
        self.wakes += 1

    def session(self, service: Service, plaintext_login: bool = False) -> SmtpSession:
        services = Services(
            HOST,
            self.accounts,
            self.mail,  # type: ignore[arg-type]
            self.staging,
            self.filing,
            self.hints,
            self.trace,
            self.connections,
            self.limits,
            self.clock,
            NullLog(),
        )
        return SmtpSession(services, self.receiver(), Listener(service, plaintext_login))

    def inbox(self, address: str) -> list[bytes]:
        """The whole messages of an account, prefix and bytes."""
        return [prefix + data for prefix, data in self.kept(address)]

    def kept(self, address: str) -> list[tuple[bytes, bytes]]:
        return self.mail.kept.get(self.directory.people[address].ref.id, [])
