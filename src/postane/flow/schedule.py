"""When a recipient is tried again, when the sender hears that it takes long, and when it is given up.

RFC 5321 4.5.4.1: less and less often, for four to five days at least.  The first
waits are short, because a greylisting server wants minutes, not half an hour;
chance spreads what failed together.  Pure functions: chance and time are given.
"""

from __future__ import annotations

from dataclasses import dataclass

from postane.store.api import QueuedMessage

EVEN_CHANCE = 0.5


@dataclass(frozen=True, slots=True)
class Schedule:
    """All in seconds, but `jitter`: the part of a wait by which chance makes it shorter or longer."""

    first_wait: int = 60
    longest_wait: int = 4 * 3600
    jitter: float = 0.2
    notice_after: int = 4 * 3600
    give_up_after: int = 5 * 86_400

    def wait(self, attempts: int, chance: float = EVEN_CHANCE) -> int:
        """After the n-th attempt: the first wait, doubled each time, up to the longest; `chance` is in [0, 1)."""
        doublings = min(max(attempts, 1) - 1, 30)
        even = min(self.first_wait << doublings, self.longest_wait)
        return max(1, round(even * (1 + self.jitter * (2 * chance - 1))))

    def give_up_at(self, message: QueuedMessage) -> int:
        return message.expires or message.arrived_at + self.give_up_after

    def next_attempt(self, message: QueuedMessage, attempts: int, now: int, chance: float = EVEN_CHANCE) -> int | None:
        """None where its time is over.

        An attempt falls on the very end, and one on the moment from which the sender is to be told of the delay.
        """
        end = self.give_up_at(message)
        if now >= end:
            return None
        notice = message.arrived_at + self.notice_after
        latest = min(notice, end) if now < notice else end
        return min(now + self.wait(attempts, chance), latest)

    def is_late(self, message: QueuedMessage, now: int) -> bool:
        """Its sender should know that it has not arrived yet."""
        return now >= message.arrived_at + self.notice_after
