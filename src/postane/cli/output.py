"""What commands say: tables for people, `--json` for programs, and failures with their mend."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from postane.problem import Problem

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Output:
    """Results go to standard output, everything else to standard error."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def value(self, value: Any, text: str) -> None:
        """One result: `value` for programs, `text` for people."""
        if self.as_json:
            _write(json.dumps(value, ensure_ascii=False))
        else:
            _write(text)

    def table(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
        """Many results of one kind: all facts for programs, `columns` for people."""
        if self.as_json:
            _write(json.dumps(list(rows), ensure_ascii=False))
        elif rows:
            _write(_laid_out([[str(row[column]) for column in columns] for row in rows], columns))
        else:
            _write(empty)

    def line(self, value: Mapping[str, Any], text: str) -> None:
        """One of a stream of results, each on a line of its own."""
        _write(json.dumps(value, ensure_ascii=False) if self.as_json else text)

    def note(self, text: str) -> None:
        """For people, beside the result."""
        if not self.as_json:
            print(text, file=sys.stderr)  # noqa: T201 - this is the command line

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Bar]:
        """A bar on a terminal; nothing elsewhere."""
        if self.as_json or not sys.stderr.isatty():
            yield Bar(None, None)
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
            yield Bar(progress, progress.add_task(what, total=total))


class Bar:
    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress = progress
        self._task = task

    def advance(self, octets: int) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, octets)


def complain(problem: Problem, as_json: bool) -> None:
    if as_json:
        _write(json.dumps({"error": problem.what, "mend": problem.mend}, ensure_ascii=False))
    text = f"postane: {problem.what}" + (f"\n         {problem.mend}" if problem.mend else "")
    print(text, file=sys.stderr)  # noqa: T201 - this is the command line


def _write(text: str) -> None:
    """Whatever the terminal's encoding; a name on this server may have any letter."""
    data = (text + "\n").encode(sys.stdout.encoding or "utf-8", "backslashreplace")
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _laid_out(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    from rich.cells import cell_len

    titled = [[column.replace("_", " ") for column in columns], *rows]
    widths = [max(cell_len(row[i]) for row in titled) for i in range(len(columns))]
    lines = (
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in titled
    )
    return "\n".join(lines)
