"""SASL mechanisms, the server's side, without I/O (RFC 4422).

PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login, never a standard, which
Outlook needs with exactly these two prompts).  Base64, the empty initial
response "=" and the cancelling "*" are each protocol's own framing and never
come here.

Refused: octets that are no UTF-8, NUL inside a field, an empty user or
password, fields over `MAX_FIELD` octets, a step after the last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from postane.core.status import Condition, MailError

MAX_FIELD = 1024
"""RFC 4616 2 asks that 255 octets be taken; a pass phrase may be longer."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What PLAIN (RFC 4616) and LOGIN say.  `authorization` is "" unless the client asked to act as another."""

    authorization: str
    user: str
    password: str = field(repr=False)


class Mechanism(Protocol):
    def step(self, data: bytes | None) -> bytes | Credentials:
        """`data` is the client's message, None where it sent no initial response.

        Returns the next challenge, or what the client said in the end.  MailError AUTH_FAILED or SYNTAX for nonsense.
        """


class Plain:
    """RFC 4616 2: [authzid] NUL authcid NUL passwd, in one message."""

    def step(self, data: bytes | None) -> bytes | Credentials:
        if data is None:
            return b""
        fields = data.split(b"\0", 3)
        if len(fields) != 3:
            raise MailError(Condition.SYNTAX, "PLAIN takes authorization, user and password, parted by NUL (RFC 4616)")
        authorization, user, password = (_text(each) for each in fields)
        return _credentials(authorization, user, password)


class Login:
    """Two prompts, two answers; an initial response is the user."""

    def __init__(self) -> None:
        self._user: str | None = None

    def step(self, data: bytes | None) -> bytes | Credentials:
        if data is None:
            return b"Username:"
        if self._user is None:
            self._user = _text(data)
            return b"Password:"
        return _credentials("", self._user, _text(data))


NAMES: tuple[str, ...] = ("PLAIN", "LOGIN")


def mechanism(name: str) -> Mechanism | None:
    """A fresh exchange, or None where the name is unknown.  Names compare without case (RFC 4422 3.1: upper)."""
    match name.upper():
        case "PLAIN":
            return Plain()
        case "LOGIN":
            return Login()
        case _:
            return None


def _text(data: bytes) -> str:
    if len(data) > MAX_FIELD:
        raise MailError(Condition.AUTH_FAILED, f"a user name or password is longer than {MAX_FIELD} octets")
    if b"\0" in data:
        raise MailError(Condition.SYNTAX, "a user name or password holds a NUL")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise MailError(Condition.AUTH_FAILED, "the user name or password is not UTF-8") from None


def _credentials(authorization: str, user: str, password: str) -> Credentials:
    """RFC 4616 2: authcid and passwd hold one character at least."""
    if not user or not password:
        raise MailError(Condition.AUTH_FAILED, "the user name or the password is empty")
    return Credentials(authorization, user, password)
