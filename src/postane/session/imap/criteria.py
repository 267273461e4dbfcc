"""Search keys worked out over slices of messages (RFC 3501 6.4.4), the cheap ones first.

A verdict over a slice is two numbers with a bit for each message: those that
match for certain, and those that could.  A key that needs what has not been
read yet matches none for certain and rules none out; AND, OR and NOT work on
both numbers at once.  So one look at stored columns settles most messages, and
only those still open have their header, and then their body, looked at.

Text matches as a substring of the decoded header or body, both folded
(`mime.text.fold`).  Times of INTERNALDATE are those of UTC, as FETCH says them.
"""

from __future__ import annotations

import datetime
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import inf
from typing import Any, NamedTuple

from postane.core.flags import Flag
from postane.core.limits import MimeLimits
from postane.mime.date import local_day
from postane.mime.header import split_fields
from postane.mime.text import fold
from postane.mime.words import decode_words
from postane.proto.imap.command import (
    DateRelation,
    Recency,
    SearchAll,
    SearchAnd,
    SearchDate,
    SearchFlag,
    SearchHeader,
    SearchKey,
    SearchKeyword,
    SearchNot,
    SearchOr,
    SearchRecency,
    SearchSet,
    SearchSize,
    SearchText,
)
from postane.session.imap.view import View
from postane.store.api import Column

DAY = 86_400
_FURTHEST_ZONE = 16 * 3600
_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()


class Depth(IntEnum):
    """What has been read of a slice's messages."""

    COLUMNS = 0
    HEADER = 1
    TEXT = 2


class Header:
    """A header section (ours and the message's own), decoded as far as it is asked for."""

    __slots__ = ("_fields", "_folded", "_limits", "_lower", "_raw")

    def __init__(self, raw: bytes, limits: MimeLimits) -> None:
        self._raw = raw[: limits.header_bytes]
        self._limits = limits
        self._fields: dict[str, list[bytes]] | None = None
        self._folded: dict[str, list[str]] = {}
        # Where nothing is encoded, folding for comparison is no more than lower case.
        self._lower = self._raw.lower() if raw.isascii() and b"=?" not in raw else None

    def values(self, name: str) -> list[bytes]:
        """All values of a field, unfolded and raw; `name` in lower case."""
        if self._fields is None:
            self._fields = {}
            for each in split_fields(self._raw, self._limits):
                self._fields.setdefault(each.name.decode("ascii").lower(), []).append(each.value)
        return self._fields.get(name, [])

    def holds(self, name: str, text: str) -> bool:
        """`name` in lower case, `text` folded; "" asks whether the field is there at all."""
        if self._rules_out(text):
            return False
        if name not in self._folded:
            self._folded[name] = [fold(decode_words(value)) for value in self.values(name)]
        return any(text in value for value in self._folded[name])

    def holds_anywhere(self, text: str) -> bool:
        return not self._rules_out(text) and text in fold(decode_words(self._raw))

    def _rules_out(self, text: str) -> bool:
        """Most often one look at the raw octets is enough; what has blanks may stand across a fold."""
        if self._lower is None or " " in text or "\t" in text:
            return False
        return not text.isascii() or text.encode("ascii") not in self._lower


@dataclass(frozen=True, slots=True)
class Slice:
    """Some messages, as far as they have been read; everything is in the order of `uids`."""

    uids: Sequence[int]
    columns: Mapping[Column, Sequence[Any]]
    headers: Sequence[Header] = ()
    texts: Sequence[str] = ()
    """Folded."""
    depth: Depth = Depth.COLUMNS

    @property
    def all(self) -> int:
        return (1 << len(self.uids)) - 1

    def bits(self, matches: Iterable[bool]) -> int:
        return int("".join(["1" if each else "0" for each in matches])[::-1] or "0", 2)


class Verdict(NamedTuple):
    """Bit i is for the i-th message: `yes` matches for certain, `could` is not ruled out."""

    yes: int
    could: int


Test = Callable[[Slice], Verdict]


@dataclass(frozen=True, slots=True)
class Criterion:
    """A key made ready: the columns it reads, the depths that tell it more, and the test itself."""

    columns: frozenset[Column]
    depths: frozenset[Depth]
    test: Test


def criterion(key: SearchKey, view: View) -> Criterion:
    """MailError BAD_ARGUMENT for a set that can't be."""
    match key:
        case SearchAll():
            return _certain((), lambda part: part.all)
        case SearchAnd(keys):
            return _both([criterion(each, view) for each in keys])
        case SearchOr(left, right):
            return _either(criterion(left, view), criterion(right, view))
        case SearchNot(inner):
            return _negated(criterion(inner, view))
        case SearchSet():
            held = key_ranges(key, view)
            return _certain((), lambda part: part.bits(_lies_in(held, view.index(uid)) for uid in part.uids))
        case SearchFlag(flag, is_set):
            wanted = int(flag)  # a plain number: these are compared by the thousand
            return _certain(
                (Column.FLAGS,),
                lambda part: part.bits([bool(bits & wanted) is is_set for bits in part.columns[Column.FLAGS]]),
            )
        case SearchKeyword(keyword, is_set):
            return _keyword(keyword.lower(), is_set)
        case SearchRecency(recency):
            return _recency(recency, view)
        case SearchSize(size, is_larger):
            return _sized(size, is_larger)
        case SearchDate(relation, date, is_sent):
            return _sent(relation, date) if is_sent else _arrived(relation, date)
        case SearchHeader(name, text):
            return _header(name.lower(), fold(text))
        case SearchText(text, with_header):
            return _text(fold(text), with_header)
    raise TypeError(f"{type(key).__name__} is no search key")


