"""Binding the ports, before anything else is begun and while we may still be root.

The sockets are made once and handed to every worker: a connection waits in one
queue for whichever worker is free, and a worker that dies loses none.
"""

from __future__ import annotations

import errno
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from postane.config.settings import LmtpSettings, Ports, Settings
from postane.core.listener import STANDARD_PORTS, Listener, Service
from postane.problem import Problem

HIGH_PORTS = {
    Service.SMTP: 2525,
    Service.LMTP: 2424,
    Service.SUBMISSION: 2587,
    Service.SUBMISSIONS: 2465,
    Service.IMAP: 2143,
    Service.IMAPS: 2993,
    Service.POP3: 2110,
    Service.POP3S: 2995,
}
BACKLOG = 1024
PATIENCE = 1.0
"""Seconds to wait for a port of ours that a killed server's processes are just letting go of."""
RANDOM_TRIES = 5


@dataclass(frozen=True, slots=True)
class Bound:
    """A listening socket and what is spoken there."""

    listener: Listener
    socket: socket.socket


@dataclass(frozen=True, slots=True)
class Binding:
    """`ports` by service, for cards and the ready file; `note` is what the operator should know of their choice."""

    bound: tuple[Bound, ...]
    ports: dict[Service, int]
    note: str = ""

    def close(self) -> None:
        for one in self.bound:
            name = one.socket.getsockname() if one.socket.family == socket.AF_UNIX else ""
            one.socket.close()
            if name:
                Path(name).unlink(missing_ok=True)


class _Refused(Exception):
    """One port could not be had; `code` is the errno."""

    def __init__(self, service: Service, address: str, port: int, error: OSError) -> None:
        super().__init__(error.strerror)
        self.service, self.address, self.port, self.code = service, address, port, error.errno


def bind(settings: Settings) -> Binding:
    """All listeners of the settings, or none: Problem names the port, and who has it where that can be found out."""
    choice = settings.listen.ports
    if choice is not Ports.AUTO:
        return _bind_or_tell(settings, choice)
    try:
        return _bind_all(settings, Ports.STANDARD)
    except _Refused as refused:
        binding = _bind_or_tell(settings, Ports.HIGH)
        return Binding(binding.bound, binding.ports, f"Using high ports, because {_reason(refused)}.")


def _bind_or_tell(settings: Settings, choice: Ports) -> Binding:
    try:
        return _bind_all(settings, choice)
    except _Refused as refused:
        name = f"listen.{refused.service.value}.port"
        mend = f"Free it, or set {name}, or choose other ports with --ports high or --ports random."
        if refused.code == errno.EADDRNOTAVAIL:
            mend = "Set listen.addresses to addresses of this machine."
        elif refused.code == errno.EACCES:
            mend = "Start as root, or choose --ports high; or allow it: sysctl net.ipv4.ip_unprivileged_port_start=24"
        raise Problem(f"Cannot listen for {refused.service.value}: {_reason(refused)}.", mend) from refused


def _bind_all(settings: Settings, choice: Ports) -> Binding:
    bound: list[Bound] = []
    ports: dict[Service, int] = {}
    try:
        for service in Service:
            if settings.listen.of(service).enabled:
                ports[service] = _bind_service(settings, service, choice, bound)
    except BaseException:
        for one in bound:
            one.socket.close()
        raise
    return Binding(tuple(bound), ports)


def _bind_service(settings: Settings, service: Service, choice: Ports, bound: list[Bound]) -> int:
    """One port at every address; what is bound joins `bound` at once, so that a failure can let go of it."""
    here = settings.listen.of(service)
    listener = Listener(service, settings.plaintext_login(service))
    addresses = here.addresses or settings.listen.addresses
    made = _listen_everywhere(service, addresses, here.port or _port(service, choice))
    bound.extend(Bound(listener, one) for one in made)
    if isinstance(here, LmtpSettings) and here.socket:
        bound.append(Bound(listener, _listen_unix(here.socket)))
    return int(made[0].getsockname()[1]) if made else 0


def _listen_everywhere(service: Service, addresses: tuple[str, ...], port: int) -> list[socket.socket]:
    """Port 0 is a free one, the same at every address; one that is free in IPv4 may be taken in IPv6."""
    for left in reversed(range(1 if port else RANDOM_TRIES)):
        made: list[socket.socket] = []
        try:
            for address in addresses:
                one = _listen(service, address, made[0].getsockname()[1] if made else port)
                made += [one] if one is not None else []
        except _Refused:
            for one in made:
                one.close()
            if not left:
                raise
        else:
            return made
    raise AssertionError("the last try returns or raises")


def _port(service: Service, choice: Ports) -> int:
    if choice is Ports.RANDOM:
        return 0
    return (STANDARD_PORTS if choice is Ports.STANDARD else HIGH_PORTS)[service]


def _listen(service: Service, address: str, port: int) -> socket.socket | None:
    """None where the machine has no such protocol: "::" on a machine without IPv6 is no mistake."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return _socket(family, address, port)
        except OSError as error:
            if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and address in ("::", "::1"):
                return None
            if error.errno != errno.EADDRINUSE or time.monotonic() >= end:
                raise _Refused(service, address, port, error) from error
            time.sleep(0.05)


def _socket(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        made.listen(BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def _listen_unix(name: str) -> socket.socket:
    """Whoever may enter the socket's folder may connect, as with a port on loopback."""
    path = Path(name)
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Problem(f"listen.lmtp.socket = {name!r} is a file that is no socket.", "Name another path.")
        path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(name)
        path.chmod(0o666)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise Problem(
            f"Cannot listen on listen.lmtp.socket = {name!r}: {error.strerror}.", "Name a path in a folder that exists."
        ) from error
    return made


# ---------------------------------------------------------------- who has it


def _reason(refused: _Refused) -> str:
    port = f"port {refused.port} on {refused.address}"
    if refused.code == errno.EACCES:
        return f"{port} may be bound by root only"
    if refused.code == errno.EADDRINUSE:
        holder = _holder(refused.port)
        return f"{port} is taken by {holder}" if holder else f"{port} is taken by another program"
    if refused.code == errno.EADDRNOTAVAIL:
        return f"{refused.address} is no address of this machine"
    return f"{port}: {refused}"


def _holder(port: int) -> str:
    """`exim4 (process 123)`, or "" where /proc does not tell us."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    with suppress(OSError):
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            with suppress(OSError):
                if any(str(one.readlink()) in sockets for one in (process / "fd").iterdir()):
                    return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return ""


def _listening(port: int) -> Iterator[str]:
    """Inodes of the sockets that listen on a port: proc(5), /proc/net/tcp, state 0A."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]
