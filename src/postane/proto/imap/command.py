"""What an IMAP client can say (RFC 3501 6), as values, and what a session may answer.

Parsed by `postane.proto.imap.syntax` and `server`, acted on by
`postane.session.imap`.  Text the client sent as a mailbox name is already
decoded from modified UTF-7 (RFC 3501 5.1.3) and NFC; search strings are
already decoded from their charset; a literal of a command has been gathered.
"*" in a set is 0.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from enum import Enum

from postane.core.flags import Flag

# ---------------------------------------------------------------- sets


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """RFC 3501 9 sequence-set: ranges as written, 0 for "*"; a range may run backwards."""

    ranges: tuple[tuple[int, int], ...]


# ---------------------------------------------------------------- any state


@dataclass(frozen=True, slots=True)
class Command:
    tag: bytes


@dataclass(frozen=True, slots=True)
class Capability(Command): ...


@dataclass(frozen=True, slots=True)
class Noop(Command): ...


@dataclass(frozen=True, slots=True)
class Logout(Command): ...


@dataclass(frozen=True, slots=True)
class Id(Command):
    """RFC 2971; None is NIL."""

    params: tuple[tuple[str, str | None], ...] | None


# ---------------------------------------------------------------- not authenticated


@dataclass(frozen=True, slots=True)
class StartTlsCommand(Command): ...


@dataclass(frozen=True, slots=True)
class Login(Command):
    user: bytes
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authenticate(Command):
    """`mechanism` upper-case; `initial` is the decoded initial response (RFC 4959), b"" for "=", None where absent."""

    mechanism: str
    initial: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SaslResponse:
    """What came after a `Challenge`, decoded; None where the client cancelled with "*" or sent bad base64."""

    data: bytes | None = field(repr=False)


# ---------------------------------------------------------------- authenticated


@dataclass(frozen=True, slots=True)
class Enable(Command):
    """RFC 5161; upper-case names."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Select(Command):
    """`read_only` for EXAMINE."""

    mailbox: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Create(Command):
    """`has_delimiter`: the name came with a trailing delimiter (dropped here; RFC 3501 6.3.3)."""

    mailbox: str
    has_delimiter: bool
    special_use: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete(Command):
    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename(Command):
    mailbox: str
    new_name: str


@dataclass(frozen=True, slots=True)
class SubscribeCommand(Command):
    """`subscribed` is false for UNSUBSCRIBE."""

    mailbox: str
    subscribed: bool


@dataclass(frozen=True, slots=True)
class List(Command):
    """`subscribed_only` for LSUB.  `pattern` holds "*" and "%"; both names are decoded."""

    reference: str
    pattern: str
    subscribed_only: bool
    special_use_only: bool = False
    return_special_use: bool = False


@dataclass(frozen=True, slots=True)
class Namespace(Command): ...


class StatusItem(Enum):
    MESSAGES = b"MESSAGES"
    RECENT = b"RECENT"
    UIDNEXT = b"UIDNEXT"
    UIDVALIDITY = b"UIDVALIDITY"
    UNSEEN = b"UNSEEN"
    SIZE = b"SIZE"


@dataclass(frozen=True, slots=True)
class Status(Command):
    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True)
class AppendBegin(Command):
    """Opens an APPEND.  The session answers nothing, or a `Tagged` that refuses (the engine then drains the rest)."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class AppendMessage:
    """One message of it is about to come: the session answers `Proceed`, or a `Tagged` that refuses.

    `internal_date` is seconds since the epoch, None where the client named none.  `size` is the literal's;
    `is_sync` false for a non-synchronising one (RFC 7888), which is drained when refused.
    """

    flags: Flag
    keywords: tuple[str, ...]
    internal_date: int | None
    size: int
    is_sync: bool


@dataclass(frozen=True, slots=True)
class AppendChunk:
    data: bytes


@dataclass(frozen=True, slots=True)
class AppendEnd(Command):
    """The command line has ended; the session answers with its `Tagged`."""


@dataclass(frozen=True, slots=True)
class Idle(Command):
    """RFC 2177.  The session answers `Continue`, then what is pushed; the end is `IdleDone`."""


@dataclass(frozen=True, slots=True)
class IdleDone:
    """DONE came (`is_done`), or another line that ends the IDLE with BAD but is not lost: it follows as a command."""

    is_done: bool = True


# ---------------------------------------------------------------- selected


@dataclass(frozen=True, slots=True)
class Check(Command): ...


@dataclass(frozen=True, slots=True)
class Close(Command):
    """`expunge` is false for UNSELECT (RFC 3691)."""

    expunge: bool


@dataclass(frozen=True, slots=True)
class ExpungeCommand(Command):
    """`uids` is set for UID EXPUNGE (RFC 4315 2.1)."""

    uids: SequenceSet | None


class FetchItem(Enum):
    UID = b"UID"
    FLAGS = b"FLAGS"
    INTERNALDATE = b"INTERNALDATE"
    RFC822_SIZE = b"RFC822.SIZE"
    ENVELOPE = b"ENVELOPE"
    BODY = b"BODY"
    BODYSTRUCTURE = b"BODYSTRUCTURE"
    RFC822 = b"RFC822"
    RFC822_HEADER = b"RFC822.HEADER"
    RFC822_TEXT = b"RFC822.TEXT"


class SectionText(Enum):
    ALL = b""
    HEADER = b"HEADER"
    HEADER_FIELDS = b"HEADER.FIELDS"
    HEADER_FIELDS_NOT = b"HEADER.FIELDS.NOT"
    TEXT = b"TEXT"
    MIME = b"MIME"


@dataclass(frozen=True, slots=True)
class Section:
    """BODY[...] (RFC 3501 6.4.5).

    `path` is the part number, () for the message; `fields` are the names as the client wrote them, without
    duplicates; `partial` is (origin, count).  `label` is the response's item name up to and with the "]",
    e.g. b"BODY[HEADER.FIELDS (FROM TO)]"; a partial's "<origin>" is added by the session.
    """

    path: tuple[int, ...]
    text: SectionText
    fields: tuple[bytes, ...]
    is_peek: bool
    partial: tuple[int, int] | None
    label: bytes


@dataclass(frozen=True, slots=True)
class Fetch(Command):
    """Macros are already expanded; for UID FETCH the item UID is already there."""

    set: SequenceSet
    is_uid: bool
    items: tuple[FetchItem | Section, ...]


class StoreMode(Enum):
    REPLACE = b""
    ADD = b"+"
    REMOVE = b"-"


@dataclass(frozen=True, slots=True)
class Store(Command):
    set: SequenceSet
    is_uid: bool
    mode: StoreMode
    is_silent: bool
    flags: Flag
    keywords: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CopyCommand(Command):
    """`move` for MOVE (RFC 6851)."""

    set: SequenceSet
    is_uid: bool
    mailbox: str
    move: bool


# ---------------------------------------------------------------- search


class SearchKey:
    """One key of RFC 3501 6.4.4."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SearchAll(SearchKey): ...


