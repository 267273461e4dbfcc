"""Who may: finding the account behind an address, and believing a password.

(skeleton: the interface is settled, the bodies are being written)
"""

from __future__ import annotations

from dataclasses import dataclass

from postane.core.address import Address
from postane.core.dialogue import Endpoint
from postane.core.listener import Listener
from postane.store.api import Account


@dataclass(frozen=True, slots=True)
class Local:
    """A recipient who lives here.  `address` is what the envelope said."""

    account: Account
    address: Address


@dataclass(frozen=True, slots=True)
class Remote:
    """A recipient elsewhere."""

    address: Address


Destination = Local | Remote


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to log in.  `protocol` is "smtp", "imap" or "pop3"."""

    user: str
    password: str
    peer: Endpoint
    is_secured: bool
    listener: Listener
    protocol: str
    authorization: str = ""
    """SASL's authorization identity; refused unless it is empty or the same as `user`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who has logged in, and under which version of the account: `Accounts.still_valid` compares it."""

    account: Account
    version: int


class Accounts:
    async def resolve(self, address: Address) -> tuple[Destination, ...]:
        """Expands aliases (several targets, nested, loops cut), `user+tag`, catch-all, postmaster.

        A domain that is not ours gives one Remote.  UNKNOWN_RECIPIENT, MAILBOX_DISABLED.
        """
        raise NotImplementedError

    async def is_local(self, domain: str) -> bool:
        raise NotImplementedError

    def may_offer_login(self, listener: Listener, peer: Endpoint, is_secured: bool) -> bool:
        """Whether AUTH and LOGIN are advertised: TLS, loopback, or allowed by the listener's setting."""
        raise NotImplementedError

    async def login(self, attempt: Attempt) -> Identity:
        """TLS_REQUIRED (saying which port and security to choose), AUTH_FAILED, AUTH_TEMPORARY, MAILBOX_DISABLED."""
        raise NotImplementedError

    async def still_valid(self, identity: Identity) -> bool:
        """False once the account was removed, disabled, or given another password."""
        raise NotImplementedError

    async def may_send_as(self, identity: Identity, address: Address) -> bool:
        """Its own address (also with a tag), or an alias that leads to it."""
        raise NotImplementedError
