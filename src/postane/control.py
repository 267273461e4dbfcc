"""What the supervisor and its processes say to each other: small values over a socket pair, one JSON line each."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from postane.config.settings import Settings

T = TypeVar("T")


class Material(msgspec.Struct, frozen=True):
    """Certificate chain and private key, PEM; read by the supervisor, who may read what a worker may not."""

    certificate: str
    key: str


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """Supervisor to process: this holds for new connections."""

    settings: Settings
    material: Material


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Process to supervisor: I serve."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Process to supervisor: I cannot serve, and another in my place could not either."""

    what: str
    mend: str


class CertificateChanged(msgspec.Struct, frozen=True, tag="certificate_changed"):
    """The timed process to the supervisor: read the self-signed certificate again."""


ToProcess = Reload
ToSupervisor = Ready | Failed | CertificateChanged


def encode(message: ToProcess | ToSupervisor) -> bytes:
    return msgspec.json.encode(message) + b"\n"


@dataclass(slots=True)
class Lines(Generic[T]):
    """Cuts what comes into messages; `is_over` once the other end has gone."""

    end: socket.socket
    decoder: msgspec.json.Decoder[T]
    rest: bytes = b""
    is_over: bool = False

    def receive(self) -> list[T]:
        """What has come by now, without waiting."""
        try:
            data = self.end.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.is_over = True
            return []
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [self.decoder.decode(line) for line in lines]
