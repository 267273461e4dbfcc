"""Makes docs/standards.md from docs/standards.toml: `python scripts/standards.py`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
SIGNS = {"supported": "yes", "partial": "partly", "later": "not yet", "refused": "no"}


def load() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tomllib.loads((DOCS / "standards.toml").read_text("utf-8"))["standard"]
    return rows


def table() -> str:
    lines = [
        "# Standards",
        "",
        "Made from `standards.toml` by `python scripts/standards.py`; change that file, not this one.",
        "",
        "| RFC | title | obeyed | note |",
        "|---|---|---|---|",
    ]
    for row in sorted(load(), key=lambda row: int(row["rfc"])):
        lines.append(f"| {row['rfc']} | {row['title']} | {SIGNS[row['state']]} | {row.get('note', '')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (DOCS / "standards.md").write_text(table(), "utf-8")
