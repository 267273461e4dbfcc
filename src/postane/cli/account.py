"""`postane account`: the people, their passwords and quotas."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from postane.cli.options import Config, Data, Door, Json, PasswordStdin, Yes, confirm, enter, read_password
from postane.problem import Problem

if TYPE_CHECKING:
    from postane.app import Stores
    from postane.card import Card
    from postane.store.api import Account, AccountState

program = typer.Typer(no_args_is_help=True, help="People: their addresses, passwords and quotas.")
Address = Annotated[str, typer.Argument(help="The full address, such as ada@example.org.")]
Name = Annotated[str | None, typer.Option("--name", help="The person's name.")]
Quota = Annotated[str | None, typer.Option("--quota", help="Bytes of mail, such as 5G; 0: no bound.", metavar="SIZE")]
Messages = Annotated[int | None, typer.Option("--quota-messages", min=0, help="Number of messages; 0: no bound.")]
Generate = Annotated[bool, typer.Option("--generate", help="Make a random password and print it.")]
Ask = Annotated[bool, typer.Option("--password-prompt", help="Ask for the password at the terminal.")]


@program.command(
    epilog="Examples:  postane account add ada@example.org --quota 5G"
    "   |   pass mail/ada | postane account add ada@example.org --password-stdin"
)
def add(
    address: Address,
    password_stdin: PasswordStdin = False,
    ask: Ask = False,
    name: Name = None,
    quota: Quota = None,
    quota_messages: Messages = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Add a person, and print what to type into a mail program.

    Without a password one is made and printed; it is kept nowhere in clear.
    """
    from postane.app import provision
    from postane.cli import names
    from postane.flow.passwords import random_password

    wanted, size = names.address(address), _size(quota)
    door = enter(data, config, as_json, create=True)
    password = read_password(password_stdin) if password_stdin or ask else random_password()
    shown = "" if password_stdin or ask else password

    async def work(stores: Stores) -> Account:
        await names.domain(stores.directory, wanted.domain)
        if await stores.directory.account(wanted.key) is not None:
            raise Problem(f"There is an account {wanted} already.", f"See: postane account show {wanted}")
        return await provision(stores).add_account(wanted, password, name or "", size or 0, quota_messages or 0)

    account = door.run(work)
    card = _card(door, account, shown)
    door.output.value(_facts(account) | card.values(), card.text())


