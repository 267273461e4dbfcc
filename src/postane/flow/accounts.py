"""Who may: finding the account behind an address, and believing a password.

An address is looked for as written, then without its `+tag`, then as the
domain's catch-all; aliases are followed to their ends.  RFC 5321 4.5.1:
`postmaster` reaches a person in every domain of ours, and without a domain.

Refused: logging in before TLS (RFC 8314 4.1), except on loopback or where the
settings allow it; acting as somebody else; an alias that expands without end.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from postane.core.address import Address, BadAddress, fold_local, parse
from postane.core.dialogue import Endpoint
from postane.core.listener import Listener, Service
from postane.core.status import Condition, MailError
from postane.flow.passwords import Passwords
from postane.store.api import Account, AccountState, Credential, Directory

MAX_EXPANSION = 1000
"""The most addresses one recipient may become."""

_POSTMASTER = "postmaster"
_OFFERS_LOGIN = frozenset(Service) - {Service.SMTP, Service.LMTP}
_SERVICES = {
    "smtp": (Service.SUBMISSIONS, Service.SUBMISSION),
    "imap": (Service.IMAPS, Service.IMAP),
    "pop3": (Service.POP3S, Service.POP3),
}
"""By protocol: the port that begins with TLS, and the one that has STARTTLS or STLS."""


@dataclass(frozen=True, slots=True)
class LoginPolicy:
    """`ports`: what this server listens on, for the words of a refusal.

    `plaintext_domains`: A-labels of the domains where the setting `login.plaintext = "allow"` holds.
    """

    ports: Mapping[Service, int] = field(default_factory=dict)
    plaintext_domains: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Local:
    """A recipient who lives here.  `address` is what the envelope said."""

    account: Account
    address: Address


@dataclass(frozen=True, slots=True)
class Remote:
    """A recipient elsewhere."""

    address: Address


Destination = Local | Remote


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to log in.  `protocol` is "smtp", "imap" or "pop3"."""

    user: str
    password: str = field(repr=False)
    peer: Endpoint
    is_secured: bool
    listener: Listener
    protocol: str
    authorization: str = ""
    """SASL's authorization identity; refused unless it is empty or the same as `user`."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who has logged in, and under which version of the account: `Accounts.still_valid` compares it."""

    account: Account
    version: int


@dataclass(slots=True)
class _Expansion:
    """What one recipient became: ends by key, and what stood in the way of the others."""

    ends: dict[str, Destination] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    failures: list[MailError] = field(default_factory=list)


