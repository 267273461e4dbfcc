"""A mail server without a network: the real store in a folder, accounts in memory, engine and session by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flow.fake_directory import FakeDirectory
from post_office import PORTS, FakeConnections, ListTrace, PlainPasswords
from postane.core.clock import TurnedClock
from postane.core.dialogue import Body, Closed, Endpoint, Hangup, Opened, Piece, Secured, StartTls, TimedOut
from postane.core.limits import Limits
from postane.core.listener import Listener, Service
from postane.core.log import NullLog
from postane.flow.accounts import Accounts, LoginPolicy
from postane.flow.deliver import Filing
from postane.proto.imap.server import ImapEngine
from postane.session.imap.session import ImapSession
from postane.session.services import Services
from postane.store.api import AccountRef, Role
from postane.store.mail import SqlMailStore
from postane.store.staging import FileStaging

HOST = "mail.postane.test"
USER, PASSWORD = "ayse@postane.test", "gizli"
PEER = Endpoint("127.0.0.1", 40000)
LOCAL = Endpoint("127.0.0.1", 143)
SECURED = Secured("TLSv1.3", "TLS_AES_256_GCM_SHA384")


@dataclass
class Watchers:
    """Hints between sessions of one process."""

    calls: dict[int, list[tuple[Callable[[], None], Callable[[], None]]]] = field(default_factory=dict)

    def watch(self, account_id: int, changed: Callable[[], None], revoked: Callable[[], None]) -> Callable[[], None]:
        pair = (changed, revoked)
        self.calls.setdefault(account_id, []).append(pair)
        return lambda: self.calls[account_id].remove(pair)

    def changed(self, account_id: int, modseq: int) -> None:
        for changed, _ in tuple(self.calls.get(account_id, ())):
            changed()

    def revoked(self, account_id: int) -> None:
        for _, revoked in tuple(self.calls.get(account_id, ())):
            revoked()


class World:
    """ayse has an account with the usual mailboxes; `async with` makes and closes it."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.clock = TurnedClock()
        self.hints = Watchers()
        self.connections = FakeConnections()
        self.directory = FakeDirectory("postane.test")
        self.ayse = self.directory.put(USER, PASSWORD)
        self.pool = ThreadPoolExecutor(4)
        self.mail = SqlMailStore(root, hints=self.hints, clock=self.clock, pool=self.pool, limits=self.limits.imap)
        self.staging = FileStaging(root, self.pool)
        self.filing = Filing(self.mail, self.limits.mime)
        self.accounts = Accounts(
            self.directory,  # type: ignore[arg-type]
            PlainPasswords(),
            LoginPolicy({**PORTS, Service.IMAP: 143, Service.IMAPS: 993}),
        )
        self.services = Services(
            HOST,
            self.accounts,
            self.mail,
            self.staging,
            self.filing,
            self.hints,
            ListTrace(),
            self.connections,
            self.limits,
            self.clock,
            NullLog(),
        )

    async def __aenter__(self) -> World:
        await self.mail.create(self.account)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.mail.close()
        self.pool.shutdown()

    @property
    def account(self) -> AccountRef:
        return self.ayse.ref

    def session(self, service: Service = Service.IMAP, *, services: Services | None = None) -> ImapSession:
        return ImapSession(services or self.services, Listener(service))

    def engine(self) -> ImapEngine:
        return ImapEngine(self.limits.imap)

    async def deliver(
        self, data: bytes, mailbox: str | Role = Role.INBOX, *, prefix: bytes = b"", at: int | None = None, **more: Any
    ) -> int:
        """Files a message; returns its UID."""
        place = mailbox if isinstance(mailbox, Role) else (await self.mail.mailbox(self.account, mailbox)).id
        writer = self.staging.begin()
        await writer.write(data)
        staged = await writer.finish()
        date = int(self.clock.now()) if at is None else at
        filed = await self.filing.file(self.account, place, staged, internal_date=date, prefix=prefix, **more)
        await staged.close()
        return filed.uid

    async def client(self, *, login: bool = True, secured: bool = True, services: Services | None = None) -> Client:
        client = Client(self.engine(), self.session(services=services))
        await client.open(SECURED if secured else None)
        if login:
            assert b" OK " in await client.say(b"LOGIN %b %b" % (USER.encode(), PASSWORD.encode()))
        return client


class Client:
    """Does what the pump does, one command at a time, and gives the octets back."""

    def __init__(self, engine: ImapEngine, session: ImapSession) -> None:
        self.engine = engine
        self.session = session
        self.is_over = False
        self.rings = 0
        self.number = 0

    async def open(self, secured: Secured | None) -> bytes:
        return await self._answer(self.session.handle(Opened(PEER, LOCAL, secured, self._ring)))

    def _ring(self) -> None:
        self.rings += 1

    async def say(self, command: bytes) -> bytes:
        """A command without its tag; all that is answered to it."""
        self.number += 1
        return await self.send(b"t%d %b\r\n" % (self.number, command))

    async def send(self, data: bytes) -> bytes:
        self.engine.feed(data)
        said = b""
        while not self.is_over and (event := self.engine.next_event()) is not None:
            said += await self._answer(self.session.handle(event))
        said += self.engine.take_output()
        if not self.engine.pending and not self.is_over:
            said += await self._answer(self.session.pushed())
        return said

    async def push(self) -> bytes:
        """What the server says unasked."""
        assert not self.engine.pending
        return await self._answer(self.session.pushed())

    async def time_out(self) -> bytes:
        return await self._answer(self.session.handle(TimedOut()))

    async def shut_down(self) -> bytes:
        return await self._answer(self.session.handle(Closed(shutdown=True)))

    async def close(self) -> None:
        await self.session.aclose()

    async def _answer(self, answers: Any) -> bytes:
        said = []
        async for answer in answers:
            assert not self.is_over, f"{answer!r} after the end"
            if isinstance(answer, Hangup):
                self.is_over = True
            elif isinstance(answer, Body):
                self.engine.send(answer)
                length = 0
                async for chunk in answer.chunks:
                    length += len(chunk)
                    self.engine.send(Piece(chunk))
                assert length == answer.length
            elif not isinstance(answer, StartTls):
                self.engine.send(answer)
            said.append(self.engine.take_output())
        return b"".join((*said, self.engine.take_output()))


def with_quota(world: World, octets: int) -> None:
    world.ayse = replace(world.ayse, quota_bytes=octets)


def message(subject: str = "hello", body: str = "Hi.", **fields: str) -> bytes:
    lines = [f"Subject: {subject}", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", body, ""]).encode()


def run(work: Any) -> Any:
    return asyncio.run(work)
