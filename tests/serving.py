"""A real server for tests from outside: its own processes, random ports, a data folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("postane")


class Server:
    """`postane serve`: `start` returns when every listener accepts.  What the first start said of its account stays."""

    def __init__(
        self, data: Path, log_file: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.data = data
        self.ports: dict[str, int] = {}
        self.certificate = Path()
        self.account = ""
        self.password = ""
        self.pid = 0
        self.ready: dict[str, Any] = {}
        self._log_file = log_file
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        outside = {name: value for name, value in os.environ.items() if not name.startswith("POSTANE_")}
        self._environment = {**outside, **(environment or {})}

    def launch(self) -> Path:
        """Starts it without waiting; gives the ready file that will be there."""
        ready_file = self._log_file.with_suffix(".ready")
        ready_file.unlink(missing_ok=True)
        command = [PROGRAM, "serve", "--data", self.data, "--ports", "random", "--ready-file", ready_file]
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*map(str, command), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        return ready_file

    def start(self, seconds: float = 60.0) -> None:
        ready_file = self.launch()
        assert self._process is not None
        end = time.monotonic() + seconds
        while not ready_file.exists():
            assert self._process.poll() is None, f"it ended with {self._process.returncode}:\n{self.log()}"
            assert time.monotonic() < end, f"it was not ready in {seconds:g} s:\n{self.log()}"
            time.sleep(0.01)
        self.ready = json.loads(ready_file.read_text("utf-8"))
        self.pid = self.ready["pid"]
        self.ports = self.ready["ports"]
        self.certificate = Path(self.ready["certificate"])
        self.account = self.ready.get("account", self.account)
        self.password = self.ready.get("password", self.password)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = 30.0) -> int:
        """Its exit status, once it has ended."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._process = None

    def kill(self) -> None:
        """SIGKILL for every process of it, and waits until all are gone."""
        assert self._process is not None
        processes = self.processes()
        for pid in processes:
            _kill(pid)
        self._process.wait(30)
        while any(Path(f"/proc/{pid}").exists() for pid in processes):
            time.sleep(0.005)
        self._process = None

    def processes(self) -> list[int]:
        """The supervisor's and those below it, in order."""
        assert self._process is not None
        found = [self._process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        return sorted(found)

    def workers(self) -> dict[str, int]:
        """Process ids by name, such as "postane-1" or "postane-timed"."""
        return {_name(pid): pid for pid in self.processes()[1:]}

    def log(self) -> str:
        return self._log_file.read_text("utf-8", "replace") if self._log_file.exists() else ""

    def postane(
        self, *arguments: str, stdin: str | bytes = b"", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """A command on this server's data folder."""
        done = subprocess.run(
            [str(PROGRAM), *arguments, "--data", str(self.data)],
            input=stdin.decode() if isinstance(stdin, bytes) else stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=self._environment,
            timeout=120,
        )
        if check:
            assert done.returncode == 0, f"postane {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}"
        return done


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()
