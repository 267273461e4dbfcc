"""APPEND (RFC 3501 6.3.11) with APPENDUID (RFC 4315 3): the message streams into staging, then is filed whole.

Refused before a byte of it is asked for: a mailbox that is not there
(TRYCREATE), a message too large, one that the quota does not hold.  Refused
after it: an empty message, and by the engine one with a NUL.
"""

from __future__ import annotations

from postane.core.flags import Flag
from postane.core.status import Condition, MailError
from postane.proto.imap.command import (
    AppendBegin,
    AppendChunk,
    AppendEnd,
    AppendMessage,
    Ending,
    Proceed,
    Tagged,
)
from postane.session.imap.connection import Answers, Connection, Incoming
from postane.store.api import Mailbox


async def begin(connection: Connection, command: AppendBegin) -> Answers:
    await abandon(connection)
    mailbox = await target(connection, command.mailbox)
    connection.incoming = Incoming(command.tag, mailbox.id)
    return ()


async def message(connection: Connection, event: AppendMessage) -> Answers:
    incoming = _incoming(connection)
    services, account = connection.services, connection.account
    largest = services.limits.imap.append_bytes
    if event.size > largest:
        raise MailError(Condition.MESSAGE_TOO_LARGE, f"The message has {event.size} octets; {largest} are taken")
    usage = await services.mail.usage(account)
    if usage.quota_bytes and usage.bytes + event.size > usage.quota_bytes:
        raise MailError(Condition.OVER_QUOTA, "The quota does not hold this message; delete some first")
    if usage.quota_messages and usage.messages >= usage.quota_messages:
        raise MailError(Condition.OVER_QUOTA, "The quota holds no more messages; delete some first")
    incoming.flags = event.flags
    incoming.keywords = event.keywords
    incoming.internal_date = int(services.clock.now()) if event.internal_date is None else event.internal_date
    incoming.writer = services.staging.begin()
    return (Proceed(),)


async def chunk(connection: Connection, event: AppendChunk) -> Answers:
    """A failure is kept for the end, when the client listens again."""
    incoming = _incoming(connection)
    if incoming.writer is not None and incoming.failure is None:
        try:
            await incoming.writer.write(event.data)
        except MailError as error:
            incoming.failure = error
    return ()


async def end(connection: Connection, command: AppendEnd) -> Answers:
    incoming = _incoming(connection)
    if incoming.failure is not None or incoming.writer is None:
        raise incoming.failure or MailError(Condition.SYNTAX, "APPEND came without a message")
    staged = await incoming.writer.finish()
    incoming.writer = None
    try:
        if staged.size == 0:
            raise MailError(Condition.BAD_CONTENT, "An empty message can't be kept")
        filed = await connection.services.filing.file(
            connection.account,
            incoming.mailbox,
            staged,
            internal_date=incoming.internal_date,
            flags=Flag(incoming.flags),
            keywords=incoming.keywords,
        )
    finally:
        await staged.close()
    connection.incoming = None
    code = b"APPENDUID %d %d" % (filed.uidvalidity, filed.uid)
    return (Tagged(command.tag, Ending.OK, "APPEND completed", code),)


async def abandon(connection: Connection) -> None:
    """Throw away what came of a message."""
    incoming, connection.incoming = connection.incoming, None
    if incoming is not None and incoming.writer is not None:
        await incoming.writer.abort()


async def target(connection: Connection, name: str) -> Mailbox:
    """A mailbox that messages can be put into (RFC 3501 6.3.11, 6.4.7); TRYCREATE where it is missing."""
    try:
        mailbox = await connection.services.mail.mailbox(connection.account, name)
    except MailError as error:
        if error.condition is not Condition.MAILBOX_NONEXISTENT:
            raise
        raise MailError(Condition.TRY_CREATE, "There is no such mailbox; create it first") from error
    if not mailbox.selectable:
        raise MailError(Condition.TRY_CREATE, "This is only a level of the hierarchy; create the mailbox first")
    return mailbox


def _incoming(connection: Connection) -> Incoming:
    if connection.incoming is None:
        raise MailError(Condition.BAD_SEQUENCE, "No APPEND is under way")
    return connection.incoming
