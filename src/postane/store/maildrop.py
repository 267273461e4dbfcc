"""The lock of a POP3 maildrop (RFC 1939 3): a file lock, so that it goes with the process that held it."""

from __future__ import annotations

import asyncio
import fcntl
import os
from concurrent.futures import Executor
from pathlib import Path

from postane.core.status import Condition, MailError
from postane.store.files import failure


class MaildropLock:
    """Fills `api.Lock`.  Two sessions of one process exclude each other too: each opens the file for itself."""

    def __init__(self, file: int, pool: Executor) -> None:
        self._file = file
        self._pool = pool

    async def release(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            await asyncio.get_running_loop().run_in_executor(self._pool, os.close, file)


def acquire(path: Path) -> int:
    """The locked file; MAILBOX_IN_USE.  Blocking, but never for long."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise failure(error) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise MailError(Condition.MAILBOX_IN_USE, "another session has this maildrop open") from error
    return file
