"""What is kept: the values of the store and the ports that a store fills.

See `docs/store.md` for the tables and for the rules that never bend.  In short:
an account is the unit of everything; `modseq` is one counter an account; what
leaves is marked before it is removed; the bytes are kept as accepted.

Reads are methods of a port.  A write is one value, a `Command`, that the store
runs whole in one transaction (`MailStore.write`): who holds a command holds its
preconditions too, and nobody outside holds a transaction.  Failures are
`MailError`.  Every method is async; an implementation may answer without
suspending.  What is returned is durable when it is returned.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, Generic, Protocol, TypeVar

from postane.core.flags import NO_FLAGS, Flag

T = TypeVar("T")

DELIMITER = "/"
INBOX = "INBOX"
SLICE = 256
"""The most rows that one read gives (STORE.md rule 6)."""


# ---------------------------------------------------------------- accounts


@dataclass(frozen=True, slots=True)
class AccountRef:
    """Names an account to the store.  `id` is the directory's number, `public_id` the random one (the folder's name).

    `generation` is the fence of rule 1: a write under an older generation is refused.
    """

    id: int
    public_id: str
    generation: int = 1


# ---------------------------------------------------------------- mailboxes


class Role(Enum):
    """RFC 6154 special use; NONE is an ordinary mailbox."""

    NONE = ""
    INBOX = "inbox"
    ARCHIVE = "archive"
    DRAFTS = "drafts"
    JUNK = "junk"
    SENT = "sent"
    TRASH = "trash"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """`name` is the full path in NFC, joined by "/"; INBOX is always spelt so.  Counters are those of this moment."""

    id: int
    public_id: str
    name: str
    role: Role
    selectable: bool
    uidvalidity: int
    uidnext: int
    messages: int
    unseen: int
    deleted: int
    bytes: int
    highest_modseq: int
    recent_from: int
    """The first UID that no session has claimed as \\Recent yet."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A mailbox as a client first sees it: living UIDs in order, at `modseq`; `first_unseen` a UID or 0."""

    mailbox: Mailbox
    modseq: int
    uids: array[int]
    first_unseen: int
    keywords: tuple[str, ...]
    """All keywords the account knows, in the spelling first used."""


@dataclass(frozen=True, slots=True)
class Changed:
    uid: int
    flags: int
    keywords: str
    modseq: int
    is_new: bool
    """Created after the modseq that was asked about."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed in a mailbox after `since`, up to `modseq`.

    `is_complete` is false where `since` is below the floor: then `expunged` is
    not to be trusted and the view is to be loaded anew.  `mailbox_gone` is true
    where the mailbox was deleted or got a new UIDVALIDITY.
    """

    modseq: int
    changed: tuple[Changed, ...]
    expunged: tuple[int, ...]
    is_complete: bool = True
    mailbox_gone: bool = False


class Column(IntEnum):
    """What a read of entries can give, and as which Python type."""

    UID = 0  # int
    MESSAGE_ID = 1  # int, internal
    FLAGS = 2  # int, core.flags.Flag bits
    KEYWORDS = 3  # str, names joined by single spaces, sorted
    MODSEQ = 4  # int
    UIDL = 5  # str
    INTERNALDATE = 6  # int, seconds since the epoch
    SAVEDATE = 7  # int
    SIZE = 8  # int, prefix and blob together (RFC822.SIZE)
    ENVELOPE = 9  # bytes, wire form
    BODYSTRUCTURE = 10  # bytes, wire form
    PARTS = 11  # bytes, as packed by postane.mime.tree
    PREFIX = 12  # bytes
    BLOB = 13  # int, internal id of the blob
    BLOB_SIZE = 14  # int
    HEADER = 15  # bytes: prefix and the message's own header, with the empty line
    EMAIL_ID = 16  # str
    THREAD_ID = 17  # str
    SENT_DATE = 18  # int, seconds since the epoch of the Date field; internal date where it has none
    BASE_SUBJECT = 19  # str (RFC 5256 2.1), folded
    FROM = 20  # str, folded: display and address of each, for search and sort
    TO = 21  # str
    CC = 22  # str
    PREVIEW = 23  # str
    NEEDS_UTF8 = 24  # int, 0 or 1
    BODY = 25  # bytes of the blob where it is small, None where it is to be `read`


