"""The first process: it holds ports and keys, starts workers, and puts another in the place of one that dies.

It never reads what the network sends and opens no database: both are for
processes that run as the data folder's owner.  Signals: TERM and INT stop
(a second one hurries), HUP reads settings and certificates again.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType

import msgspec

from postane import privileges
from postane.binding import Binding
from postane.config.settings import Settings
from postane.control import CertificateChanged, Failed, Lines, Material, Ready, Reload, ToProcess, ToSupervisor, encode
from postane.core.log import Log
from postane.folder import DataFolder
from postane.problem import Problem

GRACE = 15.0
"""Seconds that processes have to finish what is being accepted."""
HURRY = 2.0
QUICK = 5.0
"""A process that lived shorter than this is replaced after a pause that grows."""
LONGEST_PAUSE = 10.0

Entry = Callable[["Assignment"], None]
Source = Callable[[], tuple[Settings, Material]]
"""Reads settings and certificates; Problem where they are of no use."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a process is given.  Slot 0 is the timed process, workers count from 1."""

    slot: int
    folder: DataFolder
    settings: Settings
    material: Material
    binding: Binding
    control: socket.socket
    parent: int


@dataclass(slots=True)
class _Child:
    slot: int
    pid: int
    lines: Lines[ToSupervisor]
    started: float
    is_ready: bool = False


