"""What a mailbox may be called, and its one spelling.

A name is a path of parts joined by "/", in NFC.  INBOX is without case (RFC 3501
5.1), also as the first part of a longer path.  One "/" at the end only says that
children will follow (RFC 3501 6.3.3) and is dropped.

Refused (MAILBOX_BAD_NAME): control, surrogate and unassigned-for-ever code
points, line and paragraph separators, empty parts, "." and "..", a part over
255 octets, a name or a depth over the limits.
"""

from __future__ import annotations

import unicodedata

from postane.core.limits import ImapLimits
from postane.core.status import Condition, MailError
from postane.store.api import DELIMITER, INBOX

PART_OCTETS = 255
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})

Path = tuple[str, ...]


def parse(name: str, limits: ImapLimits) -> Path:
    """The parts of `name`, each in NFC."""
    if len(name) > limits.mailbox_name:
        raise _bad(f"it is longer than {limits.mailbox_name} octets")
    parts = tuple(unicodedata.normalize("NFC", name).removesuffix(DELIMITER).split(DELIMITER))
    for part in parts:
        _check_part(part)
    if parts[0].isascii() and parts[0].upper() == INBOX:
        parts = (INBOX, *parts[1:])
    check_bounds(parts, limits)
    return parts


def check_bounds(parts: Path, limits: ImapLimits) -> None:
    if len(parts) > limits.mailbox_depth:
        raise _bad(f"it is deeper than {limits.mailbox_depth} levels")
    if len(DELIMITER.join(parts).encode()) > limits.mailbox_name:
        raise _bad(f"it is longer than {limits.mailbox_name} octets")


def _check_part(part: str) -> None:
    if not part:
        raise _bad("a part of it is empty")
    if part in (".", ".."):
        raise _bad(f"a part of it is {part!r}")
    if any(unicodedata.category(c) in _FORBIDDEN_CATEGORIES or _is_noncharacter(ord(c)) for c in part):
        raise _bad("it holds a control character")
    if len(part.encode()) > PART_OCTETS:
        raise _bad(f"a part of it is longer than {PART_OCTETS} octets")


def _is_noncharacter(code: int) -> bool:
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF


def _bad(reason: str) -> MailError:
    return MailError(Condition.MAILBOX_BAD_NAME, f"this is no mailbox name: {reason}")
