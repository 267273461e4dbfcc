"""Draws docs/first-run.svg from what a first start prints: `python scripts/first_run.py <what-it-printed`."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).resolve().parents[1] / "docs"


def draw(text: str) -> str:
    """The SVG, without the web font that rich would have a reader's browser fetch."""
    console = Console(record=True, width=max(map(len, text.splitlines())) + 2, file=io.StringIO())
    console.print(Text(text))
    svg = console.export_svg(title="make run")
    return re.sub(r"\s*@font-face \{[^}]*\}", "", svg).replace("Fira Code", "DejaVu Sans Mono")


if __name__ == "__main__":
    (DOCS / "first-run.svg").write_text(draw(sys.stdin.read()), "utf-8")
