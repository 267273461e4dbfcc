"""Hints between processes, each played by an object with a socket of its own."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

from postane.net import hints as module
from postane.net.hints import DatagramHints, tell


class Watcher:
    def __init__(self, hints: DatagramHints, account_id: int) -> None:
        self.calls: Counter[str] = Counter()
        self.end = hints.watch(
            account_id, lambda: self.calls.update(["changed"]), lambda: self.calls.update(["revoked"])
        )


class Processes:
    """Some processes that have heard of each other: from then on a hint calls only who watches its account."""

    def __init__(self, folder, count: int = 2) -> None:
        self.all = [DatagramHints(folder, f"worker-{number}") for number in range(count)]

    async def __aenter__(self) -> list[DatagramHints]:
        for each in self.all:
            each.start()
        for each in self.all:
            each.changed(999, 1)
        await settle()
        return self.all

    async def __aexit__(self, *exc: object) -> None:
        for each in self.all:
            each.close()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0.001)


async def test_local_and_remote_watchers_of_the_account_are_called(tmp_path):
    async with Processes(tmp_path) as (one, two):
        here, there, other = Watcher(one, 7), Watcher(two, 7), Watcher(two, 8)
        one.changed(7, 42)
        assert {"changed": 1} == here.calls
        await settle()
        assert {"changed": 1} == there.calls
        one.revoked(7)
        await settle()
        assert {"changed": 1, "revoked": 1} == here.calls == there.calls
        assert not other.calls
        there.end()
        there.end()
        one.changed(7, 43)
        await settle()
        assert there.calls["changed"] == 1


async def test_the_command_line_tells_all(tmp_path):
    async with Processes(tmp_path) as (one, two):
        first, second, other = Watcher(one, 7), Watcher(two, 7), Watcher(two, 9)
        await asyncio.to_thread(tell, tmp_path, 7, 8)
        await settle()
        assert {"changed": 1, "revoked": 1} == first.calls == second.calls
        assert not other.calls


async def test_a_sender_not_heard_before_means_look_again(tmp_path):
    async with Processes(tmp_path) as (one, _):
        watcher = Watcher(one, 7)
        late = DatagramHints(tmp_path, "worker-9")
        late.start()
        late.changed(1000, 1)
        await settle()
        assert {"changed": 1, "revoked": 1} == watcher.calls
        late.changed(1000, 2)
        await settle()
        assert {"changed": 1, "revoked": 1} == watcher.calls
        late.close()


async def test_a_gap_means_look_again(tmp_path):
    async with Processes(tmp_path) as (one, two):
        watcher = Watcher(two, 7)
        (receiver,) = one._receivers.values()
        receiver.number += 1
        one.changed(1000, 1)
        await settle()
        assert {"changed": 1, "revoked": 1} == watcher.calls


async def test_what_a_full_receiver_refuses_comes_later_and_all_of_it(tmp_path):
    async with Processes(tmp_path) as (one, two):
        watchers = [Watcher(two, account) for account in range(2000, 2600)]
        stranger = Watcher(two, 3000)
        for account in range(2000, 2600):
            one.changed(account, 1)
        (receiver,) = one._receivers.values()
        assert receiver.pending
        for _ in range(20):
            await settle()
        assert all({"changed": 1} == watcher.calls for watcher in watchers)
        assert not stranger.calls


async def test_too_much_to_say_means_look_again(tmp_path):
    async with Processes(tmp_path) as (one, two):
        stranger = Watcher(two, 3000)
        for account in range(5000, 9000):
            one.changed(account, 1)
        (receiver,) = one._receivers.values()
        assert len(receiver.pending) <= module._MAX_PENDING
        for _ in range(10):
            await settle()
        assert stranger.calls["changed"] >= 1
        assert stranger.calls["revoked"] >= 1


async def test_the_heartbeat_calls_everyone_once_a_round(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT", 0.12)
    async with Processes(tmp_path, 1) as (one,):
        watchers = [Watcher(one, account) for account in (1, 2, 59, 60, 61)]
        for _ in range(200):
            await asyncio.sleep(0.005)
            if all(watcher.calls for watcher in watchers):
                break
        assert all(watcher.calls["changed"] and watcher.calls["revoked"] for watcher in watchers)


async def test_a_dead_processs_socket_is_removed_and_hurts_nobody(tmp_path, monkeypatch):
    async with Processes(tmp_path) as (one, two):
        dead = tmp_path / "worker-5.0123456789abcdef.hints"
        left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with monkeypatch.context() as here:
            here.chdir(tmp_path)  # a socket's path has 107 octets at most
            left.bind(dead.name)
        left.close()
        watcher = Watcher(two, 7)
        one.changed(7, 1)
        await settle()
        assert {"changed": 1} == watcher.calls
        assert not dead.exists()


async def test_a_restarted_process_replaces_its_own_socket(tmp_path):
    first = DatagramHints(tmp_path, "worker-1")
    first.start()
    second = DatagramHints(tmp_path, "worker-1")
    second.start()
    assert 1 == len(list(tmp_path.glob("*.hints")))
    first.close()
    assert 1 == len(list(tmp_path.glob("*.hints")))
    second.close()
    assert 0 == len(list(tmp_path.glob("*.hints")))


async def test_a_long_path_is_no_obstacle(tmp_path):
    folder = tmp_path / ("x" * 120) / "run"
    folder.mkdir(parents=True)
    async with Processes(folder) as (one, two):
        watcher = Watcher(two, 7)
        one.changed(7, 1)
        await settle()
        assert {"changed": 1} == watcher.calls


async def test_nonsense_is_passed_over(tmp_path):
    async with Processes(tmp_path) as (one, _):
        watcher = Watcher(one, 7)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            for junk in (b"", b"x", b"PST1", b"PST1" + bytes(17), b"\0" * 4000, b"PST1" + b"\xff" * 16 + b"\xff" * 5):
                sock.sendto(junk, one._folder.address(one._own))
        await settle()
        assert not watcher.calls