# ---------------------------------------------------------------- messages


@dataclass(frozen=True, slots=True)
class Facts:
    """What one scan found, in the form it is read in later (DESIGN.md: parsed once, at delivery)."""

    envelope: bytes
    bodystructure: bytes
    parts: bytes
    header: bytes
    """The message's own header section as accepted, with its empty line; without the prefix."""
    sent_date: int | None
    base_subject: str
    from_: str
    to: str
    cc: str
    message_id_hash: bytes
    """8 octets, or b"" where there is no Message-ID."""
    reference_hashes: tuple[bytes, ...]
    needs_utf8: bool
    preview: str
    parsed_by: int


class Staged(Protocol):
    """The bytes of one message, whole and durable as far as a file goes, before any row names them.

    A body of up to 32 KiB is in memory (`small`); a larger one is a synced file
    in `incoming/`.  `close` lets go of the file; what was committed keeps its own link.
    """

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> bytes: ...

    @property
    def small(self) -> bytes | None: ...

    def view(self) -> bytes | memoryview:
        """All of it for the scan: the bytes, or a map of the file."""

    async def close(self) -> None: ...


class StagingWriter(Protocol):
    async def write(self, chunk: bytes) -> None:
        """Raises MailError DISK_FULL; the writer is then good for `abort` only."""

    async def finish(self) -> Staged: ...

    async def abort(self) -> None: ...


class Staging(Protocol):
    """Where messages wait while they come in: `incoming/`, on the same file system as the accounts."""

    def begin(self) -> StagingWriter: ...


# ---------------------------------------------------------------- commands


class Command(Generic[T]):
    """A write.  Its type parameter is what `MailStore.write` returns."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Filed:
    """Where a message now lies."""

    mailbox: int
    uidvalidity: int
    uid: int
    email_id: str
    modseq: int
    repeated: bool = False
    """True where the `delivery_id` had been handed over before; nothing was stored now."""


@dataclass(frozen=True, slots=True)
class Append(Command[Filed]):
    """Store a message.  `mailbox` is an id, or a Role to be found (INBOX where the role has no mailbox).

    Over quota: MailError OVER_QUOTA, nothing stored.  An unknown mailbox: TRY_CREATE.
    """

    mailbox: int | Role
    staged: Staged
    facts: Facts
    prefix: bytes
    internal_date: int
    flags: Flag = NO_FLAGS
    keywords: tuple[str, ...] = ()
    delivery_id: str | None = None


class FlagChange(Enum):
    REPLACE = "replace"
    ADD = "add"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class FlagsStored:
    """`changed`: what is now so, for each UID that differs or (REPLACE, ADD, REMOVE alike) was touched.

    `failed`: UIDs whose modseq was above `unchanged_since`.
    """

    modseq: int
    changed: tuple[Changed, ...]
    failed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreFlags(Command[FlagsStored]):
    """UIDs that are expunged or unknown are passed over.  Beyond the keyword limit: KEYWORD_LIMIT."""

    mailbox: int
    uids: Sequence[int]
    change: FlagChange
    flags: Flag
    keywords: tuple[str, ...] = ()
    unchanged_since: int | None = None


@dataclass(frozen=True, slots=True)
class Copied:
    """RFC 4315 COPYUID: `sources[i]` became `targets[i]`."""

    uidvalidity: int
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    modseq: int


@dataclass(frozen=True, slots=True)
class Copy(Command[Copied]):
    """All or nothing (RFC 3501 6.4.7).  An unknown target: TRY_CREATE."""

    mailbox: int
    uids: Sequence[int]
    target: int


@dataclass(frozen=True, slots=True)
class Move(Command[Copied]):
    """RFC 6851.  A UID that is no longer there is passed over."""

    mailbox: int
    uids: Sequence[int]
    target: int


@dataclass(frozen=True, slots=True)
class Expunge(Command[tuple[int, ...]]):
    """Marks entries as gone; returns their UIDs in order.

    `uids` None means all.  `only_deleted` restricts to those with \\Deleted (IMAP); POP3's QUIT does not.
    """

    mailbox: int
    uids: Sequence[int] | None
    only_deleted: bool = True


@dataclass(frozen=True, slots=True)
class CreateMailbox(Command[Mailbox]):
    """Makes missing parents too.  MAILBOX_EXISTS; MAILBOX_LIMIT; MAILBOX_BAD_NAME."""

    name: str
    role: Role = Role.NONE
    subscribe: bool = False


@dataclass(frozen=True, slots=True)
class DeleteMailbox(Command[None]):
    """With children it stays as an unselectable parent (RFC 3501 6.3.4); an unselectable one with children refuses."""

    name: str


@dataclass(frozen=True, slots=True)
class RenameMailbox(Command[None]):
    """Children move along; renaming INBOX moves its messages to a new mailbox (RFC 3501 6.3.5)."""

    name: str
    new_name: str


@dataclass(frozen=True, slots=True)
class Subscribe(Command[None]):
    name: str
    subscribed: bool


@dataclass(frozen=True, slots=True)
class ClaimRecent(Command[int]):
    """Returns the first recent UID and makes everything now there no longer recent for others."""

    mailbox: int


@dataclass(frozen=True, slots=True)
class Purged:
    messages: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Purge(Command[Purged]):
    """Removes for good what was marked before `marked_before` (seconds since the epoch), at most `limit` entries."""

    marked_before: int
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class SetQuota(Command[None]):
    """0 means without bound."""

    bytes: int
    messages: int


# ---------------------------------------------------------------- the mail port


@dataclass(frozen=True, slots=True)
class Usage:
    bytes: int
    messages: int
    quota_bytes: int
    quota_messages: int
    mailboxes: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing `check` found wrong: `where` names mailbox, UID or file; `repaired` where it was mended."""

    where: str
    problem: str
    repaired: bool = False


