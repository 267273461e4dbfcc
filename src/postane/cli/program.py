"""The program: all commands in one tree, and what becomes of a failure."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from postane.cli import account, alias, domain, mailbox, proof, queue, settings
from postane.cli.options import Config, Data, place
from postane.cli.output import complain
from postane.core.status import Condition, MailError
from postane.problem import Problem

_HELP = """A post office for your domain: SMTP, IMAP and POP3 in one program.

Start it, and it prints what to type into a mail program:

    postane serve

Then your own domain and people; changes are live at once:

    postane domain add example.org

    postane account add ada@example.org

    postane alias add info@example.org ada@example.org

    postane mailbox import ada@example.org ~/Maildir

Settings: `postane config show` and `postane config init`. The data folder is --data,
POSTANE_DATA or `server.data`; else `data` in a checkout, /var/lib/postane for root,
~/.local/share/postane for others. Every command knows --help, and --json for programs.
"""

_MENDS = {
    Condition.DISK_FULL: "Make room on the disk of the data folder.",
    Condition.OVER_QUOTA: "Give the account more: postane account set ADDRESS --quota SIZE",
    Condition.UNKNOWN_DOMAIN: "See: postane domain list",
}

program = typer.Typer(
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
program.add_typer(settings.program, name="config")
program.add_typer(domain.program, name="domain")
program.add_typer(account.program, name="account")
program.add_typer(alias.program, name="alias")
program.add_typer(mailbox.program, name="mailbox")
program.add_typer(queue.program, name="queue")
program.command()(proof.check)
program.command()(proof.trace)


class PortChoice(Enum):
    STANDARD = "standard"
    HIGH = "high"
    RANDOM = "random"


@program.command(epilog="Example:  postane serve --data /var/lib/postane --ports high")
def serve(
    ports: Annotated[
        PortChoice | None, typer.Option("--ports", help="Else the standard ones, or the high ones if those fail.")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option("--host", help="A numeric address to listen on; may be repeated. Else all.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Else one for each core.")] = None,
    ready_file: Annotated[
        Path | None, typer.Option("--ready-file", help="Written (JSON) once every listener accepts.", metavar="FILE")
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Run the server until Ctrl-C or SIGTERM; SIGHUP reads settings and certificates again.

    Without any settings it makes a data folder, a certificate, a demo domain and an
    account with a random password, and prints what to type into a mail program.
    """
    from postane.serve import serve as run_server

    overrides: dict[tuple[str, ...], Any] = {}
    if ports is not None:
        overrides["listen", "ports"] = ports.value
    if host:
        overrides["listen", "addresses"] = host
        overrides["listen", "lmtp", "addresses"] = host
    if workers is not None:
        overrides["server", "workers"] = workers
    run_server(place(data, config, overrides), ready_file, _say)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is the command line


def run() -> None:
    """Failures that the operator can mend are told without a traceback, with status 1; wrong usage is status 2."""
    try:
        program()
    except Problem as problem:
        _fail(problem)
    except MailError as error:
        _fail(Problem(f"{error.text[:1].upper()}{error.text[1:]}.", error.detail or _MENDS.get(error.condition, "")))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        _fail(Problem(f"{name}{error.strerror or error}."))


def _fail(problem: Problem) -> None:
    complain(problem, "--json" in sys.argv)
    sys.exit(1)
