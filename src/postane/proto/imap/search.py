"""What a SEARCH looks for (RFC 3501 6.4.4): its keys as a tree of values.

The reading keeps its own stack, so that nesting is bounded by the limit and
never by Python's.  Refused: unknown keys, a tree deeper than `ImapLimits.depth`
or with more keys than `search_keys`, charsets unknown, text not in its charset.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from postane.core.flags import MAX_KEYWORD, Flag
from postane.core.status import Condition, MailError
from postane.proto.imap.charset import decode_text, find_codec
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
from postane.proto.imap.cursor import Cursor

_SINGLE: dict[bytes, SearchKey] = {
    b"ALL": SearchAll(),
    b"NEW": SearchRecency(Recency.NEW),
    b"OLD": SearchRecency(Recency.OLD),
    b"RECENT": SearchRecency(Recency.RECENT),
    **{(flag.name or "").encode("ascii"): SearchFlag(flag, True) for flag in Flag},
    **{b"UN" + (flag.name or "").encode("ascii"): SearchFlag(flag, False) for flag in Flag},
}
_HEADERS = {b"BCC": "Bcc", b"CC": "Cc", b"FROM": "From", b"SUBJECT": "Subject", b"TO": "To"}
_DATES = {
    b"BEFORE": (DateRelation.BEFORE, False),
    b"ON": (DateRelation.ON, False),
    b"SINCE": (DateRelation.SINCE, False),
    b"SENTBEFORE": (DateRelation.BEFORE, True),
    b"SENTON": (DateRelation.ON, True),
    b"SENTSINCE": (DateRelation.SINCE, True),
}
_WORD = re.compile(rb"[A-Za-z]+")
_SEPARATORS = (b" ", b")")


class _Holder(Enum):
    """What a key that is being read is inside of."""

    COMMAND = "command"
    PARENTHESES = "parentheses"
    NOT = "not"
    OR = "or"


_ROOM = {_Holder.NOT: 1, _Holder.OR: 2}


@dataclass(slots=True)
class _Frame:
    holder: _Holder
    keys: list[SearchKey] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return len(self.keys) == _ROOM.get(self.holder)

    def close(self) -> SearchKey:
        if self.holder is _Holder.NOT:
            return SearchNot(self.keys[0])
        if self.holder is _Holder.OR:
            return SearchOr(self.keys[0], self.keys[1])
        return self.keys[0] if len(self.keys) == 1 else SearchAnd(tuple(self.keys))


class SearchReader:
    """Reads all keys up to the end of the command."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._codec: str | None = None
        self._frames = [_Frame(_Holder.COMMAND)]
        self._left = cursor.limits.search_keys

    def read(self) -> SearchKey:
        cursor = self._cursor
        self._read_charset()
        while True:
            cursor.skip_spaces()
            if cursor.take(b"("):
                self._open(_Holder.PARENTHESES)
            elif cursor.sees(b")"):
                self._close_parentheses()
            elif cursor.is_at_end:
                return self._end()
            else:
                self._read_key()

    def _read_charset(self) -> None:
        cursor = self._cursor
        if cursor.data[cursor.at : cursor.at + 8].upper() != b"CHARSET ":
            return
        cursor.at += 8
        cursor.skip_spaces()
        self._codec = find_codec(cursor.astring("The name of a charset"))
        cursor.space()

    def _open(self, holder: _Holder) -> None:
        if len(self._frames) > self._cursor.limits.depth:
            raise MailError(Condition.SYNTAX, f"SEARCH keys may be nested {self._cursor.limits.depth} deep, no deeper")
        self._frames.append(_Frame(holder))

    def _add(self, key: SearchKey) -> None:
        """A key is whole; so may be what it stands in."""
        cursor = self._cursor
        if not cursor.is_at_end and not cursor.sees(_SEPARATORS):
            raise cursor.refuse("A space or )")
        self._left -= 1
        if self._left < 0:
            raise MailError(Condition.SYNTAX, f"SEARCH takes {cursor.limits.search_keys} keys, no more")
        self._frames[-1].keys.append(key)
        while self._frames[-1].is_full:
            whole = self._frames.pop().close()
            self._frames[-1].keys.append(whole)

    def _close_parentheses(self) -> None:
        frame = self._frames[-1]
        if frame.holder is not _Holder.PARENTHESES or not frame.keys:
            raise self._cursor.refuse("A SEARCH key")
        self._cursor.take(b")")
        self._frames.pop()
        self._add(frame.close())

    def _end(self) -> SearchKey:
        frame = self._frames.pop()
        if self._frames:
            raise self._cursor.refuse("A )" if frame.holder is _Holder.PARENTHESES and frame.keys else "A SEARCH key")
        if not frame.keys:
            raise self._cursor.refuse("A SEARCH key")
        return frame.close()

    def _read_key(self) -> None:
        cursor = self._cursor
        found = cursor.match(_WORD)
        if found is None:
            self._add(SearchSet(cursor.sequence_set(), is_uid=False))
            return
        word = found[0].upper()
        if word == b"NOT":
            self._open(_Holder.NOT)
            cursor.space()
        elif word == b"OR":
            self._open(_Holder.OR)
            cursor.space()
        else:
            self._add(_SINGLE.get(word) or self._with_argument(word))

    def _with_argument(self, word: bytes) -> SearchKey:
        cursor = self._cursor
        if word not in _ARGUMENTS:
            raise MailError(Condition.SYNTAX, f"SEARCH has no key {word[:40].decode('ascii')}")
        cursor.space()
        if word in _HEADERS:
            return SearchHeader(_HEADERS[word], self._text())
        if word in _DATES:
            relation, is_sent = _DATES[word]
            return SearchDate(relation, cursor.date(), is_sent)
        match word:
            case b"HEADER":
                name = cursor.astring("A header name").decode("ascii", "replace")
                cursor.space()
                return SearchHeader(name, self._text())
            case b"BODY" | b"TEXT":
                return SearchText(self._text(), with_header=word == b"TEXT")
            case b"LARGER" | b"SMALLER":
                return SearchSize(cursor.number("A number of octets"), is_larger=word == b"LARGER")
            case b"UID":
                return SearchSet(cursor.sequence_set(), is_uid=True)
            case _:
                return SearchKeyword(self._keyword(), is_set=word == b"KEYWORD")

    def _text(self) -> str:
        octets = self._cursor.astring("A text to look for")
        return decode_text(octets, self._codec) if self._codec else decode_text(octets)

    def _keyword(self) -> str:
        keyword = self._cursor.atom("A keyword")
        if len(keyword) > MAX_KEYWORD:
            raise MailError(Condition.SYNTAX, f"A keyword may be {MAX_KEYWORD} octets long, no longer")
        return keyword.decode("ascii")


_ARGUMENTS = frozenset(
    {*_HEADERS, *_DATES, b"HEADER", b"BODY", b"TEXT", b"LARGER", b"SMALLER", b"UID", b"KEYWORD", b"UNKEYWORD"}
)