class Lock(Protocol):
    async def release(self) -> None: ...


class MailStore(Protocol):
    """Mailboxes and messages of every account."""

    async def create(self, account: AccountRef) -> None:
        """Makes the account's folder with INBOX, Sent, Drafts, Trash, Junk, Archive, all subscribed.

        Repeating it is harmless.
        """

    async def remove(self, account: AccountRef) -> None: ...

    async def write(self, account: AccountRef, command: Command[T]) -> T: ...

    async def modseq(self, account: AccountRef) -> int: ...

    async def usage(self, account: AccountRef) -> Usage: ...

    async def mailboxes(self, account: AccountRef) -> tuple[Mailbox, ...]:
        """All that are not deleted, parents before children, by name."""

    async def mailbox(self, account: AccountRef, name: str) -> Mailbox:
        """By full path; INBOX in any case.  MAILBOX_NONEXISTENT."""

    async def subscriptions(self, account: AccountRef) -> tuple[str, ...]: ...

    async def snapshot(self, account: AccountRef, mailbox: int) -> Snapshot: ...

    async def changes(self, account: AccountRef, mailbox: int, since: int) -> Changes: ...

    async def entries(
        self, account: AccountRef, mailbox: int, uids: Sequence[int], columns: Sequence[Column]
    ) -> list[tuple[Any, ...]]:
        """Rows, with just `columns`, for those of `uids` (ascending, at most SLICE) not yet purged, in UID order.

        Expunged entries that are still marked are given too: a view may still show them.
        """

    async def read(self, account: AccountRef, blob: int, start: int, length: int) -> bytes:
        """A range of a blob's bytes; shorter only at its end."""

    async def lock_maildrop(self, account: AccountRef) -> Lock:
        """RFC 1939 3: exclusive over all workers, gone with its process.  MAILBOX_IN_USE where another holds it."""

    def check(self, account: AccountRef, repair: bool) -> AsyncIterator[Finding]: ...


# ---------------------------------------------------------------- hints


class Hints(Protocol):
    """Workers tell each other that something changed, never what (DESIGN.md, Processes)."""

    def watch(self, account_id: int, changed: Callable[[], None], revoked: Callable[[], None]) -> Callable[[], None]:
        """`changed` is called when the account's modseq may have risen, `revoked` when its credentials or state may
        have changed.  The result ends the watch."""

    def changed(self, account_id: int, modseq: int) -> None: ...

    def revoked(self, account_id: int) -> None: ...


# ---------------------------------------------------------------- the directory


