"""`postane alias`: addresses that lead to others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from postane.cli.options import Config, Data, Json, enter
from postane.problem import Problem

if TYPE_CHECKING:
    from postane.store.api import Alias

program = typer.Typer(no_args_is_help=True, help="Addresses that lead to other addresses.")
Name = Annotated[str, typer.Argument(help="The address, or @example.org for all that nobody has.")]


@program.command(
    epilog="Examples:  postane alias add info@example.org ada@example.org bob@example.org"
    "   |   postane alias add @example.org ada@example.org"
)
def add(
    name: Name,
    targets: Annotated[list[str], typer.Argument(help="Where it leads; several are possible.")],
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Make an address that leads to others, or give it other targets.

    name+tag@example.org reaches name@example.org without any alias.
    """
    from postane.app import Stores
    from postane.cli import names
    from postane.store.api import Alias

    local, domain = names.alias_name(name)
    wanted = Alias(local, domain, tuple(str(names.address(target)) for target in targets))
    door = enter(data, config, as_json)

    async def work(stores: Stores) -> None:
        await names.domain(stores.directory, domain)
        if local and await stores.directory.account(names.address(name).key) is not None:
            raise Problem(f"{name} is an account.", "An alias needs an address that nobody has.")
        await stores.directory.put_alias(wanted)

    door.run(work)
    door.output.value(_facts(wanted), f"{_shown(wanted)} leads to {', '.join(wanted.targets)}.")


@program.command("list")
def list_(
    domain: Annotated[str | None, typer.Argument(help="Only those of this domain.")] = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show all aliases, or those of one domain."""
    from postane.app import Stores
    from postane.cli import names

    door = enter(data, config, as_json)

    async def work(stores: Stores) -> tuple[Alias, ...]:
        only = (await names.domain(stores.directory, domain)).name if domain else None
        return await stores.directory.aliases(only)

    found = door.run(work)
    if as_json:
        door.output.table([_facts(one) for one in found], (), "")
        return
    rows = [{"alias": _shown(one), "leads_to": ", ".join(one.targets)} for one in found]
    door.output.table(rows, ("alias", "leads_to"), "There is no alias yet: postane alias add info@DOMAIN NAME@DOMAIN")


@program.command()
def remove(name: Name, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Remove an alias."""
    from postane.app import Stores
    from postane.cli import names

    door = enter(data, config, as_json)

    async def work(stores: Stores) -> Alias:
        found = await names.alias(stores.directory, name)
        await stores.directory.remove_alias(found.local, found.domain)
        return found

    removed = door.run(work)
    door.output.value({"removed": _shown(removed)}, f"{_shown(removed)} is gone.")


def _shown(alias: Alias) -> str:
    return f"{alias.local}@{alias.domain}"


def _facts(alias: Alias) -> dict[str, Any]:
    return {"alias": _shown(alias), "targets": list(alias.targets)}
