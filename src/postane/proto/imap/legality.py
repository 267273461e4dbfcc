"""Which command is legal in which state (RFC 3501 3 and 6); what is not in the table is refused."""

from __future__ import annotations

from postane.proto.imap.command import (
    AppendBegin,
    Authenticate,
    Capability,
    Check,
    Close,
    Command,
    CopyCommand,
    Create,
    Delete,
    Enable,
    ExpungeCommand,
    Fetch,
    Id,
    Idle,
    List,
    Login,
    Logout,
    Namespace,
    Noop,
    Rename,
    Search,
    Select,
    StartTlsCommand,
    State,
    Status,
    Store,
    SubscribeCommand,
    Wrong,
)

_ANY: tuple[type[Command], ...] = (Capability, Noop, Logout, Id)
_LOGGING_IN: tuple[type[Command], ...] = (StartTlsCommand, Login, Authenticate)
_MAILBOXES: tuple[type[Command], ...] = (
    AppendBegin,
    Create,
    Delete,
    Enable,
    Idle,
    List,
    Namespace,
    Rename,
    Select,
    Status,
    SubscribeCommand,
)
_MESSAGES: tuple[type[Command], ...] = (Check, Close, CopyCommand, ExpungeCommand, Fetch, Search, Store)

LEGAL: dict[State, frozenset[type[Command]]] = {
    State.NOT_AUTHENTICATED: frozenset((*_ANY, *_LOGGING_IN)),
    State.AUTHENTICATED: frozenset((*_ANY, *_MAILBOXES)),
    State.SELECTED: frozenset((*_ANY, *_MAILBOXES, *_MESSAGES)),
    State.LOGOUT: frozenset(),
}

_REASONS = {
    State.NOT_AUTHENTICATED: "Log in first",
    State.AUTHENTICATED: "Select a mailbox first",
    State.LOGOUT: "The connection is ending",
}


def illegal(command: Command, state: State) -> Wrong | None:
    """None where `command` is legal."""
    if type(command) in LEGAL[state]:
        return None
    if type(command) in LEGAL[State.NOT_AUTHENTICATED]:
        return Wrong(command.tag, "You are logged in already")
    return Wrong(command.tag, _REASONS[state])
