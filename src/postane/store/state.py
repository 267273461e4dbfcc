"""What may be lost (`state.sqlite`), in SQL: for now which domains had working TLS.

Fills the port `TlsMemory` (`postane.flow.relay.ports`).  A domain is remembered for
`REMEMBERED` seconds after it last showed TLS, so that one that has given it up for
good is not shut out for ever.
"""

from __future__ import annotations

from postane.core.clock import Clock
from postane.store.schema import load
from postane.store.script import just
from postane.store.sqlite import Database

SCHEMA = load("state", 0x506F7353)  # "PosS"
REMEMBERED = 90 * 86_400
NOTED_AGAIN = 86_400
"""Seconds within which a second sight of the same domain writes nothing."""
_SHORTCUTS = 10_000


class SqlState:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._noted: dict[str, int] = {}

    async def close(self) -> None:
        await self._database.close()

    async def had_tls(self, domain: str) -> bool:
        since = int(self._clock.now()) - REMEMBERED
        select = "SELECT 1 FROM tls_memory WHERE domain = ? AND seen_at > ?"
        return bool(await self._database.read(just(select, (domain, since))))

    async def note_tls(self, domain: str) -> None:
        now = int(self._clock.now())
        if now - self._noted.get(domain, -NOTED_AGAIN) < NOTED_AGAIN:
            return
        upsert = "INSERT INTO tls_memory VALUES (?, ?) ON CONFLICT (domain) DO UPDATE SET seen_at = excluded.seen_at"
        await self._database.write(just(upsert, (domain, now)))
        if len(self._noted) >= _SHORTCUTS:
            self._noted.clear()
        self._noted[domain] = now

    async def forget(self) -> None:
        """Removes what is no longer remembered."""
        since = int(self._clock.now()) - REMEMBERED
        await self._database.write(just("DELETE FROM tls_memory WHERE seen_at <= ?", (since,)))
