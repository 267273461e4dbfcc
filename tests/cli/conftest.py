from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from commanding import Commands


@pytest.fixture
def postane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    for name in tuple(os.environ):
        if name.startswith("POSTANE_"):
            monkeypatch.delenv(name)
    before = os.umask(0o077)
    yield Commands(tmp_path / "data", monkeypatch)
    os.umask(before)


@pytest.fixture
def ada(postane: Commands) -> str:
    postane("domain", "add", "example.org")
    postane("account", "add", "ada@example.org", "--password-stdin", stdin="lovelace-1815\n")
    return "ada@example.org"
