"""When a recipient is tried again, told of, and given up."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from postane.flow.schedule import Schedule
from postane.store.api import QueuedMessage

ARRIVED = 1_750_000_000
HOUR = 3600
DAY = 24 * HOUR


def message(expires: int = 0) -> QueuedMessage:
    return QueuedMessage(1, "t", "s@a.example", b"", 1, ARRIVED, False, "7BIT", expires=expires)


def moments(schedule: Schedule, one: QueuedMessage, chances: list[float]) -> list[int]:
    """Seconds after arrival of every attempt, if all fail at once."""
    now, attempts, found = ARRIVED, 1, [0]
    while (later := schedule.next_attempt(one, attempts, now, chances[attempts % len(chances)])) is not None:
        assert later > now
        now, attempts = later, attempts + 1
        found.append(now - ARRIVED)
    return found


def test_waits_double_up_to_the_longest_for_any_count() -> None:
    assert [Schedule().wait(attempts) for attempts in (0, 1, 2, 3, 10**9)] == [60, 60, 120, 240, 4 * HOUR]


def test_chance_makes_a_wait_shorter_or_longer() -> None:
    assert [Schedule().wait(1, chance) for chance in (0.0, 0.5, 0.9999999)] == [48, 60, 72]


def test_without_chance_it_is_tried_so_for_five_days() -> None:
    found = moments(Schedule(), message(), [0.5])

    assert found[:9] == [0, 60, 180, 420, 900, 1860, 3780, 7620, 4 * HOUR]
    assert found[-1] == 5 * DAY
    assert len(found) == 38


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8))
def test_whatever_chance_says_notice_and_end_have_their_attempt(chances: list[float]) -> None:
    found = moments(Schedule(), message(), chances)

    assert {4 * HOUR, 5 * DAY} <= set(found)
    assert found == sorted(found)
    assert 30 < len(found) < 60
    assert max(b - a for a, b in pairwise(found)) <= 1.2 * 4 * HOUR


def test_a_message_may_have_an_end_of_its_own() -> None:
    assert moments(Schedule(), message(expires=ARRIVED + 200), [0.5]) == [0, 60, 180, 200]


def test_a_message_that_was_not_looked_at_in_time_is_tried_once_more() -> None:
    assert Schedule().next_attempt(message(), 1, ARRIVED + 9 * DAY) is None


def test_four_hours_are_late() -> None:
    assert [Schedule().is_late(message(), ARRIVED + at) for at in (4 * HOUR - 1, 4 * HOUR)] == [False, True]
