"""`postane mailbox`: what an account holds, and mail as files, in and out."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from postane.cli.options import Config, Data, Json, enter
from postane.problem import Problem

if TYPE_CHECKING:
    from postane.flow.exchange.parcel import Reader
    from postane.flow.exchange.take_out import Writer
    from postane.store.api import Mailbox

program = typer.Typer(no_args_is_help=True, help="Mailboxes: list them, bring mail in, take mail out.")
Address = Annotated[str, typer.Argument(help="The account, such as ada@example.org.")]


class Format(Enum):
    AUTO = "auto"
    MBOX = "mbox"
    MAILDIR = "maildir"
    EML = "eml"


class OutFormat(Enum):
    MBOX = "mbox"
    MAILDIR = "maildir"
    EML = "eml"


class LineEndsHere(Enum):
    MEND = "mend"
    KEEP = "keep"


class Quoting(Enum):
    RD = "rd"
    O = "o"  # noqa: E741 - its name
    NONE = "none"


@program.command("list")
def list_(address: Address, data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Show the mailboxes of an account."""
    from postane.app import Stores
    from postane.cli import names

    door = enter(data, config, as_json)

    async def work(stores: Stores) -> list[dict[str, Any]]:
        account = await names.account(stores.directory, address)
        subscribed = set(await stores.mail.subscriptions(account.ref))
        return [
            {
                "mailbox": one.name,
                "role": one.role.value,
                "messages": one.messages,
                "unseen": one.unseen,
                "bytes": one.bytes,
                "subscribed": one.name in subscribed,
            }
            for one in await stores.mail.mailboxes(account.ref)
        ]

    door.output.table(door.run(work), ("mailbox", "role", "messages", "unseen", "bytes"), "There is no mailbox.")


