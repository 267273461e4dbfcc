"""Single messages, a file each: taken byte for byte, whatever their line ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from postane.core.flags import NO_FLAGS
from postane.flow.exchange.maildir import opening
from postane.flow.exchange.parcel import Parcel


class EmlFiles:
    """One file, or all `*.eml` of a folder and the folders in it, in the order of their names."""

    def __init__(self, path: Path) -> None:
        self._files = sorted(path.rglob("*.eml")) if path.is_dir() else [path]

    @property
    def octets(self) -> int:
        return sum(file.stat().st_size for file in self._files)

    def mailboxes(self) -> tuple[str, ...]:
        return ("",)

    def parcels(self) -> Iterator[Parcel]:
        for file in self._files:
            yield Parcel("", NO_FLAGS, (), None, str(file), opening(file), is_verbatim=True)