class AccountState(Enum):
    ACTIVE = "active"
    DISABLED = "disabled"
    MOVING = "moving"
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class Domain:
    id: int
    name: str
    """Lower-case A-labels."""
    tenant: int = 0
    plaintext_login: bool | None = None
    """None: as the server's setting `login.plaintext` says."""


@dataclass(frozen=True, slots=True)
class Account:
    """`address` is the primary one, in `Address.key` form; `version` rises with every change of credential or state."""

    ref: AccountRef
    address: str
    display_name: str
    state: AccountState
    version: int
    quota_bytes: int
    quota_messages: int
    created_at: int
    incarnation: str = ""


@dataclass(frozen=True, slots=True)
class Credential:
    """`verifier` is an Argon2id string; `version` names it in caches."""

    id: int
    account: int
    kind: str
    verifier: str
    version: int


@dataclass(frozen=True, slots=True)
class Alias:
    """`local` "" is the domain's catch-all; `targets` are full addresses, here or elsewhere."""

    local: str
    domain: str
    targets: tuple[str, ...]


class Directory(Protocol):
    """Who there is.  Small, durable, the same for all workers; reads are cheap and cached by `version()`."""

    async def version(self) -> int:
        """Rises with every change by any process."""

    async def domains(self) -> tuple[Domain, ...]: ...

    async def domain(self, name: str) -> Domain | None: ...

    async def add_domain(self, name: str) -> Domain: ...

    async def remove_domain(self, name: str) -> None:
        """Refused (MailError) while accounts or aliases live in it."""

    def accounts(self, domain: str | None = None) -> AsyncIterator[Account]: ...

    async def account(self, address: str) -> Account | None:
        """By primary address in key form."""

    async def account_by_id(self, account_id: int) -> Account | None: ...

    async def add_account(
        self, address: str, verifier: str, display_name: str, quota_bytes: int, quota_messages: int
    ) -> Account: ...

    async def update_account(
        self,
        account_id: int,
        *,
        display_name: str | None = None,
        quota_bytes: int | None = None,
        quota_messages: int | None = None,
        state: AccountState | None = None,
    ) -> Account: ...

    async def set_password(self, account_id: int, verifier: str) -> Account: ...

    async def credentials(self, account_id: int) -> tuple[Credential, ...]: ...

    async def remove_account(self, account_id: int) -> None: ...

    async def alias(self, local: str, domain: str) -> Alias | None: ...

    async def aliases(self, domain: str | None = None) -> tuple[Alias, ...]: ...

    async def put_alias(self, alias: Alias) -> None: ...

    async def remove_alias(self, local: str, domain: str) -> None: ...

    async def setting(self, name: str) -> str | None: ...

    async def put_setting(self, name: str, value: str) -> None: ...


# ---------------------------------------------------------------- the queue


class QueueState(Enum):
    WAITING = "waiting"
    HELD = "held"
    """Not tried until it is released."""


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """One row of the queue.  `delivery_id` makes the hand-over repeatable (rule 7).

    `next_attempt` is the end of the lease while `lease_token` is set.  `last_error` is "" or a reply on one line,
    code first; `last_host` the server that said it, "" for this one.  `noticed`: its sender knows that it is late.
    """

    id: int
    message: int
    address: str
    original: str
    delivery_id: str
    attempts: int
    next_attempt: int
    state: str
    last_error: str
    lease_token: str
    domain: str = ""
    priority: int = 0
    notify: str = ""
    orcpt: str = ""
    last_code: int = 0
    last_host: str = ""
    noticed: bool = False


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    id: int
    trace_id: str
    sender: str
    """The reverse-path, "" for the null one."""
    prefix: bytes
    size: int
    arrived_at: int
    utf8: bool
    body: str
    """"7BIT", "8BITMIME" or "BINARYMIME"."""
    envid: str = ""
    ret: str = ""
    expires: int = 0
    """When to give up, seconds since the epoch; 0: as the schedule says."""


