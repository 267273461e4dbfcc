"""Time as a port, so that tests turn it by hand and nothing sleeps to see a schedule pass."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never goes back."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(slots=True)
class TurnedClock:
    """A clock that moves only when told."""

    seconds: float = 1_750_000_000.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def turn(self, seconds: float) -> None:
        self.seconds += seconds
