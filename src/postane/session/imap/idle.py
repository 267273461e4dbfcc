"""IDLE (RFC 2177): the client waits and is told at once; and NOOP and CHECK, for those that ask again and again.

What has changed is not said here but by the session, as after every command.
"""

from __future__ import annotations

from postane.proto.imap.command import Check, Continue, Ending, Idle, IdleDone, Noop, Tagged
from postane.session.imap.connection import Answers, Connection


async def noop(connection: Connection, command: Noop) -> Answers:
    return (Tagged(command.tag, Ending.OK, "Nothing done"),)


async def check(connection: Connection, command: Check) -> Answers:
    """RFC 3501 6.4.1: everything is on disk already."""
    return (Tagged(command.tag, Ending.OK, "Everything is kept"),)


async def idle(connection: Connection, command: Idle) -> Answers:
    connection.idling = command.tag
    connection.is_stale = True  # what has changed until now is told first
    return (Continue("idling"),)


async def idle_done(connection: Connection, event: IdleDone) -> Answers:
    tag, connection.idling = connection.idling, None
    if tag is None:
        return ()
    if event.is_done:
        return (Tagged(tag, Ending.OK, "Idling has ended"),)
    return (Tagged(tag, Ending.BAD, "IDLE is ended by DONE (RFC 2177)", b"CLIENTBUG"),)
