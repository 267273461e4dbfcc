"""Single messages, a file each: taken byte for byte, whatever their line ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from postane.core.flags import NO_FLAGS
from postane.flow.exchange.maildir import opening
from postane.flow.exchange.parcel import Parcel, mailbox_of


class EmlFiles:
    """One file, or all `*.eml` below a folder: each folder there is a mailbox; messages go by number, then by name."""

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            found = ((mailbox_of(file.parent.relative_to(path).parts), file) for file in path.rglob("*.eml"))
            self._files = tuple(sorted(((name, file) for name, file in found if file.is_file()), key=_order))
        else:
            self._files = (("", path),)

    @property
    def octets(self) -> int:
        return sum(file.stat().st_size for _, file in self._files)

    def mailboxes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name, _ in self._files))

    def parcels(self) -> Iterator[Parcel]:
        for mailbox, file in self._files:
            yield Parcel(mailbox, NO_FLAGS, (), None, str(file), opening(file), is_verbatim=True)


def _order(one: tuple[str, Path]) -> tuple[str, int, str]:
    """An export names its files by UID: 2.eml comes before 10.eml."""
    mailbox, file = one
    number = int(file.stem) if file.stem.isascii() and file.stem.isdigit() and len(file.stem) <= 20 else 0
    return mailbox, number, file.name
