"""What people type for a domain, an address or a mailbox, and the object behind it or what to do without one."""

from __future__ import annotations

from postane.core.address import Address, BadAddress, parse, parse_domain
from postane.problem import Problem
from postane.store.api import Account, Alias, Directory, Domain


def domain_name(text: str) -> str:
    try:
        return parse_domain(text)
    except BadAddress as error:
        raise Problem(f"{text!r} is no domain: {error}.", "Write it like example.org or bücher.example.") from error


def address(text: str) -> Address:
    try:
        found = parse(text)
    except BadAddress as error:
        raise Problem(f"{text!r} is no address: {error}.", "Write it like name@example.org.") from error
    if found.domain.startswith("["):
        raise Problem(f"{text!r} names a machine, not a domain.", "Write it like name@example.org.")
    return found


async def domain(directory: Directory, text: str) -> Domain:
    name = domain_name(text)
    found = await directory.domain(name)
    if found is None:
        raise Problem(f"{name} is no domain of this server.", f"Add it: postane domain add {name}")
    return found


async def account(directory: Directory, text: str) -> Account:
    wanted = address(text)
    found = await directory.account(wanted.key)
    if found is not None:
        return found
    mend = f"Add it: postane account add {wanted}"
    if await directory.domain(wanted.domain) is None:
        mend = f"{wanted.domain} is no domain of this server; see: postane domain list"
    elif await directory.alias(wanted.key.rpartition("@")[0], wanted.domain) is not None:
        mend = f"It is an alias; see: postane alias list {wanted.domain}"
    raise Problem(f"There is no account {wanted}.", mend)


def alias_name(text: str) -> tuple[str, str]:
    """`user@domain` or, for a catch-all, `@domain` -> (local, domain)."""
    if text.startswith("@"):
        return "", domain_name(text[1:])
    found = address(text)
    return found.local, found.domain


async def alias(directory: Directory, text: str) -> Alias:
    local, name = alias_name(text)
    found = await directory.alias(local, name)
    if found is None:
        raise Problem(f"There is no alias {text}.", f"See: postane alias list {name}")
    return found
