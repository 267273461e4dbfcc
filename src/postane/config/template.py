"""The file that `postane config init` writes: every setting, commented out at its default, each with its meaning."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from postane.config.load import Setting, dotted, toml_value
from postane.config.settings import LoginHere, Settings

_HEAD = """\
# The settings of this post office.  Every one is shown at its default: take away the # and change what you need.
# `postane config check` says what is wrong; SIGHUP makes a running server read this file again
# (ports, addresses and the number of workers change with the next start).
# Each can also be set in the environment: POSTANE_LISTEN__IMAP__PORT=1143 is port under [listen.imap].
"""

_SECTIONS: dict[Setting, str] = {
    ("listen",): "Where mail comes in and where clients connect.",
    ("listen", "lmtp"): "For those who keep their own MTA in front (RFC 2033).",
    ("login",): "Passwords: over TLS, or from this machine itself, unless you say otherwise.",
    ("tls",): "Your own certificate.",
    ("relay",): "Mail to people on other servers.",
    ("limits",): "What one client may ask for. Sizes in octets, times in seconds.",
    ("log",): "To standard error; never a secret in it.",
}

_DOMAINS = """\
# For one domain alone; its own spelling or the international one.
# [domains."example.org"]
# login.plaintext = "allow"
"""


def template() -> str:
    lines = list(_section(Settings(), (), set()))
    return "\n".join([_HEAD, *lines]) + "\n"


def _section(section: Any, above: Setting, said: set[str]) -> Iterator[str]:
    """Plain settings first, then the tables below: TOML knows no way back up.  A description is `said` once."""
    tables = []
    for name, value, description in _settings(section):
        here = (*above, name)
        if isinstance(value, LoginHere):
            yield f"# login.plaintext = {toml_value(value.plaintext)}"
        elif isinstance(value, dict | msgspec.Struct) or dataclasses.is_dataclass(value):
            tables.append((here, value))
        else:
            if description and description not in said:
                said.add(description)
                yield f"# {description}"
            yield f"# {name} = {toml_value(value)}"
    if above:
        yield ""
    for here, value in tables:
        if isinstance(value, dict):
            yield _DOMAINS
            continue
        if here in _SECTIONS:
            yield f"# {_SECTIONS[here]}"
        yield f"[{dotted(here)}]"
        yield from _section(value, here, said)


def _settings(section: Any) -> Iterator[tuple[str, Any, str]]:
    """(name, value, description) of a section's own settings."""
    hints = typing.get_type_hints(type(section), include_extras=True)
    for name, hint in hints.items():
        notes = [note.description for note in getattr(hint, "__metadata__", ()) if isinstance(note, msgspec.Meta)]
        yield name, getattr(section, name), next(filter(None, notes), "")
