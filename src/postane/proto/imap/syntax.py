"""One gathered command -> its value (RFC 3501 6 and 9), or what is wrong with it.

`parse` never raises, whatever the octets; it takes time linear in them.  Octets
of literals stand in the command as they came.  Extensions: RFC 2177 IDLE,
2342 NAMESPACE, 2971 ID, 3691 UNSELECT, 4315 UIDPLUS, 4959 SASL-IR, 5161 ENABLE,
6851 MOVE; what names mailboxes is in `mailboxes`, the message of an APPEND in
`append`.

Refused: options of extensions that are not offered.  More generous than the
grammar: several spaces for one, and spaces before the end.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable

from postane.core.limits import ImapLimits
from postane.core.status import Condition, MailError
from postane.proto.imap import mailboxes
from postane.proto.imap.command import (
    Authenticate,
    Capability,
    Check,
    Close,
    Command,
    CopyCommand,
    Enable,
    ExpungeCommand,
    Fetch,
    FetchItem,
    Id,
    Idle,
    Login,
    Logout,
    Namespace,
    Noop,
    Search,
    StartTlsCommand,
    Store,
    StoreMode,
    Wrong,
)
from postane.proto.imap.cursor import Cursor
from postane.proto.imap.fetch import parse_items
from postane.proto.imap.search import SearchReader

Parser = Callable[[bytes, Cursor], Command]
UidParser = Callable[[bytes, Cursor, bool], Command]

_TAG = re.compile(rb"[!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+(?= |\Z)")
_HEAD = re.compile(rb"([!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+) +([A-Za-z]+)(?= |\Z)")
_STORE_ITEM = re.compile(rb"([+-]?)FLAGS(\.SILENT)?(?= |\()", re.IGNORECASE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/=]+")
_MODES = {mode.value: mode for mode in StoreMode}
_AS_NO = {Condition.MAILBOX_BAD_NAME: b"CANNOT", Condition.BAD_CHARSET: b"BADCHARSET (US-ASCII UTF-8)"}


def parse(data: bytes, limits: ImapLimits) -> Command | Wrong:
    """`data` is the whole command without its last line end."""
    head = _HEAD.match(data)
    parser = _PARSERS.get(head[2].upper()) if head else None
    if head is None or parser is None:
        return _without_command(data, head)
    tag = head[1]
    cursor = Cursor(data, head.end(), limits)
    try:
        command = parser(tag, cursor)
        cursor.finish()
    except MailError as error:
        return wrong(tag, error)
    return command


def unknown(line: bytes) -> Wrong | None:
    """What is wrong with the first line of a command, where it names none that there is."""
    head = _HEAD.match(line)
    return None if head and head[2].upper() in _PARSERS else _without_command(line, head)


def _without_command(data: bytes, head: re.Match[bytes] | None) -> Wrong:
    if head is not None:
        return Wrong(head[1], f"There is no command {head[2][:40].decode('ascii')}")
    tag = tag_of(data)
    if tag:
        return Wrong(tag, "A command expected after the tag")
    return Wrong(b"", "A tag and a command expected" if data else "The line is empty")


def wrong(tag: bytes, error: MailError) -> Wrong:
    return Wrong(tag, error.text, _AS_NO.get(error.condition, b""), is_no=error.condition in _AS_NO)


def tag_of(data: bytes) -> bytes:
    """The tag a broken command begins with, b"" where it has none."""
    found = _TAG.match(data)
    return found[0] if found else b""


# ---------------------------------------------------------------- any state, not authenticated


def _bare(kind: Callable[[bytes], Command]) -> Parser:
    """A command without arguments."""

    def parse_bare(tag: bytes, cursor: Cursor) -> Command:
        return kind(tag)

    return parse_bare


def _id(tag: bytes, cursor: Cursor) -> Command:
    """RFC 2971 3.1."""
    cursor.space()
    if not cursor.take(b"("):
        cursor.nstring("NIL or a list of fields and values")
        return Id(tag, None)
    params: list[tuple[str, str | None]] = []
    cursor.skip_spaces()
    while not cursor.take(b")"):
        name = cursor.string("A field").decode("utf-8", "replace")
        cursor.space()
        value = cursor.nstring("A value or NIL")
        params.append((name, None if value is None else value.decode("utf-8", "replace")))
        if not cursor.skip_spaces() and not cursor.sees(b")"):
            raise cursor.refuse("A space or )")
    return Id(tag, tuple(params))


def _login(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    user = cursor.astring("A user name")
    cursor.space()
    return Login(tag, user, cursor.astring("A password"))


def _authenticate(tag: bytes, cursor: Cursor) -> Command:
    """RFC 3501 6.2.2, RFC 4959 3."""
    cursor.space()
    mechanism = cursor.word("A SASL mechanism").decode("ascii")
    if not cursor.skip_spaces() or cursor.is_at_end:
        return Authenticate(tag, mechanism, None)
    found = cursor.match(_BASE64)
    if found is None:
        raise cursor.refuse("An initial response in base64")
    if found[0] == b"=":
        return Authenticate(tag, mechanism, b"")
    initial = decode_base64(found[0])
    if initial is None:
        raise MailError(Condition.SYNTAX, "The initial response is not base64")
    return Authenticate(tag, mechanism, initial)


def decode_base64(text: bytes) -> bytes | None:
    """RFC 4648 4 with its padding; None for anything else."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return None


