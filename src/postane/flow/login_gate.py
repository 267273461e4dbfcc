"""A bounded number of logins at once, and a bounded number waiting.

Of those that wait, known pairs of address and account go first, so that a
flood of guesses from strangers does not keep people out who log in every day.
When no more may wait, a stranger is turned away, the latest one first.
"""

from __future__ import annotations

import asyncio

from postane.core.status import Condition, MailError


class LoginGate:
    """Whoever has passed `enter` calls `leave` once, from the loop's thread."""

    def __init__(self, concurrent: int, waiting: int) -> None:
        self._free = concurrent
        self._waiting = waiting
        self._known: dict[asyncio.Future[None], None] = {}
        self._strangers: dict[asyncio.Future[None], None] = {}

    async def enter(self, is_known: bool) -> None:
        """MailError AUTH_TEMPORARY where too many wait already."""
        if self._free:
            self._free -= 1
            return
        self._make_room(is_known)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._known if is_known else self._strangers
        queue[turn] = None
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn was given, then its owner was cancelled before it ran
                self.leave()
            raise
        finally:
            queue.pop(turn, None)

    def leave(self) -> None:
        for queue in (self._known, self._strangers):
            while queue:
                turn = next(iter(queue))
                del queue[turn]
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1

    def _make_room(self, is_known: bool) -> None:
        if len(self._known) + len(self._strangers) < self._waiting:
            return
        busy = MailError(Condition.AUTH_TEMPORARY, "too many logins are waiting; try again in a moment")
        if not (is_known and self._strangers):
            raise busy
        latest, _ = self._strangers.popitem()
        if not latest.done():
            latest.set_exception(busy)
