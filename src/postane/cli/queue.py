"""`postane queue`: messages on their way, to look at and to interfere with, beside a server that runs or without one.

Everything acts at once on the queue itself; a server that runs looks at it again within half a minute.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from postane.cli.options import Config, Data, Door, Json, Yes, confirm, enter
from postane.problem import Problem

if TYPE_CHECKING:
    from postane.app import Stores
    from postane.store.api import Leased, QueueCounts, QueuedMessage, QueuedRecipient, QueueFilter, QueueStore

program = typer.Typer(no_args_is_help=True, help="Messages on their way: look at them, hold them, try them now.")

SHOWN = 1000


class State(Enum):
    WAITING = "waiting"
    HELD = "held"


Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Messages; see `postane queue list`.")]
Sender = Annotated[str, typer.Option("--sender", help="Only from this address; <> is the null one.", metavar="ADDRESS")]
Domain = Annotated[str, typer.Option("--domain", help="Only recipients in this domain.", metavar="DOMAIN")]
Recipient = Annotated[str, typer.Option("--recipient", help="Only this recipient.", metavar="ADDRESS")]
Everything = Annotated[bool, typer.Option("--all", help="Everything in the queue.")]


@program.command(
    "list", epilog="Examples:  postane queue list --domain example.com   |   postane queue list --state held --json"
)
def list_(
    sender: Sender = "",
    domain: Domain = "",
    recipient: Recipient = "",
    state: Annotated[State | None, typer.Option("--state", help="Only those that wait, or are held.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="The most recipients shown; 0: all.")] = SHOWN,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what is on its way, a line a recipient."""
    where = _where(sender, domain, recipient, state)
    door = enter(data, config, as_json)

    async def work(stores: Stores) -> tuple[list[dict[str, Any]], QueueCounts]:
        rows: list[dict[str, Any]] = []
        async for leased in _messages(stores.queue, where):
            rows += [_row(leased.message, each) for each in leased.recipients]
            if limit and len(rows) >= limit:
                break
        return rows[: limit or None], await stores.queue.counts(int(time.time()), where)

    rows, counts = door.run(work)
    if as_json:
        door.output.table(rows, (), "")
        return
    columns = ("id", "arrived", "sender", "recipient", "state", "attempts", "next_attempt", "last_error")
    empty = "The queue is empty." if where == _where() else "Nothing in the queue is like that."
    door.output.table([_for_people(row) for row in rows], columns, empty)
    if counts.recipients:
        door.output.note(_counted(counts, len(rows)))


