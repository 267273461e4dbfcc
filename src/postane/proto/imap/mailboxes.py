"""The commands that name mailboxes (RFC 3501 6.3.1 to 6.3.10, RFC 6154 2 and 3, RFC 8438)."""

from __future__ import annotations

import re

from postane.core.status import Condition, MailError
from postane.proto.imap.command import (
    Command,
    Create,
    Delete,
    List,
    Rename,
    Select,
    Status,
    StatusItem,
    SubscribeCommand,
)
from postane.proto.imap.cursor import Cursor
from postane.proto.imap.response import DELIMITER

_SPECIAL_USE = re.compile(rb"\\[A-Za-z]+")
_USES = {use.upper(): use for use in ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash")}
_STATUS_ITEMS = {item.value: item for item in StatusItem}


def parse_select(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    return Select(tag, cursor.mailbox(), read_only=False)


def parse_examine(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    return Select(tag, cursor.mailbox(), read_only=True)


def parse_create(tag: bytes, cursor: Cursor) -> Command:
    """RFC 3501 6.3.3, RFC 6154 3."""
    cursor.space()
    name = cursor.mailbox()
    mailbox = name.removesuffix(DELIMITER.decode("ascii"))
    uses = _special_uses(cursor) if cursor.skip_spaces() and not cursor.is_at_end else ()
    return Create(tag, mailbox, mailbox != name, uses)


def _special_uses(cursor: Cursor) -> tuple[str, ...]:
    cursor.expect(b"(", "(USE (...))")
    if cursor.word("USE") != b"USE":
        raise MailError(Condition.SYNTAX, "CREATE has no parameter but USE")
    cursor.space()
    cursor.expect(b"(", "A list of special uses")
    uses: dict[str, None] = {}
    cursor.skip_spaces()
    while found := cursor.match(_SPECIAL_USE):
        use = found[0].decode("ascii")
        uses[_USES.get(use.upper(), use)] = None
        cursor.skip_spaces()
    cursor.expect(b")", "A special use like \\Sent, or )")
    cursor.skip_spaces()
    cursor.expect(b")", "A )")
    return tuple(uses)


def parse_delete(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    return Delete(tag, cursor.mailbox())


def parse_rename(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    return Rename(tag, mailbox, cursor.mailbox())


def parse_subscribe(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    return SubscribeCommand(tag, cursor.mailbox(), subscribed=True)


def parse_unsubscribe(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    return SubscribeCommand(tag, cursor.mailbox(), subscribed=False)


def parse_lsub(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    reference = cursor.reference()
    cursor.space()
    return List(tag, reference, cursor.pattern(), subscribed_only=True)


def parse_list(tag: bytes, cursor: Cursor) -> Command:
    """RFC 3501 6.3.8, with the selection and return options of RFC 6154 2."""
    cursor.space()
    selected: tuple[bytes, ...] = ()
    if cursor.sees(b"("):
        selected = _list_options(cursor, (b"SPECIAL-USE",))
        cursor.space()
    reference = cursor.reference()
    cursor.space()
    pattern = cursor.pattern()
    returned: tuple[bytes, ...] = ()
    if cursor.skip_spaces() and not cursor.is_at_end:
        if cursor.word("RETURN") != b"RETURN":
            raise MailError(Condition.SYNTAX, "LIST takes a reference, a pattern and RETURN")
        cursor.space()
        # CHILDREN is always said (RFC 3348), so whoever asks for it gets it.
        returned = _list_options(cursor, (b"SPECIAL-USE", b"CHILDREN"))
    return List(tag, reference, pattern, False, bool(selected), b"SPECIAL-USE" in returned)


def _list_options(cursor: Cursor, offered: tuple[bytes, ...]) -> tuple[bytes, ...]:
    cursor.expect(b"(", "A list of options")
    options: list[bytes] = []
    cursor.skip_spaces()
    while not cursor.take(b")"):
        option = cursor.word("An option of LIST")
        if option not in offered:
            raise MailError(Condition.SYNTAX, f"LIST has no option {option[:40].decode('ascii')} here")
        options.append(option)
        cursor.skip_spaces()
    return tuple(options)


def parse_status(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    mailbox = cursor.mailbox()
    cursor.space()
    cursor.expect(b"(", "A list of STATUS items")
    items: dict[StatusItem, None] = {}
    cursor.skip_spaces()
    while not cursor.take(b")"):
        name = cursor.word("A STATUS item")
        if name not in _STATUS_ITEMS:
            raise MailError(Condition.SYNTAX, f"STATUS has no item {name[:40].decode('ascii')}")
        items[_STATUS_ITEMS[name]] = None
        cursor.skip_spaces()
    if not items:
        raise cursor.refuse("A STATUS item")
    return Status(tag, mailbox, tuple(items))
