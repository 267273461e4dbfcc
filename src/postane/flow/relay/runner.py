"""Works off the queue: leases what is due, hands it over here or relays it, and settles what came of it.

Every worker has one.  Whoever leases a recipient is alone with it; the leases of
deliveries that take long are renewed, and those of a worker that died run out, so
that another tries again.  Only what is being tried is in memory, and of it no more
than `RelayLimits.in_flight` recipients; a domain that is slow gets no more than its
share of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from postane.core.clock import Clock
from postane.core.limits import RelayLimits
from postane.core.log import Log
from postane.core.status import Condition, MailError
from postane.flow.accounts import Accounts
from postane.flow.queue import LEASE_SECONDS, HandOver
from postane.flow.relay.relay import Relay
from postane.flow.relay.route import Route
from postane.flow.relay.settlement import Settlement
from postane.flow.relay.verdict import Verdict, failed
from postane.store.api import Leased, QueuedRecipient, QueueStore

RENEW_EVERY = 100.0
HOUSEKEEPING = 1.0
LONGEST_SLEEP = 30.0
SHORTEST_SLEEP = 1.0
AT_ONCE = 100
"""Recipients leased in one go."""
SHARE = 0.05
"""Of `in_flight`: how much one domain may take before no more is leased for it."""
UNHEARD_PAUSES = (1.0, 5.0, 30.0, 120.0)
"""Seconds between tries to tell the queue what was done, where it cannot be reached: else it would be done again."""

_Way = Route | Verdict | None
"""Where recipients are: behind a route, nowhere, or (None) here."""


class QueueRunner:
    def __init__(
        self,
        queue: QueueStore,
        accounts: Accounts,
        hand_over: HandOver,
        relay: Relay,
        settlement: Settlement,
        limits: RelayLimits,
        clock: Clock,
        log: Log,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._queue = queue
        self._accounts = accounts
        self._hand_over = hand_over
        self._relay = relay
        self._settlement = settlement
        self._limits = limits
        self._clock = clock
        self._log = log
        self._sleep = sleep
        self._woken = asyncio.Event()
        self._tasks: dict[asyncio.Task[None], Leased] = {}
        self._by_domain: Counter[str] = Counter()
        self._in_flight = 0
        self._renewed_at = clock.monotonic()
        self._is_stopping = False

    # ------------------------------------------------------------ running

    def wake(self) -> None:
        """Something may be due: to be called on the loop's thread after `enqueue`."""
        self._woken.set()

    async def run(self) -> None:
        """Until `stop`."""
        house = asyncio.get_running_loop().create_task(self._keep_house())
        try:
            while not self._is_stopping:
                self._woken.clear()
                pause = await self._turn()
                try:
                    async with asyncio.timeout(pause):
                        await self._woken.wait()
                except TimeoutError:
                    pass
        finally:
            house.cancel()

    async def stop(self, seconds: float) -> None:
        """Leases nothing more; what is not done after `seconds` is broken off and tried again when its lease ends."""
        self._is_stopping = True
        self.wake()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=seconds)
        left = tuple(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._relay.tidy(everything=True)

    async def run_due(self) -> int:
        """Everything that is due now and what comes of it, to the end; says how many recipients were tried."""
        count = 0
        while started := await self._lease():
            count += started
            await asyncio.gather(*tuple(self._tasks))
        return count

    async def _turn(self) -> float:
        """Leases as much as there is room for; says how long there is nothing more to do."""
        try:
            while await self._lease():
                pass
            due = await self._queue.next_due()
        except MailError as error:
            self._log.warning("the queue cannot be worked off", error=error.text, detail=error.detail)
            return LONGEST_SLEEP
        except Exception:
            self._log.exception("the queue cannot be worked off")
            return LONGEST_SLEEP
        left = LONGEST_SLEEP if due is None else due - self._clock.now()
        return min(max(left, SHORTEST_SLEEP), LONGEST_SLEEP)

    async def _keep_house(self) -> None:
        while True:
            await self._sleep(HOUSEKEEPING)
            try:
                await self._relay.tidy()
                await self.renew()
            except MailError as error:
                self._log.warning("leases cannot be renewed", error=error.text, detail=error.detail)
            except Exception:
                self._log.exception("leases cannot be renewed")

    async def renew(self) -> None:
        """Moves the end of all leases that are held, where it is time."""
        now = self._clock.monotonic()
        if self._tasks and now - self._renewed_at >= RENEW_EVERY:
            await self._queue.renew(tuple(self._tasks.values()), int(self._clock.now()) + LEASE_SECONDS)
            self._renewed_at = now

    # ------------------------------------------------------------ leasing

    async def _lease(self) -> int:
        """Says how many recipients are tried from now on; 0 where there is no room, or nothing is due."""
        room = min(self._limits.in_flight - self._in_flight, AT_ONCE)
        now = int(self._clock.now())
        due = await self._queue.next_due() if room > 0 else None
        if self._is_stopping or due is None or due > now:
            return 0
        if not self._tasks:
            self._renewed_at = self._clock.monotonic()
        taken = await self._queue.lease_due(now, LEASE_SECONDS, room, self._crowded())
        for leased in taken:
            self._start(leased)
        return sum(len(leased.recipients) for leased in taken)

    def _crowded(self) -> list[str]:
        most = max(1, int(self._limits.in_flight * SHARE))
        return [domain for domain, count in self._by_domain.items() if count >= most]

    def _start(self, leased: Leased) -> None:
        self._in_flight += len(leased.recipients)
        self._by_domain.update(recipient.domain for recipient in leased.recipients)
        task = asyncio.get_running_loop().create_task(self._deliver(leased))
        self._tasks[task] = leased
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        leased = self._tasks.pop(task)
        self._in_flight -= len(leased.recipients)
        for recipient in leased.recipients:
            self._by_domain[recipient.domain] -= 1
            if not self._by_domain[recipient.domain]:
                del self._by_domain[recipient.domain]
        self.wake()

    # ------------------------------------------------------------ delivering

    async def _deliver(self, leased: Leased) -> None:
        """Each part is settled as soon as it is done: a crash then repeats no more than what it must."""
        try:
            parts = await self._parts(leased)
        except Exception:
            # Nothing is lost: the lease runs out, and it is tried again.
            self._log.exception("delivery failed", trace_id=leased.message.trace_id)
            return
        await asyncio.gather(*(self._deliver_part(way, part) for way, part in parts))

    async def _parts(self, leased: Leased) -> list[tuple[_Way, Leased]]:
        """By way, and no larger than a transaction."""
        domains = list(dict.fromkeys(recipient.domain for recipient in leased.recipients))
        found = await asyncio.gather(*(self._way(leased.message.sender, domain) for domain in domains))
        ways = dict(zip(domains, found, strict=True))
        groups: dict[object, tuple[_Way, list[QueuedRecipient]]] = {}
        for recipient in leased.recipients:
            way = ways[recipient.domain]
            key = way.key if isinstance(way, Route) else way
            groups.setdefault(key, (way, []))[1].append(recipient)
        most = self._limits.recipients
        return [
            (way, Leased(leased.message, tuple(group[start : start + most])))
            for way, group in groups.values()
            for start in range(0, len(group), most)
        ]

    async def _way(self, sender: str, domain: str) -> _Way:
        if await self._accounts.is_local(domain):
            return None
        return await self._relay.route(sender, domain)

    async def _deliver_part(self, way: _Way, part: Leased) -> None:
        try:
            verdicts = await self._try(way, part)
        except MailError as error:
            verdicts = [failed(error)] * len(part.recipients)
        except Exception as error:
            self._log.exception("delivery failed", trace_id=part.message.trace_id)
            bug = MailError(Condition.BUG, "the server made a mistake here", repr(error))
            verdicts = [failed(bug)] * len(part.recipients)
        await self._settle(part, verdicts)

    async def _try(self, way: _Way, part: Leased) -> Sequence[Verdict]:
        if way is None:
            return await self._hand_over.attempt(part.message, part.recipients)
        if isinstance(way, Verdict):
            return [way] * len(part.recipients)
        return await self._relay.deliver(way, part.message, part.recipients)

    async def _settle(self, part: Leased, verdicts: Sequence[Verdict]) -> None:
        log = self._log.bind(trace_id=part.message.trace_id)
        for pause in (*UNHEARD_PAUSES, 0.0):
            try:
                await self._settlement.conclude(part, verdicts)
                return
            except MailError as error:
                log.warning("the queue cannot be told", error=error.text, detail=error.detail)
            except Exception:
                log.exception("the queue cannot be told")
            await self._sleep(pause)
