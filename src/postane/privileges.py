"""What a process may do: as many files as the system allows, no new privileges, nothing readable by others.

Linux calls that Python has no name for go through libc; elsewhere they are left out.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_NO_NEW_PRIVS = 38


def raise_file_limit() -> None:
    """A connection is a file: as many as may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def keep_files_private() -> None:
    os.umask(0o077)


def give_up_privileges() -> None:
    """prctl(2) PR_SET_NO_NEW_PRIVS: no program that this one starts gains any right by a set-uid bit."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent(parent: int) -> None:
    """prctl(2) PR_SET_PDEATHSIG: a worker never outlives its supervisor, so the next start finds ports and locks free.

    To be called after the user was changed, which clears it.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def set_name(name: str) -> None:
    """What ps(1) and top(1) show; at most 15 octets."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()))


def _prctl(option: int, argument: object) -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)
