"""Date fields (RFC 5322 3.3 and 4.3) and what mail really says instead.

Read: the standard form with or without day name, seconds and zone; named and
military zones; two- and three-digit years; comments; asctime order; ISO 8601;
dots in the time, am and pm; the date behind the last semicolon of a Received
field.  Refused (None): days, months and hours that do not exist.  Only the
first 400 octets are looked at.
"""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple

_EPOCH_DAY = 719_163
_LONGEST = 400
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}
_TIME = rb"(\d{1,2})[:.](\d{1,2})(?:[:.](\d{1,2}))?(?:[.,]\d+)?[ \t]*([AaPp][Mm]\b)?"
_STANDARD = re.compile(
    rb"\b(\d{1,2})[\s.-]+([A-Za-z]{3,9}|\d{1,2})[\s.,-]+(\d{2,4})[\s,T]+" + _TIME + rb"\s*(.*)", re.S
)
_ASCTIME = re.compile(
    rb"\b([A-Za-z]{3})[a-z]*\.?\s+(\d{1,2}),?\s+" + _TIME + rb"\s+(?:([+-]\d{4}|[A-Za-z]{1,5})\s+)?(\d{4})\b(.*)", re.S
)
_AMERICAN = re.compile(rb"\b([A-Za-z]{3})[a-z]*\.?\s+(\d{1,2}),?\s+(\d{4}),?\s+" + _TIME + rb"\s*(.*)", re.S)
_ISO = re.compile(rb"\b(\d{4})-(\d{1,2})-(\d{1,2})[T\s]+" + _TIME + rb"\s*(.*)", re.S)

_OFFSET = re.compile(rb"(?:GMT|UTC|UT)?\s*([+-])(\d{1,2})(?::?(\d{2}))?(?!\d)", re.I)
_ZONE_NAME = re.compile(rb"[A-Za-z]+")
_ZONES = {
    # RFC 5322 4.3
    b"EST": -5, b"EDT": -4, b"CST": -6, b"CDT": -5, b"MST": -7, b"MDT": -6, b"PST": -8, b"PDT": -7,
    # in use, and meaning one thing
    b"AST": -4, b"ADT": -3, b"AKST": -9, b"AKDT": -8, b"HST": -10, b"WET": 0, b"WEST": 1, b"BST": 1, b"CET": 1,
    b"MET": 1, b"CEST": 2, b"MEST": 2, b"EET": 2, b"EEST": 3, b"MSK": 3, b"MSD": 4, b"TRT": 3, b"JST": 9, b"KST": 9,
    b"SGT": 8, b"AEST": 10, b"AEDT": 11, b"NZST": 12, b"NZDT": 13,
}  # fmt: skip


class _Written(NamedTuple):
    """The parts of a date as they stand; `clock` is hour, minute, second, am or pm, the last two maybe None."""

    year: int
    month: bytes
    day: bytes
    clock: tuple[bytes | None, ...]
    zone: bytes


def parse_date(value: bytes) -> int | None:
    """Seconds since the epoch, or None where the value names no moment."""
    written = _read(value)
    if written is None:
        return None
    day = _day(written)
    seconds = _seconds(written.clock)
    if day is None or seconds is None:
        return None
    return (day.toordinal() - _EPOCH_DAY) * 86_400 + seconds - _offset(written.zone)


def local_day(value: bytes) -> datetime.date | None:
    """The day as the sender wrote it, whatever the time and zone (RFC 3501 6.4.4 SENTON), or None."""
    written = _read(value)
    return None if written is None else _day(written)


def _read(value: bytes) -> _Written | None:
    text = _without_comments(value.rpartition(b";")[2][:_LONGEST])
    if found := _STANDARD.search(text):
        day, month, year, *clock, zone = found.groups()
        return _Written(_year(year), month, day, tuple(clock), zone)
    if found := _ASCTIME.search(text):
        month, day, *clock, before, year, after = found.groups()
        return _Written(int(year), month, day, tuple(clock), before or after)
    if found := _AMERICAN.search(text):
        month, day, year, *clock, zone = found.groups()
        return _Written(int(year), month, day, tuple(clock), zone)
    if found := _ISO.search(text):
        year, month, day, *clock, zone = found.groups()
        return _Written(int(year), month, day, tuple(clock), zone)
    return None


def _without_comments(text: bytes) -> bytes:
    if b"(" not in text:
        return text
    kept = bytearray()
    depth = 0
    for piece in re.split(rb"([()])", text):
        if piece == b"(":
            depth += 1
        elif piece == b")":
            depth = max(0, depth - 1)
        elif depth == 0:
            kept += piece
    return bytes(kept)


def _year(digits: bytes) -> int:
    """RFC 5322 4.3: two digits are 1950 to 2049, three count from 1900."""
    year = int(digits)
    if len(digits) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(digits) == 3 else year


def _day(written: _Written) -> datetime.date | None:
    month = int(written.month) if written.month.isdigit() else _MONTHS.get(written.month[:3].lower(), 0)
    try:
        return datetime.date(written.year, month, int(written.day))
    except ValueError:
        return None


def _seconds(clock: tuple[bytes | None, ...]) -> int | None:
    """Since midnight.  RFC 5322 3.3: second 60 is a leap second."""
    hour, minute, second = (int(part or 0) for part in clock[:3])
    half = clock[3]
    if half is not None:
        hour = hour % 12 + (12 if half[:1] in b"Pp" else 0)
    if hour > 23 or minute > 59 or second > 60:
        return None
    return hour * 3600 + minute * 60 + min(second, 59)


def _offset(zone: bytes) -> int:
    """Seconds east of UTC; 0 for what is unknown, as RFC 5322 4.3 asks for the military zones."""
    found = _OFFSET.match(zone)
    if found:
        hours, minutes = int(found[2]), int(found[3] or 0)
        if hours > 15 or minutes > 59:
            return 0
        seconds = hours * 3600 + minutes * 60
        return -seconds if found[1] == b"-" else seconds
    name = _ZONE_NAME.match(zone)
    return _ZONES.get(name[0].upper(), 0) * 3600 if name else 0
