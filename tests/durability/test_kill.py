"""`kill -9` of the whole server in the middle of deliveries and flag changes.

Every acknowledged message is there afterwards, whole and once; every
acknowledged flag is set; `postane check` finds nothing.  A few times here;
fifty times in `make soak`.  (The page cache survives kill -9: the order of the
syncs is shown by the crash replay in tests/store.)
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import threading
import time

import pytest

from serving import Server
from wire import Imap, Smtp

CONNECTIONS = 4


def text(key: str, size: int) -> bytes:
    return (
        f"Subject: {key}\r\nFrom: friend@example.org\r\n\r\n".encode()
        + (key.encode() + b" line\r\n") * (size // 40)
        + b"the end\r\n"
    )


class Load:
    """Delivers by LMTP and flags by IMAP until the server goes away, and remembers what was acknowledged."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.acknowledged: dict[str, bytes] = {}
        self.flagged: set[int] = set()
        self.random = random.Random(seed)
        self.threads = [threading.Thread(target=self.deliver, args=(seed, n)) for n in range(CONNECTIONS)]
        self.threads.append(threading.Thread(target=self.flag))

    def deliver(self, seed: int, lane: int) -> None:
        rng = random.Random(seed * 100 + lane)
        with contextlib.suppress(OSError):
            client = Smtp(self.server.ports["lmtp"], b"LHLO tests")
            for number in range(100_000):
                key = f"k{seed}-{lane}-{number}"
                data = text(key, rng.choice((200, 4_000, 60_000)))
                code, said = client.message(b"friend@example.org", self.server.account.encode(), data)
                assert code == 250, said
                self.acknowledged[key] = data

    def flag(self) -> None:
        with contextlib.suppress(OSError):
            client = Imap(self.server.ports["imap"], self.server.account, self.server.password)
            client.command(b"SELECT INBOX")
            while True:
                there = client.search(b"ALL")
                if not there:
                    client.command(b"NOOP")
                    continue
                uid = self.random.choice(there)
                client.command(b"UID STORE %d +FLAGS.SILENT (\\Flagged)" % uid)
                self.flagged.add(uid)

    def run_until(self, seconds: float) -> None:
        for thread in self.threads:
            thread.start()
        time.sleep(seconds)  # the moment is random on purpose: nothing is waited for
        self.server.kill()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


def look(server: Server, acknowledged: dict[str, bytes], flagged: set[int]) -> None:
    client = Imap(server.ports["imap"], server.account, server.password)
    bodies = client.bodies(b"INBOX")
    found: dict[str, list[bytes]] = {}
    for body in bodies.values():
        key = re.search(rb"^Subject: (k[\d-]+)\r$", body, re.M)
        assert key, body[:300]
        assert body.endswith(b"the end\r\n"), key
        found.setdefault(key[1].decode(), []).append(body)
    for key, data in acknowledged.items():
        assert 1 == len(found.get(key, [])), f"{key} is there {len(found.get(key, []))} times"
        assert found[key][0].endswith(data)
    assert flagged <= set(client.search(b"FLAGGED"))
    client.close()
    assert [] == json.loads(server.postane("check", "--json").stdout)["findings"]


def strike(server: Server, times: int, seed: int) -> float:
    """Kills the server `times` times; returns the slowest restart in seconds."""
    rng = random.Random(seed)
    acknowledged: dict[str, bytes] = {}
    flagged: set[int] = set()
    slowest = 0.0
    for turn in range(times):
        load = Load(server, seed * 1000 + turn)
        load.run_until(rng.uniform(0.2, 1.5))
        acknowledged |= load.acknowledged
        flagged |= load.flagged
        began = time.monotonic()
        server.start()
        slowest = max(slowest, time.monotonic() - began)
        look(server, acknowledged, flagged)
    assert acknowledged
    assert flagged
    return slowest


@pytest.mark.timeout(180)
def test_three_times(server: Server) -> None:
    assert strike(server, 3, 1) < 20


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fifty_times(server: Server) -> None:
    assert strike(server, 50, 2) < 2.0
