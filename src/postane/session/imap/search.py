"""SEARCH and UID SEARCH (RFC 3501 6.4.4, 6.4.8).

Sets narrow what is looked at before anything is read; then slices go by, each
only as deep as it must: columns, headers, bodies.  Decoding and comparing text
is done in the pool, a bounded slice at a time, so a search delays nobody.
Of one message at most `MOST_TEXT` octets of text are looked through.
"""

from __future__ import annotations

from asyncio import sleep, to_thread
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from postane.core.limits import MIB
from postane.core.message import Part
from postane.mime.text import fold, text_of
from postane.mime.tree import unpack
from postane.mime.words import decode_words
from postane.proto.imap import response
from postane.proto.imap.command import Ending, Search, SearchAnd, SearchKey, SearchSet, Tagged, Wire
from postane.session.imap.connection import Answers, Connection
from postane.session.imap.criteria import Criterion, Depth, Header, Slice, criterion, key_ranges
from postane.session.imap.view import View
from postane.store.api import SLICE, Column

MOST_TEXT = 16 * MIB
WHOLE = MIB
"""A message up to this size is read at once; of a larger one, its text parts alone."""
AT_ONCE = 4 * MIB
"""Octets of text after which what is held is looked at."""

_OF_BLOBS = (Column.BLOB, Column.BLOB_SIZE, Column.PARTS)


async def search(connection: Connection, command: Search) -> Answers:
    view = connection.selected
    look = _Look(connection, view, criterion(command.key, view))
    found: list[int] = []
    for _, uids in view.slices(candidates(command.key, view)):
        found.extend(await look.at(uids))
        if len(uids) == SLICE:
            await sleep(0)
    numbers = found if command.is_uid else [view.index(uid) + 1 for uid in found]
    return Wire(response.search_response(numbers)), Tagged(command.tag, Ending.OK, "SEARCH completed")


def candidates(key: SearchKey, view: View) -> list[range]:
    """What is left by the sets among the outermost keys, all of which must hold."""
    left = [range(view.exists)] if view.exists else []
    for each in key.keys if isinstance(key, SearchAnd) else (key,):
        if isinstance(each, SearchSet):
            left = list(_overlap(left, key_ranges(each, view)))
    return left


def _overlap(left: Sequence[range], right: Sequence[range]) -> Iterator[range]:
    """Both ascending and disjoint."""
    i = j = 0
    while i < len(left) and j < len(right):
        start, stop = max(left[i].start, right[j].start), min(left[i].stop, right[j].stop)
        if start < stop:
            yield range(start, stop)
        if left[i].stop < right[j].stop:
            i += 1
        else:
            j += 1


Row = tuple[Any, ...]
Passage = tuple[bytes, Part | None]
"""The octets of a text part and what says how to decode them; or a header within the message, and None."""


@dataclass(frozen=True, slots=True)
class _Judged:
    matching: list[int]
    open: list[int]


class _Look:
    """Looks at slices, at each ever deeper until nothing is open."""

    def __init__(self, connection: Connection, view: View, wanted: Criterion) -> None:
        self._mail = connection.services.mail
        self._account = connection.account
        self._mailbox = view.mailbox.id
        self._limits = connection.services.limits.mime
        self._wanted = wanted
        self._columns = (Column.UID, *sorted(wanted.columns))
        self._with_header = (*self._columns, *((Column.HEADER,) if Depth.HEADER in wanted.depths else ()))

    async def at(self, uids: Sequence[int]) -> list[int]:
        """The UIDs that match, ascending; a message that has gone for good matches nothing that has to be read."""
        rows = await self._rows(uids, self._columns) if self._wanted.columns else [(uid,) for uid in uids]
        judged = self._judge(rows, self._columns, Depth.COLUMNS)
        found = judged.matching
        if judged.open and Depth.HEADER in self._wanted.depths:
            rows = await self._rows(judged.open, self._with_header)
            judged = await to_thread(self._judge, rows, self._with_header, Depth.HEADER)
            found.extend(judged.matching)
        if judged.open and Depth.TEXT in self._wanted.depths:
            found.extend(await self._in_texts(judged.open))
        return sorted(found)

    async def _rows(self, uids: Sequence[int], columns: Sequence[Column]) -> list[Row]:
        return await self._mail.entries(self._account, self._mailbox, uids, columns)

    def _judge(
        self, rows: list[Row], columns: Sequence[Column], depth: Depth, bodies: Sequence[list[Passage]] = ()
    ) -> _Judged:
        if not rows:
            return _Judged([], [])
        by_column = dict(zip(columns, zip(*rows, strict=True), strict=True))
        headers = [Header(raw, self._limits) for raw in by_column.get(Column.HEADER, ())]
        texts = [fold("\n".join(map(_read, passages))) for passages in bodies]
        part = Slice(by_column[Column.UID], by_column, headers, texts, depth)
        verdict = self._wanted.test(part)
        still_open = verdict.could & ~verdict.yes
        return _Judged(
            [uid for bit, uid in enumerate(part.uids) if verdict.yes >> bit & 1],
            [uid for bit, uid in enumerate(part.uids) if still_open >> bit & 1],
        )

    async def _in_texts(self, uids: Sequence[int]) -> list[int]:
        columns = (*self._with_header, *_OF_BLOBS)
        found: list[int] = []
        rows: list[Row] = []
        bodies: list[list[Passage]] = []
        held = 0
        for row in await self._rows(uids, columns):
            rows.append(row)
            bodies.append(await self._passages(*row[-len(_OF_BLOBS) :]))
            held += sum(len(data) for data, _ in bodies[-1])
            if held >= AT_ONCE:
                found.extend((await to_thread(self._judge, rows, columns, Depth.TEXT, bodies)).matching)
                rows, bodies, held = [], [], 0
        found.extend((await to_thread(self._judge, rows, columns, Depth.TEXT, bodies)).matching)
        return found

    async def _passages(self, blob: int, size: int, parts: bytes) -> list[Passage]:
        whole = await self._mail.read(self._account, blob, 0, size) if size <= WHOLE else None
        left = MOST_TEXT
        passages: list[Passage] = []
        for start, stop, part in _places(unpack(parts)):
            length = min(stop - start, left)
            left -= length
            if length > 0 and whole is not None:
                passages.append((whole[start : start + length], part))
            elif length > 0:
                passages.append((await self._mail.read(self._account, blob, start, length), part))
        return passages


def _places(part: Part) -> Iterator[tuple[int, int, Part | None]]:
    """Where text stands in a message: the bodies of text parts, and the headers of messages within it."""
    if part.message is not None:
        yield part.message.start, part.message.body, None
        yield from _places(part.message)
    for child in part.children:
        yield from _places(child)
    if part.type == b"TEXT":
        yield part.body, part.end, part


def _read(passage: Passage) -> str:
    data, part = passage
    if part is None:
        return decode_words(data)
    return "\n".join(text_of(data, replace(part, start=0, body=0, end=len(data))))
