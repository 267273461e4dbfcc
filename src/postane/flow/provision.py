"""Changes to who there is, each done whole and made live: the directory first, then the mail, then the hint.

A hint of revocation makes every worker look again at the account's sessions and
forget its remembered logins; the directory's row is the truth behind it.
"""

from __future__ import annotations

from postane.core.address import Address
from postane.flow.passwords import hash_password
from postane.store.api import Account, AccountState, Directory, Hints, MailStore, SetQuota


class Provision:
    def __init__(self, directory: Directory, mail: MailStore, hints: Hints) -> None:
        self._directory = directory
        self._mail = mail
        self._hints = hints

    async def add_account(
        self, address: Address, password: str, display_name: str = "", quota_bytes: int = 0, quota_messages: int = 0
    ) -> Account:
        """With its mailboxes.  MAILBOX_EXISTS, UNKNOWN_DOMAIN; BAD_ARGUMENT for a password that cannot be one."""
        verifier = await hash_password(password)
        account = await self._directory.add_account(str(address), verifier, display_name, quota_bytes, quota_messages)
        await self._mail.create(account.ref)
        if quota_bytes or quota_messages:
            await self._mail.write(account.ref, SetQuota(quota_bytes, quota_messages))
        return account

    async def set_password(self, account: Account, password: str) -> Account:
        """Sessions under the old one end."""
        changed = await self._directory.set_password(account.ref.id, await hash_password(password))
        self._hints.revoked(account.ref.id)
        return changed

    async def set_state(self, account: Account, state: AccountState) -> Account:
        """Anything but ACTIVE ends the account's sessions."""
        changed = await self._directory.update_account(account.ref.id, state=state)
        self._hints.revoked(account.ref.id)
        return changed

    async def set_facts(
        self,
        account: Account,
        display_name: str | None = None,
        quota_bytes: int | None = None,
        quota_messages: int | None = None,
    ) -> Account:
        """What is None stays."""
        changed = await self._directory.update_account(
            account.ref.id, display_name=display_name, quota_bytes=quota_bytes, quota_messages=quota_messages
        )
        if quota_bytes is not None or quota_messages is not None:
            await self._mail.write(changed.ref, SetQuota(changed.quota_bytes, changed.quota_messages))
        return changed

    async def remove_account(self, account: Account) -> None:
        """First nobody can reach it, then its mail goes."""
        await self.set_state(account, AccountState.DISABLED)
        await self._directory.remove_account(account.ref.id)
        self._hints.revoked(account.ref.id)
        await self._mail.remove(account.ref)