@program.command("list")
def list_(
    domain: Annotated[str | None, typer.Argument(help="Only those of this domain.")] = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show all accounts, or those of one domain."""
    from postane.cli import names

    door = enter(data, config, as_json)

    async def work(stores: Stores) -> list[dict[str, Any]]:
        only = (await names.domain(stores.directory, domain)).name if domain else None
        return [_facts(one) async for one in stores.directory.accounts(only)]

    columns = ("address", "display_name", "state", "quota_bytes")
    door.output.table(door.run(work), columns, "There is no account yet: postane account add NAME@DOMAIN")


@program.command()
def show(address: Address, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Show an account, and what to type into a mail program."""
    from postane.cli import names
    from postane.store.api import Usage

    door = enter(data, config, as_json)

    async def work(stores: Stores) -> tuple[Account, Usage]:
        account = await names.account(stores.directory, address)
        return account, await stores.mail.usage(account.ref)

    account, usage = door.run(work)
    card = _card(door, account)
    used = {"bytes": usage.bytes, "messages": usage.messages, "mailboxes": usage.mailboxes}
    door.output.value(_facts(account) | used | card.values(), f"{_described(account, used)}\n\n{card.text()}")


@program.command("set", epilog="Example:  postane account set ada@example.org --quota 10G --name 'Ada Lovelace'")
def set_(
    address: Address,
    name: Name = None,
    quota: Quota = None,
    quota_messages: Messages = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Change the name or the quota of an account."""
    from postane.app import provision
    from postane.cli import names

    if name is None and quota is None and quota_messages is None:
        raise Problem("Nothing is to be changed.", "Say --name, --quota or --quota-messages.")
    size = _size(quota)
    door = enter(data, config, as_json)

    async def work(stores: Stores) -> Account:
        account = await names.account(stores.directory, address)
        return await provision(stores).set_facts(account, name, size, quota_messages)

    account = door.run(work)
    door.output.value(_facts(account), f"{account.address} is changed.")


@program.command()
def passwd(
    address: Address,
    password_stdin: PasswordStdin = False,
    generate: Generate = False,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Give an account another password; its sessions end at once."""
    from postane.app import provision
    from postane.cli import names
    from postane.flow.passwords import random_password

    door = enter(data, config, as_json)
    password = random_password() if generate else read_password(password_stdin)

    async def work(stores: Stores) -> Account:
        return await provision(stores).set_password(await names.account(stores.directory, address), password)

    account = door.run(work)
    made = {"password": password} if generate else {}
    text = f"{account.address} has a new password" + (f": {password}" if generate else ".")
    door.output.value(_facts(account) | made, text)


@program.command()
def disable(address: Address, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Close an account: no login, no mail in; what is there stays. Its sessions end at once."""
    from postane.store.api import AccountState

    _set_state(enter(data, config, as_json), address, AccountState.DISABLED)


@program.command()
def enable(address: Address, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Open a disabled account again."""
    from postane.store.api import AccountState

    _set_state(enter(data, config, as_json), address, AccountState.ACTIVE)


@program.command()
def remove(address: Address, yes: Yes = False, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Remove an account and all its mail, for good."""
    from postane.app import provision
    from postane.cli import names

    door = enter(data, config, as_json)

    async def find(stores: Stores) -> Account:
        return await names.account(stores.directory, address)

    account = door.run(find)
    confirm(f"All mail of {account.address} goes for good. Remove it?", yes)

    async def work(stores: Stores) -> None:
        await provision(stores).remove_account(account)

    door.run(work)
    door.output.value({"removed": account.address}, f"{account.address} and its mail are gone.")


def _set_state(door: Door, address: str, state: AccountState) -> None:
    from postane.app import provision
    from postane.cli import names

    async def work(stores: Stores) -> Account:
        return await provision(stores).set_state(await names.account(stores.directory, address), state)

    account = door.run(work)
    door.output.value(_facts(account), f"{account.address} is {account.state.value}.")


def _card(door: Door, account: Account, password: str = "") -> Card:
    from postane.card import Card
    from postane.reach import known_ports, reach

    return Card(reach(door.folder, door.settings, known_ports(door.folder, door.settings)), account.address, password)


def _facts(account: Account) -> dict[str, Any]:
    return {
        "address": account.address,
        "display_name": account.display_name,
        "state": account.state.value,
        "quota_bytes": account.quota_bytes,
        "quota_messages": account.quota_messages,
        "created_at": account.created_at,
    }


def _described(account: Account, used: dict[str, int]) -> str:
    made = time.strftime("%Y-%m-%d", time.gmtime(account.created_at))
    bound = f" of {_sized(account.quota_bytes)}" if account.quota_bytes else ""
    return (
        f"{account.address}  {account.display_name}\n"
        f"  {account.state.value} since its making or last change; made on {made}\n"
        f"  {used['messages']} messages in {used['mailboxes']} mailboxes, {_sized(used['bytes'])}{bound}"
    )


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _size(text: str | None) -> int | None:
    """`5G` -> octets."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,15})\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise Problem(f"--quota {text!r} is no size.", "Write it like 500M or 5G; 0 means without bound.")
    return int(found[1]) * _UNITS[found[2].upper()]


def _sized(octets: int) -> str:
    for unit, size in reversed(_UNITS.items()):
        if octets >= size:
            return f"{octets / size:.1f} {unit}iB" if unit else f"{octets} bytes"
    return "0 bytes"
