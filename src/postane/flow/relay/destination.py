"""How hard one destination is pressed, and the connections to it that wait for another message.

It begins with a few connections at once, gets more with every success and half
as many after every failure or 421 (RFC 5321 3.8: the server wants less).  Where as
many deliveries in a row have failed as it may have at once, it rests: whoever comes
then hears at once what the last one heard, and waits by the message's own schedule.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque

from postane.core.clock import Clock
from postane.core.limits import RelayLimits
from postane.flow.relay.conversation import Conversation
from postane.flow.relay.verdict import Fate, Verdict

FIRST_WINDOW = 5.0
FIRST_REST = 30.0
LONGEST_REST = 600.0
_FORGOTTEN_AFTER = 900.0
"""Seconds after which what was learned of a destination is no longer true."""


class Destination:
    def __init__(self, limits: RelayLimits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._window = min(FIRST_WINDOW, limits.connections)
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[Conversation] = []
        self._failures = 0
        self._rests = 0
        self._rest_until = 0.0
        self._heard: Verdict | None = None
        self._used_at = clock.monotonic()

    # ------------------------------------------------------------ places

    async def enter(self) -> Verdict | None:
        """Waits for a place, to be given back by `leave`; a `Verdict` while it rests, and no place then."""
        while True:
            if self._heard is not None and self._clock.monotonic() < self._rest_until:
                return self._heard
            if self._running < int(self._window):
                self._running += 1
                return None
            await self._wait()

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._call(1)
            raise

    def leave(self) -> None:
        self._running -= 1
        self._used_at = self._clock.monotonic()
        self._call(1)

    def _call(self, count: int) -> None:
        """So many of those who wait look again."""
        while count and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1

    # ------------------------------------------------------------ learning

    def succeeded(self) -> None:
        """It has answered, yes or no."""
        self._failures = self._rests = 0
        self._heard = None
        self._window = min(self._window + 1 / self._window, float(self._limits.connections))
        self._call(1)

    def slow_down(self) -> None:
        self._window = max(1.0, self._window / 2)

    def failed(self, verdict: Verdict) -> None:
        """No server of it would talk."""
        self.slow_down()
        self._failures += 1
        if verdict.fate is Fate.DEFERRED and self._failures >= self._window:
            rest = min(FIRST_REST * 2**self._rests, LONGEST_REST)
            self._rests = min(self._rests + 1, 10)
            self._rest_until = self._clock.monotonic() + rest
            self._heard = verdict
            self._call(len(self._waiting))

    # ------------------------------------------------------------ connections

    def take_idle(self) -> Conversation | None:
        now = self._clock.monotonic()
        for conversation in reversed(self._idle):
            if now - conversation.idle_since < self._limits.idle:
                self._idle.remove(conversation)
                return conversation
        return None

    def keep(self, conversation: Conversation, *, is_fit: bool) -> None:
        """For another message if it is fit for that, else to be ended when there is time."""
        is_worn = conversation.is_over or conversation.messages >= self._limits.messages
        conversation.idle_since = self._clock.monotonic() if is_fit and not is_worn else -math.inf
        self._idle.append(conversation)

    def take_old(self, *, everything: bool = False) -> list[Conversation]:
        """Those that are not fit any more, or have waited long enough, to be ended."""
        now = self._clock.monotonic()
        old = [one for one in self._idle if everything or now - one.idle_since >= self._limits.idle]
        self._idle = [one for one in self._idle if one not in old]
        return old

    @property
    def is_forgettable(self) -> bool:
        is_busy = self._running or self._waiting or self._idle
        now = self._clock.monotonic()
        return not is_busy and now >= self._rest_until and now - self._used_at >= _FORGOTTEN_AFTER
