"""What sessions are given: made once in `postane.app`, the same for every connection of a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from postane.core.clock import Clock
from postane.core.limits import Limits
from postane.core.log import Log
from postane.flow.accounts import Accounts
from postane.flow.deliver import Filing
from postane.store.api import Hints, MailStore, Staging, Trace


class AccountConnections(Protocol):
    """How many connections an account has, over all workers."""

    def enter(self, account_id: int) -> bool:
        """False where the account already has as many as `ConnectionLimits.per_account`; nothing is counted then."""

    def leave(self, account_id: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    host_name: str
    """Our own name, for greetings and trace fields."""
    accounts: Accounts
    mail: MailStore
    staging: Staging
    filing: Filing
    hints: Hints
    trace: Trace
    connections: AccountConnections
    limits: Limits
    clock: Clock
    log: Log
