"""Counters that hold across workers: how many connections an address, or an account, has.

A file of shared memory with a region a worker.  A region has one writer, its
worker; everyone may read all of them, so no lock is needed: each cell is one
aligned word, written whole.  A limit may be passed by as many as come in
different workers in the same microsecond, which is no harm.

A region is a table of `CELLS` pairs, a key's 64-bit name and its count, bounded
whatever comes: where it is crowded a key goes uncounted rather than refused.
The supervisor clears the region of a worker that died, before it starts the next.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from array import array
from pathlib import Path

CELLS = 1 << 14
"""A worker's keys at a time; a power of two."""
PROBES = 16

_WORDS = 2 * CELLS
_REGION = 8 * _WORDS


class SharedCounters:
    """`slot` is this worker's number, below `slots`."""

    def __init__(self, path: Path, slot: int, slots: int) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < slots * _REGION:
                os.ftruncate(descriptor, slots * _REGION)
            self._map = mmap.mmap(descriptor, slots * _REGION)
        finally:
            os.close(descriptor)
        self._words = memoryview(self._map).cast("Q")
        self._slot = slot
        self._slots = slots

    def enter(self, key: bytes, limit: int) -> bool:
        """Counts one more for `key`, unless all workers together have `limit` already."""
        name = _name(key)
        if self._count(name) >= limit:
            return False
        cell = self._find(self._slot, name, make=True)
        if cell is not None:
            self._words[cell + 1] += 1
        return True

    def leave(self, key: bytes) -> None:
        """One fewer; to be called once for each `enter` that was true."""
        cell = self._find(self._slot, _name(key), make=False)
        if cell is not None and self._words[cell + 1] > 0:
            self._words[cell + 1] -= 1

    def count(self, key: bytes) -> int:
        """Over all workers."""
        return self._count(_name(key))

    def clear(self, slot: int) -> None:
        """Forgets all that the worker of this slot had counted."""
        self._map[slot * _REGION : (slot + 1) * _REGION] = bytes(_REGION)

    def close(self) -> None:
        self._words.release()
        self._map.close()

    def _count(self, name: int) -> int:
        total = 0
        for slot in range(self._slots):
            cell = self._find(slot, name, make=False)
            if cell is not None:
                total += self._words[cell + 1]
        return total

    def _find(self, slot: int, name: int, make: bool) -> int | None:
        """The place of the key's cell, or of one it may take: free, or of a key that is down to nothing."""
        words = self._words
        base = slot * _WORDS
        free = None
        for probe in range(PROBES):
            cell = base + 2 * ((name + probe) % CELLS)
            owner = words[cell]
            if owner == name:
                return cell
            if free is None and words[cell + 1] == 0:
                free = cell
            if owner == 0:
                break
        if make and free is not None:
            words[free] = name
            return free
        return None


def _name(key: bytes) -> int:
    """64 bits, never 0, the same in every worker."""
    digest = hashlib.blake2b(key, digest_size=8).digest()
    return array("Q", digest)[0] | 1
