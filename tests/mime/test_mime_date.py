"""Dates of header fields (RFC 5322 3.3, 4.3) and sloppier ones."""

from __future__ import annotations

import datetime
import email.utils
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.mime.date import local_day, parse_date

NOON = 1057056757  # 1 July 2003, 10:52:37 UTC


@pytest.mark.parametrize(
    "value",
    [
        b"Tue, 1 Jul 2003 10:52:37 +0000",
        b"Tue, 01 Jul 2003 12:52:37 +0200 (CEST)",
        b"1 Jul 2003 10:52:37 GMT",
        b"1 jul 03 10:52:37 UT",
        b"1 Jul 103 10:52:37 Z",
        b"Tue,  1 July 2003 06:52:37 EDT",
        b"Tue, 1 Jul 2003 02:52:37 -0800",
        b"Tue, 1 Jul 2003 10:52:37",
        b"Tue, 1 Jul 2003 10:52:37 M",
        b"Tue, 1 Jul 2003 10:52:37 XYZZY",
        b"Tue, 1 Jul 2003 12:52:37 GMT+2",
        b"Tue, 1 Jul 2003 12:52:37 +02:00",
        b"Tue, 1 Jul 2003 10.52.37 +0000",
        b"Tue,\r\n 1\r\n Jul 2003 10:52:37 +0000",
        b"1-Jul-2003 10:52:37 +0000",
        b"Tue, 1 (comment (nested)) Jul 2003 10:52:37 +0000",
        b"Tue Jul  1 10:52:37 2003",
        b"Tue Jul  1 12:52:37 +0200 2003",
        b"Tue Jul  1 13:52:37 TRT 2003",
        b"Tue Jul  1 03:52:37 PDT 2003",
        b"Jul 1, 2003 10:52:37 AM",
        b"2003-07-01T10:52:37Z",
        b"2003-07-01 12:52:37.123+02:00",
        b"from a by b; Tue, 1 Jul 2003 10:52:37 +0000",
    ],
)
def test_one_moment_in_many_forms(value: bytes) -> None:
    assert parse_date(value) == NOON
    assert local_day(value) == datetime.date(2003, 7, 1)


@pytest.mark.parametrize(
    "value",
    [b"", b"yesterday", b"31 Feb 2003 10:00:00 +0000", b"1 Zzz 2003 10:00:00", b"1 Jul 2003 25:00:00", b"1 Jul 2003"],
)
def test_what_is_no_moment(value: bytes) -> None:
    assert parse_date(value) is None


def test_years_of_two_digits() -> None:
    """RFC 5322 4.3."""
    assert local_day(b"1 Jan 49 00:00 +0000") == datetime.date(2049, 1, 1)
    assert local_day(b"1 Jan 50 00:00 +0000") == datetime.date(1950, 1, 1)


def test_the_day_is_the_senders_own() -> None:
    assert local_day(b"1 Jul 2003 00:10:00 +0200") == datetime.date(2003, 7, 1)
    assert parse_date(b"1 Jul 2003 00:10:00 +0200") == 1057011000


@given(st.integers(-2_000_000_000, 4_000_000_000))
def test_what_the_library_writes_is_read_back(epoch: int) -> None:
    assert parse_date(email.utils.formatdate(epoch).encode()) == epoch


@given(st.text("0123456789 :;,.+-JanFebMayTZ()\n", max_size=60).map(str.encode))
def test_nothing_breaks_the_parser(value: bytes) -> None:
    assert isinstance(parse_date(value), int | None)


# Numbers without names, and a comment that only a broken parser leaves open.
DIFFERENT = (" 4 8 15 16", "Tue, 1 Jul 2003 ((invalid)")


def test_the_published_vectors(vectors: Path) -> None:
    for row in json.loads((vectors / "mime-malformed" / "date.json").read_text()):
        if not row["header"].startswith(DIFFERENT):
            assert parse_date(row["header"].encode()) == moment(row["expected"]), row["header"]


def moment(expected: dict[str, int] | None) -> int | None:
    if expected is None:
        return None
    names = ("year", "month", "day", "hour", "minute", "second")
    east = datetime.timedelta(hours=expected["tz_hour"], minutes=expected["tz_minute"])
    zone = datetime.timezone(-east if expected["tz_before_gmt"] else east)
    return int(datetime.datetime(*(expected[name] for name in names), tzinfo=zone).timestamp())
