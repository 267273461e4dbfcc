"""Processes of one machine tell each other that an account changed, never what (DESIGN.md, Processes).

A Unix datagram socket a process in `data/run/`.  A datagram holds its sender, a
number that rises by one for each receiver, and accounts, each with its modseq
or with the word that its credentials may have changed.  Who watches such an
account is called, and asks the store.

Hints may be lost: a gap in the numbers, a sender not heard before (one that died
may have had something to say), a receiver that took nothing for too long, and a
heartbeat every two minutes each mean that every watcher is called.

Refused: datagrams that are not of our form.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice
from pathlib import Path

HEARTBEAT = 120.0
"""Seconds within which every watcher is called at least once."""
SUFFIX = ".hints"

_BEATS = 60  # of a heartbeat: everybody at once would be a stampede
_HEAD = struct.Struct("!4sQQ")  # magic, sender, number
_HINT = struct.Struct("!BQQ")  # what, account, modseq
_MAGIC = b"PST1"
_HINTS_A_DATAGRAM = 64
_MOST = _HEAD.size + _HINTS_A_DATAGRAM * _HINT.size
_MAX_PENDING = 1000
_RETRY = 0.005  # seconds: a receiver's queue holds ten datagrams on many systems
_BURST = 256  # datagrams that are read before the loop gets its turn
_MAX_SENDERS = 1000
_SETTLED = 1.0  # seconds after which the time of a folder's last change tells it from a later one
_ADDRESS = 107  # octets of a path in sockaddr_un


class What(IntEnum):
    CHANGED = 1
    REVOKED = 2
    LOOK_AGAIN = 3
    """The sender could not say all it had to."""


@dataclass(eq=False, slots=True)
class _Watch:
    changed: Callable[[], None]
    revoked: Callable[[], None]


@dataclass(slots=True)
class _Receiver:
    """What one other process was told: the last number, and what it could not be told yet."""

    number: int = 0
    pending: dict[tuple[int, int], int] = field(default_factory=dict)
    """(what, account) -> modseq."""

    def add(self, what: What, account_id: int, modseq: int) -> None:
        if len(self.pending) >= _MAX_PENDING:
            self.pending = {(What.LOOK_AGAIN, 0): 0}
        elif (What.LOOK_AGAIN, 0) not in self.pending:
            self.pending[what, account_id] = modseq


class DatagramHints:
    """Fills the port `Hints` of the store.  `name` says who we are within `folder`, such as "worker-0".

    Everything is called from the loop's thread, and calls watchers there.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = _Folder(folder)
        self._name = name
        self._identity = secrets.randbits(64)
        # Never the name of a socket that was: whoever removes a dead one must not remove ours.
        self._own = f"{name}.{self._identity:016x}{SUFFIX}"
        self._watches: dict[int, list[_Watch]] = {}
        self._receivers: dict[str, _Receiver] = {}
        self._senders: dict[int, int] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._beat_number = 0

    def start(self) -> None:
        """Begins to listen, on the running loop."""
        self._folder.remove(f"{self._name}.")
        self._socket = _make_socket()
        self._socket.bind(self._folder.address(self._own))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._read)
        self._timer = self._loop.call_later(HEARTBEAT / _BEATS, self._beat)

    def close(self) -> None:
        self._timer.cancel()
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._folder.remove(self._own)
        self._folder.close()

    # ------------------------------------------------------------ the port

    def watch(self, account_id: int, changed: Callable[[], None], revoked: Callable[[], None]) -> Callable[[], None]:
        """The result ends the watch."""
        watch = _Watch(changed, revoked)
        self._watches.setdefault(account_id, []).append(watch)

        def end() -> None:
            watches = self._watches.get(account_id, [])
            if watch in watches:
                watches.remove(watch)
            if not watches:
                self._watches.pop(account_id, None)

        return end

    def changed(self, account_id: int, modseq: int) -> None:
        self._tell_all(What.CHANGED, account_id, modseq)
        self._call(What.CHANGED, account_id)

    def revoked(self, account_id: int) -> None:
        self._tell_all(What.REVOKED, account_id, 0)
        self._call(What.REVOKED, account_id)

    def _call(self, what: int, account_id: int) -> None:
        for watch in tuple(self._watches.get(account_id, ())):
            if what == What.CHANGED:
                watch.changed()
            elif what == What.REVOKED:
                watch.revoked()

    def _look_again(self, accounts: Iterable[int]) -> None:
        """Something may have been missed."""
        for account_id in accounts:
            self._call(What.CHANGED, account_id)
            self._call(What.REVOKED, account_id)

    # ------------------------------------------------------------ sending

    def _tell_all(self, what: What, account_id: int, modseq: int) -> None:
        others = self._folder.sockets()
        for gone in self._receivers.keys() - others:
            del self._receivers[gone]
        for name in others:
            if name != self._own:
                receiver = self._receivers.setdefault(name, _Receiver())
                is_waiting = bool(receiver.pending)
                receiver.add(what, account_id, modseq)
                if not is_waiting:
                    self._flush(name, receiver)

    def _flush(self, name: str, receiver: _Receiver) -> None:
        """Sends what is pending; what the receiver does not take now is sent, together, a moment later."""
        while receiver.pending:
            hints = tuple(islice(receiver.pending.items(), _HINTS_A_DATAGRAM))
            head = _HEAD.pack(_MAGIC, self._identity, receiver.number + 1)
            if not self._folder.send(self._socket, name, head + _pack(hints)):
                if self._retry is None:
                    self._retry = self._loop.call_later(_RETRY, self._flush_all)
                return
            receiver.number += 1
            for key, _ in hints:
                del receiver.pending[key]

    def _flush_all(self) -> None:
        self._retry = None
        for name, receiver in tuple(self._receivers.items()):
            self._flush(name, receiver)

    # ------------------------------------------------------------ receiving

    def _read(self) -> None:
        for _ in range(_BURST):
            try:
                datagram = self._socket.recv(_MOST + 1)
            except (BlockingIOError, InterruptedError):
                return
            body = len(datagram) - _HEAD.size
            if datagram.startswith(_MAGIC) and 0 <= body <= _MOST and body % _HINT.size == 0:
                self._take(datagram)

    def _take(self, datagram: bytes) -> None:
        _, sender, number = _HEAD.unpack_from(datagram)
        hints = tuple(_HINT.iter_unpack(datagram[_HEAD.size :]))
        # `tell` has number 0: it keeps no count and misses nothing.
        is_gap = number != 0 and self._senders.get(sender) != number - 1
        if number:
            self._senders[sender] = number
            if len(self._senders) > _MAX_SENDERS:
                del self._senders[next(iter(self._senders))]
        if is_gap or any(what == What.LOOK_AGAIN for what, _, _ in hints):
            self._look_again(tuple(self._watches))
            return
        for what, account_id, _ in hints:
            self._call(what, account_id)

    def _beat(self) -> None:
        """Each beat calls the watchers of some accounts; a whole round is the heartbeat."""
        self._timer = self._loop.call_later(HEARTBEAT / _BEATS, self._beat)
        self._beat_number = (self._beat_number + 1) % _BEATS
        self._look_again([each for each in self._watches if each % _BEATS == self._beat_number])


