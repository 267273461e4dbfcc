"""What changes messages in the selected mailbox: STORE, COPY, MOVE, EXPUNGE, CLOSE, UNSELECT.

RFC 3501 6.4.2, 6.4.3, 6.4.6, 6.4.7; MOVE (RFC 6851); COPYUID and UID EXPUNGE
(RFC 4315); UNSELECT (RFC 3691).  What a command has changed is told with
everything else that has changed, before its tagged answer.

Refused: changes to a mailbox that is selected read-only; a COPY of messages
that another client has expunged, as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from postane.core.flags import Flag
from postane.core.status import Condition, MailError
from postane.proto.imap.command import (
    Close,
    CopyCommand,
    Ending,
    ExpungeCommand,
    State,
    Store,
    StoreMode,
    Tagged,
    Wire,
)
from postane.session.imap.append import target
from postane.session.imap.connection import Answers, Connection, Stream
from postane.session.imap.view import Access, Shows, View
from postane.store.api import Copied, Copy, Expunge, FlagChange, Move, StoreFlags

BATCH = 2000
"""The most messages whose flags change in one commit (STORE.md rule 5)."""

_CHANGES = {
    StoreMode.REPLACE: FlagChange.REPLACE,
    StoreMode.ADD: FlagChange.ADD,
    StoreMode.REMOVE: FlagChange.REMOVE,
}


async def store(connection: Connection, command: Store) -> Stream:
    view = connection.writable
    uids = view.uids_in(view.ranges(command.set, command.is_uid))
    if command.is_silent:
        await view.refresh()  # what others have changed until now is told, also of these messages
    async for line in store_flags(
        connection,
        view,
        uids,
        _CHANGES[command.mode],
        command.flags,
        command.keywords,
        is_silent=command.is_silent,
        with_uid=command.is_uid,
    ):
        yield line
    yield Tagged(command.tag, Ending.OK, "STORE completed")


async def store_flags(
    connection: Connection,
    view: View,
    uids: Sequence[int],
    change: FlagChange,
    flags: Flag,
    keywords: tuple[str, ...] = (),
    *,
    is_silent: bool = False,
    with_uid: bool = True,
) -> Stream:
    """One commit for each `BATCH` of them; what has come of it is told as it goes."""
    for first in range(0, len(uids), BATCH):
        stored = await connection.services.mail.write(
            connection.account, StoreFlags(view.mailbox.id, uids[first : first + BATCH], change, flags, keywords)
        )
        view.absorb(stored.modseq, stored.changed, is_silent=is_silent)
        for line in view.report(Shows.ALL_BUT_EXPUNGE, with_uid=with_uid):
            yield line


async def copy(connection: Connection, command: CopyCommand) -> Answers:
    """RFC 3501 6.4.7, RFC 6851 3.3; COPYUID by RFC 4315 3, for MOVE before the EXPUNGEs."""
    view = connection.writable if command.move else connection.selected
    uids = view.uids_in(view.ranges(command.set, command.is_uid))
    mailbox = await target(connection, command.mailbox)
    verb = "MOVE" if command.move else "COPY"
    if not uids:
        return (Tagged(command.tag, Ending.OK, f"{verb} found no such message"),)
    kind = Move if command.move else Copy
    copied: Copied = await connection.services.mail.write(connection.account, kind(view.mailbox.id, uids, mailbox.id))
    if not copied.sources:
        raise MailError(Condition.EXPUNGE_ISSUED, "These messages are no longer there")
    code = b"COPYUID %d %b %b" % (copied.uidvalidity, _uid_set(copied.sources), _uid_set(copied.targets))
    if command.move:
        return Wire(b"* OK [%b] Moved\r\n" % code), Tagged(command.tag, Ending.OK, "MOVE completed")
    return (Tagged(command.tag, Ending.OK, "COPY completed", code),)


def _uid_set(uids: Sequence[int]) -> bytes:
    """RFC 4315 4 uid-set, in the order given; runs that rise by one are ranges."""
    runs: list[bytes] = []
    start = 0
    for at in range(1, len(uids) + 1):
        if at == len(uids) or uids[at] != uids[at - 1] + 1:
            first, last = uids[start], uids[at - 1]
            runs.append(b"%d" % first if first == last else b"%d:%d" % (first, last))
            start = at
    return b",".join(runs)


async def expunge(connection: Connection, command: ExpungeCommand) -> Answers:
    view = connection.writable
    uids = None if command.uids is None else view.uids_in(view.ranges(command.uids, is_uid=True))
    if uids is None or uids:
        await connection.services.mail.write(connection.account, Expunge(view.mailbox.id, uids))
    return (Tagged(command.tag, Ending.OK, "EXPUNGE completed"),)


async def close(connection: Connection, command: Close) -> Answers:
    """RFC 3501 6.4.2: what is \\Deleted goes without a word; after EXAMINE, and with UNSELECT, nothing does."""
    view = connection.selected
    if command.expunge and view.access is Access.READ_WRITE:
        await connection.services.mail.write(connection.account, Expunge(view.mailbox.id, None))
    connection.view = None
    verb = "CLOSE" if command.expunge else "UNSELECT"
    return (Tagged(command.tag, Ending.OK, f"{verb} completed", state=State.AUTHENTICATED),)
