"""The shape of each database file: who it belongs to and the steps that made it what it is.

A schema's steps are the files `migrations/<name>_<number>.sql`, numbered from
0001 without a gap.  A file's `user_version` is how many of them it has had;
the first step makes a new file.  A step once released never changes.
"""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schema:
    """`application_id` marks our files (SQLite's header field of that name), each kind by its own number."""

    name: str
    application_id: int
    steps: tuple[str, ...]

    @property
    def version(self) -> int:
        return len(self.steps)


def load(name: str, application_id: int) -> Schema:
    """The schema whose steps are `migrations/<name>_NNNN.sql`."""
    folder = importlib.resources.files("postane.store") / "migrations"
    files = sorted((entry for entry in folder.iterdir() if _is_step(entry.name, name)), key=lambda entry: entry.name)
    if [file.name for file in files] != [f"{name}_{number:04}.sql" for number in range(1, len(files) + 1)] or not files:
        raise ValueError(f"the migrations of {name!r} are not numbered from 0001 without a gap")
    return Schema(name, application_id, tuple(file.read_text(encoding="utf-8") for file in files))


def _is_step(file: str, name: str) -> bool:
    return file.endswith(".sql") and file.rpartition("_")[0] == name
