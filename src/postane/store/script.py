"""SQL logic without I/O: a script is a generator that yields statements and is sent their rows.

A script does not know which database runs it.  It yields `(sql, values)`,
receives all rows of that statement as a list of tuples, and returns its result.
Statements use `?` for values in order, and keep to what SQLite and PostgreSQL
both understand; what they do not share (how a JSON array becomes rows) a driver
translates.  A driver runs a script whole: a reading one on one snapshot, a
writing one inside one transaction under a savepoint of its own.

    def rename(account: int, name: str) -> Script[int]:
        rows = yield "UPDATE account SET name = ? WHERE id = ? RETURNING version", (name, account)
        return rows[0][0]
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

Row = tuple[Any, ...]
Rows = list[Row]
Statement = tuple[str, Sequence[Any]]
Script = Generator[Statement, Rows, T]


def just(sql: str, values: Sequence[Any] = ()) -> Script[Rows]:
    """A script of one statement that returns its rows."""
    return (yield sql, values)
