"""The settings card: what a person types into a mail program on another machine, and a line to try it from here."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postane.core.listener import Service

_WAYS = (
    ("IMAP (mail stays on the server)", Service.IMAPS, Service.IMAP),
    ("POP3 (mail is fetched)", Service.POP3S, Service.POP3),
    ("SMTP (outgoing mail)", Service.SUBMISSIONS, Service.SUBMISSION),
)
"""What it is for; the port that begins with TLS; the one with STARTTLS."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How the server is reached: its names and addresses, best first; ports; the certificate and its fingerprint.

    `is_self_signed` where people must be told to trust the certificate.
    """

    hosts: tuple[str, ...]
    ports: Mapping[Service, int]
    certificate: Path
    fingerprint: str
    is_self_signed: bool


@dataclass(frozen=True, slots=True)
class Card:
    reach: Reach
    account: str
    password: str = ""
    """Known only in the moment it is made."""

    def text(self) -> str:
        reach = self.reach
        lines = [f"Settings for a mail program, account {self.account}", ""]
        lines.append(f"  {'Server':<32} {'   or   '.join(reach.hosts)}")
        for purpose, implicit, upgraded in _WAYS:
            ways = [f"port {reach.ports[implicit]}, SSL/TLS"] if implicit in reach.ports else []
            ways += [f"port {reach.ports[upgraded]}, STARTTLS"] if upgraded in reach.ports else []
            if ways:
                lines.append(f"  {purpose:<32} {'   or   '.join(ways)}")
        lines.append(f"  {'User name':<32} {self.account}")
        lines.append(f"  {'Password':<32} {self.password or '(as it was set)'}")
        lines.append(f"  {'Authentication':<32} normal password")
        if reach.is_self_signed:
            lines.append(f"  {'Certificate':<32} self-signed, so a mail program asks once; SHA-256 fingerprint:")
            half = len(reach.fingerprint) // 2 + 1
            lines += [f"  {'':<32} {reach.fingerprint[:half]}", f"  {'':<32} {reach.fingerprint[half:]}"]
        return "\n".join(lines)

    def values(self) -> dict[str, Any]:
        """The same for programs."""
        reach = self.reach
        found = {
            "account": self.account,
            "servers": list(reach.hosts),
            "ports": {service.value: port for service, port in reach.ports.items()},
            "certificate": str(reach.certificate),
            "fingerprint": reach.fingerprint,
        }
        return found | ({"password": self.password} if self.password else {})

    def curl(self, host: str = "localhost") -> str:
        """A line for a shell on this machine that searches the INBOX; without a password curl asks for it."""
        user = f"{self.account}:{self.password}" if self.password else self.account
        ports = self.reach.ports
        trust = f"--cacert {shlex.quote(str(self.reach.certificate))} " if self.reach.is_self_signed else ""
        if Service.IMAPS in ports:
            url, upgrade = f"imaps://{in_url(host)}:{ports[Service.IMAPS]}/INBOX?ALL", ""
        elif Service.IMAP in ports:
            url, upgrade = f"imap://{in_url(host)}:{ports[Service.IMAP]}/INBOX?ALL", "--ssl-reqd "
        else:
            return ""
        return f"curl --silent --show-error {upgrade}{trust}--user {shlex.quote(user)} {shlex.quote(url)}"


def in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def reachable_hosts(
    host_name: str, machine_addresses: tuple[str, ...], listening: tuple[str, ...], at_most: int = 3
) -> tuple[str, ...]:
    """Names and addresses for the card: a full host name, then the addresses that are listened on."""
    asked = [ipaddress.ip_address(one) for one in listening]
    families = {one.version for one in asked if one.is_unspecified}
    named = tuple(str(one) for one in asked if not one.is_unspecified)
    found = [one for one in machine_addresses if ipaddress.ip_address(one).version in families or one in named]
    if not found:
        return named or ("localhost",)
    names = (host_name,) if "." in host_name else ()
    return (*names, *found[:at_most])