def _enable(tag: bytes, cursor: Cursor) -> Command:
    names: list[str] = []
    while cursor.skip_spaces() and not cursor.is_at_end:
        names.append(cursor.word("The name of a capability").decode("ascii"))
    if not names:
        raise cursor.refuse("The name of a capability")
    return Enable(tag, tuple(names))


def _append(tag: bytes, cursor: Cursor) -> Command:
    """Only an APPEND without its literal comes here."""
    raise MailError(Condition.SYNTAX, "APPEND needs a mailbox name and the message as a literal")


# ---------------------------------------------------------------- selected


def _fetch(tag: bytes, cursor: Cursor, is_uid: bool) -> Command:
    cursor.space()
    sequence_set = cursor.sequence_set()
    cursor.space()
    items = parse_items(cursor)
    if is_uid and FetchItem.UID not in items:
        items = (FetchItem.UID, *items)
    return Fetch(tag, sequence_set, is_uid, items)


def _store(tag: bytes, cursor: Cursor, is_uid: bool) -> Command:
    cursor.space()
    sequence_set = cursor.sequence_set()
    cursor.space()
    item = cursor.match(_STORE_ITEM)
    if item is None:
        raise cursor.refuse("FLAGS, +FLAGS or -FLAGS, with or without .SILENT,")
    cursor.skip_spaces()
    if cursor.is_at_end:
        raise cursor.refuse("A flag")
    flags, keywords = cursor.flag_list() if cursor.sees(b"(") else cursor.flags()
    return Store(tag, sequence_set, is_uid, _MODES[item[1]], item[2] is not None, flags, keywords)


def _copy(tag: bytes, cursor: Cursor, is_uid: bool) -> Command:
    cursor.space()
    sequence_set = cursor.sequence_set()
    cursor.space()
    return CopyCommand(tag, sequence_set, is_uid, cursor.mailbox(), move=False)


def _move(tag: bytes, cursor: Cursor, is_uid: bool) -> Command:
    """RFC 6851 3."""
    cursor.space()
    sequence_set = cursor.sequence_set()
    cursor.space()
    return CopyCommand(tag, sequence_set, is_uid, cursor.mailbox(), move=True)


def _search(tag: bytes, cursor: Cursor, is_uid: bool) -> Command:
    cursor.space()
    return Search(tag, is_uid, SearchReader(cursor).read())


def _uid_expunge(tag: bytes, cursor: Cursor, is_uid: bool) -> Command:
    """RFC 4315 2.1."""
    cursor.space()
    return ExpungeCommand(tag, cursor.sequence_set())


_BY_NUMBER: dict[bytes, UidParser] = {
    b"COPY": _copy,
    b"FETCH": _fetch,
    b"MOVE": _move,
    b"SEARCH": _search,
    b"STORE": _store,
}
_BY_UID = _BY_NUMBER | {b"EXPUNGE": _uid_expunge}


def _numbered(parser: UidParser) -> Parser:
    return lambda tag, cursor: parser(tag, cursor, False)


def _uid(tag: bytes, cursor: Cursor) -> Command:
    cursor.space()
    name = cursor.word("A command that takes UIDs")
    if name not in _BY_UID:
        raise MailError(Condition.SYNTAX, f"There is no command UID {name[:40].decode('ascii')}")
    return _BY_UID[name](tag, cursor, True)


_PARSERS: dict[bytes, Parser] = {
    b"APPEND": _append,
    b"AUTHENTICATE": _authenticate,
    b"CAPABILITY": _bare(Capability),
    b"CHECK": _bare(Check),
    b"CLOSE": _bare(lambda tag: Close(tag, expunge=True)),
    b"CREATE": mailboxes.parse_create,
    b"DELETE": mailboxes.parse_delete,
    b"ENABLE": _enable,
    b"EXAMINE": mailboxes.parse_examine,
    b"EXPUNGE": _bare(lambda tag: ExpungeCommand(tag, None)),
    b"ID": _id,
    b"IDLE": _bare(Idle),
    b"LIST": mailboxes.parse_list,
    b"LOGIN": _login,
    b"LOGOUT": _bare(Logout),
    b"LSUB": mailboxes.parse_lsub,
    b"NAMESPACE": _bare(Namespace),
    b"NOOP": _bare(Noop),
    b"RENAME": mailboxes.parse_rename,
    b"SELECT": mailboxes.parse_select,
    b"STARTTLS": _bare(StartTlsCommand),
    b"STATUS": mailboxes.parse_status,
    b"SUBSCRIBE": mailboxes.parse_subscribe,
    b"UID": _uid,
    b"UNSELECT": _bare(lambda tag: Close(tag, expunge=False)),
    b"UNSUBSCRIBE": mailboxes.parse_unsubscribe,
    **{name: _numbered(parser) for name, parser in _BY_NUMBER.items()},
}
