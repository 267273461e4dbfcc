"""A new account's first rows: its state, and the mailboxes everyone has, with their roles."""

from __future__ import annotations

from postane.core.ids import new_id
from postane.store import sql
from postane.store.api import INBOX, AccountRef, CreateMailbox, Role
from postane.store.commands.account import Context
from postane.store.commands.mailboxes import ROLE_BY_NAME, create
from postane.store.script import Script

_MAILBOXES = ((INBOX, Role.INBOX), *ROLE_BY_NAME.items())


def found(account: AccountRef, context: Context) -> Script[None]:
    """UIDVALIDITY begins at the time of day, so that an account made again under an old name is above the old one."""
    yield sql.INSERT_ACCOUNT, (account.id, account.generation, new_id(), context.now)
    for name, role in _MAILBOXES:
        yield from create(account, CreateMailbox(name, role, subscribe=True), context)
