"""Mailboxes made, deleted, renamed, subscribed; \\Recent claimed.

A deleted mailbox keeps its row with a mark and everything in it, so deleting
costs the same for any size.  Where children remain, a row that cannot be
selected takes its place; a mailbox made there again gets a new UIDVALIDITY from
the account's counter, which only rises.
"""

from __future__ import annotations

from postane.core.ids import new_id
from postane.core.status import Condition, MailError
from postane.store import mailbox_name, sql, tree
from postane.store.api import (
    DELIMITER,
    INBOX,
    AccountRef,
    ClaimRecent,
    CreateMailbox,
    DeleteMailbox,
    Mailbox,
    RenameMailbox,
    Role,
    Subscribe,
)
from postane.store.commands.account import ROWS, Context, Done, begin, numbers, take_ids
from postane.store.commands.copy import move_rows
from postane.store.mailbox_name import Path
from postane.store.script import Row, Script

ROLE_BY_NAME = {
    "Archive": Role.ARCHIVE,
    "Drafts": Role.DRAFTS,
    "Junk": Role.JUNK,
    "Sent": Role.SENT,
    "Trash": Role.TRASH,
}
"""What everyone has from the start, and what a name says of a mailbox made later."""


def create(account: AccountRef, command: CreateMailbox, context: Context) -> Script[Done[Mailbox]]:
    path = mailbox_name.parse(command.name, context.limits)
    begun = yield from begin(account)
    if command.role is not Role.NONE:
        taken = yield sql.MAILBOX_BY_ROLE, (account.id, command.role.value)
        if taken:
            raise MailError(Condition.MAILBOX_EXISTS, f"another mailbox is already the one for {command.role.value}")
    role = command.role if command.role is not Role.NONE else (yield from _free_role(account, path))
    parent = yield from _make_parents(account, path, context, begun.modseq)
    id_ = yield from _make(account, parent, path[-1], role, context, begun.modseq)
    if command.subscribe:
        yield sql.SUBSCRIBE, (account.id, DELIMITER.join(path))
    made = yield from tree.by_id(account, id_)
    return Done(made, begun.modseq)


def _free_role(account: AccountRef, path: Path) -> Script[Role]:
    """Who deleted Sent and has it made again, by hand or by a client, has it with its role again."""
    role = ROLE_BY_NAME.get(path[0], Role.NONE) if len(path) == 1 else Role.NONE
    taken = yield sql.MAILBOX_BY_ROLE, (account.id, role.value)
    return Role.NONE if taken else role


def _make_parents(account: AccountRef, path: Path, context: Context, modseq: int) -> Script[int]:
    """RFC 3501 6.3.3: the names above `path` are made too; returns the id of the last of them."""
    parent = tree.ROOT
    for part in path[:-1]:
        rows = yield sql.MAILBOX_BY_NAME, (account.id, parent, part)
        if rows:
            parent = rows[0][0]
        else:
            parent = yield from _insert(account, parent, part, Role.NONE, context, modseq)
    return parent


def _make(account: AccountRef, parent: int, leaf: str, role: Role, context: Context, modseq: int) -> Script[int]:
    rows = yield sql.MAILBOX_BY_NAME, (account.id, parent, leaf)
    if not rows:
        return (yield from _insert(account, parent, leaf, role, context, modseq))
    there = tree.mailbox_of(rows[0], leaf)
    if there.selectable:
        raise MailError(Condition.MAILBOX_EXISTS, "there is a mailbox of that name already")
    uidvalidity = yield from _take_uidvalidity(account)
    yield sql.MAKE_SELECTABLE, (new_id(), role.value, uidvalidity, modseq, modseq, account.id, there.id)
    return there.id


def _insert(
    account: AccountRef, parent: int, leaf: str, role: Role, context: Context, modseq: int, selectable: int = 1
) -> Script[int]:
    count = yield sql.MAILBOX_COUNT, (account.id,)
    if count[0][0] >= context.limits.mailboxes:
        raise MailError(Condition.MAILBOX_LIMIT, f"an account may have {context.limits.mailboxes} mailboxes")
    id_ = yield from take_ids(account, 1)
    uidvalidity = yield from _take_uidvalidity(account)
    yield (
        sql.INSERT_MAILBOX,
        (account.id, id_, new_id(), parent, leaf, role.value, selectable, uidvalidity, modseq, modseq, modseq, modseq),
    )
    return id_


def _take_uidvalidity(account: AccountRef) -> Script[int]:
    rows = yield sql.TAKE_UIDVALIDITY, (account.id,)
    return int(rows[0][0]) - 1


