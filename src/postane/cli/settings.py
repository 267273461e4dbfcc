"""`postane config`: what is set, whether it can be used, and a file to begin with."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from postane.cli.options import Config, Data, Json, place
from postane.cli.output import Output
from postane.problem import Problem

program = typer.Typer(no_args_is_help=True, help="The settings: one file, every default shown.")


@program.command(epilog="Every setting can be set in the environment too: POSTANE_LISTEN__IMAP__PORT=1143")
def show(data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Show every setting with its value and where that comes from."""
    from postane.config.load import dotted, flatten, toml_value

    loaded, folder = place(data, config).load()
    settings = list(flatten(loaded.settings))
    if as_json:
        values = {
            dotted(setting): {"value": _plain(value), "from": loaded.origins.get(setting, "default")}
            for setting, value in settings
        }
        found = {"file": str(loaded.file) if loaded.file else None, "data": str(folder), "settings": values}
        Output(True).value(found, "")
        return
    lines = [f"# file: {loaded.file or 'none'}", f"# data folder: {folder}"]
    section: tuple[str, ...] = ()
    for setting, value in settings:
        if setting[:-1] != section:
            section = setting[:-1]
            lines += ["", f"[{dotted(section)}]"]
        origin = loaded.origins.get(setting)
        lines.append(f"{setting[-1]} = {toml_value(value)}" + (f"    # {origin}" if origin else ""))
    Output(False).value(None, "\n".join(lines))


@program.command()
def check(data: Data = None, config: Config = None, as_json: Json = False) -> None:
    """Say what is wrong with the settings and how to mend it, and warn of what is unwise."""
    from postane.config.check import warnings

    loaded, folder = place(data, config).load()
    found = warnings(loaded.settings)
    where = str(loaded.file) if loaded.file else "the defaults"
    text = "\n".join([*(f"Warning: {one}" for one in found), f"The settings ({where}) can be used."])
    output = Output(as_json)
    output.value({"file": where, "data": str(folder), "warnings": found}, text)


@program.command()
def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("postane.toml"), as_json: Json = False
) -> None:
    """Write a file of all settings at their defaults, each with its meaning."""
    from postane.config.template import template

    try:
        with file.open("x", encoding="utf-8") as made:
            made.write(template())
    except FileExistsError as error:
        raise Problem(f"{file} exists already.", "Name another file, or move that one away.") from error
    Output(as_json).value({"file": str(file)}, f"{file} is written; put it into the data folder, or name it: --config")


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
