"""`postane check` and `trace`: whether all is well, and where a message went."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from postane.cli.options import Config, Data, Json, enter
from postane.problem import Problem


def check(
    address: Annotated[str | None, typer.Argument(help="Only this account.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Prove that counters, bytes and rows of every account agree.

    Ends with status 1 where something is wrong and not mended.
    """
    from postane.app import Stores
    from postane.cli import names

    door = enter(data, config, as_json)

    async def work(stores: Stores) -> tuple[int, list[dict[str, Any]]]:
        if address:
            accounts = [await names.account(stores.directory, address)]
        else:
            accounts = [one async for one in stores.directory.accounts()]
        findings = []
        for account in accounts:
            async for one in stores.mail.check(account.ref, repair):
                findings.append(
                    {
                        "account": account.address,
                        "where": one.where,
                        "problem": one.problem,
                        "repaired": one.repaired,
                    }
                )
        return len(accounts), findings

    count, findings = door.run(work)
    lines = [
        f"{one['account']}: {one['where']}: {one['problem']}{' (mended)' if one['repaired'] else ''}"
        for one in findings
    ]
    lines.append(f"{count} accounts looked at, {len(findings)} findings.")
    door.output.value({"accounts": count, "findings": findings}, "\n".join(lines))
    if not all(one["repaired"] for one in findings):
        door.output.note("Mend what can be mended: postane check --repair")
        raise typer.Exit(1)


def trace(
    message: Annotated[str, typer.Argument(metavar="ID", help="The id that SMTP said: 250 2.0.0 Ok: ID")],
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Tell the whole story of a message."""
    from postane.app import Stores
    from postane.store.api import TraceEvent

    door = enter(data, config, as_json)

    async def work(stores: Stores) -> tuple[TraceEvent, ...]:
        return await stores.trace.find(message)

    events = door.run(work)
    if not events:
        raise Problem(
            f"There is no trace of {message}.", "It is the id behind `Ok:` in the reply to the message's end."
        )
    if as_json:
        rows = [{"at": one.at, "what": one.what, "account": one.account, "facts": one.facts} for one in events]
        door.output.table(rows, (), "")
        return
    for one in events:
        facts = "  ".join(f"{name}={value}" for name, value in one.facts.items() if value)
        door.output.line({}, f"{_time(one.at)}  {one.what:<16} {facts}")


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
