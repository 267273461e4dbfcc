"""The command line in this process: arguments in; status, output and complaints out."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from postane.cli import main


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Commands:
    """`commands("domain", "add", "example.org")`, on a data folder of its own."""

    def __init__(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = data
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str, stdin: str = "", status: int = 0, place: bool = True) -> Said:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        where = ["--data", str(self.data)] if place else []
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["postane", *arguments, *where])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            try:
                main()
                code: int | str | None = 0
            except SystemExit as end:
                code = end.code
        said = Said(int(code or 0), *(text.buffer.getvalue().decode() for text in (out, err)))  # type: ignore[attr-defined]
        assert said.status == status, f"{arguments} ended with {said.status}:\n{said.out}{said.err}"
        assert "Traceback" not in said.err
        return said
