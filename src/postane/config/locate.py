"""On which line of a TOML file a setting stands; tomllib does not say.

Best effort: table headers and keys are read line by line, so a multi-line
string that looks like a header can mislead the number, never the value.
"""

from __future__ import annotations

import re
import tomllib

_KEY = re.compile(r"\s*((?:[A-Za-z0-9_\-.\s]|\"[^\"]*\"|'[^']*')+?)\s*=")


def line_of(text: str, path: tuple[str, ...]) -> int:
    """The 1-based line of the longest part of `path` that is written; 0 where nothing of it is."""
    best, depth = 0, 0
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            table = here = _path_of(line)
        elif found := _KEY.match(line):
            here = table + _path_of(f"{found[1]} = 0")
        else:
            continue
        if len(here) > depth and path[: len(here)] == here:
            best, depth = number, len(here)
    return best


def _path_of(line: str) -> tuple[str, ...]:
    try:
        node: object = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while isinstance(node, dict) and node:
        key = next(iter(node))
        path.append(key)
        node = node[key]
    return tuple(path)
