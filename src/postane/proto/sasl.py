"""SASL mechanisms, the server's side, without I/O (RFC 4422).

(skeleton: the interface is settled, the bodies are being written)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Credentials:
    """What PLAIN (RFC 4616) and LOGIN say.  `authorization` is "" unless the client asked to act as another."""

    authorization: str
    user: str
    password: str


class Mechanism(Protocol):
    def step(self, data: bytes | None) -> bytes | Credentials:
        """`data` is the client's message, None where it sent no initial response.

        Returns the next challenge, or what the client said in the end.  MailError AUTH_FAILED or SYNTAX for nonsense.
        """


NAMES: tuple[str, ...] = ("PLAIN", "LOGIN")


def mechanism(name: str) -> Mechanism | None:
    """A fresh exchange, or None where the name is unknown."""
    raise NotImplementedError
