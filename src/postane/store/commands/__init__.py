"""Each command as a script: what it checks and what it changes, whole, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from postane.store.api import (
    AccountRef,
    Append,
    ClaimRecent,
    Command,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    Expunge,
    Move,
    Purge,
    RenameMailbox,
    SetQuota,
    StoreFlags,
    Subscribe,
)
from postane.store.commands import account as accounts
from postane.store.commands import append, copy, expunge, flags, mailboxes
from postane.store.commands.account import Context, Done
from postane.store.script import Script, T

_SCRIPTS: Mapping[type[Command[Any]], Callable[[AccountRef, Any, Context], Script[Done[Any]]]] = MappingProxyType(
    {
        Append: append.append,
        StoreFlags: flags.store_flags,
        Copy: copy.copy,
        Move: copy.move,
        Expunge: expunge.expunge,
        Purge: expunge.purge,
        CreateMailbox: mailboxes.create,
        DeleteMailbox: mailboxes.delete,
        RenameMailbox: mailboxes.rename,
        Subscribe: mailboxes.subscribe,
        ClaimRecent: mailboxes.claim_recent,
        SetQuota: accounts.set_quota,
    }
)


def script_of(account: AccountRef, command: Command[T], context: Context) -> Script[Done[T]]:
    return _SCRIPTS[type(command)](account, command, context)
