"""Mailboxes as a tree: rows with a parent and a leaf name become full paths."""

from __future__ import annotations

from postane.core.status import Condition, MailError
from postane.store import sql
from postane.store.api import DELIMITER, AccountRef, Mailbox, Role
from postane.store.mailbox_name import Path
from postane.store.script import Row, Rows, Script

ROOT = 0


def mailbox_of(row: Row, name: str) -> Mailbox:
    """A row of sql.MAILBOX... with its full path."""
    (id_, _, _, public_id, role, selectable, uidvalidity, uidnext, messages, unseen, deleted, size, modseq, recent) = (
        row
    )
    return Mailbox(
        id=id_,
        public_id=public_id,
        name=name,
        role=Role(role),
        selectable=bool(selectable),
        uidvalidity=uidvalidity,
        uidnext=uidnext,
        messages=messages,
        unseen=unseen,
        deleted=deleted,
        bytes=size,
        highest_modseq=modseq,
        recent_from=recent,
    )


def paths(rows: Rows) -> dict[int, Path]:
    """The path of every mailbox by id, parents before children, in the order of names."""
    children: dict[int, list[Row]] = {}
    for row in rows:
        children.setdefault(row[1], []).append(row)
    found: dict[int, Path] = {}
    stack: list[tuple[int, Path]] = [(ROOT, ())]
    while stack:
        parent, path = stack.pop()
        if parent != ROOT:
            found[parent] = path
        for row in sorted(children.get(parent, ()), key=lambda row: str(row[2]), reverse=True):
            stack.append((row[0], (*path, row[2])))
    return found


def every(account: AccountRef) -> Script[tuple[Mailbox, ...]]:
    rows = yield sql.MAILBOXES, (account.id,)
    by_id = {row[0]: row for row in rows}
    return tuple(mailbox_of(by_id[id_], DELIMITER.join(path)) for id_, path in paths(rows).items())


def find(account: AccountRef, path: Path) -> Script[Row | None]:
    """The row at `path`, or None."""
    parent, row = ROOT, None
    for part in path:
        rows = yield sql.MAILBOX_BY_NAME, (account.id, parent, part)
        if not rows:
            return None
        row = rows[0]
        parent = row[0]
    return row


def get(account: AccountRef, path: Path) -> Script[Row]:
    row = yield from find(account, path)
    if row is None:
        raise MailError(Condition.MAILBOX_NONEXISTENT, "there is no such mailbox")
    return row


def by_id(account: AccountRef, mailbox: int) -> Script[Mailbox]:
    """A living mailbox that can be selected, with its full path; MAILBOX_NONEXISTENT."""
    rows = yield sql.MAILBOX_BY_ID, (account.id, mailbox)
    if not rows or not rows[0][5]:
        raise MailError(Condition.MAILBOX_NONEXISTENT, "there is no such mailbox")
    row = rows[0]
    parts, parent = [row[2]], row[1]
    while parent != ROOT:
        above = yield sql.MAILBOX_BY_ID, (account.id, parent)
        parts.append(above[0][2])
        parent = above[0][1]
    return mailbox_of(row, DELIMITER.join(reversed(parts)))
