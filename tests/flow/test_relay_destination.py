"""How hard a destination is pressed."""

from __future__ import annotations

import asyncio

from postane.core.clock import TurnedClock
from postane.core.limits import RelayLimits
from postane.flow.relay.destination import FIRST_REST, LONGEST_REST, Destination
from postane.flow.relay.verdict import deferred, refused

TROUBLE = deferred("4.4.1", "nobody is there")


async def entered(destination: Destination) -> int:
    """How many more find a place at once."""
    tasks = [asyncio.ensure_future(destination.enter()) for _ in range(100)]
    for _ in range(3):
        await asyncio.sleep(0)
    count = sum(task.done() and task.result() is None for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return count


def make(clock: TurnedClock | None = None, connections: int = 20) -> Destination:
    return Destination(RelayLimits(connections=connections), clock or TurnedClock())


async def test_it_begins_with_a_few() -> None:
    assert await entered(make()) == 5
    assert await entered(make(connections=2)) == 2


async def test_success_brings_more_up_to_the_bound() -> None:
    destination = make()
    for _ in range(1000):
        destination.succeeded()

    assert await entered(destination) == 20


async def test_421_halves_and_one_is_always_left() -> None:
    destination = make()
    destination.slow_down()
    assert await entered(destination) == 2
    for _ in range(50):
        destination.slow_down()
    assert await entered(destination) == 0, "two are still inside"
    destination.leave()
    destination.leave()
    assert await entered(destination) == 1


async def test_who_waits_comes_in_when_another_leaves() -> None:
    destination = make(connections=1)
    assert await destination.enter() is None
    second, third = (asyncio.ensure_future(destination.enter()) for _ in range(2))
    await asyncio.sleep(0)
    assert not second.done()
    destination.leave()
    assert await second is None
    assert not third.done()
    destination.leave()
    assert await third is None


async def test_a_place_given_to_someone_who_has_gone_goes_to_the_next() -> None:
    destination = make(connections=1)
    await destination.enter()
    second, third = (asyncio.ensure_future(destination.enter()) for _ in range(2))
    await asyncio.sleep(0)
    destination.leave()
    second.cancel()

    assert await asyncio.wait_for(third, 1) is None


async def test_it_rests_longer_and_longer_and_wakes_everyone_who_waits() -> None:
    clock = TurnedClock()
    destination = make(clock, connections=1)
    await destination.enter()
    waiting = asyncio.ensure_future(destination.enter())
    await asyncio.sleep(0)
    destination.failed(TROUBLE)
    assert await waiting is TROUBLE

    rests = []
    for _ in range(8):
        rest = 0
        while await destination.enter() is TROUBLE:
            clock.turn(1)
            rest += 1
            destination._running = 0
        rests.append(rest)
        destination.failed(TROUBLE)
        destination._running = 0
    assert rests[0] == FIRST_REST
    assert rests == sorted(rests)
    assert rests[-1] == LONGEST_REST


async def test_one_failure_among_many_connections_is_no_reason_to_rest() -> None:
    destination = make()
    destination.failed(TROUBLE)
    assert await destination.enter() is None
    destination.failed(TROUBLE)
    assert await destination.enter() is TROUBLE
    destination.succeeded()
    assert await destination.enter() is None


async def test_a_name_that_does_not_exist_is_no_reason_either() -> None:
    destination = make()
    for _ in range(10):
        destination.failed(refused("5.1.2", "there is no such domain"))

    assert await destination.enter() is None


async def test_a_quiet_destination_is_forgotten() -> None:
    clock = TurnedClock()
    destination = make(clock)
    await destination.enter()
    clock.turn(10_000)
    assert not destination.is_forgettable
    destination.leave()
    assert not destination.is_forgettable
    clock.turn(10_000)
    assert destination.is_forgettable
