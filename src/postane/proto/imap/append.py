"""The head of an APPEND: what stands before its message (RFC 3501 6.3.11).

The engine asks for it as soon as the line with the literal's size is there,
because the session has to decide before the message comes.  Refused: whatever
else may stand there in extensions that are not offered; dates that don't exist.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from postane.core.flags import NO_FLAGS, Flag
from postane.core.limits import ImapLimits
from postane.core.status import MailError
from postane.proto.imap.command import Wrong
from postane.proto.imap.cursor import Cursor, month, no_such_date
from postane.proto.imap.syntax import wrong

_APPEND = re.compile(rb"([!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+) +APPEND +", re.IGNORECASE)
_DATE_TIME = re.compile(
    rb'" ?([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class AppendHead:
    """What stands before the literal of an APPEND; the fields as in `AppendBegin` and `AppendMessage`."""

    tag: bytes
    mailbox: str
    flags: Flag
    keywords: tuple[str, ...]
    internal_date: int | None


def is_append(line: bytes) -> bool:
    """Whether the first line of a command is an APPEND's."""
    return _APPEND.match(line) is not None


def append_head(data: bytes, limits: ImapLimits) -> AppendHead | Wrong | None:
    """`data` is a command up to a "{", not with it.  None where the literal behind it is not a message's."""
    found = _APPEND.match(data)
    if found is None or found.end() == len(data):
        return None
    cursor = Cursor(data, found.end(), limits)
    try:
        return _append_arguments(found[1], cursor)
    except MailError as error:
        return wrong(found[1], error)


def _append_arguments(tag: bytes, cursor: Cursor) -> AppendHead:
    mailbox = cursor.mailbox()
    cursor.space()
    flags: tuple[Flag, tuple[str, ...]] = (NO_FLAGS, ())
    if cursor.sees(b"("):
        flags = cursor.flag_list()
        cursor.space()
    internal_date = None
    if cursor.sees(b'"'):
        internal_date = _date_time(cursor)
        cursor.space()
    if not cursor.is_at_end:
        raise cursor.refuse("The message as a literal")
    return AppendHead(tag, mailbox, *flags, internal_date)


def _date_time(cursor: Cursor) -> int:
    """RFC 3501 9 date-time -> seconds since the epoch; a leap second is the one before it."""
    found = cursor.match(_DATE_TIME)
    if found is None:
        raise cursor.refuse('A date and time like "17-Jul-1996 02:44:25 -0700"')
    day, year, hour, minute, second, zone_hours, zone_minutes = map(int, found.group(1, 3, 4, 5, 6, 8, 9))
    east = datetime.timedelta(hours=zone_hours, minutes=zone_minutes)
    try:
        local = datetime.datetime(year, month(found[2]), day, hour, minute, min(second, 59), tzinfo=_EPOCH.tzinfo)
    except ValueError:
        raise no_such_date(found[0]) from None
    since = local - _EPOCH + (-east if found[7] == b"+" else east)
    return since // datetime.timedelta(seconds=1)