@dataclass(frozen=True, slots=True)
class NewRecipient:
    """`due` None: leased at once by whoever enqueues it; else it waits for anyone from that second on.

    `original` is what the sender wrote; `notify` and `orcpt` as they came (RFC 3461 4.1, 4.2).
    """

    address: str
    original: str
    delivery_id: str
    notify: str = ""
    orcpt: str = ""
    due: int | None = None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """`priority` -9 to 9 (RFC 6710); `expires` as in `QueuedMessage`."""

    trace_id: str
    sender: str
    prefix: bytes
    staged: Staged
    recipients: tuple[NewRecipient, ...]
    arrived_at: int
    utf8: bool = False
    body: str = "8BITMIME"
    envid: str = ""
    ret: str = ""
    priority: int = 0
    expires: int = 0


@dataclass(frozen=True, slots=True)
class Leased:
    message: QueuedMessage
    recipients: tuple[QueuedRecipient, ...]


class Outcome(Enum):
    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    """For good; its sender is told by a notice of the same `finish`, or does not want to be."""


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """`next_attempt`, `code`, `host` and `noticed` are for RETRY; `error` is what `QueuedRecipient.last_error` says."""

    recipient: int
    outcome: Outcome
    error: str = ""
    next_attempt: int = 0
    code: int = 0
    host: str = ""
    noticed: bool = False


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Recipients that are all of what is said here; nothing said means all.

    `message` is the queue's number of one, `trace_id` what people know it by; `recipient` ids.  `sender` "<>" is
    the null one.  Addresses and domains compare without case.
    """

    message: int | None = None
    trace_id: str = ""
    recipient: int | None = None
    sender: str = ""
    address: str = ""
    domain: str = ""
    state: QueueState | None = None


EVERYTHING = QueueFilter()


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """`due` are waiting and their time has come, `leased` being tried now; `oldest` arrived then, 0 where none is."""

    messages: int
    recipients: int
    due: int
    leased: int
    held: int
    oldest: int


class QueueStore(Protocol):
    """What is on its way.  Leases are fenced by a token: a result under a token that is no longer held is ignored."""

    async def enqueue(self, message: NewMessage, lease_seconds: int) -> Leased:
        """One transaction; the recipients that are not `due` later come back leased by the caller."""

    async def lease_due(
        self, now: int, lease_seconds: int, limit: int, avoid: Collection[str] = ()
    ) -> tuple[Leased, ...]:
        """Recipients whose time has come and whose lease, if any, has run out; none at the domains of `avoid`."""

    async def renew(self, leased: Iterable[Leased], lease_end: int) -> None:
        """Moves the end of leases that are still held."""

    async def next_due(self) -> int | None:
        """When the next recipient is due or the next lease ends; None where nothing waits."""

    async def finish(
        self, leased: Leased, results: Iterable[RecipientResult], notices: Sequence[NewMessage] = ()
    ) -> None:
        """DELIVERED and FAILED rows go; with the last one goes the message and its bytes.

        `notices` are enqueued in the same transaction, unless none of the results counted: then whoever
        holds the leases now has told, or will tell.
        """

    async def staged(self, message: QueuedMessage) -> Staged:
        """The bytes, to be handed over; closing it leaves the queue's own copy alone."""

    async def messages(self, after: int = 0, limit: int = SLICE, where: QueueFilter = EVERYTHING) -> tuple[Leased, ...]:
        """For listing, by id, each with those recipients that fit; leases nothing."""

    async def counts(self, now: int, where: QueueFilter = EVERYTHING) -> QueueCounts: ...

    # Of the following each says how many recipients it has changed.

    async def hold(self, where: QueueFilter) -> int:
        """Whoever is being tried this moment still is; what is not delivered then is held."""

    async def release(self, where: QueueFilter, now: int) -> int: ...

    async def retry_now(self, where: QueueFilter, now: int) -> int:
        """Those that wait; whoever is held, or being tried this moment, is left alone."""

    async def drop(self, where: QueueFilter) -> int:
        """Unsaid to anyone."""


# ---------------------------------------------------------------- the trace


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One thing that happened to a message.  `facts` are short strings, never secrets."""

    at: float
    trace_id: str
    what: str
    account: int = 0
    facts: dict[str, str] = field(default_factory=dict)


class Trace(Protocol):
    def note(self, event: TraceEvent) -> None:
        """Append-only, buffered, may be lost in a crash; never blocks, never raises."""

    async def find(self, trace_id: str) -> tuple[TraceEvent, ...]: ...
