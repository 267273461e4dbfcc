"""Reading the settings: defaults, then the file, then the environment, then the command line.

Refused, with the setting, its value, its line and what to do: unknown names
(with the nearest known one), wrong types, values out of bounds, addresses that
are none.  Nothing is guessed.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from postane.config.locate import line_of
from postane.config.settings import DomainSettings, Settings
from postane.core.address import BadAddress, parse_domain
from postane.problem import Problem

ENVIRONMENT = "POSTANE_"
LARGEST_LIMIT = 2**53
"""Whole up to here in every program that reads our JSON; infinity and NaN are no bounds."""
Setting = tuple[str, ...]
T = TypeVar("T")


class ConfigProblem(Problem):
    """A setting that cannot be used."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """`origins` says where each setting that is no default comes from."""

    settings: Settings
    file: Path | None
    origins: dict[Setting, str]


def load(file: Path | None, environment: Mapping[str, str], overrides: Mapping[Setting, Any] | None = None) -> Loaded:
    """`overrides` are the command line's, by setting, with where they come from said as "command line"."""
    text = _read(file) if file else ""
    raw = _parse(text, file)
    reader = _Reader(file, text, {})
    reader.refuse_unknown(raw, Settings, ())
    reader.note(raw, ())
    for name, value in sorted(environment.items()):
        if name.startswith(ENVIRONMENT) and "__" in name:
            reader.take_variable(raw, name, value)
    for setting, value in (overrides or {}).items():
        _put(raw, setting, value)
        reader.origins[setting] = "command line"
    settings = reader.convert(raw)
    reader.check_values(settings)
    return Loaded(settings, file, reader.origins)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigProblem(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    except OSError as error:
        raise ConfigProblem(
            f"The configuration file {file} cannot be read: {error.strerror}.",
            "Name another with --config, or write one with `postane config init`.",
        ) from error


def _parse(text: str, file: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = text.splitlines()[int(found[1]) - 1].strip() if found and int(found[1]) <= text.count("\n") + 1 else ""
        shown = f"\n    {line}" if line else ""
        raise ConfigProblem(
            f"{file} is not valid TOML: {error}.{shown}",
            'Each line is a [section], or name = value; texts stand in "quotes".',
        ) from error


@dataclass(slots=True)
class _Reader:
    file: Path | None
    text: str
    origins: dict[Setting, str]

    def where(self, setting: Setting) -> str:
        for end in range(len(setting), 0, -1):
            if setting[:end] in self.origins:
                return self.origins[setting[:end]]
        return self.in_file(setting)

    def in_file(self, setting: Setting) -> str:
        line = line_of(self.text, setting)
        return f"{self.file}, line {line}" if line else str(self.file or "the settings")

    def note(self, raw: dict[str, Any], above: Setting) -> None:
        for name, value in raw.items():
            here = (*above, name)
            if isinstance(value, dict):
                self.note(value, here)
            else:
                self.origins[here] = self.in_file(here)

    def refuse_unknown(self, raw: dict[str, Any], kind: Any, above: Setting) -> None:
        """msgspec would pass over unknown names in the dataclasses of `core.limits`; and it suggests none."""
        for name, value in raw.items():
            known = fields_of(kind)
            inner = known.get(name)
            if inner is None:
                here = dotted((*above, name))
                raise ConfigProblem(
                    f"{self.in_file((*above, name))}: there is no setting {here}.", _suggest(name, above, known)
                )
            if isinstance(value, dict) and not is_leaf(inner):
                self.refuse_unknown(value, inner, (*above, name))

    def take_variable(self, raw: dict[str, Any], name: str, value: str) -> None:
        setting = tuple(part.lower() for part in name.removeprefix(ENVIRONMENT).split("__"))
        kind: Any = Settings
        for depth, part in enumerate(setting):
            known = fields_of(kind)
            if part not in known:
                raise ConfigProblem(
                    f"The environment variable {name} names no setting.", _suggest(part, setting[:depth], known)
                )
            kind = known[part]
        if not is_leaf(kind):
            raise ConfigProblem(
                f"The environment variable {name} names a section, not a setting.",
                f"Add one of its settings: {', '.join(name + '__' + inner.upper() for inner in fields_of(kind))}.",
            )
        _put(raw, setting, _from_text(value, kind))
        self.origins[setting] = f"environment variable {name}"

    def convert(self, raw: dict[str, Any]) -> Settings:
        domains = raw.get("domains")
        for name, table in domains.items() if isinstance(domains, dict) else ():
            self.convert_section(table, DomainSettings, ("domains", name))
        return self.convert_section(raw, Settings, ())

    def convert_section(self, raw: Any, kind: type[T], above: Setting) -> T:
        try:
            return msgspec.convert(raw, kind)
        except msgspec.ValidationError as error:
            message, _, at = str(error).partition(" - at `")
            below = tuple(re.findall(r"[A-Za-z0-9_]+", re.sub(r"\[\d+\]", "", at)))
            raise self.bad((*above, *below), _get(raw, below), message.replace("`", "")) from error

    def bad(self, setting: Setting, value: Any, why: str) -> ConfigProblem:
        shown = f" = {toml_value(value)}" if value is not None else ""
        return ConfigProblem(f"{self.where(setting)}: {dotted(setting)}{shown}: {why}.", _mend(setting))

    def check_values(self, settings: Settings) -> None:
        for setting, value in flatten(settings):
            if setting[0] == "limits" and not 0 < value <= LARGEST_LIMIT:
                raise self.bad(setting, value, "a limit is above 0 and below 2^53")
            if setting[0] == "listen" and setting[-1] == "addresses":
                self.check_addresses(setting, value)
        for name in settings.domains:
            self.check_domain(("domains", name), name)
        if settings.server.host_name:
            self.check_domain(("server", "host_name"), settings.server.host_name)
        if bool(settings.tls.certificate) != bool(settings.tls.key):
            missing = "key" if settings.tls.certificate else "certificate"
            raise ConfigProblem(
                f"{self.where(('tls',))}: tls.{missing} is not set, and the other of the pair is.",
                "Set tls.certificate and tls.key, or neither.",
            )

    def check_addresses(self, setting: Setting, addresses: tuple[str, ...]) -> None:
        for one in addresses:
            try:
                ipaddress.ip_address(one)
            except ValueError as error:
                raise self.bad(setting, list(addresses), f"{one!r} is no numeric address") from error

    def check_domain(self, setting: Setting, name: str) -> None:
        try:
            parse_domain(name)
        except BadAddress as error:
            raise self.bad(setting, name, str(error)) from error


# ---------------------------------------------------------------- the shape of the settings


def fields_of(kind: Any) -> dict[str, Any]:
    """The settings of a section: name -> type; a table with free names answers any."""
    if typing.get_origin(kind) is dict:
        return _AnyName(typing.get_args(kind)[1])
    if isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind)):
        return dict(typing.get_type_hints(kind))
    return {}


