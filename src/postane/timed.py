"""The timed process: what is due by the clock rather than by a client.

The janitor's round (`flow.retention`), and a certificate for new domains.  A job
that fails is logged and tried again at its next turn; it never stops the others.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from postane.app import Stores, janitor, open_stores
from postane.config.settings import Settings
from postane.control import CertificateChanged, Ready, Reload, encode
from postane.core.log import Log
from postane.flow.retention import RetentionPolicy
from postane.logs import make_log
from postane.net.hints import DatagramHints
from postane.prepare import have_certificate
from postane.reach import certificate_files
from postane.supervisor import Assignment
from postane.worker import flush_trace, obey, run_loop

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Job:
    """`every` seconds, for the first time `after` so many: a start has better things to do than to tidy up."""

    name: str
    every: float
    after: float
    work: Callable[[], Awaitable[None]]


def run(assignment: Assignment) -> None:
    run_loop(_serve(assignment))


async def _serve(assignment: Assignment) -> None:
    settings = assignment.settings
    log = make_log(settings.log, "timed")
    hints = DatagramHints(assignment.folder.run, "timed")
    hints.start()
    stores = open_stores(assignment.folder.path, "timed", hints, settings.limits)
    timed = _Timed(assignment, stores, log)
    try:
        await timed.run()
    finally:
        hints.close()
        await stores.close()


class _Timed:
    def __init__(self, assignment: Assignment, stores: Stores, log: Log) -> None:
        self._assignment = assignment
        self._settings: Settings = assignment.settings
        self._stores = stores
        self._log = log
        self._directory_version = -1
        self._certificate = assignment.material.certificate
        """What the workers have."""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        obey(self._assignment.control, self._reload, stop.set)
        tasks = [loop.create_task(self._repeat(job)) for job in self._jobs()]
        tasks.append(loop.create_task(flush_trace(self._stores)))
        self._assignment.control.send(encode(Ready()))
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _jobs(self) -> tuple[Job, ...]:
        return (
            Job("certificate", 1.0, 0.0, self._cover_new_domains),
            Job("retention", 6 * HOUR, 60.0, self._tidy_up),
        )

    async def _repeat(self, job: Job) -> None:
        await asyncio.sleep(job.after)
        while True:
            try:
                await job.work()
            except Exception:
                self._log.exception("job.failed", job=job.name)
            await asyncio.sleep(job.every)

    def _reload(self, message: Reload) -> None:
        self._settings = message.settings
        self._certificate = message.material.certificate
        self._log = make_log(message.settings.log, "timed")

    # ------------------------------------------------------------ jobs

    async def _cover_new_domains(self) -> None:
        """Whoever made the certificate anew, this process or a command, the workers hear of it here."""
        version = await self._stores.directory.version()
        if version == self._directory_version or self._settings.tls.certificate:
            return
        await have_certificate(self._assignment.folder, self._settings, self._stores.directory)
        certificate = certificate_files(self._assignment.folder, self._settings).certificate.read_text("ascii")
        if certificate != self._certificate:
            self._certificate = certificate
            self._assignment.control.send(encode(CertificateChanged()))
        self._directory_version = version

    async def _tidy_up(self) -> None:
        policy = RetentionPolicy(undelete=self._settings.server.undelete_days)
        await janitor(self._stores, policy, self._log).run()
