"""How the server is reached, for cards: its names, its certificate, and the ports it has or last had."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec

from postane.binding import HIGH_PORTS
from postane.card import Reach, reachable_hosts
from postane.config.settings import Ports, Settings
from postane.control import Material
from postane.core.listener import STANDARD_PORTS, Service
from postane.folder import DataFolder
from postane.machine import addresses, host_name
from postane.net import tls
from postane.problem import Problem

_FILE = "serving.json"


class Serving(msgspec.Struct, frozen=True):
    """What the running server says of itself in `run/`, for commands; it stays when the server has stopped."""

    pid: int
    ports: dict[str, int]
    certificate: str


def write_serving(folder: DataFolder, serving: Serving) -> None:
    draft = folder.run / f".{_FILE}"
    draft.write_bytes(msgspec.json.encode(serving))
    draft.replace(folder.run / _FILE)


def known_ports(folder: DataFolder, settings: Settings) -> dict[Service, int]:
    """Of the server that runs or last ran; before the first start, what the settings say."""
    with suppress(OSError, msgspec.DecodeError, ValueError):
        serving = msgspec.json.decode((folder.run / _FILE).read_bytes(), type=Serving)
        return {Service(name): port for name, port in serving.ports.items()}
    usual = HIGH_PORTS if settings.listen.ports is Ports.HIGH else STANDARD_PORTS
    return {one: settings.listen.of(one).port or usual[one] for one in Service if settings.listen.of(one).enabled}


def certificate_files(folder: DataFolder, settings: Settings) -> tls.CertificateFiles:
    if settings.tls.certificate:
        return tls.CertificateFiles(Path(settings.tls.certificate), Path(settings.tls.key))
    return tls.CertificateFiles(folder.tls / "certificate.pem", folder.tls / "key.pem")


def read_material(folder: DataFolder, settings: Settings) -> Material:
    """Certificate and key, checked; Problem names the file that is wrong."""
    files = certificate_files(folder, settings)
    try:
        if settings.tls.certificate:
            return _read(files)
        with folder.as_owner():
            return _read(files)
    except tls.BadCertificate as error:
        raise told(error) from error


def told(error: tls.BadCertificate) -> Problem:
    return Problem(f"{error.path}: {error.problem}.", f"{error.mend[:1].upper()}{error.mend[1:]}.")


def _read(files: tls.CertificateFiles) -> Material:
    tls.server_context(files)
    return Material(files.certificate.read_text("ascii", "replace"), files.key.read_text("ascii", "replace"))


def own_names(settings: Settings, domains: tuple[str, ...]) -> tuple[str, ...]:
    """What a self-signed certificate is made for; the first is its subject."""
    name = settings.server.host_name or host_name()
    mail = (f"mail.{domain}" for domain in domains)
    return tuple(dict.fromkeys((name, *mail, *domains, "localhost", "127.0.0.1", "::1", *addresses())))


def reach(folder: DataFolder, settings: Settings, ports: dict[Service, int]) -> Reach:
    files = certificate_files(folder, settings)
    hosts = reachable_hosts(settings.server.host_name or host_name(), addresses(), settings.listen.addresses)
    try:
        fingerprint = tls.fingerprint(files.certificate)
    except tls.BadCertificate:
        fingerprint = ""  # before the first start
    return Reach(hosts, ports, files.certificate, fingerprint, not settings.tls.certificate)
