"""`postane serve`: from the settings to a running supervisor, and what it says on the way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from postane import privileges, timed, worker
from postane.binding import Binding, bind
from postane.card import Card
from postane.config.place import Place
from postane.config.settings import Settings
from postane.control import Material
from postane.core.listener import Service
from postane.folder import DataFolder, lock, open_folder
from postane.logs import make_log
from postane.net.counters import SharedCounters
from postane.prepare import Prepared, prepare_as_owner
from postane.problem import Problem
from postane.reach import Serving, reach, read_material, write_serving
from postane.supervisor import Entry, Supervisor

_NO_RELAY = "Mail to people on other servers is not sent (relay.enabled is false): they are refused with 550 5.7.1."


def serve(place: Place, ready_file: Path | None, say: Callable[[str], None]) -> None:
    """Returns when the server has stopped.  Problem says why it cannot start.  `say` is for people."""
    privileges.keep_files_private()
    privileges.raise_file_limit()
    loaded, data = place.load()
    settings = loaded.settings
    folder = open_folder(data, create=True)
    if ready_file is not None:
        if not ready_file.absolute().parent.is_dir():
            raise Problem(f"The ready file {ready_file} cannot be written: its folder is not there.")
        ready_file.unlink(missing_ok=True)
    with lock(folder):
        binding = bind(settings)
        prepared = prepare_as_owner(folder, settings)
        material = read_material(folder, settings)
        _check_smarthost(folder, settings)
        _run(place, folder, settings, binding, material, partial(_announce, prepared, ready_file, say))


def _check_smarthost(folder: DataFolder, settings: Settings) -> None:
    """The workers read its password as the folder's owner: what would stop them is said here."""
    smarthost = settings.relay.smarthost
    if not smarthost.host or not smarthost.user:
        return
    try:
        with folder.as_owner():
            Path(smarthost.password_file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(
            f"relay.smarthost.password_file = {smarthost.password_file!r} cannot be read: {error}.",
            "Name a file that the owner of the data folder may read; its first line is the password.",
        ) from error


def _run(
    place: Place,
    folder: DataFolder,
    settings: Settings,
    binding: Binding,
    material: Material,
    announce: Callable[[DataFolder, Settings, Binding], None],
) -> None:
    workers = settings.server.workers or len(os.sched_getaffinity(0))
    counters_file = folder.run / "counters"
    with folder.as_owner():
        counters_file.unlink(missing_ok=True)
        counters = SharedCounters(counters_file, 0, workers)
    entries: dict[int, Entry] = {0: timed.run}
    for slot in range(1, workers + 1):
        entries[slot] = partial(worker.run, counters=counters_file, slots=workers)

    def read_again() -> tuple[Settings, Material]:
        now = place.load()[0].settings
        return now, read_material(folder, now)

    def emptied(slot: int) -> None:
        if slot:
            counters.clear(slot - 1)

    Supervisor(
        folder=folder,
        binding=binding,
        settings=settings,
        material=material,
        entries=entries,
        source=read_again,
        emptied=emptied,
        ready=lambda: announce(folder, settings, binding),
        log=make_log(settings.log, "supervisor"),
    ).run()


def _announce(
    prepared: Prepared,
    ready_file: Path | None,
    say: Callable[[str], None],
    folder: DataFolder,
    settings: Settings,
    binding: Binding,
) -> None:
    """Every listener accepts: the ready file for programs, the card for people."""
    ports = {service.value: port for service, port in binding.ports.items()}
    here = reach(folder, settings, binding.ports)
    with folder.as_owner():
        write_serving(folder, Serving(os.getpid(), ports, str(here.certificate)))
    if ready_file is not None:
        facts: dict[str, Any] = {"pid": os.getpid(), "ports": ports, "certificate": str(here.certificate)}
        if prepared.password:
            facts |= {"account": prepared.account, "password": prepared.password}
        _write_whole(ready_file, json.dumps(facts, indent=2) + "\n")
    notes = [binding.note, "" if settings.relay.enabled else _NO_RELAY]
    say(_text(prepared, Card(here, prepared.account, prepared.password), folder, binding, notes))


def _text(prepared: Prepared, card: Card, folder: DataFolder, binding: Binding, notes: list[str]) -> str:
    lines = [""]
    if prepared.account:
        lines += [card.text(), ""]
        if line := card.curl(_local_host(binding)):
            lines += ["Try it from a shell on this machine:", "", f"  {line}", ""]
    else:
        lines += ["There is no account yet: postane account add NAME@DOMAIN", ""]
    if Service.SMTP in binding.ports:
        lines.append(f"Mail from other servers comes in on port {binding.ports[Service.SMTP]} (SMTP).")
    lines += filter(None, notes)
    lines += [f"Data folder: {folder.path}", "Ctrl-C stops the server."]
    return "\n".join(lines)


def _local_host(binding: Binding) -> str:
    """A name or address that answers on this machine."""
    hosts = [
        one.socket.getsockname()[0] for one in binding.bound if one.listener.service in (Service.IMAPS, Service.IMAP)
    ]
    if any(host in ("0.0.0.0", "::", "127.0.0.1", "::1") for host in hosts):  # noqa: S104 - compared, not bound
        return "localhost"
    return hosts[0] if hosts else "localhost"


def _write_whole(path: Path, text: str) -> None:
    """Nobody sees half of it, and only its owner can read it: it may hold a password."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "utf-8")
    draft.replace(path)