@program.command(
    "import",
    epilog="Examples:  postane mailbox import ada@example.org ~/Maildir"
    "   |   postane mailbox import ada@example.org old.mbox --mailbox Old/2019",
)
def import_(
    address: Address,
    paths: Annotated[list[Path], typer.Argument(help="Maildir folders, and mbox or .eml files or folders of them.")],
    mailbox: Annotated[str, typer.Option("--mailbox", help="Where it goes; folders go below it.")] = "INBOX",
    kind: Annotated[Format, typer.Option("--format", help="What it is; auto looks.")] = Format.AUTO,
    line_ends: Annotated[
        LineEndsHere, typer.Option("--line-ends", help="mend: bare LF throughout becomes CRLF; keep: nothing does.")
    ] = LineEndsHere.MEND,
    quoting: Annotated[
        Quoting, typer.Option("--from-quoting", help="How the mbox was written: rd, o, or none.")
    ] = Quoting.RD,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Bring mail in from files; flags, dates and folders come along, and new folders are subscribed.

    The bytes are kept as they are. In mbox and Maildir, messages whose lines all end
    with a bare LF get CRLF unless --line-ends keep; .eml files are taken byte for byte.
    """
    from postane.app import Stores, bring_in
    from postane.cli import names
    from postane.flow.exchange.bring_in import LineEnds

    readers = [_reader(path, kind, quoting) for path in paths]
    door = enter(data, config, as_json)

    async def work(stores: Stores) -> tuple[int, int, list[dict[str, str]]]:
        account = await names.account(stores.directory, address)
        importer, count, octets, problems = bring_in(stores, door.settings.limits), 0, 0, []
        with door.output.progress(f"into {account.address}", sum(one.octets for one in readers)) as bar:
            for reader in readers:
                async for brought in importer.run(account.ref, reader, mailbox, LineEnds(line_ends.value)):
                    bar.advance(brought.octets)
                    if brought.problem:
                        problems.append({"source": brought.source, "problem": brought.problem})
                    else:
                        count, octets = count + 1, octets + brought.octets
        return count, octets, problems

    count, octets, problems = door.run(work)
    text = "\n".join([f"{count} messages are in.", *(f"Not: {one['source']}: {one['problem']}" for one in problems)])
    door.output.value({"messages": count, "bytes": octets, "problems": problems}, text)
    if problems:
        raise typer.Exit(1)


@program.command(epilog="Example:  postane mailbox export ada@example.org backup --format maildir")
def export(
    address: Address,
    folder: Annotated[Path, typer.Argument(help="Where the files go; it must be new or empty.")],
    kind: Annotated[OutFormat, typer.Option("--format", help="Maildir keeps flags and dates.")] = OutFormat.MAILDIR,
    mailbox: Annotated[str | None, typer.Option("--mailbox", help="Only this one and those below it.")] = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Take mail out into files, byte for byte; nothing that exists is overwritten."""
    from postane.app import Stores
    from postane.cli import names
    from postane.flow.exchange.take_out import take_out

    writer = _writer(folder, kind)
    door = enter(data, config, as_json)

    async def work(stores: Stores) -> tuple[int, int]:
        account = await names.account(stores.directory, address)
        chosen = _chosen(await stores.mail.mailboxes(account.ref), mailbox)
        count = octets = 0
        with door.output.progress(f"from {account.address}", sum(one.bytes for one in chosen)) as bar:
            async for taken in take_out(stores.mail, account.ref, writer, chosen):
                bar.advance(taken.octets)
                count, octets = count + 1, octets + taken.octets
        return count, octets

    count, octets = door.run(work)
    door.output.value({"messages": count, "bytes": octets}, f"{count} messages are in {folder}.")


def _chosen(mailboxes: tuple[Mailbox, ...], only: str | None) -> tuple[Mailbox, ...]:
    selectable = tuple(one for one in mailboxes if one.selectable)
    if only is None:
        return selectable
    chosen = tuple(one for one in selectable if one.name == only or one.name.startswith(f"{only}/"))
    if not chosen:
        raise Problem(f"There is no mailbox {only!r}.", f"There are: {', '.join(one.name for one in selectable)}.")
    return chosen


def _reader(path: Path, kind: Format, quoting: Quoting) -> Reader:
    from postane.flow.exchange.eml import EmlFiles
    from postane.flow.exchange.maildir import MaildirFolder
    from postane.flow.exchange.mbox import FromQuoting, MboxFiles

    if not path.exists():
        raise Problem(f"There is no file {path}.")
    match _look(path) if kind is Format.AUTO else kind:
        case Format.MAILDIR:
            found: Reader = MaildirFolder(path)
            lacking = "no Maildir: it has no folders cur and new"
        case Format.MBOX:
            found = MboxFiles(path, FromQuoting(quoting.value))
            lacking = "a folder without any .mbox file"
        case _:
            found = EmlFiles(path)
            lacking = "a folder without any .eml or .mbox file, and no Maildir"
    if not found.mailboxes():
        raise Problem(f"{path} is {lacking}.", "Say what it is with --format, or name the files.")
    return found


def _look(path: Path) -> Format:
    """A folder is Maildir if any in it is, or holds .mbox or .eml files; a file is mbox if it begins like one."""
    from postane.flow.exchange.maildir import MaildirFolder

    if path.is_dir():
        if MaildirFolder(path).mailboxes():
            return Format.MAILDIR
        has_mbox, has_eml = any(path.rglob("*.mbox")), any(path.rglob("*.eml"))
        if has_mbox and has_eml:
            raise Problem(f"{path} holds both .mbox and .eml files.", "Say which to take with --format.")
        return Format.MBOX if has_mbox else Format.EML
    with path.open("rb") as file:
        return Format.MBOX if file.read(1024).lstrip(b"\r\n").startswith(b"From ") else Format.EML


def _writer(folder: Path, kind: OutFormat) -> Writer:
    from postane.flow.exchange.take_out import EmlWriter, MaildirWriter, MboxWriter

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Problem(f"{folder} exists and is not empty.", "Name a new folder.")
    match kind:
        case OutFormat.MBOX:
            return MboxWriter(folder)
        case OutFormat.MAILDIR:
            return MaildirWriter(folder)
        case OutFormat.EML:
            return EmlWriter(folder)
