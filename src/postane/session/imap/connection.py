"""What is known of one IMAP client: who it is, what it has selected, what is half done.

Commands of one connection are answered one after another, so nothing here is
ever changed by two at once; only `is_stale` and `is_revoked` are set from
outside, by hints.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from postane.core.dialogue import Endpoint, Hangup, Opened, Secured
from postane.core.listener import Listener
from postane.core.status import Condition, MailError
from postane.flow.accounts import Identity
from postane.proto.imap.command import State, Wire
from postane.proto.sasl import Mechanism
from postane.session.imap.view import Access, View
from postane.session.services import Services
from postane.store.api import AccountRef, StagingWriter

Answers = tuple[object, ...]
"""All that a command says, where that is little; its `Tagged` is among them."""
Stream = AsyncGenerator[object, None]
"""What a command says, where that may be much; its `Tagged` comes last."""


def farewell(text: str, code: bytes = b"") -> Answers:
    """RFC 3501 7.1.5: the last that is said."""
    spoken = text.encode("ascii", "replace").translate(None, b"\0\r\n")
    return Wire(b"* BYE [%b] %b\r\n" % (code, spoken) if code else b"* BYE %b\r\n" % spoken), Hangup()


@dataclass(slots=True)
class Exchange:
    """A SASL exchange under way."""

    tag: bytes
    mechanism: Mechanism


@dataclass(slots=True)
class Incoming:
    """An APPEND under way.  `failure` is what came between its bytes; the rest of them is then thrown away."""

    tag: bytes
    mailbox: int
    writer: StagingWriter | None = None
    flags: int = 0
    keywords: tuple[str, ...] = ()
    internal_date: int = 0
    failure: MailError | None = None


@dataclass(slots=True)
class Connection:
    services: Services
    listener: Listener
    peer: Endpoint
    ring: Callable[[], None]
    secured: Secured | None
    login_deadline: float
    """By the monotonic clock."""
    state: State = State.NOT_AUTHENTICATED
    identity: Identity | None = None
    view: View | None = None
    exchange: Exchange | None = None
    incoming: Incoming | None = None
    idling: bytes | None = None
    """The tag of an IDLE under way."""
    errors: int = 0
    is_stale: bool = False
    """A hint says that the account has changed."""
    is_revoked: bool = False
    """A hint says that the account's credentials or state may have changed."""
    stop_watching: Callable[[], None] | None = field(default=None, repr=False)

    @classmethod
    def begin(cls, services: Services, listener: Listener, opened: Opened) -> Connection:
        deadline = services.clock.monotonic() + services.limits.imap.login
        return cls(services, listener, opened.peer, opened.ring, opened.secured, deadline)

    @property
    def account(self) -> AccountRef:
        if self.identity is None:
            raise MailError(Condition.BAD_SEQUENCE, "Log in first")
        return self.identity.account.ref

    @property
    def selected(self) -> View:
        if self.view is None:
            raise MailError(Condition.BAD_SEQUENCE, "Select a mailbox first")
        return self.view

    @property
    def writable(self) -> View:
        view = self.selected
        if view.access is Access.READ_ONLY:
            raise MailError(Condition.MAILBOX_READ_ONLY, "The mailbox is selected read-only; use SELECT to change it")
        return view

    def changed(self) -> None:
        """Called by hints."""
        self.is_stale = True
        if self.idling is not None:
            self.ring()

    def revoked(self) -> None:
        """Called by hints."""
        self.is_revoked = True
        self.ring()
