"""The few threads that commit, shared by all databases of a process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

THREADS = 4
PATIENCE = 0.02
"""Seconds to wait for the turn of one whose statements take long; then both go on side by side."""


class Writers:
    """At most `threads` of a pool, which serve whoever called first.

    Only one runs statements at a time (`turn`), for they would but fight for the
    interpreter; the disk, which needs no interpreter, they await side by side.
    """

    def __init__(self, pool: Executor, threads: int = THREADS) -> None:
        self._pool = pool
        self._threads = threads
        self._turn = threading.Lock()
        self._running = 0
        self._guard = threading.Lock()
        self._ready: deque[Callable[[], None]] = deque()

    def call(self, job: Callable[[], None]) -> None:
        """`job` runs in a thread, after those that were called before.  It must not raise."""
        with self._guard:
            self._ready.append(job)
            if self._running == self._threads:
                return
            self._running += 1
        self._pool.submit(self._run)

    def _run(self) -> None:
        while True:
            with self._guard:
                if not self._ready:
                    self._running -= 1
                    return
                job = self._ready.popleft()
            job()

    @contextmanager
    def turn(self) -> Iterator[None]:
        has_it = self._turn.acquire(timeout=PATIENCE)
        try:
            yield
        finally:
            if has_it:
                self._turn.release()
