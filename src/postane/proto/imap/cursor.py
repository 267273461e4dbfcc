"""The tokens of an IMAP command (RFC 3501 9), read one after the other from its gathered octets.

Octets of a literal stand behind their "{n}" and CRLF, as they came.  Where the
grammar asks for one space, several are taken.  A quoted string may hold octets
over 127, because passwords and search texts come so; whoever reads it decides.

Refused with `MailError` SYNTAX, naming what was expected and where: whatever the
grammar does not have; NUL anywhere; numbers over their size.
"""

from __future__ import annotations

import datetime
import re
from typing import Final

from postane.core.flags import BY_NAME, MAX_KEYWORD, NO_FLAGS, Flag
from postane.core.limits import ImapLimits
from postane.core.status import Condition, MailError
from postane.proto.imap.command import SequenceSet
from postane.proto.imap.names import decode

MAX_UNIQUE = 0xFFFFFFFF
MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"JAN", b"FEB", b"MAR", b"APR", b"MAY", b"JUN", b"JUL", b"AUG", b"SEP", b"OCT", b"NOV", b"DEC"), 1
    )
}

_SPACES = re.compile(rb" +")
_ATOM = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_ASTRING = re.compile(
    rb"([!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+)"
    rb'|"([^"\\\0\r\n]*(?:\\["\\][^"\\\0\r\n]*)*)"'
    rb"|\{([0-9]{1,10})\+?\}\r\n"
)
_STRING_START = (b'"', b"{")
_PATTERN_ATOM = re.compile(rb"[!#$%&'*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")
_NUMBER = re.compile(rb"[0-9]{1,18}(?![0-9])")
_SET = re.compile(rb"[0-9*:,]+")
_FLAG = re.compile(rb"\\?[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_DATE = re.compile(rb'("?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1')
_ESCAPED = re.compile(rb"\\(.)")


class Cursor:
    """Where in a command the reading is."""

    __slots__ = ("at", "data", "limits")

    def __init__(self, data: bytes, at: int, limits: ImapLimits) -> None:
        self.data = data
        self.at = at
        self.limits = limits

    def refuse(self, expected: str) -> MailError:
        """What to raise where `expected` is not what stands here."""
        place = "at the end" if self.at >= len(self.data) else f"at octet {self.at + 1}"
        return MailError(Condition.SYNTAX, f"{expected} expected {place} of the command")

    # -- punctuation

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        found = pattern.match(self.data, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def sees(self, mark: bytes | tuple[bytes, ...]) -> bool:
        return self.data.startswith(mark, self.at)

    def take(self, mark: bytes) -> bool:
        """Steps over `mark` where it stands here."""
        if self.data.startswith(mark, self.at):
            self.at += len(mark)
            return True
        return False

    def expect(self, mark: bytes, name: str) -> None:
        if not self.take(mark):
            raise self.refuse(name)

    def space(self) -> None:
        if not self.match(_SPACES):
            raise self.refuse("A space")

    def skip_spaces(self) -> bool:
        return self.match(_SPACES) is not None

    @property
    def is_at_end(self) -> bool:
        return self.at >= len(self.data)

    def finish(self) -> None:
        """Nothing but spaces may be left."""
        if self.at < len(self.data) and (self.match(_SPACES) is None or self.at < len(self.data)):
            raise self.refuse("The end of the command")

    # -- strings

    def atom(self, name: str) -> bytes:
        found = self.match(_ATOM)
        if found is None:
            raise self.refuse(name)
        return found[0]

    def word(self, name: str) -> bytes:
        """An atom that compares without case, in capitals."""
        return self.atom(name).upper()

    def astring(self, name: str) -> bytes:
        found = self.match(_ASTRING)
        if found is None:
            raise self.refuse(name)
        if found.lastindex == 1:
            return found[0]
        if found.lastindex == 2:
            return found[2] if b"\\" not in found[2] else _ESCAPED.sub(rb"\1", found[2])
        return self._literal(int(found[3]), name)

    def string(self, name: str) -> bytes:
        if not self.sees(_STRING_START):
            raise self.refuse(name)
        return self.astring(name)

    def nstring(self, name: str) -> bytes | None:
        if self.sees(_STRING_START):
            return self.astring(name)
        if self.word(name) != b"NIL":
            raise self.refuse(name)
        return None

    def _literal(self, size: int, name: str) -> bytes:
        octets = self.data[self.at : self.at + size]
        if len(octets) < size:
            raise self.refuse(name)
        if b"\0" in octets:
            raise MailError(Condition.SYNTAX, f"{name}: a literal may not hold NUL (RFC 3501 9)")
        self.at += size
        return octets

    # -- names of mailboxes

    def mailbox(self) -> str:
        name = self._name(self.astring("A mailbox name"))
        if not name:
            raise MailError(Condition.MAILBOX_BAD_NAME, "The mailbox name is empty")
        return name

    def reference(self) -> str:
        """The first argument of LIST: a name, or nothing."""
        return self._name(self.astring("A reference name"))

    def pattern(self) -> str:
        """RFC 3501 9 list-mailbox: like a name, "*" and "%" need no quotes."""
        found = self.match(_PATTERN_ATOM)
        return self._name(found[0] if found else self.string("A mailbox name with wildcards"))

    def _name(self, wire: bytes) -> str:
        if len(wire) > self.limits.mailbox_name:
            raise MailError(
                Condition.MAILBOX_BAD_NAME, f"A mailbox name may be {self.limits.mailbox_name} octets long, no longer"
            )
        return decode(wire)

    # -- numbers and dates

    def number(self, name: str) -> int:
        found = self.match(_NUMBER)
        if found is None:
            raise self.refuse(name)
        return int(found[0])

    def sequence_set(self) -> SequenceSet:
        found = self.match(_SET)
        if found is None:
            raise self.refuse("A set of numbers")
        pieces = found[0].split(b",")
        if len(pieces) > self.limits.set_ranges:
            raise MailError(Condition.SYNTAX, f"A set may have {self.limits.set_ranges} ranges, no more")
        return SequenceSet(tuple(map(_range, pieces)))

    def date(self) -> datetime.date:
        """RFC 3501 9 date, with or without quotes."""
        found = self.match(_DATE)
        if found is None:
            raise self.refuse("A date like 1-Feb-1994")
        try:
            return datetime.date(int(found[4]), month(found[3]), int(found[2]))
        except ValueError:
            raise no_such_date(found[0]) from None

    # -- flags

    def flag_list(self) -> tuple[Flag, tuple[str, ...]]:
        self.expect(b"(", "A list of flags")
        self.skip_spaces()
        flags = self.flags() if not self.sees(b")") else (NO_FLAGS, ())
        self.expect(b")", "A flag or )")
        return flags

    def flags(self) -> tuple[Flag, tuple[str, ...]]:
        """Flags with spaces between them; a keyword is kept in its first spelling.

        \\Recent is passed over: clients send back what they were shown, and it can't be set (RFC 3501 2.3.2).
        """
        flags, keywords = NO_FLAGS, dict[bytes, str]()
        while found := self.match(_FLAG):
            name = found[0]
            key = name.lower()
            if not name.startswith(b"\\"):
                if len(name) > MAX_KEYWORD:
                    raise MailError(Condition.SYNTAX, f"A keyword may be {MAX_KEYWORD} octets long, no longer")
                keywords.setdefault(key, name.decode("ascii"))
            elif key in BY_NAME:
                flags |= BY_NAME[key]
            elif key != b"\\recent":
                raise MailError(Condition.SYNTAX, f"{name.decode('ascii')} is no flag of RFC 3501")
            self.skip_spaces()
        if not flags and not keywords and not self.sees(b")") and not self.is_at_end:
            raise self.refuse("A flag")
        return flags, tuple(keywords.values())


def month(name: bytes) -> int:
    """ValueError where there is none of that name."""
    try:
        return MONTHS[name.upper()]
    except KeyError:
        raise ValueError(name) from None


def no_such_date(text: bytes) -> MailError:
    return MailError(Condition.SYNTAX, f"There is no such date as {text.decode('ascii')}")


def _range(text: bytes) -> tuple[int, int]:
    first, colon, last = text.partition(b":")
    low = _unique(first, text)
    return low, _unique(last, text) if colon else low


def _unique(text: bytes, around: bytes) -> int:
    """RFC 3501 9 seq-number; "*" is 0."""
    if text == b"*":
        return 0
    if text.isdigit() and len(text) <= 10 and 0 < (number := int(text)) <= MAX_UNIQUE:
        return number
    raise MailError(Condition.SYNTAX, f"{around[:40].decode('ascii')!r} in the set is neither a number nor a range")