class _AnyName(dict[str, Any]):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind = kind

    def get(self, name: str, default: Any = None) -> Any:
        return self.kind

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Any:
        return self.kind


def is_leaf(kind: Any) -> bool:
    return not isinstance(fields_of(kind), _AnyName) and not fields_of(kind)


def flatten(section: Any, above: Setting = ()) -> Iterator[tuple[Setting, Any]]:
    """Every setting with its value, in the order of the file."""
    if isinstance(section, dict):
        items = list(section.items())
    elif isinstance(section, msgspec.Struct):
        items = [(name, getattr(section, name)) for name in section.__struct_fields__]
    else:
        items = [(one.name, getattr(section, one.name)) for one in dataclasses.fields(section)]
    for name, value in items:
        here = (*above, name)
        if isinstance(value, dict | msgspec.Struct) or dataclasses.is_dataclass(value):
            yield from flatten(value, here)
        else:
            yield here, value


def dotted(setting: Setting) -> str:
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in setting)


def toml_value(value: Any) -> str:
    """As it would be written in the file."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(one) for one in value) + "]"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 and value % 1000 == 0 else str(value)
    return str(value)


def _get(raw: Any, setting: Setting) -> Any:
    for part in setting:
        if not isinstance(raw, dict) or part not in raw:
            return None
        raw = raw[part]
    return raw


def _put(raw: dict[str, Any], setting: Setting, value: Any) -> None:
    for part in setting[:-1]:
        raw = raw.setdefault(part, {})
    raw[setting[-1]] = value


def _from_text(value: str, kind: Any) -> Any:
    """A variable's text in the type of its setting; what does not convert stays text and is refused by name later."""
    if typing.get_origin(kind) is tuple:
        return [one.strip() for one in value.split(",") if one.strip()]
    if isinstance(kind, types.GenericAlias) or not isinstance(kind, type):
        return value
    try:
        return msgspec.convert(value, kind, strict=False) if kind in (int, float, bool) else value
    except msgspec.ValidationError:
        return value


def _suggest(name: str, above: Setting, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.6)
    if near:
        return f"Did you mean {dotted((*above, near[0]))}?"
    place = f"[{dotted(above)}]" if above else "the file"
    return f"{place} knows: {', '.join(known)}." if known else f"{dotted(above)} is a setting, not a section."


def _mend(setting: Setting) -> str:
    for known, value in flatten(Settings()):
        if known == setting:
            return f"The default is {dotted(setting)} = {toml_value(value)}; `postane config show` lists them all."
    return "`postane config show` lists every setting with its value."