@dataclass(slots=True)
class _Post:
    """A slot that wants a process; `due` is when the next one may start."""

    quick_deaths: int = 0
    due: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """`entries` by slot; `emptied` is told the slot of a process that has died; `ready` once all serve."""

    folder: DataFolder
    binding: Binding
    settings: Settings
    material: Material
    entries: dict[int, Entry]
    source: Source
    emptied: Callable[[int], None]
    ready: Callable[[], None]
    log: Log
    _children: dict[int, _Child] = field(default_factory=dict)
    _posts: dict[int, _Post] = field(default_factory=dict)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _wake: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)
    _stop_by: float | None = None
    _was_ready: bool = False

    def run(self) -> None:
        """Returns when everything has stopped; Problem where the server cannot run at all."""
        self._posts = {slot: _Post() for slot in self.entries}
        self._catch_signals()
        gc.collect()
        gc.freeze()
        try:
            while self._stop_by is None or self._children:
                self._start_due()
                for key, _ in self._selector.select(self._pause()):
                    if key.fileobj is self._wake[0]:
                        self._take_signals()
                    else:
                        self._listen_to(key.data)
                self._bury()
                self._enforce_deadline()
        finally:
            self._kill_all(signal.SIGKILL)
            self._selector.close()

    # ------------------------------------------------------------ processes

    def _start_due(self) -> None:
        now = time.monotonic()
        for slot, post in self._posts.items():
            if self._stop_by is None and slot not in self._children and post.due <= now:
                self._start(slot)

    def _start(self, slot: int) -> None:
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            ours.close()
            assignment = Assignment(slot, self.folder, self.settings, self.material, self.binding, theirs, parent)
            self._become(slot, assignment)
        theirs.close()
        ours.setblocking(False)
        decoder = msgspec.json.Decoder(ToSupervisor)
        child = _Child(slot, pid, Lines(ours, decoder), time.monotonic())
        self._children[slot] = child
        self._selector.register(ours, selectors.EVENT_READ, child)

    def _become(self, slot: int, assignment: Assignment) -> None:
        """In the new process: let go of what is the supervisor's, drop rights, work, and never return."""
        status = 1
        try:
            self._let_go()
            self.folder.become_owner()
            privileges.give_up_privileges()
            privileges.die_with_parent(assignment.parent)
            privileges.set_name(f"postane-{slot}" if slot else "postane-timed")
            self.entries[slot](assignment)
            status = 0
        except Problem as problem:
            with suppress(OSError):
                assignment.control.sendall(encode(Failed(problem.what, problem.mend)))
        except Exception:
            self.log.exception("process.failed", slot=slot)
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _let_go(self) -> None:
        signal.set_wakeup_fd(-1)
        # Until the process listens to TERM itself there is nothing to finish.
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        # The terminal says INT and HUP to every process of ours; the supervisor alone answers.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for end in (*self._wake, *(child.lines.end for child in self._children.values())):
            end.close()
        self._selector.close()

    def _listen_to(self, child: _Child) -> None:
        for message in child.lines.receive():
            if isinstance(message, Ready):
                child.is_ready = True
            elif isinstance(message, CertificateChanged):
                self._reload()
            elif not self._was_ready:
                raise Problem(message.what, message.mend)
            else:
                self.log.error("process.cannot_serve", slot=child.slot, what=message.what)
        if child.lines.is_over:
            self._selector.unregister(child.lines.end)
        serving = sum(one.is_ready for one in self._children.values())
        if not self._was_ready and serving == len(self._posts):
            self._was_ready = True
            self.ready()

    def _bury(self) -> None:
        """Notices the dead; their posts are to be filled again."""
        for slot, child in tuple(self._children.items()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            del self._children[slot]
            with suppress(KeyError, ValueError):
                self._selector.unregister(child.lines.end)
            child.lines.end.close()
            self.emptied(slot)
            if self._stop_by is None:
                self._plan_replacement(child, os.waitstatus_to_exitcode(status))

    def _plan_replacement(self, child: _Child, status: int) -> None:
        now, post = time.monotonic(), self._posts[child.slot]
        post.quick_deaths = post.quick_deaths + 1 if now - child.started < QUICK else 0
        pause = min(0.1 * 2**post.quick_deaths, LONGEST_PAUSE) if post.quick_deaths else 0.0
        post.due = now + pause
        if not self._was_ready and post.quick_deaths >= 3:
            raise Problem(
                f"A process ended with status {status} again and again before it could serve.", "See the log."
            )
        self.log.error("process.died", slot=child.slot, pid=child.pid, status=status, next_in=pause)

    def _pause(self) -> float | None:
        waits = [post.due for slot, post in self._posts.items() if slot not in self._children]
        if self._stop_by is not None:
            waits = [self._stop_by]
        return max(0.0, min(waits) - time.monotonic()) if waits else None

    # ------------------------------------------------------------ signals

    def _catch_signals(self) -> None:
        ours, theirs = self._wake
        ours.setblocking(False)
        theirs.setblocking(False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, _nothing)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        self._selector.register(ours, selectors.EVENT_READ)

    def _take_signals(self) -> None:
        with suppress(BlockingIOError):
            for number in self._wake[0].recv(256):
                if number in (signal.SIGTERM, signal.SIGINT):
                    self._stop()
                elif number == signal.SIGHUP and self._stop_by is None:
                    self._reload()

    def _stop(self) -> None:
        if self._stop_by is None:
            self.log.info("server.stopping")
            self._stop_by = time.monotonic() + GRACE
            self.binding.close()
            self._kill_all(signal.SIGTERM)
            return
        # Said twice: the end of the control connection tells a process to drop what it has.
        self._stop_by = min(self._stop_by, time.monotonic() + HURRY)
        for child in self._children.values():
            with suppress(OSError):
                child.lines.end.shutdown(socket.SHUT_WR)

    def _enforce_deadline(self) -> None:
        if self._stop_by is not None and time.monotonic() >= self._stop_by:
            self._kill_all(signal.SIGKILL)
            self._stop_by = time.monotonic() + 1.0

    def _kill_all(self, number: signal.Signals) -> None:
        for child in self._children.values():
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)

    def _reload(self) -> None:
        """What cannot be used changes nothing: the server goes on as it was."""
        before = self.settings
        try:
            self.settings, self.material = self.source()
        except Problem as problem:
            self.log.error("reload.refused", what=problem.what, mend=problem.mend)
            return
        if (before.server, before.listen) != (self.settings.server, self.settings.listen):
            self.log.warning("reload.partial", why="ports, addresses and workers change with the next start")
        self._tell_all(Reload(self.settings, self.material))
        self.log.info("reload.done")

    def _tell_all(self, message: ToProcess) -> None:
        line = encode(message)
        for child in self._children.values():
            child.lines.end.setblocking(True)
            child.lines.end.settimeout(1.0)
            with suppress(OSError):
                child.lines.end.sendall(line)
            child.lines.end.setblocking(False)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The wake-up descriptor says it; a handler must stand so that the signal is not the default's."""
