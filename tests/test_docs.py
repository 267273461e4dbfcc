"""The documents stay true: the table of standards, the RFCs that the code cites, the settings and the commands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from typer.main import get_command

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import standards  # noqa: E402

from postane.cli.program import program  # noqa: E402
from postane.config.load import dotted, flatten, toml_value  # noqa: E402
from postane.config.settings import Settings  # noqa: E402


def test_table_is_made_from_the_data() -> None:
    assert standards.table() == (ROOT / "docs" / "standards.md").read_text("utf-8")


@pytest.mark.parametrize("row", standards.load(), ids=lambda row: f"rfc{row['rfc']}")
def test_each_standard_says_where_it_is_shown(row: dict[str, object]) -> None:
    assert row["state"] in standards.SIGNS
    if row["state"] in {"supported", "partial"}:
        assert row["tests"]
    for place in row["tests"]:  # type: ignore[attr-defined]
        assert (ROOT / place).exists(), place
    if row["state"] != "supported":
        assert row["note"]


def test_every_standard_that_the_code_cites_is_listed() -> None:
    listed = {int(row["rfc"]) for row in standards.load()}
    cited: dict[int, str] = {}
    for path in (ROOT / "src").rglob("*.py"):
        for number in re.findall(r"RFC (\d{3,5})\b", path.read_text("utf-8")):
            cited.setdefault(int(number), path.name)

    assert {} == {number: where for number, where in cited.items() if number not in listed}


# ---------------------------------------------------------------- settings and commands


def headings(document: str) -> list[tuple[str, str]]:
    """(what a second-level heading names, the text below it) for each name between backquotes."""
    sections = re.split(r"^## ", (ROOT / "docs" / document).read_text("utf-8"), flags=re.MULTILINE)[1:]
    parted = (section.partition("\n") for section in sections)
    return [(name, text) for heading, _, text in parted for name in re.findall(r"`([^`]+)`", heading)]


def test_each_setting_is_told_with_its_default() -> None:
    told = {
        f"{section}.{name}": default
        for section, text in headings("configuration.md")
        if not section.startswith("domains")  # a table for whatever name has no default of its own
        for name, default in re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| \S", text, re.MULTILINE)
    }

    assert told == {dotted(setting): toml_value(value) for setting, value in flatten(Settings())}


def commands() -> dict[str, set[str]]:
    """Each command, such as `account add`, with its own options."""
    found: dict[str, set[str]] = {}

    def walk(command: object, name: str) -> None:
        inner = getattr(command, "commands", None)
        if inner is None:
            found[name] = {word for one in command.params for word in one.opts if word.startswith("--")}  # type: ignore[attr-defined]
            return
        for verb, below in inner.items():
            walk(below, f"{name} {verb}".strip())

    walk(get_command(program), "")
    return found


COMMANDS = commands()
EVERYWHERE = {"--data", "--config", "--json"}


def test_the_commands_told_are_those_there_are() -> None:
    assert "account add" in COMMANDS
    assert sorted(name for name, _ in headings("commands.md")) == sorted(f"postane {name}" for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_told_with_an_example_and_its_options(name: str) -> None:
    text = dict(headings("commands.md"))[f"postane {name}"]

    assert f"\npostane {name}" in text, "an example in a block of its own"
    assert COMMANDS[name] - EVERYWHERE <= set(re.findall(r"--[a-z-]+", text))
    assert set(re.findall(r"--[a-z-]+", text)) <= COMMANDS[name] | EVERYWHERE


# ---------------------------------------------------------------- what any document names

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SETTINGS = {setting for setting, _ in flatten(Settings())}
SECTIONS = {setting[:end] for setting in SETTINGS for end in range(1, len(setting))}
HOUSE = ROOT / "src" / "postane"
ROOMS = {path.name for path in HOUSE.iterdir() if (path / "__init__.py").exists()}


def named(path: Path, pattern: str) -> set[str]:
    """What stands between backquotes and matches."""
    return {
        found[1] for text in re.findall(r"`([^`\n]+)`", path.read_text("utf-8")) if (found := re.match(pattern, text))
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_settings_that_are_named_exist(path: Path) -> None:
    names = named(path, r"([a-z_]+(?:\.[a-z_0-9]+)+)(?: = .*)?$")
    ours = {tuple(name.split(".")) for name in names if (name.split(".")[0],) in SECTIONS}
    said = re.findall(r"\bsettings? `([a-z_.0-9]+)`", path.read_text("utf-8"))

    assert not (ours | {tuple(name.split(".")) for name in said}) - SETTINGS - SECTIONS


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_modules_that_are_named_exist(path: Path) -> None:
    for name in named(path, rf"((?:{'|'.join(sorted(ROOMS))})(?:\.[a-zA-Z_0-9]+)+)$"):
        *above, last = name.split(".")
        module, holder = HOUSE.joinpath(*above, last), HOUSE.joinpath(*above).with_suffix(".py")
        is_inside = holder.exists() and re.search(rf"\b{last}\b", holder.read_text("utf-8"))
        assert module.is_dir() or module.with_suffix(".py").exists() or is_inside, name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_commands_that_are_named_exist(path: Path) -> None:
    nouns = {name.split()[0] for name in COMMANDS} - set(COMMANDS)
    for line in re.findall(r"(?:^|`)postane ([a-z][^`\n]*)", path.read_text("utf-8"), re.MULTILINE):
        noun, *rest = line.split()
        assert noun in COMMANDS or (noun in nouns and (not rest or f"{noun} {rest[0]}" in COMMANDS)), line


@pytest.mark.parametrize("path", DOCUMENTS[1:], ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target
