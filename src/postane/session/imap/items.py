"""What a FETCH says of a message from stored columns alone (RFC 3501 6.4.5, 7.4.2): no blob is opened.

This is the hot path of a first synchronisation.  Everything that can be known
from the command is worked out once: a form for one line, the columns it takes,
and for each column the work there is.  A slice of rows is then turned on its
side, each column is worked through at C speed, and one formatting of the form,
repeated, makes all its lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from postane.proto.imap import response
from postane.proto.imap.command import FetchItem, Section, SectionText
from postane.session.imap.view import View
from postane.store.api import Column

Values = tuple[Iterable[Any], ...]


@dataclass(frozen=True, slots=True)
class Item:
    """`form` takes as many values a message as `values` gives columns of them, made from the stored `columns`."""

    form: bytes
    columns: tuple[Column, ...]
    values: Callable[..., Values]


class Lines:
    """The FETCH lines of a list of items, as far as columns have them.

    `end` closes a line; a caller that has more to say of a message leaves it away.
    """

    __slots__ = ("_form", "_items", "_places", "columns")

    def __init__(self, items: Sequence[Item], more: Sequence[Column] = (), *, end: bytes = b")\r\n") -> None:
        self._items = items
        self.columns = tuple(dict.fromkeys((Column.UID, *chain.from_iterable(item.columns for item in items), *more)))
        self._places = [tuple(self.columns.index(column) for column in item.columns) for item in items]
        self._form = b"* %d FETCH (" + b" ".join(item.form for item in items) + end

    def together(self, numbers: Sequence[int], rows: Sequence[tuple[Any, ...]]) -> bytes:
        values = chain.from_iterable(self._values(numbers, rows))
        return self._form * len(rows) % tuple(values)

    def apart(self, numbers: Sequence[int], rows: Sequence[tuple[Any, ...]]) -> list[bytes]:
        return [self._form % values for values in self._values(numbers, rows)]

    def _values(self, numbers: Sequence[int], rows: Sequence[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
        if not rows:
            return ()
        columns = list(zip(*rows, strict=True))
        values: list[Iterable[Any]] = [numbers]
        for item, places in zip(self._items, self._places, strict=True):
            values.extend(item.values(*[columns[place] for place in places]))
        return zip(*values, strict=True)


def item_of(wanted: FetchItem | Section, view: View) -> Item | None:
    """None where the blob must be opened for it."""
    if isinstance(wanted, Section):
        return _header_section(wanted)
    match wanted:
        case FetchItem.UID:
            return Item(b"UID %d", (Column.UID,), _as_stored)
        case FetchItem.FLAGS:
            columns = (Column.UID, Column.FLAGS, Column.KEYWORDS)
            return Item(b"FLAGS (%b)", columns, lambda *stored: (view.flags_of(*stored),))
        case FetchItem.INTERNALDATE:
            return Item(b"INTERNALDATE %b", (Column.INTERNALDATE,), lambda dates: (map(response.internal_date, dates),))
        case FetchItem.RFC822_SIZE:
            return Item(b"RFC822.SIZE %d", (Column.SIZE,), _as_stored)
        case FetchItem.ENVELOPE:
            return Item(b"ENVELOPE %b", (Column.ENVELOPE,), _as_stored)
        case FetchItem.BODYSTRUCTURE:
            return Item(b"BODYSTRUCTURE %b", (Column.BODYSTRUCTURE,), _as_stored)
        case FetchItem.BODY:
            return Item(b"BODY %b", (Column.BODYSTRUCTURE,), lambda stored: (map(response.body, stored),))
        case FetchItem.RFC822_HEADER:
            return _literal(b"RFC822.HEADER", None)
        case _:
            return None


def _as_stored(column: Iterable[Any]) -> Values:
    return (column,)


def _header_section(section: Section) -> Item | None:
    """RFC 3501 6.4.5: the header of the message itself stands in a column, prefix included."""
    if section.path or section.text not in HEADERS:
        return None
    work = header_filter(section)
    label = section.label
    if section.partial is not None:
        first, count = section.partial
        label += b"<%d>" % first
        whole = work

        def work(header: bytes) -> bytes:
            return (whole(header) if whole else header)[first : first + count]

    return _literal(label, work)


def _literal(label: bytes, work: Callable[[bytes], bytes] | None) -> Item:
    def values(headers: Sequence[bytes]) -> Values:
        said = [work(header) for header in headers] if work else headers
        return map(len, said), said

    return Item(label.replace(b"%", b"%%") + b" {%d}\r\n%b", (Column.HEADER,), values)


# ---------------------------------------------------------------- header fields

HEADERS = frozenset({SectionText.HEADER, SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT})
FEW = 24
"""Up to so many names are looked for as one expression; more, and each field's name is looked up instead."""

# A field begins with the line end before it and leaves its own to the next: an expression whose first octet is fixed
# is searched at memchr's speed.
_VALUE = rb"[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+"
_FIELD = re.compile(rb"\n([!-9;-~]+)" + _VALUE)


def header_filter(section: Section) -> Callable[[bytes], bytes] | None:
    """What to do to a header section; None where it goes out whole.

    RFC 3501 6.4.5: the empty line that ends a header is part of every subset of it.
    """
    if section.text not in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT):
        return None
    is_not = section.text is SectionText.HEADER_FIELDS_NOT
    if len(section.fields) > FEW:
        return _filter_many(section.fields, is_not)
    field = re.compile(rb"\n(?:%b)" % _any_of(section.fields) + _VALUE)
    if is_not:
        return lambda header: field.sub(b"", b"\n" + header)[1:]
    return lambda header: _ended(b"".join(field.findall(b"\n" + header)), header)


def _any_of(names: tuple[bytes, ...]) -> bytes:
    """An expression for any of the names, without case; a first letter that is a plain literal rules most lines out."""
    by_first: dict[bytes, list[bytes]] = {}
    for name in names:
        by_first.setdefault(name[:1].lower(), []).append(re.escape(name[1:]))
    return b"|".join(
        b"%b(?i:%b)" % (re.escape(letter), b"|".join(rests))
        for first, rests in by_first.items()
        for letter in dict.fromkeys((first.upper(), first))
    )


def _filter_many(names: tuple[bytes, ...], is_not: bool) -> Callable[[bytes], bytes]:
    """Takes no longer for a thousand names than for one."""
    wanted = {name.lower() for name in names}
    if is_not:
        return lambda header: _FIELD.sub(lambda field: b"" if field[1].lower() in wanted else field[0], b"\n" + header)[
            1:
        ]
    return lambda header: _ended(
        b"".join([field[0] for field in _FIELD.finditer(b"\n" + header) if field[1].lower() in wanted]), header
    )


def _ended(fields: bytes, header: bytes) -> bytes:
    """`fields` without the line end before them, but with their own and the header's empty line, where it has them."""
    lines = fields[1:]
    if header.endswith(b"\r\n\r\n"):
        return lines + b"\n\r\n" if fields else b"\r\n"
    if fields and header.endswith(b"\n"):
        lines += b"\n"
    if header in (b"\n", b"\r\n"):
        return header
    return lines + b"\n" if header.endswith(b"\n\n") else lines
