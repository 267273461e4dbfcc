"""Recipients of one envelope, and the accounts and addresses elsewhere that they lead to.

RFC 3461 5.2.7: what a recipient asks to be told goes along behind an alias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from postane.core.address import Address
from postane.flow.accounts import Destination, Local, Remote


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RCPT that was accepted: `address` as said, where it leads, and what is to be told (`Rcpt`)."""

    address: Address
    ends: tuple[Destination, ...]
    notify: str = ""
    orcpt: str = ""

    @property
    def text(self) -> str:
        """The address for people and trace fields; a bare <Postmaster> has no domain and shows none."""
        return str(self.address) if self.address.domain else self.address.local

    @property
    def is_forwarded(self) -> bool:
        """It is one of ours and leads elsewhere."""
        return any(isinstance(end, Remote) and end.address.key != self.address.key for end in self.ends)


@dataclass(frozen=True, slots=True)
class Target:
    """One place that recipients lead to; `recipient` is the first of them."""

    end: Destination
    recipient: Recipient
    notify: str

    @property
    def address(self) -> str:
        return self.end.account.address if isinstance(self.end, Local) else str(self.end.address)


def targets_of(recipients: Sequence[Recipient]) -> tuple[Target, ...]:
    """Each account and each address elsewhere once.

    RFC 3461 5.2.7.3: of those behind one alias the first alone tells of success, each of failure and delay.
    """
    targets: dict[str, Target] = {}
    for recipient in recipients:
        notify = recipient.notify
        for end in recipient.ends:
            key = f"#{end.account.ref.id}" if isinstance(end, Local) else end.address.key
            targets.setdefault(key, Target(end, recipient, notify))
            notify = _without_success(notify)
    return tuple(targets.values())


def _without_success(notify: str) -> str:
    kept = [keyword for keyword in notify.split(",") if keyword != "SUCCESS"]
    return ",".join(kept) if kept else "NEVER"