class Accounts:
    def __init__(self, directory: Directory, passwords: Passwords, policy: LoginPolicy) -> None:
        self._directory = directory
        self._passwords = passwords
        self._policy = policy

    async def resolve(self, address: Address) -> tuple[Destination, ...]:
        """Expands aliases (several targets, nested, loops cut), `user+tag`, catch-all, postmaster.

        A domain that is not ours gives one Remote.  UNKNOWN_RECIPIENT, MAILBOX_DISABLED; ACCOUNT_BUSY where an
        account is being moved; TOO_MANY_RECIPIENTS where aliases expand beyond `MAX_EXPANSION`.  An alias of which
        some targets are good reaches those.
        """
        expansion = await self._expand(address)
        for failure in expansion.failures:
            if failure.is_temporary:
                raise failure
        if expansion.ends:
            return tuple(expansion.ends.values())
        if expansion.failures:
            raise expansion.failures[0]
        raise MailError(Condition.UNKNOWN_RECIPIENT, f"<{address}> is an alias that leads only to itself")

    async def is_local(self, domain: str) -> bool:
        return await self._directory.domain(domain) is not None

    def may_offer_login(self, listener: Listener, peer: Endpoint, is_secured: bool) -> bool:
        """Whether AUTH and LOGIN are advertised: TLS, loopback, or allowed by the listener's or a domain's setting."""
        if listener.service not in _OFFERS_LOGIN:
            return False
        may_be_plain = listener.plaintext_login or bool(self._policy.plaintext_domains)
        return is_secured or may_be_plain or _is_loopback(peer)

    async def login(self, attempt: Attempt) -> Identity:
        """TLS_REQUIRED (saying which port and security to choose), AUTH_FAILED, AUTH_TEMPORARY, ACCOUNT_DISABLED.

        Who is disabled learns it after the right password only.
        """
        user = _parse_user(attempt.user)
        if not await self._may_be_plain(attempt, user):
            raise MailError(Condition.TLS_REQUIRED, self._advice(attempt))
        if attempt.authorization and not _is_same_user(attempt.authorization, attempt.user):
            raise MailError(Condition.AUTH_FAILED, "acting as another user is not possible here")
        account = await self._directory.account(user.key) if user else None
        credential = await self._credential(account)
        if not await self._passwords.verify(credential, attempt.password, attempt.peer.host) or account is None:
            raise MailError(
                Condition.AUTH_FAILED, "the user name or the password is wrong; the user name is the full address"
            )
        _refuse_unless_active(account, f"the account {account.address}", Condition.ACCOUNT_DISABLED)
        # The account may have changed while the password waited for its turn.
        identity = Identity(account, account.version)
        if not await self.still_valid(identity):
            raise MailError(Condition.AUTH_TEMPORARY, "the account was changed this moment; log in again")
        return identity

    async def still_valid(self, identity: Identity) -> bool:
        """False once the account was removed, disabled, or given another password."""
        account = await self._directory.account_by_id(identity.account.ref.id)
        return account is not None and account.state is AccountState.ACTIVE and account.version == identity.version

    async def may_send_as(self, identity: Identity, address: Address) -> bool:
        """Its own address (also with a tag), or an alias that leads to it."""
        own = identity.account
        if own.address == address.key:
            return True
        if not await self.is_local(address.domain):
            return False
        try:
            expansion = await self._expand(address)
        except MailError:
            return False
        ends = expansion.ends.values()
        return any(isinstance(end, Local) and end.account.ref.id == own.ref.id for end in ends)

    # ------------------------------------------------------------ recipients

    async def _expand(self, address: Address) -> _Expansion:
        expansion = _Expansion()
        waiting = [address]
        while waiting:
            if len(expansion.seen) >= MAX_EXPANSION:
                raise MailError(
                    Condition.TOO_MANY_RECIPIENTS, f"<{address}> stands for more than {MAX_EXPANSION} addresses"
                )
            each = waiting.pop()
            if each.key in expansion.seen:
                continue
            expansion.seen.add(each.key)
            try:
                found = await self._look_up(each, address)
                if isinstance(found, Account):
                    _refuse_unless_active(found, f"<{address}>")
            except MailError as failure:
                expansion.failures.append(failure)
                continue
            if isinstance(found, Account):
                expansion.ends.setdefault(f"#{found.ref.id}", Local(found, address))
            elif found is None:
                expansion.ends.setdefault(each.key, Remote(each))
            else:
                waiting.extend(parse(target) for target in reversed(found))
        return expansion

    async def _look_up(self, address: Address, asked: Address) -> Account | tuple[str, ...] | None:
        """An account, an alias's targets, or None for a domain that is not ours.  UNKNOWN_RECIPIENT.

        `asked` is what the envelope said: a refusal names no target of an alias.
        """
        untagged = address.without_tag()
        is_postmaster = fold_local(untagged.local) == _POSTMASTER
        if not address.domain:
            return _known(await self._postmaster(None) if is_postmaster else None, asked)
        if not await self.is_local(address.domain):
            return None
        for each in (address,) if untagged == address else (address, untagged):
            account = await self._directory.account(each.key)
            if account is not None:
                return account
            alias = await self._directory.alias(fold_local(each.local), each.domain)
            if alias is not None:
                return alias.targets
        catch_all = await self._directory.alias("", address.domain)
        if catch_all is not None:
            return catch_all.targets
        return _known(await self._postmaster(address.domain) if is_postmaster else None, asked)

    async def _postmaster(self, domain: str | None) -> Account | None:
        """The oldest active account of the domain, else of the server."""
        async for account in self._directory.accounts(domain):
            if account.state is AccountState.ACTIVE:
                return account
        return await self._postmaster(None) if domain is not None else None

    # ----------------------------------------------------------------- login

    async def _may_be_plain(self, attempt: Attempt, user: Address | None) -> bool:
        if attempt.is_secured or _is_loopback(attempt.peer):
            return True
        domain = await self._directory.domain(user.domain) if user else None
        if domain is not None and domain.plaintext_login is not None:
            return domain.plaintext_login
        by_domain = user is not None and user.domain in self._policy.plaintext_domains
        return attempt.listener.plaintext_login or by_domain

    async def _credential(self, account: Account | None) -> Credential | None:
        if account is None:
            return None
        credentials = await self._directory.credentials(account.ref.id)
        return next((each for each in credentials if each.kind == "password"), None)

    def _advice(self, attempt: Attempt) -> str:
        """What to choose in a mail client, in the words of its account settings."""
        implicit, upgraded = _SERVICES[attempt.protocol]
        ways = []
        if implicit in self._policy.ports:
            ways.append(f"SSL/TLS on port {self._policy.ports[implicit]}")
        if attempt.listener.service is upgraded:
            ways.append("STARTTLS on this port")
        elif upgraded in self._policy.ports:
            ways.append(f"STARTTLS on port {self._policy.ports[upgraded]}")
        return f"the password would travel unprotected: choose {', or '.join(ways) or 'SSL/TLS'} in your mail program"


def _known(account: Account | None, asked: Address) -> Account:
    if account is None:
        raise MailError(Condition.UNKNOWN_RECIPIENT, f"<{asked}> is not an address here")
    return account


def _refuse_unless_active(account: Account, name: str, disabled: Condition = Condition.MAILBOX_DISABLED) -> None:
    match account.state:
        case AccountState.ACTIVE:
            return
        case AccountState.DISABLED:
            raise MailError(disabled, f"{name} is disabled; ask the administrator of this server")
        case AccountState.MOVING | AccountState.FROZEN:
            raise MailError(Condition.ACCOUNT_BUSY, f"{name} is being moved; try again in a moment")


def _parse_user(user: str) -> Address | None:
    """The full address in any case and either spelling of its domain; None where it is none."""
    try:
        return parse(user.strip())
    except BadAddress:
        return None


def _is_same_user(one: str, other: str) -> bool:
    if one == other:
        return True
    first, second = _parse_user(one), _parse_user(other)
    return first is not None and second is not None and first.key == second.key


def _is_loopback(peer: Endpoint) -> bool:
    """A Unix socket is, too; so is 127.0.0.1 as a dual-stack socket shows it (::ffff:127.0.0.1)."""
    if not peer.host:
        return True
    try:
        address = ipaddress.ip_address(peer.host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
