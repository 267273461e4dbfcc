"""IDLE (RFC 2177): the client waits and is told at once; and NOOP and CHECK, for those that ask again and again."""

from __future__ import annotations

from postane.proto.imap.command import Check, Continue, Ending, Idle, IdleDone, Noop, Tagged
from postane.session.imap.connection import Answers, Connection
from postane.session.imap.view import Shows


async def noop(connection: Connection, command: Noop) -> Answers:
    yield Tagged(command.tag, Ending.OK, "Nothing done")


async def check(connection: Connection, command: Check) -> Answers:
    """RFC 3501 6.4.1: everything is on disk already."""
    yield Tagged(command.tag, Ending.OK, "Everything is kept")


async def idle(connection: Connection, command: Idle) -> Answers:
    connection.idling = command.tag
    connection.is_stale = True  # what has changed until now is told first
    yield Continue("idling")


async def idle_done(connection: Connection, event: IdleDone) -> Answers:
    tag, connection.idling = connection.idling, None
    if tag is None:
        return
    if event.is_done:
        yield Tagged(tag, Ending.OK, "Idling has ended")
    else:
        yield Tagged(tag, Ending.BAD, "IDLE is ended by DONE (RFC 2177)", b"CLIENTBUG")


async def news(connection: Connection, shows: Shows, *, with_uid: bool = True) -> Answers:
    """What has changed in the selected mailbox.  The caller looks at `view.is_deleted` afterwards."""
    connection.is_stale = False
    view = connection.view
    if view is None or shows is Shows.NOTHING:
        return
    await view.refresh()
    for line in view.report(shows, with_uid=with_uid):
        yield line
