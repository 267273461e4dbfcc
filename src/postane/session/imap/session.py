"""An IMAP session (RFC 3501): events in, answers out; one object a connection.

What each command does stands in the modules of its family; here is what holds
for all of them.  Before a command's tagged answer comes all that has changed in
the selected mailbox, as far as RFC 3501 7.4.1 allows it.  A failure becomes NO
or BAD with its response code (RFC 5530).  Whoever errs too often, waits too
long or has lost the right to be here is told so with BYE.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from postane.core.dialogue import Closed, Opened, Secured, TimedOut
from postane.core.listener import Listener
from postane.core.status import Condition, MailError
from postane.proto.imap import command, response
from postane.proto.imap.command import Ending, State, Tagged, Wire, Wrong
from postane.session.imap import append, change, fetch, idle, login, mailboxes, search
from postane.session.imap.connection import Answers, Connection, Stream, farewell
from postane.session.imap.view import Shows
from postane.session.services import Services

_ANSWERED: dict[type[Any], Callable[[Connection, Any], Awaitable[Answers]]] = {
    command.Capability: login.capability,
    command.Id: login.identify,
    command.Enable: login.enable,
    command.StartTlsCommand: login.start_tls,
    command.Login: login.login,
    command.Authenticate: login.authenticate,
    command.SaslResponse: login.sasl_response,
    command.Logout: login.logout,
    command.Noop: idle.noop,
    command.Check: idle.check,
    command.Idle: idle.idle,
    command.IdleDone: idle.idle_done,
    command.Select: mailboxes.select,
    command.Create: mailboxes.create,
    command.Delete: mailboxes.delete,
    command.Rename: mailboxes.rename,
    command.SubscribeCommand: mailboxes.subscribe,
    command.Status: mailboxes.status,
    command.Namespace: mailboxes.namespace,
    command.AppendBegin: append.begin,
    command.AppendMessage: append.message,
    command.AppendChunk: append.chunk,
    command.AppendEnd: append.end,
    command.Search: search.search,
    command.CopyCommand: change.copy,
    command.ExpungeCommand: change.expunge,
    command.Close: change.close,
}
_STREAMED: dict[type[Any], Callable[[Connection, Any], Stream]] = {
    command.List: mailboxes.list_,
    command.Fetch: fetch.fetch,
    command.Store: change.store,
}
_REVOKED = "Your password or account has changed; log in again"
_BAD = frozenset({Condition.SYNTAX, Condition.BAD_ARGUMENT, Condition.BAD_SEQUENCE})
_COUNTED = frozenset({*_BAD, Condition.AUTH_FAILED, Condition.TLS_REQUIRED})


class ImapSession:
    def __init__(self, services: Services, listener: Listener) -> None:
        self._services = services
        self._listener = listener
        self._limits = services.limits.imap
        self._connection: Connection | None = None

    @property
    def timeout(self) -> float:
        connection = self._connection
        if connection is None:
            return self._limits.login
        if connection.state is State.NOT_AUTHENTICATED:
            return max(0.0, connection.login_deadline - self._services.clock.monotonic())
        if connection.idling is not None:
            return self._limits.heartbeat
        return self._limits.body_idle if connection.incoming is not None else self._limits.idle

    async def handle(self, event: object) -> Stream:
        connection = self._connection
        if connection is None:
            if isinstance(event, Opened):
                self._connection = Connection.begin(self._services, self._listener, event)
                yield Wire(self._greeting(self._connection))
            return
        streamed = _STREAMED.get(type(event))
        tag = _tag(connection, event)
        left: Answers = ()
        try:
            if streamed is None:
                left = await self._answer(connection, event)
            else:
                async with aclosing(streamed(connection, event)) as answers:
                    async for answer in answers:
                        if isinstance(answer, Tagged):
                            left = (answer,)
                        else:
                            yield answer
        except MailError as error:
            if tag is None:
                raise
            left = await self._refuse(connection, tag, error)
        for answer in left:
            if not isinstance(answer, Tagged):
                yield answer
                continue
            shows = _shows(event)
            await self._look(connection, shows)
            for line in self._news(connection, shows, with_uid=getattr(event, "is_uid", True)):
                yield line
            if connection.view is not None and connection.view.is_deleted:
                return
            yield self._ended(connection, answer, shows)

    async def pushed(self) -> Stream:
        connection = self._connection
        if connection is None:
            return
        if connection.is_revoked and not await self._is_still_welcome(connection):
            for answer in farewell(_REVOKED, b"EXPIRED"):
                yield answer
        elif connection.idling is not None and connection.is_stale:
            await self._look(connection, Shows.EVERYTHING)
            for answer in self._news(connection, Shows.EVERYTHING):
                yield answer

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.stop_watching is not None:
            connection.stop_watching()
        if connection.identity is not None:
            self._services.connections.leave(connection.identity.account.ref.id)
        connection.view = None
        await append.abandon(connection)

    # ------------------------------------------------------------ what is no command

    def _greeting(self, connection: Connection) -> bytes:
        code = b"CAPABILITY " + b" ".join(login.offered(connection))
        return response.condition(b"", Ending.OK, f"{self._services.host_name} Postane is ready", code)

    async def _answer(self, connection: Connection, event: object) -> Answers:
        answer = _ANSWERED.get(type(event))
        if answer is not None:
            is_too_late = self._is_too_late(connection)
            return farewell("You have not logged in in time") if is_too_late else await answer(connection, event)
        match event:
            case Secured():
                connection.secured = event
                connection.errors = 0
            case TimedOut():
                return await self._timed_out(connection)
            case Closed(shutdown=True):
                return farewell("The server is stopping; come back soon", b"UNAVAILABLE")
            case Wrong():
                await append.abandon(connection)
                ending = () if event.is_no else self._count_error(connection, is_fatal=event.is_fatal)
                return (_complaint(event), *ending)
        return ()

    async def _timed_out(self, connection: Connection) -> Answers:
        """A waiting client gets a sign of life, which also keeps its way through firewalls open; others are let go."""
        if connection.idling is None:
            return farewell("You have said nothing for too long")
        if not await self._is_still_welcome(connection):
            return farewell(_REVOKED, b"EXPIRED")
        await self._look(connection, Shows.EVERYTHING)
        return Wire(b"* OK Still here\r\n"), *self._news(connection, Shows.EVERYTHING)

    def _is_too_late(self, connection: Connection) -> bool:
        """One who talks on and on never times out."""
        is_waited_for = connection.state is State.NOT_AUTHENTICATED
        return is_waited_for and self._services.clock.monotonic() >= connection.login_deadline

    async def _is_still_welcome(self, connection: Connection) -> bool:
        connection.is_revoked = False
        return connection.identity is None or await self._services.accounts.still_valid(connection.identity)

    def _count_error(self, connection: Connection, *, is_fatal: bool = False) -> tuple[object, ...]:
        connection.errors += 1
        if is_fatal:
            return farewell("What you say can't be followed any more")
        return farewell("Too many errors") if connection.errors >= self._limits.errors else ()

    # ------------------------------------------------------------ the end of a command

    async def _refuse(self, connection: Connection, tag: bytes, error: MailError) -> Answers:
        if error.detail:
            self._services.log.info("imap.refused", reason=error.text, detail=error.detail)
        await append.abandon(connection)
        ending = self._count_error(connection) if error.condition in _COUNTED else ()
        return (_refusal(connection, tag, error), *ending)

    async def _look(self, connection: Connection, shows: Shows) -> None:
        """Ask what has changed in the selected mailbox."""
        connection.is_stale = False
        if connection.view is None or shows is Shows.NOTHING:
            return
        try:
            await connection.view.refresh()
        except MailError as error:  # the command itself has been done; the news come with the next one
            self._services.log.warning("imap.no_news", detail=error.detail or error.text)

    def _news(self, connection: Connection, shows: Shows, *, with_uid: bool = True) -> Iterable[object]:
        """A mailbox that is gone ends the connection: nothing else says that nothing is selected any more."""
        if connection.view is None:
            return ()
        if connection.view.is_deleted:
            return farewell("The selected mailbox has been deleted")
        return connection.view.report(shows, with_uid=with_uid)

    def _ended(self, connection: Connection, tagged: Tagged, shows: Shows) -> Tagged:
        if tagged.state is not None:
            connection.state = tagged.state
        if tagged.status is Ending.OK and connection.identity is not None:
            connection.errors = 0
        view = connection.view
        if view is not None and view.withholds and shows is Shows.ALL_BUT_EXPUNGE and not tagged.code:
            return replace(tagged, code=b"EXPUNGEISSUED")  # RFC 5530 3: a NOOP would tell which
        return tagged


def _tag(connection: Connection, event: object) -> bytes | None:
    """Of the command that an event belongs to."""
    if isinstance(event, command.Command):
        return event.tag
    if isinstance(event, command.SaslResponse):
        return connection.exchange.tag if connection.exchange else None
    return connection.incoming.tag if connection.incoming else None


def _shows(event: object) -> Shows:
    """RFC 3501 7.4.1: no EXPUNGE while numbers are being used; UID commands do not use them."""
    match event:
        case command.Fetch(is_uid=False) | command.Search(is_uid=False) | command.Store(is_uid=False):
            return Shows.ALL_BUT_EXPUNGE
        case command.Select() | Wrong():
            return Shows.NOTHING
        case _:
            return Shows.EVERYTHING


def _refusal(connection: Connection, tag: bytes, error: MailError) -> Tagged:
    status = Ending.BAD if error.condition in _BAD else Ending.NO
    # RFC 3501 6.3.1: a SELECT that fails leaves nothing selected.
    has_left = connection.state is State.SELECTED and connection.view is None
    state = State.AUTHENTICATED if has_left else None
    return Tagged(tag, status, error.text, error.condition.imap.encode("ascii"), state)


def _complaint(wrong: Wrong) -> Tagged | Wire:
    status = Ending.NO if wrong.is_no else Ending.BAD
    if wrong.tag:
        return Tagged(wrong.tag, status, wrong.text, wrong.code)
    return Wire(response.condition(b"", status, wrong.text, wrong.code))
