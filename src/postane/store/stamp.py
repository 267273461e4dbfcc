"""A few octets of shared memory that change whenever something else has: how a cache learns that another process wrote.

Not durable and never the truth: who wrote and died before it stamped is found
out by looking at the truth from time to time.
"""

from __future__ import annotations

import mmap
import os
import secrets
from pathlib import Path

SIZE = 16


class Stamp:
    """`value` differs from before once anyone has called `renew` on the same file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._memory: mmap.mmap | None = None

    @property
    def value(self) -> bytes:
        return self._open()[:SIZE]

    def renew(self) -> None:
        self._open()[:SIZE] = secrets.token_bytes(SIZE)

    def _open(self) -> mmap.mmap:
        if self._memory is None:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(file).st_size < SIZE:
                    os.ftruncate(file, SIZE)
                self._memory = mmap.mmap(file, SIZE)
            finally:
                os.close(file)
        return self._memory

    def close(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory = None