def delete(account: AccountRef, command: DeleteMailbox, context: Context) -> Script[Done[None]]:
    begun = yield from begin(account)
    path = _parse_existing(command.name, context)
    if path == (INBOX,):
        raise MailError(Condition.MAILBOX_BAD_NAME, "INBOX cannot be deleted")
    row = yield from tree.get(account, path)
    mailbox = tree.mailbox_of(row, command.name)
    children = yield sql.HAS_CHILDREN, (account.id, mailbox.id)
    if children and not mailbox.selectable:
        raise MailError(Condition.MAILBOX_HAS_CHILDREN, "this name only holds others below it; delete those first")
    marked = yield sql.MARK_MAILBOX, (begun.modseq, context.now, account.id, mailbox.id)
    messages, size = marked[0]
    yield sql.MARK_BYTES, (messages, size, messages, size, account.id)
    if children:
        parent, leaf = row[1], row[2]
        stand_in = yield from _insert(account, parent, leaf, Role.NONE, context, begun.modseq, selectable=0)
        yield sql.MOVE_CHILDREN, (stand_in, begun.modseq, account.id, mailbox.id)
    return Done(None, begun.modseq)


def _parse_existing(name: str, context: Context) -> Path:
    """A name that cannot be is the name of no mailbox."""
    try:
        return mailbox_name.parse(name, context.limits)
    except MailError as error:
        raise MailError(Condition.MAILBOX_NONEXISTENT, "there is no such mailbox", error.text) from error


def rename(account: AccountRef, command: RenameMailbox, context: Context) -> Script[Done[None]]:
    begun = yield from begin(account)
    source = _parse_existing(command.name, context)
    target = mailbox_name.parse(command.new_name, context.limits)
    row = yield from tree.get(account, source)
    if target == source or (yield from tree.find(account, target)) is not None:
        raise MailError(Condition.MAILBOX_EXISTS, "there is a mailbox of the new name already")
    if source == (INBOX,):
        yield from _rename_inbox(account, row, target, context, begun.modseq)
    else:
        yield from _rename(account, row, source, target, context, begun.modseq)
    return Done(None, begun.modseq)


def _rename_inbox(account: AccountRef, inbox: Row, target: Path, context: Context, modseq: int) -> Script[None]:
    """RFC 3501 6.3.5: its messages, at most ROWS now, go to a new mailbox; INBOX stays and keeps its children."""
    parent = yield from _make_parents(account, target, context, modseq)
    made = yield from _make(account, parent, target[-1], Role.NONE, context, modseq)
    uids = yield sql.LIVING_UIDS, (account.id, inbox[0])
    rows = yield sql.LIVING, (account.id, inbox[0], numbers(row[0] for row in uids[:ROWS]))
    yield from move_rows(account, rows, inbox[0], made, modseq, context.now)


def _rename(account: AccountRef, row: Row, source: Path, target: Path, context: Context, modseq: int) -> Script[None]:
    """The row moves, and its children with it; every one of them must keep within the bounds."""
    if target[: len(source)] == source:
        raise MailError(Condition.MAILBOX_BAD_NAME, "a mailbox cannot be moved below itself")
    rows = yield sql.MAILBOXES, (account.id,)
    for path in tree.paths(rows).values():
        if path[: len(source)] == source:
            mailbox_name.check_bounds(target + path[len(source) :], context.limits)
    parent = yield from _make_parents(account, target, context, modseq)
    yield sql.MOVE_MAILBOX, (parent, target[-1], modseq, account.id, row[0])


def subscribe(account: AccountRef, command: Subscribe, context: Context) -> Script[Done[None]]:
    """A name need not exist to be subscribed (RFC 3501 6.3.6); one that cannot exist is refused."""
    begun = yield from begin(account)
    if command.subscribed:
        name = DELIMITER.join(mailbox_name.parse(command.name, context.limits))
        yield sql.SUBSCRIBE, (account.id, name)
    else:
        name = DELIMITER.join(_parse_existing(command.name, context))
        yield sql.UNSUBSCRIBE, (account.id, name)
    return Done(None, begun.modseq)


def claim_recent(account: AccountRef, command: ClaimRecent, context: Context) -> Script[Done[int]]:
    begun = yield from begin(account)
    mailbox = yield from tree.by_id(account, command.mailbox)
    yield sql.CLAIM_RECENT, (begun.modseq, account.id, command.mailbox)
    return Done(mailbox.recent_from, begun.modseq)
