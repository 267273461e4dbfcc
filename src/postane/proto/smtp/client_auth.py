"""The client's side of SASL, for logging in at a smarthost: PLAIN (RFC 4616) and LOGIN, without I/O.

Both say the password itself, so they belong inside TLS; whoever asks for one sees to that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Login(Protocol):
    """One exchange.  `initial` is None where the server speaks first."""

    @property
    def mechanism(self) -> str: ...

    @property
    def initial(self) -> bytes | None: ...

    def respond(self, challenge: bytes) -> bytes | None:
        """None where there is nothing more to say: the exchange is to be cancelled."""


class PlainLogin:
    """RFC 4616 2, all in the first message."""

    mechanism = "PLAIN"

    def __init__(self, user: str, password: str) -> None:
        self.initial = f"\0{user}\0{password}".encode()

    def respond(self, challenge: bytes) -> bytes | None:
        return None


class PromptedLogin:
    """LOGIN (draft-murchison-sasl-login): the user, then the password, whatever the prompts say."""

    mechanism = "LOGIN"
    initial = None

    def __init__(self, user: str, password: str) -> None:
        self._answers = [password.encode(), user.encode()]

    def respond(self, challenge: bytes) -> bytes | None:
        return self._answers.pop() if self._answers else None


def choose_login(offered: Iterable[str], user: str, password: str) -> Login | None:
    """The better one of what the server offers (`Capabilities.mechanisms`); None where we know none of them."""
    known = set(offered)
    if "PLAIN" in known:
        return PlainLogin(user, password)
    return PromptedLogin(user, password) if "LOGIN" in known else None
