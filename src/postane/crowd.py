"""How many are here: connections in all, by address and by account, over all workers (`net.counters`)."""

from __future__ import annotations

import ipaddress

from postane.core.limits import ConnectionLimits
from postane.net.counters import SharedCounters

_ALL = b"all"


class Crowd:
    """`limits` may be changed while it is at work."""

    def __init__(self, counters: SharedCounters, limits: ConnectionLimits) -> None:
        self._counters = counters
        self.limits = limits

    def enter_address(self, host: str) -> bool:
        """False where there are too many, in all or from this address; nothing is counted then."""
        if not self._counters.enter(_ALL, self.limits.total):
            return False
        if self._counters.enter(_network(host), self.limits.per_address):
            return True
        self._counters.leave(_ALL)
        return False

    def leave_address(self, host: str) -> None:
        self._counters.leave(_network(host))
        self._counters.leave(_ALL)

    def enter(self, account_id: int) -> bool:
        """False where the account has too many; nothing is counted then."""
        return self._counters.enter(b"account %d" % account_id, self.limits.per_account)

    def leave(self, account_id: int) -> None:
        self._counters.leave(b"account %d" % account_id)


def _network(host: str) -> bytes:
    """One household has a whole IPv6 /64 to come from (RFC 4291 2.5.1); "" is a Unix socket."""
    if ":" not in host:
        return b"host " + host.encode()
    address = ipaddress.IPv6Address(host)
    return b"net " + (address.packed if address.is_loopback else address.packed[:8])
