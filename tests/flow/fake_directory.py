"""A directory in memory, for the tests of what stands above it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from postane.store.api import Account, AccountRef, AccountState, Alias, Credential, Domain


class FakeDirectory:
    def __init__(self, *domains: str) -> None:
        self.names = {name: Domain(number, name) for number, name in enumerate(domains, 1)}
        self.people: dict[str, Account] = {}
        self.verifiers: dict[int, Credential] = {}
        self.by_alias: dict[tuple[str, str], Alias] = {}

    def put(self, address: str, verifier: str = "", state: AccountState = AccountState.ACTIVE) -> Account:
        number = len(self.people) + 1
        account = Account(AccountRef(number, f"id{number}"), address, "", state, 1, 0, 0, number)
        self.people[address] = account
        self.verifiers[number] = Credential(number, number, "password", verifier, 1)
        return account

    def change(self, address: str, verifier: str | None = None, state: AccountState | None = None) -> None:
        old = self.people[address]
        self.people[address] = replace(old, version=old.version + 1, state=state or old.state)
        if verifier is not None:
            credential = self.verifiers[old.ref.id]
            self.verifiers[old.ref.id] = replace(credential, verifier=verifier, version=credential.version + 1)

    def limit(self, address: str, quota_bytes: int) -> None:
        self.people[address] = replace(self.people[address], quota_bytes=quota_bytes)

    def lead(self, local: str, domain: str, *targets: str) -> None:
        self.by_alias[local, domain] = Alias(local, domain, targets)

    async def domain(self, name: str) -> Domain | None:
        return self.names.get(name)

    async def accounts(self, domain: str | None = None) -> AsyncIterator[Account]:
        for account in self.people.values():
            if domain is None or account.address.endswith("@" + domain):
                yield account

    async def account(self, address: str) -> Account | None:
        return self.people.get(address)

    async def account_by_id(self, account_id: int) -> Account | None:
        return next((each for each in self.people.values() if each.ref.id == account_id), None)

    async def credentials(self, account_id: int) -> tuple[Credential, ...]:
        return (self.verifiers[account_id],)

    async def alias(self, local: str, domain: str) -> Alias | None:
        return self.by_alias.get((local, domain))
