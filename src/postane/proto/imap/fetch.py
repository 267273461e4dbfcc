"""What a FETCH asks for (RFC 3501 6.4.5): macros, items, sections of the body.

Refused: unknown items and sections, part numbers of 0, MIME without a part
number, header names that no header can have, and more of each than the limits.
"""

from __future__ import annotations

import re

from postane.core.status import Condition, MailError
from postane.proto.imap.command import FetchItem, Section, SectionText
from postane.proto.imap.cursor import Cursor
from postane.proto.imap.response import astring

_ITEMS: dict[bytes, tuple[FetchItem, ...]] = {
    b"ALL": (FetchItem.FLAGS, FetchItem.INTERNALDATE, FetchItem.RFC822_SIZE, FetchItem.ENVELOPE),
    b"FAST": (FetchItem.FLAGS, FetchItem.INTERNALDATE, FetchItem.RFC822_SIZE),
    b"FULL": (FetchItem.FLAGS, FetchItem.INTERNALDATE, FetchItem.RFC822_SIZE, FetchItem.ENVELOPE, FetchItem.BODY),
    **{item.value: (item,) for item in FetchItem},
}
_TEXTS = {text.value: text for text in SectionText if text is not SectionText.ALL}
_WITH_FIELDS = (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT)

_ITEM = re.compile(rb"([A-Za-z0-9.]+)(\[?)")
_PATH = re.compile(rb"[0-9]+(?:\.[0-9]+)*")
_TEXT = re.compile(rb"[A-Za-z.]+")
# RFC 5322 2.2: printable ASCII but ":"; this is those of them that an atom can hold, with spaces between.
_NAME = rb"[!#$&'+,\-./0-9;<=>?@A-Z\[\]^_`a-z|}~]+"
_PLAIN_FIELDS = re.compile(rb" *\( *(%b(?: +%b)*) *\)" % (_NAME, _NAME))
_FIELD_NAME = re.compile(rb"[!-9;-~]+\Z")
_PARTIAL = re.compile(rb"<([0-9]{1,18})\.([0-9]{1,18})>")


def parse_items(cursor: Cursor) -> tuple[FetchItem | Section, ...]:
    """One item or macro, or a list of them; each is there once, in the order of the command."""
    items: list[FetchItem | Section] = []
    if not cursor.take(b"("):
        _add_item(cursor, items)
        return tuple(items)
    cursor.skip_spaces()
    while not cursor.take(b")"):
        _add_item(cursor, items)
        if not cursor.skip_spaces() and not cursor.sees(b")"):
            raise cursor.refuse("A space or )")
        if len(items) > cursor.limits.fetch_items:
            raise MailError(Condition.SYNTAX, f"FETCH takes {cursor.limits.fetch_items} items, no more")
    if not items:
        raise cursor.refuse("An item of FETCH")
    return tuple(dict.fromkeys(items)) if len(items) > 1 else tuple(items)


def _add_item(cursor: Cursor, items: list[FetchItem | Section]) -> None:
    found = cursor.match(_ITEM)
    if found is None:
        raise cursor.refuse("An item of FETCH")
    name, opens_section = found.groups()
    name = name.upper()
    if opens_section and name in (b"BODY", b"BODY.PEEK"):
        items.append(_section(cursor, is_peek=name == b"BODY.PEEK"))
    elif not opens_section and name in _ITEMS:
        items += _ITEMS[name]
    else:
        raise MailError(Condition.SYNTAX, f"FETCH has no item {name[:40].decode('ascii')}")


def _section(cursor: Cursor, is_peek: bool) -> Section:
    path = _path(cursor)
    is_whole_part = bool(path) and not cursor.take(b".")
    text, fields = (SectionText.ALL, ()) if is_whole_part else _section_text(cursor, path)
    cursor.expect(b"]", "A section of the body or ]")
    return Section(path, text, fields, is_peek, _partial(cursor), _label(path, text, fields))


def _label(path: tuple[int, ...], text: SectionText, fields: tuple[bytes, ...]) -> bytes:
    section = text.value
    if path:
        numbers = ".".join(map(str, path)).encode("ascii")
        section = b"%b.%b" % (numbers, section) if section else numbers
    if fields:
        return b"BODY[%b (%b)]" % (section, b" ".join(map(astring, fields)))
    return b"BODY[%b]" % section


def _path(cursor: Cursor) -> tuple[int, ...]:
    found = cursor.match(_PATH)
    if found is None:
        return ()
    numbers = found[0].split(b".")
    if len(numbers) > cursor.limits.depth:
        raise MailError(Condition.SYNTAX, f"Parts are nested {cursor.limits.depth} deep, no deeper")
    if any(len(number) > 9 or number.startswith(b"0") for number in numbers):
        raise MailError(Condition.SYNTAX, f"There is no part number {found[0][:40].decode('ascii')}")
    return tuple(map(int, numbers))


def _section_text(cursor: Cursor, path: tuple[int, ...]) -> tuple[SectionText, tuple[bytes, ...]]:
    found = cursor.match(_TEXT)
    if found is None:
        if path:
            raise cursor.refuse("HEADER, TEXT or MIME")
        return SectionText.ALL, ()
    text = _TEXTS.get(found[0].upper())
    if text is None or (text is SectionText.MIME and not path):
        raise MailError(Condition.SYNTAX, f"The body has no section {found[0][:40].decode('ascii')} here")
    return text, _fields(cursor) if text in _WITH_FIELDS else ()


def _fields(cursor: Cursor) -> tuple[bytes, ...]:
    """RFC 3501 9 header-list, each name once in its first spelling."""
    found = cursor.match(_PLAIN_FIELDS)
    names = found[1].split() if found else _quoted_fields(cursor)
    if len(names) > cursor.limits.fetch_items:
        raise MailError(Condition.SYNTAX, f"A section takes {cursor.limits.fetch_items} header names, no more")
    once: dict[bytes, bytes] = {}
    for name in names:
        once.setdefault(name.lower(), name)
    return tuple(once.values())


def _quoted_fields(cursor: Cursor) -> list[bytes]:
    cursor.skip_spaces()
    cursor.expect(b"(", "A list of header names")
    cursor.skip_spaces()
    names: list[bytes] = []
    while not cursor.take(b")"):
        name = cursor.astring("A header name")
        if not _FIELD_NAME.match(name):
            raise MailError(Condition.SYNTAX, "A header name is ASCII without spaces and colons (RFC 5322 2.2)")
        names.append(name)
        if not cursor.skip_spaces() and not cursor.sees(b")"):
            raise cursor.refuse("A space or )")
    if not names:
        raise cursor.refuse("A header name")
    return names


def _partial(cursor: Cursor) -> tuple[int, int] | None:
    if not cursor.sees(b"<"):
        return None
    found = cursor.match(_PARTIAL)
    if found is None or not int(found[2]):
        raise cursor.refuse("A part of the octets like <0.1024>")
    return int(found[1]), int(found[2])