def _certain(columns: tuple[Column, ...], bits: Callable[[Slice], int]) -> Criterion:
    def test(part: Slice) -> Verdict:
        matching = bits(part)
        return Verdict(matching, matching)

    return Criterion(frozenset(columns), frozenset(), test)


# ---------------------------------------------------------------- AND, OR, NOT


def _both(parts: list[Criterion]) -> Criterion:
    def test(part: Slice) -> Verdict:
        yes = could = part.all
        for each in parts:
            verdict = each.test(part)
            yes, could = yes & verdict.yes, could & verdict.could
            if not could:
                break
        return Verdict(yes, could)

    columns = frozenset[Column]().union(*(each.columns for each in parts))
    return Criterion(columns, frozenset[Depth]().union(*(each.depths for each in parts)), test)


def _either(left: Criterion, right: Criterion) -> Criterion:
    def test(part: Slice) -> Verdict:
        first, second = left.test(part), right.test(part)
        return Verdict(first.yes | second.yes, first.could | second.could)

    return Criterion(left.columns | right.columns, left.depths | right.depths, test)


def _negated(inner: Criterion) -> Criterion:
    def test(part: Slice) -> Verdict:
        verdict = inner.test(part)
        return Verdict(part.all & ~verdict.could, part.all & ~verdict.yes)

    return Criterion(inner.columns, inner.depths, test)


# ---------------------------------------------------------------- sets, flags, sizes, dates


def key_ranges(key: SearchSet, view: View) -> list[range]:
    """RFC 3501 6.4.4: a number that no message has matches none."""
    return view.ranges(key.set, key.is_uid, is_lenient=True)


def _lies_in(held: list[range], index: int) -> bool:
    at = bisect_right(held, index, key=lambda each: each.start) - 1
    return at >= 0 and index < held[at].stop


def _keyword(keyword: str, is_set: bool) -> Criterion:
    def bits(part: Slice) -> int:
        return part.bits((keyword in names.lower().split(" ")) is is_set for names in part.columns[Column.KEYWORDS])

    return _certain((Column.KEYWORDS,), bits)


def _recency(recency: Recency, view: View) -> Criterion:
    def recent(part: Slice) -> int:
        return part.bits(map(view.is_recent, part.uids))

    if recency is Recency.RECENT:
        return _certain((), recent)
    if recency is Recency.OLD:
        return _certain((), lambda part: part.all & ~recent(part))
    unseen = criterion(SearchFlag(Flag.SEEN, False), view)
    return _both([_certain((), recent), unseen])


def _sized(size: int, is_larger: bool) -> Criterion:
    if is_larger:
        return _certain((Column.SIZE,), lambda part: part.bits(each > size for each in part.columns[Column.SIZE]))
    return _certain((Column.SIZE,), lambda part: part.bits(each < size for each in part.columns[Column.SIZE]))


def _bounds(relation: DateRelation, date: datetime.date) -> tuple[float, float]:
    """Seconds since the epoch, from and before, in UTC."""
    start = (date.toordinal() - _EPOCH_DAY) * DAY
    match relation:
        case DateRelation.BEFORE:
            return -inf, start
        case DateRelation.ON:
            return start, start + DAY
        case DateRelation.SINCE:
            return start, inf


def _arrived(relation: DateRelation, date: datetime.date) -> Criterion:
    start, stop = _bounds(relation, date)
    return _certain(
        (Column.INTERNALDATE,),
        lambda part: part.bits(start <= at < stop for at in part.columns[Column.INTERNALDATE]),
    )


def _sent(relation: DateRelation, date: datetime.date) -> Criterion:
    """RFC 3501 6.4.4: the zone is disregarded, so only what lies further off than any zone is certain without it."""
    start, stop = _bounds(relation, date)

    def written(header: Header, stored: int) -> float:
        days = [day for value in header.values("date")[:1] if (day := local_day(value))]
        return (days[0].toordinal() - _EPOCH_DAY) * DAY if days else stored

    def test(part: Slice) -> Verdict:
        stored = part.columns[Column.SENT_DATE]
        if part.depth >= Depth.HEADER:
            bits = part.bits(start <= written(*pair) < stop for pair in zip(part.headers, stored, strict=True))
            return Verdict(bits, bits)
        return Verdict(
            part.bits(start + _FURTHEST_ZONE <= at < stop - _FURTHEST_ZONE for at in stored),
            part.bits(start - _FURTHEST_ZONE <= at < stop + _FURTHEST_ZONE for at in stored),
        )

    return Criterion(frozenset({Column.SENT_DATE}), frozenset({Depth.HEADER}), test)


# ---------------------------------------------------------------- text


def _header(name: str, text: str) -> Criterion:
    def test(part: Slice) -> Verdict:
        if part.depth < Depth.HEADER:
            return Verdict(0, part.all)
        bits = part.bits(header.holds(name, text) for header in part.headers)
        return Verdict(bits, bits)

    return Criterion(frozenset(), frozenset({Depth.HEADER}), test)


def _text(text: str, with_header: bool) -> Criterion:
    def test(part: Slice) -> Verdict:
        in_header = 0
        if with_header and part.depth >= Depth.HEADER:
            in_header = part.bits(header.holds_anywhere(text) for header in part.headers)
        if part.depth < Depth.TEXT:
            return Verdict(in_header, part.all)
        bits = in_header | part.bits(text in body for body in part.texts)
        return Verdict(bits, bits)

    return Criterion(frozenset(), frozenset({Depth.HEADER, Depth.TEXT} if with_header else {Depth.TEXT}), test)