@program.command()
def show(
    message: Annotated[str, typer.Argument(metavar="ID", help="The message; see `postane queue list`.")],
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show all of one message but its text: envelope, recipients, what servers said."""
    door = enter(data, config, as_json)
    where = replace(_where(), trace_id=message)

    async def work(stores: Stores) -> list[Leased]:
        return [leased async for leased in _messages(stores.queue, where)]

    found = door.run(work)
    if not found:
        raise _unknown(message)
    # What came by LMTP is one message a recipient.
    rows = [_row(leased.message, each) for leased in found for each in leased.recipients]
    envelope = _envelope(found[0].message)
    door.output.value(envelope | {"recipients": rows}, _described(envelope, rows))


@program.command(epilog="Examples:  postane queue hold ID   |   postane queue hold --domain example.com")
def hold(
    ids: Ids = None,
    sender: Sender = "",
    domain: Domain = "",
    recipient: Recipient = "",
    everything: Everything = False,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Let recipients wait until `release`; they are not tried, and not given up."""
    chosen = _Chosen.of(ids, _where(sender, domain, recipient), everything)

    async def change(queue: QueueStore, where: QueueFilter) -> int:
        return await queue.hold(where)

    _change(enter(data, config, as_json), chosen, change, "held", "now held")


@program.command()
def release(
    ids: Ids = None,
    sender: Sender = "",
    domain: Domain = "",
    recipient: Recipient = "",
    everything: Everything = False,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Send on what was held; it is tried at once."""
    chosen = _Chosen.of(ids, _where(sender, domain, recipient), everything)

    async def change(queue: QueueStore, where: QueueFilter) -> int:
        return await queue.release(where, int(time.time()))

    _change(enter(data, config, as_json), chosen, change, "released", "released")


@program.command()
def retry(
    ids: Ids = None,
    sender: Sender = "",
    domain: Domain = "",
    recipient: Recipient = "",
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Try recipients now that would have to wait longer; who is held stays held."""
    chosen = _Chosen.of(ids, _where(sender, domain, recipient), everything=False)
    _change(enter(data, config, as_json), chosen, _retry_now, "due", "tried now")


@program.command()
def flush(data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Try everything now that is not held."""
    chosen = _Chosen.of(None, _where(), everything=True)
    _change(enter(data, config, as_json), chosen, _retry_now, "due", "tried now")


@program.command()
def drop(
    ids: Ids = None,
    sender: Sender = "",
    domain: Domain = "",
    recipient: Recipient = "",
    everything: Everything = False,
    yes: Yes = False,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Remove recipients from the queue for good, unsaid to anyone."""
    chosen = _Chosen.of(ids, _where(sender, domain, recipient), everything)
    door = enter(data, config, as_json)

    async def count(stores: Stores) -> int:
        return sum([(await stores.queue.counts(0, where)).recipients for where in await chosen.filters(stores.queue)])

    if not door.run(count):
        door.output.value({"dropped": 0}, "Nothing in the queue is like that.")
        return
    confirm(f"{_recipients(door.run(count))} will never get it, and their senders hear nothing. Drop them?", yes)

    async def change(queue: QueueStore, where: QueueFilter) -> int:
        return await queue.drop(where)

    _change(door, chosen, change, "dropped", "dropped")


# ---------------------------------------------------------------- choosing


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Messages by their ids, narrowed by `where`; without ids all that is as `where` says."""

    ids: tuple[str, ...]
    where: QueueFilter

    @classmethod
    def of(cls, ids: list[str] | None, where: QueueFilter, everything: bool) -> _Chosen:
        is_narrow = bool(ids) or where != _where()
        if everything and is_narrow:
            raise Problem("--all leaves nothing to choose.", "Say either --all, or which.")
        if not everything and not is_narrow:
            raise Problem("It is not said which messages.", "Name their ids, or say --sender, --domain or --recipient.")
        return cls(tuple(ids or ()), where)

    async def filters(self, queue: QueueStore) -> list[QueueFilter]:
        if not self.ids:
            return [self.where]
        for each in self.ids:
            if not await queue.messages(0, 1, replace(_where(), trace_id=each)):
                raise _unknown(each)
        return [replace(self.where, trace_id=each) for each in self.ids]


def _where(sender: str = "", domain: str = "", recipient: str = "", state: State | None = None) -> QueueFilter:
    from postane.cli import names
    from postane.store.api import QueueFilter, QueueState

    return QueueFilter(
        sender=sender if sender in ("", "<>") else str(names.address(sender)),
        domain=names.domain_name(domain) if domain else "",
        address=str(names.address(recipient)) if recipient else "",
        state=QueueState(state.value) if state else None,
    )


async def _retry_now(queue: QueueStore, where: QueueFilter) -> int:
    return await queue.retry_now(where, int(time.time()))


def _change(
    door: Door, chosen: _Chosen, change: Callable[[QueueStore, QueueFilter], Awaitable[int]], name: str, done: str
) -> None:
    async def work(stores: Stores) -> int:
        return sum([await change(stores.queue, where) for where in await chosen.filters(stores.queue)])

    count = door.run(work)
    verb = "is" if count == 1 else "are"
    door.output.value(
        {name: count}, f"{_recipients(count)} {verb} {done}." if count else "There was nothing to change."
    )


def _unknown(message: str) -> Problem:
    return Problem(f"There is no message {message} in the queue.", f"What became of it: postane trace {message}")


async def _messages(queue: QueueStore, where: QueueFilter) -> AsyncIterator[Leased]:
    after = 0
    while found := await queue.messages(after, where=where):
        for leased in found:
            yield leased
        after = found[-1].message.id


# ---------------------------------------------------------------- showing


def _envelope(message: QueuedMessage) -> dict[str, Any]:
    return {
        "id": message.trace_id,
        "sender": message.sender,
        "size": message.size,
        "arrived_at": message.arrived_at,
        "expires": message.expires,
        "body": message.body,
        "utf8": message.utf8,
        "envid": message.envid,
        "ret": message.ret,
    }


def _row(message: QueuedMessage, recipient: QueuedRecipient) -> dict[str, Any]:
    """`next_attempt` is the end of the lease while it is being tried."""
    is_tried = recipient.lease_token and recipient.next_attempt > time.time()
    return {
        "id": message.trace_id,
        "sender": message.sender,
        "recipient": recipient.address,
        "original": recipient.original,
        "state": "being tried" if is_tried else recipient.state,
        "attempts": recipient.attempts,
        "next_attempt": recipient.next_attempt,
        "priority": recipient.priority,
        "notify": recipient.notify,
        "orcpt": recipient.orcpt,
        "last_error": recipient.last_error,
        "last_host": recipient.last_host,
        "delay_told": recipient.noticed,
        "size": message.size,
        "arrived_at": message.arrived_at,
    }


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    is_waiting = row["state"] == State.WAITING.value
    return row | {
        "sender": row["sender"] or "<>",
        "arrived": _time(row["arrived_at"]),
        "next_attempt": _time(row["next_attempt"]) if is_waiting else "",
    }


def _described(envelope: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    lines = [
        f"{envelope['id']}  from {envelope['sender'] or '<>'}",
        f"  {envelope['size']} bytes, {envelope['body']}{', SMTPUTF8' if envelope['utf8'] else ''},"
        f" here since {_time(envelope['arrived_at'])}",
    ]
    for row in map(_for_people, rows):
        by_way_of = f" (for {row['original']})" if row["original"] not in ("", row["recipient"]) else ""
        then = f", next at {row['next_attempt']}" if row["next_attempt"] else ""
        lines.append(f"  {row['recipient']}{by_way_of}: {row['state']}, tried {row['attempts']} times{then}")
        if row["last_error"]:
            lines.append(f"    {row['last_host'] or 'this server'} said: {row['last_error']}")
    return "\n".join(lines)


def _counted(counts: QueueCounts, shown: int) -> str:
    more = f"; {shown} shown, see --limit" if shown < counts.recipients else ""
    return (
        f"{_recipients(counts.recipients)} of {counts.messages} {'message' if counts.messages == 1 else 'messages'}:"
        f" {counts.due} due, {counts.leased} being tried, {counts.held} held{more}"
    )


def _recipients(count: int) -> str:
    return f"{count} recipient{'' if count == 1 else 's'}"


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
