"""`postane domain`: the domains that this server takes mail for."""

from __future__ import annotations

from typing import Annotated

import typer

from postane.cli.options import Config, Data, Json, enter
from postane.problem import Problem

program = typer.Typer(no_args_is_help=True, help="Domains that this server takes mail for.")
Name = Annotated[str, typer.Argument(help="In either spelling: bücher.example or xn--bcher-kva.example.")]


@program.command(epilog="Example:  postane domain add example.org")
def add(name: Name, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Take mail for a domain.

    Its people come next: postane account add name@example.org
    """
    from postane.app import Stores
    from postane.cli import names
    from postane.core.address import display_domain
    from postane.prepare import have_certificate

    door = enter(data, config, as_json, create=True)
    wanted = names.domain_name(name)

    async def work(stores: Stores) -> bool:
        if await stores.directory.domain(wanted) is not None:
            raise Problem(f"{wanted} is a domain of this server already.", "See: postane domain list")
        await stores.directory.add_domain(wanted)
        if door.settings.tls.certificate:
            return False
        return await have_certificate(door.folder, door.settings, stores.directory)

    is_remade = door.run(work)
    door.output.value(
        {"domain": wanted, "display": display_domain(wanted), "certificate_changed": is_remade},
        f"This server takes mail for {display_domain(wanted)} now.",
    )
    door.output.note(f"Its MX record in DNS must name this server. Next: postane account add NAME@{wanted}")


@program.command("list")
def list_(data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Show all domains."""
    from postane.app import Stores
    from postane.core.address import display_domain

    door = enter(data, config, as_json)

    async def work(stores: Stores) -> list[dict[str, object]]:
        rows = []
        for one in await stores.directory.domains():
            accounts = sum([1 async for _ in stores.directory.accounts(one.name)])
            aliases = len(await stores.directory.aliases(one.name))
            rows.append(
                {"domain": one.name, "display": display_domain(one.name), "accounts": accounts, "aliases": aliases}
            )
        return rows

    columns = ("domain", "display", "accounts", "aliases")
    door.output.table(door.run(work), columns, "There is no domain yet: postane domain add example.org")


@program.command()
def remove(name: Name, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Take no more mail for a domain; its accounts and aliases must be gone."""
    from postane.app import Stores
    from postane.cli import names

    door = enter(data, config, as_json)

    async def work(stores: Stores) -> str:
        found = await names.domain(stores.directory, name)
        accounts = [one.address async for one in stores.directory.accounts(found.name)]
        aliases = [f"{one.local}@{one.domain}" for one in await stores.directory.aliases(found.name)]
        if accounts or aliases:
            kind = "account" if accounts else "alias"
            raise Problem(
                f"{found.name} still has {len(accounts)} accounts and {len(aliases)} aliases, "
                f"such as {(accounts + aliases)[0]}.",
                f"Remove them first: postane {kind} remove {(accounts + aliases)[0]}",
            )
        await stores.directory.remove_domain(found.name)
        return found.name

    removed = door.run(work)
    door.output.value({"removed": removed}, f"This server takes no more mail for {removed}.")
