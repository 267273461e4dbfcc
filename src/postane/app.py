"""The one place where the parts are put together: who fills which port, and what a connection is served by.

Everything below takes its neighbours through its constructor; nothing here
decides anything else.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from postane.config.settings import Settings
from postane.config.settings import Smarthost as SmarthostSettings
from postane.core.clock import Clock, SystemClock
from postane.core.dialogue import Engine, Session
from postane.core.dns import Resolver
from postane.core.limits import Limits
from postane.core.listener import Listener, Service
from postane.core.log import Log
from postane.core.outgoing import Verify
from postane.flow.accounts import Accounts, LoginPolicy
from postane.flow.bounce import Bouncer
from postane.flow.deliver import Filing
from postane.flow.exchange.bring_in import BringIn
from postane.flow.passwords import Passwords
from postane.flow.provision import Provision
from postane.flow.queue import HandOver
from postane.flow.receive import Receiver
from postane.flow.relay.relay import Relay, Sender
from postane.flow.relay.route import Credentials, Ourselves, Router, Security, Smarthost, Smarthosts
from postane.flow.relay.runner import QueueRunner
from postane.flow.relay.settlement import Settlement
from postane.flow.retention import Janitor, RetentionPolicy
from postane.machine import addresses
from postane.net.outgoing import SocketConnector
from postane.net.trust import Trust
from postane.proto.imap.server import ImapEngine
from postane.proto.pop3 import Pop3Engine
from postane.proto.smtp.server import SmtpEngine
from postane.session.imap.session import ImapSession
from postane.session.pop3 import Pop3Session
from postane.session.services import AccountConnections, Services
from postane.session.smtp import MODES, SmtpSession
from postane.store import directory, queue, state
from postane.store.api import Hints
from postane.store.directory import SqlDirectory
from postane.store.mail import SqlMailStore
from postane.store.queue import SqlQueue
from postane.store.sqlite import Database
from postane.store.staging import FileStaging
from postane.store.stamp import Stamp
from postane.store.state import SqlState
from postane.store.trace import FileTrace

THREADS = 8
"""For work that waits on the disk."""

RELAY_STALL = 180.0
"""Seconds that another server may take none of what we send (RFC 5321 4.5.3.2.5)."""

_IMAP_FAILURE = b"* BYE [SERVERBUG] The server made a mistake; try again\r\n"
_POP3_FAILURE = b"-ERR [SYS/TEMP] The server made a mistake; try again\r\n"
_SMTP_FAILURE = b"421 4.3.0 The server made a mistake; try again\r\n"


@dataclass(frozen=True, slots=True)
class Stores:
    """What is kept, opened by one process for its one event loop."""

    directory: SqlDirectory
    mail: SqlMailStore
    staging: FileStaging
    queue: SqlQueue
    trace: FileTrace
    state: SqlState
    hints: Hints
    clock: Clock
    pool: Executor

    async def close(self) -> None:
        await self.trace.close()
        await self.queue.close()
        await self.mail.close()
        await self.state.close()
        await self.directory.close()
        self.pool.shutdown(wait=True)


def open_stores(data: Path, process: str, hints: Hints, limits: Limits) -> Stores:
    """`process` names the writer of trace segments.  Files open when they are first needed."""
    clock = SystemClock()
    pool = ThreadPoolExecutor(max(THREADS, 2 * (os.cpu_count() or 1)), thread_name_prefix="disk")
    directory_file = Database(data / "directory.sqlite", directory.SCHEMA, pool, create=True)
    queue_file = Database(data / "queue" / "queue.sqlite", queue.SCHEMA, pool, create=True)
    return Stores(
        directory=SqlDirectory(directory_file, clock, Stamp(data / "directory.stamp")),
        mail=SqlMailStore(data, hints=hints, clock=clock, pool=pool, limits=limits.imap),
        staging=FileStaging(data, pool),
        queue=SqlQueue(queue_file, data / "queue", pool, clock),
        trace=FileTrace(data / "trace", process, clock, pool),
        state=SqlState(Database(data / "state.sqlite", state.SCHEMA, pool, create=True), clock),
        hints=hints,
        clock=clock,
        pool=pool,
    )


def provision(stores: Stores) -> Provision:
    return Provision(stores.directory, stores.mail, stores.hints)


def bring_in(stores: Stores, limits: Limits) -> BringIn:
    return BringIn(stores.mail, stores.staging, Filing(stores.mail, limits.mime), stores.clock)


def hand_over(stores: Stores, accounts: Accounts, limits: Limits, log: Log) -> HandOver:
    filing = Filing(stores.mail, limits.mime)
    return HandOver(stores.queue, accounts, filing, stores.trace, stores.clock, log)


def queue_runner(
    stores: Stores, settings: Settings, accounts: Accounts, host_name: str, resolver: Resolver, log: Log
) -> QueueRunner:
    """Works the queue off, for a whole worker: mail to people here, elsewhere, and back to whoever sent it."""
    limits = settings.limits
    relay = settings.relay
    connections = dataclasses.replace(limits.connections, write_stall=RELAY_STALL)
    router = Router(
        resolver,
        Ourselves(frozenset({host_name}), frozenset(addresses())),
        limits.relay,
        Smarthosts(for_all=_smarthost(relay.smarthost)),
        relay.port,
    )
    bouncer = Bouncer(host_name, accounts, stores.queue, stores.staging, stores.trace, stores.clock, limits.mime)
    return QueueRunner(
        stores.queue,
        accounts,
        hand_over(stores, accounts, limits, log),
        Relay(
            stores.queue,
            router,
            SocketConnector(connections, Trust(clock=stores.clock)),
            stores.state,
            Sender(host_name, relay.sources),
            limits,
            stores.clock,
        ),
        Settlement(stores.queue, bouncer, stores.trace, stores.clock, log),
        limits.relay,
        stores.clock,
        log,
    )


def _smarthost(settings: SmarthostSettings) -> Smarthost | None:
    if not settings.host:
        return None
    login = None
    if settings.user:
        password = Path(settings.password_file).read_text("utf-8").partition("\n")[0]
        login = Credentials(settings.user, password)
    verify = Verify.WEBPKI if settings.verify else Verify.NONE
    return Smarthost(settings.host, settings.port, Security[settings.security.name], verify, login)


def janitor(stores: Stores, policy: RetentionPolicy, log: Log) -> Janitor:
    return Janitor(stores.directory, stores.mail, stores.queue, stores.trace, policy, stores.clock, log)


class Desk:
    """Serves connections: for each an engine and a session of its protocol.  Made anew when settings change."""

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        passwords: Passwords,
        host_name: str,
        ports: dict[Service, int],
        connections: AccountConnections,
        log: Log,
        wake: Callable[[], None],
    ) -> None:
        """`wake` is called when the queue has something new for elsewhere."""
        limits = settings.limits
        accounts = Accounts(stores.directory, passwords, LoginPolicy(ports, settings.plaintext_domains()))
        filing = Filing(stores.mail, limits.mime)
        self._services = Services(
            host_name=host_name,
            accounts=accounts,
            mail=stores.mail,
            staging=stores.staging,
            filing=filing,
            hints=stores.hints,
            trace=stores.trace,
            connections=connections,
            limits=limits,
            clock=stores.clock,
            log=log,
        )
        self._receiver = Receiver(
            host_name,
            accounts,
            stores.mail,
            stores.staging,
            filing,
            stores.queue,
            HandOver(stores.queue, accounts, filing, stores.trace, stores.clock, log),
            stores.trace,
            limits,
            stores.clock,
            wake if settings.relay.enabled else None,
        )
        self._listeners = {service: Listener(service, settings.plaintext_login(service)) for service in Service}
        self.limits = limits

    def serve(self, service: Service, log: Log) -> tuple[Engine, Session, bytes]:
        """Engine and session, and what is said if the session fails."""
        services = dataclasses.replace(self._services, log=log)
        listener, limits = self._listeners[service], self.limits
        match service:
            case Service.IMAP | Service.IMAPS:
                return ImapEngine(limits.imap), ImapSession(services, listener), _IMAP_FAILURE
            case Service.POP3 | Service.POP3S:
                return Pop3Engine(limits.pop3), Pop3Session(services, listener), _POP3_FAILURE
            case _:
                engine = SmtpEngine(MODES[service], limits.smtp)
                return engine, SmtpSession(services, self._receiver, listener), _SMTP_FAILURE
