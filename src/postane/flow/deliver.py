"""Parsed once, at delivery: bytes and facts go to the store together.

(skeleton: the interface is settled, the bodies are being written)
"""

from __future__ import annotations

from postane.core.flags import NO_FLAGS, Flag
from postane.core.limits import MimeLimits
from postane.store.api import AccountRef, Facts, Filed, MailStore, Role, Staged

PARSED_BY = 1


def facts_of(data: bytes | memoryview, limits: MimeLimits) -> Facts:
    """One scan of a whole message (without its prefix); never raises for what the bytes say."""
    raise NotImplementedError


class Filing:
    """Puts a staged message into a mailbox."""

    def __init__(self, mail: MailStore, limits: MimeLimits) -> None: ...

    async def file(
        self,
        account: AccountRef,
        mailbox: int | Role,
        staged: Staged,
        *,
        internal_date: int,
        prefix: bytes = b"",
        flags: Flag = NO_FLAGS,
        keywords: tuple[str, ...] = (),
        delivery_id: str | None = None,
        facts: Facts | None = None,
    ) -> Filed:
        """Scans (in a thread where it is large) unless `facts` are given, then one `Append`.  Leaves `staged` open."""
        raise NotImplementedError
