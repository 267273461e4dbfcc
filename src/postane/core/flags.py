"""Message flags (RFC 3501 2.3.2) as bits, keywords as a sorted tuple of names.

\\Recent is not here: it belongs to a session's view, never to a message.
Keyword names compare without case; the first spelling an account has used is
kept by the store.  Refused: a keyword that is no IMAP atom, or longer than 64 octets.
"""

from __future__ import annotations

from enum import IntFlag

MAX_KEYWORD = 64
_ATOM_SPECIALS = frozenset(b'(){ %*"\\]')


class Flag(IntFlag):
    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


NO_FLAGS = Flag(0)


WIRE = {
    Flag.ANSWERED: b"\\Answered",
    Flag.FLAGGED: b"\\Flagged",
    Flag.DELETED: b"\\Deleted",
    Flag.SEEN: b"\\Seen",
    Flag.DRAFT: b"\\Draft",
}
BY_NAME = {wire.lower(): flag for flag, wire in WIRE.items()}

# All 32 combinations, written once: a flag list is a table look-up.
COMBINED: tuple[bytes, ...] = tuple(b" ".join(wire for flag, wire in WIRE.items() if bits & flag) for bits in range(32))


def wire(bits: int, keywords: str = "") -> bytes:
    """The inside of a FLAGS list; `keywords` is how the store keeps them, joined by single spaces."""
    if not keywords:
        return COMBINED[bits & 31]
    return b" ".join(filter(None, (COMBINED[bits & 31], keywords.encode("ascii"))))


def is_keyword(name: bytes) -> bool:
    """RFC 3501 9: flag-keyword = atom."""
    return 0 < len(name) <= MAX_KEYWORD and all(33 <= c < 127 and c not in _ATOM_SPECIALS for c in name)