def tell(folder: Path, *account_ids: int) -> None:
    """For a process that does its work and ends, such as the command line: these accounts, or who they are, changed."""
    place = _Folder(folder)
    hints = [((what, each), 0) for each in account_ids for what in (What.CHANGED, What.REVOKED)]
    head = _HEAD.pack(_MAGIC, 0, 0)
    with _make_socket() as sock:
        sock.settimeout(1.0)
        for start in range(0, len(hints), _HINTS_A_DATAGRAM):
            for name in place.sockets():
                place.send(sock, name, head + _pack(hints[start : start + _HINTS_A_DATAGRAM]))
    place.close()


def _pack(hints: Iterable[tuple[tuple[int, int], int]]) -> bytes:
    return b"".join(_HINT.pack(what, account_id, modseq) for (what, account_id), modseq in hints)


def _make_socket() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.setblocking(False)
    return sock


class _Folder:
    """Sockets by name.  Where the folder's path is longer than a socket's address may be, they are reached by /proc."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self._names: frozenset[str] = frozenset()
        self._read_at = -1

    def close(self) -> None:
        os.close(self._descriptor)

    def address(self, name: str) -> str:
        direct = str(self._path / name)
        return direct if len(os.fsencode(direct)) <= _ADDRESS else f"/proc/self/fd/{self._descriptor}/{name}"

    def sockets(self) -> frozenset[str]:
        """Read anew when the folder has changed, or is so young in its last change that it may again unseen."""
        changed_at = os.fstat(self._descriptor).st_mtime_ns
        if changed_at != self._read_at:
            self._names = frozenset(each.name for each in self._path.iterdir() if each.name.endswith(SUFFIX))
            is_settled = time.time_ns() - changed_at > _SETTLED * 1e9
            self._read_at = changed_at if is_settled else -1
        return self._names

    def remove(self, beginning: str) -> None:
        for name in self.sockets():
            if name.startswith(beginning):
                (self._path / name).unlink(missing_ok=True)
        self._read_at = -1

    def send(self, sock: socket.socket, name: str, datagram: bytes) -> bool:
        """False where the receiver takes no more for now.  A socket nobody listens to is a dead process's: it goes."""
        try:
            sock.sendto(datagram, self.address(name))
        except (ConnectionRefusedError, FileNotFoundError):
            (self._path / name).unlink(missing_ok=True)
        except OSError:
            return False
        return True
