"""How a mailbox's counters move when entries come, go or change."""

from __future__ import annotations

from dataclasses import dataclass

from postane.core.flags import Flag

_SEEN, _DELETED = int(Flag.SEEN), int(Flag.DELETED)


@dataclass(slots=True)
class Counts:
    """The difference, in the order in which the statements take it: `values()`."""

    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    bytes: int = 0
    deleted_bytes: int = 0

    def add(self, flags: int, size: int) -> None:
        self.messages += 1
        self.bytes += size
        if not flags & _SEEN:
            self.unseen += 1
        if flags & _DELETED:
            self.deleted += 1
            self.deleted_bytes += size

    def take(self, flags: int, size: int) -> None:
        self.messages -= 1
        self.bytes -= size
        if not flags & _SEEN:
            self.unseen -= 1
        if flags & _DELETED:
            self.deleted -= 1
            self.deleted_bytes -= size

    def values(self) -> tuple[int, int, int, int, int]:
        return self.messages, self.unseen, self.deleted, self.bytes, self.deleted_bytes
