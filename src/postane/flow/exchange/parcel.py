"""One message on its way between a file and a mailbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from postane.core.flags import Flag
from postane.store.api import INBOX

CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Parcel:
    """`mailbox` is its full path, "" for the one that the import goes to; `date` None where the file says none.

    `opened` gives the message's bytes, once.  `source` names the file, for errors.
    """

    mailbox: str
    flags: Flag
    keywords: tuple[str, ...]
    date: int | None
    source: str
    opened: AbstractContextManager[BinaryIO]
    is_verbatim: bool = False
    """Whether its line ends are to stay whatever they are."""


def mailbox_of(folders: Sequence[str]) -> str:
    """The mailbox that a place below the imported folder stands for; what an export calls INBOX is its top."""
    return "" if tuple(folders) == (INBOX,) else "/".join(folders)


class Reader(Protocol):
    """A file or folder that holds messages."""

    @property
    def octets(self) -> int:
        """How much there is to read, for a progress bar."""

    def mailboxes(self) -> tuple[str, ...]:
        """Those that exist in it, empty ones too."""

    def parcels(self) -> Iterator[Parcel]: ...
