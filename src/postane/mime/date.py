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
_ASCTIME = re.compile(rb"\b([A-Za-z]{3})[a-z]*\.?\s+(\d{1,2}),?\s+" + _TIME + rb"\s*(\D.*?)??\s*\b(\d{4})\b(.*)", re.S)
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


def parse_date(value: bytes) -> int | None:
    """Seconds since the epoch, or None where the value names no moment."""
    moment = _read(value)
    return None if moment is None else moment[0] - moment[1]


def local_day(value: bytes) -> datetime.date | None:
    """The day that is written, where it was written: IMAP's SENTON disregards time and zone (RFC 3501 6.4.4)."""
    moment = _read(value)
    return None if moment is None else datetime.date.fromordinal(moment[0] // 86_400 + _EPOCH_DAY)


def _read(value: bytes) -> tuple[int, int] | None:
    """The moment as if its clock stood at UTC, and the seconds that it stands east of it."""
    text = _without_comments(value.rpartition(b";")[2][:_LONGEST])
    found = _STANDARD.search(text)
    if found:
        day, month, year, *clock, zone = found.groups()
        return _moment(_year(year), month, day, clock, zone)
    found = _ASCTIME.search(text)
    if found:
        month, day, *clock, before, year, after = found.groups()
        return _moment(int(year), month, day, clock, before or after)
    found = _AMERICAN.search(text)
    if found:
        month, day, year, *clock, zone = found.groups()
        return _moment(int(year), month, day, clock, zone)
    found = _ISO.search(text)
    if found:
        year, month, day, *clock, zone = found.groups()
        return _moment(int(year), month, day, clock, zone)
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


def _moment(year: int, month: bytes, day: bytes, clock: list[bytes | None], zone: bytes) -> tuple[int, int] | None:
    hour, minute, second = (int(part or 0) for part in clock[:3])
    half = clock[3]
    if half is not None:
        hour = hour % 12 + (12 if half[:1] in b"Pp" else 0)
    month_number = int(month) if month.isdigit() else _MONTHS.get(month[:3].lower(), 0)
    # RFC 5322 3.3: second 60 is a leap second.
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        days = datetime.date(year, month_number, int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    return ((days * 24 + hour) * 60 + minute) * 60 + min(second, 59), _offset(zone)


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
