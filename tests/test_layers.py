"""The house's one direction, proved from the imports: every module of the tree, by its syntax alone."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
HOUSE = SOURCE / "postane"

# A room -> the rooms whose modules it may import, besides its own.
MAY: dict[str, frozenset[str]] = {
    "core": frozenset(),
    "net": frozenset({"core"}),
    "mime": frozenset({"core"}),
    "proto": frozenset({"core"}),
    "store": frozenset({"core", "mime", "proto"}),
    "policy": frozenset({"core", "mime", "proto"}),
    "flow": frozenset({"core", "mime", "proto", "store", "policy"}),
    "session": frozenset({"core", "mime", "proto", "store", "policy", "flow"}),
    "web": frozenset({"core", "mime", "proto", "store", "policy", "flow"}),
}
FRONT = frozenset(MAY)
"""What the front door (`app`, `worker`, `cli` ...) may import: all rooms; no room may import it."""

# Who may name a class that fills a port (a store, a directory): the wiring alone.
FILLERS = ("postane.store.", "postane.net.")
PORTS = frozenset({"postane.store.api"})

IO = frozenset({"asyncio", "socket", "ssl", "select", "selectors", "uvloop", "threading", "subprocess"})


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(HOUSE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(name: str) -> Iterator[str]:
    """Full names of what a module imports, wherever in it: a lazy import points the same way."""
    is_package = MODULES[name].name == "__init__.py"
    for node in ast.walk(ast.parse(MODULES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = name.split(".")[: len(name.split(".")) - node.level + is_package]
                base = ".".join([*above, base]) if base else ".".join(above)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in MODULES else base


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_the_tree_is_really_read() -> None:
    assert {"postane.core.status", "postane.store.api", "postane.proto.imap.command"} <= set(MODULES)
    assert "postane.core.flags" in set(imported("postane.store.api"))


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_downwards(name: str) -> None:
    here = room(name)
    if here not in MAY:
        return
    wrong = {
        other
        for other in imported(name)
        if other.split(".")[0] == "postane" and room(other) != here and room(other) not in MAY[here]
    }

    assert not wrong, f"{name} ({here}) must not import {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in ("proto", "mime", "core")])
def test_engines_and_values_do_no_input_or_output(name: str) -> None:
    wrong = {other.split(".")[0] for other in imported(name)} & IO

    assert not wrong, f"{name} imports {', '.join(sorted(wrong))}"


def test_imports_are_acyclic_within_a_room_and_over_all() -> None:
    graph = {name: sorted({o for o in imported(name) if o in MODULES and o != name}) for name in MODULES}
    done: set[str] = set()
    for start in graph:
        if (cycle := _cycle(graph, start, done)) is not None:
            pytest.fail("imports go in a circle: " + " -> ".join(cycle))


def _cycle(graph: dict[str, list[str]], start: str, done: set[str]) -> list[str] | None:
    path: list[str] = []

    def walk(name: str) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        path.append(name)
        for other in graph[name]:
            if (found := walk(other)) is not None:
                return found
        path.pop()
        done.add(name)
        return None

    return walk(start)


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in ("flow", "session", "web", "policy")])
def test_only_the_wiring_names_who_fills_a_port(name: str) -> None:
    wrong = {other for other in imported(name) if other.startswith(FILLERS) and other not in PORTS}

    assert not wrong, f"{name} names {', '.join(sorted(wrong))}: that is for app alone"


def test_the_front_door_is_no_room() -> None:
    front = {room(name) for name in MODULES} - FRONT - {""}

    for name in MODULES:
        if room(name) in MAY:
            assert not {room(other) for other in imported(name) if other.startswith("postane.")} & front


def test_there_is_no_common_room() -> None:
    words = {"common", "utils", "util", "manager", "helper", "helpers", "misc", "base"}

    assert not {name for name in MODULES if words & set(name.split("."))}


def test_no_module_shadows_the_standard_library_by_absolute_name() -> None:
    assert not {path.stem for path in HOUSE.glob("*.py")} & set(sys.stdlib_module_names)