@dataclass(frozen=True, slots=True)
class SearchAnd(SearchKey):
    keys: tuple[SearchKey, ...]


@dataclass(frozen=True, slots=True)
class SearchOr(SearchKey):
    left: SearchKey
    right: SearchKey


@dataclass(frozen=True, slots=True)
class SearchNot(SearchKey):
    key: SearchKey


@dataclass(frozen=True, slots=True)
class SearchFlag(SearchKey):
    """ANSWERED, UNANSWERED and their like."""

    flag: Flag
    is_set: bool


@dataclass(frozen=True, slots=True)
class SearchKeyword(SearchKey):
    keyword: str
    is_set: bool


class Recency(Enum):
    RECENT = "RECENT"
    OLD = "OLD"
    NEW = "NEW"


@dataclass(frozen=True, slots=True)
class SearchRecency(SearchKey):
    recency: Recency


class DateRelation(Enum):
    BEFORE = "BEFORE"
    ON = "ON"
    SINCE = "SINCE"


@dataclass(frozen=True, slots=True)
class SearchDate(SearchKey):
    """`is_sent` for SENTBEFORE, SENTON, SENTSINCE: time and zone are disregarded."""

    relation: DateRelation
    date: datetime.date
    is_sent: bool


@dataclass(frozen=True, slots=True)
class SearchSize(SearchKey):
    """LARGER (`is_larger`) or SMALLER, both strict."""

    size: int
    is_larger: bool


@dataclass(frozen=True, slots=True)
class SearchHeader(SearchKey):
    """HEADER, and BCC, CC, FROM, SUBJECT, TO, which are its short forms.  An empty text asks for the field itself."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class SearchText(SearchKey):
    """BODY, or TEXT (`with_header`)."""

    text: str
    with_header: bool


@dataclass(frozen=True, slots=True)
class SearchSet(SearchKey):
    set: SequenceSet
    is_uid: bool


@dataclass(frozen=True, slots=True)
class Search(Command):
    is_uid: bool
    key: SearchKey


# ---------------------------------------------------------------- what was wrong


@dataclass(frozen=True, slots=True)
class Wrong:
    """A line that is no command, or not one for this state.

    The session counts it and answers `Tagged(tag, BAD, ...)`, or an untagged BAD where `tag` is b"".
    `code` is a response code of RFC 5530 or b"".  `is_fatal` where the stream can't be followed any more.
    """

    tag: bytes
    text: str
    code: bytes = b""
    is_fatal: bool = False
    is_no: bool = False
    """Answer NO rather than BAD (an unknown charset, a mailbox name that can't be)."""


# ---------------------------------------------------------------- answers


class Ending(Enum):
    OK = b"OK"
    NO = b"NO"
    BAD = b"BAD"


class State(Enum):
    """RFC 3501 3."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


@dataclass(frozen=True, slots=True)
class Tagged:
    """Ends a command.  `state` is set where the command has changed it."""

    tag: bytes
    status: Ending
    text: str
    code: bytes = b""
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Wire:
    """One or many whole response lines, or the two sides of a `Body`'s literal, as they go out."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Continue:
    """A line that begins with "+ " (RFC 3501 7.5; the space is never left out)."""

    text: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """A SASL challenge, not yet base64."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Proceed:
    """Let the literal of an `AppendMessage` come."""
