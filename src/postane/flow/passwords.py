"""Passwords: making a verifier, believing a password, and remembering for a moment that it was right.

Verifiers are Argon2id (RFC 9106) at 19 MiB, two passes, one lane.  Hashing runs
in threads, a bounded number at once (`LoginLimits.concurrent`), so that its
memory is bounded too.  Passwords are compared as RFC 8265 4.2 OpaqueString.

A right password is remembered under a key of this process for `cache_seconds`
as a MAC that names the credential and its version; the password itself is
kept nowhere.  Someone who does not exist costs as much as a wrong password.

Refused: empty passwords, control characters, more than `MAX_PASSWORD` octets.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
import secrets
import unicodedata
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from postane.core.clock import Clock
from postane.core.ids import new_id
from postane.core.limits import LoginLimits
from postane.core.status import Condition, MailError
from postane.flow.login_gate import LoginGate
from postane.store.api import Credential

K = TypeVar("K")
V = TypeVar("V")

MAX_PASSWORD = 1024
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def prepare(password: str) -> bytes:
    """RFC 8265 4.2.2: other spaces become U+0020, NFC, nothing empty, no control characters.

    MailError BAD_ARGUMENT says what is wrong, never the password.
    """
    too_long = MailError(Condition.BAD_ARGUMENT, f"the password is longer than {MAX_PASSWORD} octets")
    if len(password) > MAX_PASSWORD:
        raise too_long
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in password)
    text = unicodedata.normalize("NFC", spaced)
    if not text:
        raise MailError(Condition.BAD_ARGUMENT, "the password is empty")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise MailError(Condition.BAD_ARGUMENT, "the password holds a control character")
    prepared = text.encode()
    if len(prepared) > MAX_PASSWORD:
        raise too_long
    return prepared


async def hash_password(password: str) -> str:
    """The Argon2id verifier (PHC string) of a new password.  MailError BAD_ARGUMENT as `prepare` says."""
    return await asyncio.to_thread(_HASHER.hash, prepare(password))


def random_password() -> str:
    """100 random bits in four groups that can be read out and typed on a telephone."""
    letters = new_id()
    return "-".join(letters[start : start + 5] for start in range(0, 20, 5))


@dataclass(frozen=True, slots=True)
class _Verified:
    version: int
    mac: bytes
    until: float


class Passwords:
    """Believes or refuses; one object a process, used from one event loop."""

    def __init__(self, clock: Clock, limits: LoginLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._key = secrets.token_bytes(32)
        self._verified: OrderedDict[tuple[int, int], _Verified] = OrderedDict()
        self._known: OrderedDict[tuple[int, str], None] = OrderedDict()
        self._gate = LoginGate(limits.concurrent, limits.waiting)
        self._threads = ThreadPoolExecutor(limits.concurrent, thread_name_prefix="login")
        self._nobody = _verifier_of_nobody()

    async def verify(self, credential: Credential | None, password: str, host: str) -> bool:
        """Whether `password` is the credential's; None stands for someone unknown and is always refused.

        `host` is the peer's numeric address.  MailError AUTH_TEMPORARY where too many logins wait.
        """
        try:
            prepared = prepare(password)
        except MailError:
            credential, prepared = None, b"-"
        if credential is None:
            await self._compare(self._nobody, prepared, is_known=False)
            return False
        mac = hmac.digest(self._key, prepared, "sha256")
        if self._remembers(credential, mac):
            return True
        pair = (credential.account, _network(host))
        if not await self._compare(credential.verifier, prepared, is_known=pair in self._known):
            return False
        until = self._clock.monotonic() + self._limits.cache_seconds
        self._put(self._verified, (credential.account, credential.id), _Verified(credential.version, mac, until))
        self._put(self._known, pair, None)
        return True

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _remembers(self, credential: Credential, mac: bytes) -> bool:
        key = (credential.account, credential.id)
        entry = self._verified.get(key)
        if entry is None:
            return False
        if entry.version != credential.version or entry.until <= self._clock.monotonic():
            del self._verified[key]
            return False
        return hmac.compare_digest(entry.mac, mac)

    async def _compare(self, verifier: str, prepared: bytes, is_known: bool) -> bool:
        await self._gate.enter(is_known)
        try:
            job = asyncio.get_running_loop().run_in_executor(self._threads, _matches, verifier, prepared)
        except RuntimeError as error:
            self._gate.leave()
            raise MailError(Condition.SHUTTING_DOWN, "the server is stopping", str(error)) from error
        job.add_done_callback(self._done)
        # A client that hangs up does not stop the thread: its turn ends when the work does.
        return await asyncio.shield(job)

    def _done(self, job: asyncio.Future[bool]) -> None:
        self._gate.leave()
        if not job.cancelled():
            job.exception()  # seen here, since whoever asked may have gone

    def _put(self, table: OrderedDict[K, V], key: K, value: V) -> None:
        table[key] = value
        table.move_to_end(key)
        if len(table) > self._limits.cache_entries:
            table.popitem(last=False)


def _matches(verifier: str, prepared: bytes) -> bool:
    try:
        return _HASHER.verify(verifier, prepared)
    except (VerifyMismatchError, InvalidHashError):
        return False
    except VerificationError as error:
        raise MailError(Condition.AUTH_TEMPORARY, "the password cannot be checked now", str(error)) from error


def _network(host: str) -> str:
    """What of an address tells a household: IPv4 whole, IPv6 its /64 (RFC 8981 addresses change daily)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    return str(ipaddress.ip_network((address.packed[:8] + bytes(8), 64)))


def _verifier_of_nobody() -> str:
    """Costs what a real one costs, and nothing matches it."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(length)).rstrip(b"=").decode("ascii")
        for length in (_HASHER.salt_len, _HASHER.hash_len)
    )
    return f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}${salt}${digest}"
