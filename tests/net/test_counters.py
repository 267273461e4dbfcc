"""Counters over several workers, each with an own mapping of the file."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.net.counters import CELLS, PROBES, SharedCounters


@pytest.fixture
def workers(tmp_path):
    made = [SharedCounters(tmp_path / "connections", slot, 3) for slot in range(3)]
    yield made
    for worker in made:
        worker.close()


def test_a_limit_holds_over_all_workers(workers):
    one, two, three = workers
    assert [True, True, True, False] == [worker.enter(b"192.0.2.1", 3) for worker in (one, two, one, three)]
    assert three.enter(b"192.0.2.2", 3)
    one.leave(b"192.0.2.1")
    assert three.enter(b"192.0.2.1", 3)
    assert not two.enter(b"192.0.2.1", 3)


def test_a_dead_workers_counts_are_cleared(workers):
    one, two, _ = workers
    for _ in range(5):
        one.enter(b"a", 100)
    two.enter(b"a", 100)
    two.clear(0)
    assert two.count(b"a") == 1
    one.leave(b"a")
    assert two.count(b"a") == 1


def test_another_process_sees_the_same(tmp_path):
    ours = SharedCounters(tmp_path / "connections", 0, 2)
    if (child := os.fork()) == 0:
        theirs = SharedCounters(tmp_path / "connections", 1, 2)
        theirs.enter(b"key", 10)
        theirs.enter(b"key", 10)
        os._exit(0)
    os.waitpid(child, 0)
    assert ours.count(b"key") == 2
    assert (tmp_path / "connections").stat().st_mode & 0o777 == 0o600
    ours.close()


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.booleans(), st.integers(0, 1)), max_size=60))
def test_counts_agree_with_a_dictionary(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("counters") / "file"
    workers = [SharedCounters(path, slot, 2) for slot in range(2)]
    expected: dict[tuple[bytes, int], int] = {}
    for key, enters, slot in steps:
        mine = expected.get((key, slot), 0)
        total = sum(count for (name, _), count in expected.items() if name == key)
        if enters:
            assert workers[slot].enter(key, 5) == (total < 5)
            expected[key, slot] = mine + (total < 5)
        elif mine:
            workers[slot].leave(key)
            expected[key, slot] = mine - 1
    for key in (b"a", b"b", b"c"):
        assert sum(count for (name, _), count in expected.items() if name == key) == workers[1].count(key)
    for worker in workers:
        worker.close()


def test_more_keys_than_cells_are_let_in_uncounted_and_cells_are_used_again(tmp_path):
    counters = SharedCounters(tmp_path / "file", 0, 1)
    keys = [b"%d" % number for number in range(CELLS + PROBES * 100)]
    assert all(counters.enter(key, 1) for key in keys)
    counted = sum(counters.count(key) for key in keys)
    assert CELLS * 0.9 < counted <= CELLS
    for key in keys:
        counters.leave(key)
    assert all(counters.count(key) == 0 for key in keys)
    assert counters.enter(b"late", 1)
    assert not counters.enter(b"late", 1)
    counters.close()
