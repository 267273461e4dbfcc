"""Who there is, in SQL: fills the port `Directory` (`postane.store.api`).

What has been looked up is remembered until anyone changes anything: every write
renews a stamp in memory that all processes share (`postane.store.stamp`), so a
change by one is seen by the next look-up of every other.  For the case that the
one died between its commit and the stamp, the version in the file is looked at
every few seconds.

Refused: what is no domain or address, an address that is taken (accounts and
aliases share one name space), a domain that is not ours, an alias without
targets or with more than `MAX_TARGETS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from itertools import groupby
from typing import Any, TypeVar, cast

from postane.core.address import Address, BadAddress, fold_local, parse, parse_domain
from postane.core.clock import Clock
from postane.core.ids import new_id
from postane.core.status import Condition, MailError
from postane.store import directory_sql as sql
from postane.store.api import SLICE, Account, AccountRef, AccountState, Alias, Credential, Domain
from postane.store.schema import load
from postane.store.script import Row, Script
from postane.store.sqlite import Database
from postane.store.stamp import Stamp

T = TypeVar("T")

SCHEMA = load("directory", 0x506F7344)
MAX_TARGETS = 1000
REMEMBERED = 20_000
"""Look-ups that are kept; then all are forgotten at once."""
TRUSTED = 5.0
"""Seconds before the version in the file is looked at again."""


class SqlDirectory:
    def __init__(self, database: Database, clock: Clock, stamp: Stamp) -> None:
        self._database = database
        self._clock = clock
        self._stamp = stamp
        self._known: dict[Hashable, Any] = {}
        self._known_under = b""
        self._known_version = -1
        self._trusted_until = 0.0

    async def version(self) -> int:
        """Rises with every change by any process."""
        return await self._database.read(sql.version())

    async def close(self) -> None:
        await self._database.close()
        self._stamp.close()

    # ------------------------------------------------------ remembering

    async def _look_up(self, key: Hashable, find: Callable[[], Awaitable[T]]) -> T:
        """What `find` gave under the stamp of now.  The stamp is taken before the read: a write meanwhile shows."""
        stamp = self._stamp.value
        if stamp != self._known_under or self._clock.monotonic() >= self._trusted_until:
            await self._trust(stamp)
        known = self._known
        if key in known:
            return cast(T, known[key])
        found = await find()
        if self._known_under == stamp:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = found
        return found

    async def _trust(self, stamp: bytes) -> None:
        version = await self.version()
        if stamp != self._known_under or version != self._known_version:
            self._known = {}
        self._known_under, self._known_version = stamp, version
        self._trusted_until = self._clock.monotonic() + TRUSTED

    async def _write(self, script: Script[T]) -> T:
        try:
            return await self._database.write(script, is_short=True)
        finally:
            self._stamp.renew()

    # -------------------------------------------------------- domains

    async def domains(self) -> tuple[Domain, ...]:
        return tuple(map(_domain, await self._database.read(sql.domains())))

    async def domain(self, name: str) -> Domain | None:
        return await self._look_up(("domain", name), lambda: self._find_domain(name))

    async def _find_domain(self, name: str) -> Domain | None:
        rows = await self._database.read(sql.domain(name))
        return _domain(rows[0]) if rows else None

    async def add_domain(self, name: str) -> Domain:
        """In either spelling.  MAILBOX_EXISTS, BAD_ARGUMENT."""
        if name.startswith("["):
            raise MailError(Condition.BAD_ARGUMENT, f"{name} is an address literal, not a domain")
        try:
            domain = parse_domain(name)
        except BadAddress as error:
            raise MailError(Condition.BAD_ARGUMENT, str(error)) from error
        return _domain(await self._write(sql.add_domain(domain, self._now())))

    async def remove_domain(self, name: str) -> None:
        """UNKNOWN_DOMAIN; BAD_ARGUMENT while accounts or aliases live in it."""
        await self._write(sql.remove_domain(name))

    # ------------------------------------------------------- accounts

    async def accounts(self, domain: str | None = None) -> AsyncIterator[Account]:
        """The oldest first."""
        after = 0
        while True:
            rows = await self._database.read(sql.accounts(domain, after))
            for row in rows:
                yield _account(row)
            if len(rows) < SLICE:
                return
            after = rows[-1][0]

    async def account(self, address: str) -> Account | None:
        return await self._look_up(("account", address), lambda: self._find_account(address))

    async def _find_account(self, address: str) -> Account | None:
        rows = await self._database.read(sql.account(address))
        return _account(rows[0]) if rows else None

    async def account_by_id(self, account_id: int) -> Account | None:
        return await self._look_up(("account", account_id), lambda: self._find_account_by_id(account_id))

    async def _find_account_by_id(self, account_id: int) -> Account | None:
        rows = await self._database.read(sql.account_by_id(account_id))
        return _account(rows[0]) if rows else None

    async def add_account(
        self, address: str, verifier: str, display_name: str, quota_bytes: int, quota_messages: int
    ) -> Account:
        """MAILBOX_EXISTS, UNKNOWN_DOMAIN, BAD_ARGUMENT."""
        parsed = _parse(address)
        quota = (quota_bytes, quota_messages)
        script = sql.add_account(parsed.key, parsed.domain, new_id(), verifier, display_name, quota, self._now())
        return _account(await self._write(script))

    async def update_account(
        self,
        account_id: int,
        *,
        display_name: str | None = None,
        quota_bytes: int | None = None,
        quota_messages: int | None = None,
        state: AccountState | None = None,
    ) -> Account:
        """What is None stays.  UNKNOWN_RECIPIENT."""
        script = sql.update_account(account_id, display_name, quota_bytes, quota_messages, state)
        return _account(await self._write(script))

    async def set_password(self, account_id: int, verifier: str) -> Account:
        return _account(await self._write(sql.set_password(account_id, verifier)))

    async def credentials(self, account_id: int) -> tuple[Credential, ...]:
        return await self._look_up(("credentials", account_id), lambda: self._find_credentials(account_id))

    async def _find_credentials(self, account_id: int) -> tuple[Credential, ...]:
        return tuple(Credential(*row) for row in await self._database.read(sql.credentials(account_id)))

    async def remove_account(self, account_id: int) -> None:
        """Aliases that lead to it stay; its number is never given again."""
        await self._write(sql.remove_account(account_id))

    # -------------------------------------------------------- aliases

    async def alias(self, local: str, domain: str) -> Alias | None:
        return await self._look_up(("alias", local, domain), lambda: self._find_alias(local, domain))

    async def _find_alias(self, local: str, domain: str) -> Alias | None:
        rows = await self._database.read(sql.alias_targets(_alias_key(local, domain)))
        return Alias(fold_local(local), domain, tuple(target for (target,) in rows)) if rows else None

    async def aliases(self, domain: str | None = None) -> tuple[Alias, ...]:
        rows = await self._database.read(sql.aliases(domain), in_pool=True)
        return tuple(
            Alias(key.removesuffix(f"@{name}"), name, tuple(row[2] for row in group))
            for (key, name), group in groupby(rows, key=lambda row: (row[0], row[1]))
        )

    async def put_alias(self, alias: Alias) -> None:
        """Makes it or gives it other targets.  MAILBOX_EXISTS where an account has that address."""
        if alias.local:
            _parse(str(Address(alias.local, alias.domain)))
        targets = tuple(dict.fromkeys(str(_parse(target)) for target in alias.targets))
        if not 0 < len(targets) <= MAX_TARGETS:
            raise MailError(Condition.BAD_ARGUMENT, f"an alias has 1 to {MAX_TARGETS} targets, not {len(targets)}")
        key = _alias_key(alias.local, alias.domain)
        await self._write(sql.put_alias(key, alias.domain, targets))

    async def remove_alias(self, local: str, domain: str) -> None:
        await self._write(sql.remove_alias(_alias_key(local, domain)))

    # ------------------------------------------------------- settings

    async def setting(self, name: str) -> str | None:
        rows = await self._database.read(sql.setting(name))
        return rows[0][0] if rows else None

    async def put_setting(self, name: str, value: str) -> None:
        await self._write(sql.put_setting(name, value))

    def _now(self) -> int:
        return int(self._clock.now())


def _parse(address: str) -> Address:
    try:
        return parse(address)
    except BadAddress as error:
        raise MailError(Condition.BAD_ARGUMENT, f"{address!r} is not a mail address: {error}") from error


def _alias_key(local: str, domain: str) -> str:
    return f"{fold_local(local)}@{domain}"


def _domain(row: Row) -> Domain:
    number, name, tenant, plaintext = row
    return Domain(number, name, tenant, None if plaintext is None else bool(plaintext))


def _account(row: Row) -> Account:
    number, public_id, generation, address, display_name, state, *rest = row
    return Account(AccountRef(number, public_id, generation), address, display_name, AccountState(state), *rest)
