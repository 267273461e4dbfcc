"""Options that every command has, and the way in: settings, data folder, its owner's rights."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from postane.cli.output import Output
from postane.problem import Problem

if TYPE_CHECKING:
    from postane.app import Stores
    from postane.config.load import Setting
    from postane.config.place import Place
    from postane.config.settings import Settings
    from postane.folder import DataFolder

T = TypeVar("T")

Data = Annotated[
    Path | None, typer.Option("--data", help="The data folder (else POSTANE_DATA, or the usual place).", metavar="DIR")
]
Config = Annotated[
    Path | None, typer.Option("--config", help="The settings (else postane.toml in the data folder).", metavar="FILE")
]
Json = Annotated[bool, typer.Option("--json", help="Say it in JSON, for programs.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@dataclass(frozen=True, slots=True)
class Door:
    """A data folder opened by a command, as its owner."""

    settings: Settings
    folder: DataFolder
    output: Output

    open: Callable[[], Stores]

    def run(self, work: Callable[[Stores], Awaitable[T]]) -> T:
        """Does `work` with the stores, beside a server that runs or without one."""

        async def with_stores() -> T:
            stores = self.open()
            try:
                return await work(stores)
            finally:
                await stores.close()

        return asyncio.run(with_stores())


def place(data: Path | None, config: Path | None, overrides: dict[Setting, Any] | None = None) -> Place:
    from postane.config.place import Place

    return Place(data, config, dict(os.environ), overrides or {})


def enter(data: Path | None, config: Path | None, as_json: bool, *, create: bool = False) -> Door:
    """`create` makes a data folder that is not there yet."""
    from postane import privileges
    from postane.app import open_stores
    from postane.folder import open_folder
    from postane.prepare import PassingHints

    privileges.keep_files_private()
    loaded, path = place(data, config).load()
    folder = open_folder(path, create=create)
    if folder.uid != os.geteuid():
        # The owner may not be allowed to enter where the program lies: nothing of it is to be read later.
        import rich.cells
        import rich.progress  # noqa: F401
    folder.become_owner()
    name, hints = f"command-{os.getpid()}", PassingHints(folder.run)
    opened = partial(open_stores, folder.path, name, hints, loaded.settings.limits)
    return Door(loaded.settings, folder, Output(as_json), opened)


def read_password(from_stdin: bool) -> str:
    """From standard input's first line, or asked for twice at the terminal."""
    if from_stdin:
        line = sys.stdin.buffer.readline().removesuffix(b"\n").removesuffix(b"\r")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Problem("The password on standard input is not UTF-8.") from error
    if not sys.stdin.isatty():
        raise Problem("There is no terminal to ask for the password at.", "Give it with --password-stdin.")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


def confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Problem(f"{question} There is no terminal to ask at.", "Say --yes.")
    typer.confirm(question, abort=True, err=True)
