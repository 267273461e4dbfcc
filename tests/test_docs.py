"""The documents stay true: the table of standards, the RFCs that the code cites, the settings and the commands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import standards  # noqa: E402


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
