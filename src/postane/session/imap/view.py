"""The selected mailbox as one client sees it (RFC 3501 2.3.1, 7.3, 7.4).

A view is a modseq and an array of UIDs: index + 1 is the sequence number that
the client knows.  `refresh` asks the store what changed since the modseq and
notes it; `report` says what is noted, as far as the command at hand allows,
and only then do sequence numbers move.  Between the two nothing is lost, so a
view may be refreshed at any time and an idle one holds no database.

Refused: EXPUNGE where RFC 3501 7.4.1 forbids it, and FETCH for a message
whose EXISTS has not been told.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from sys import maxsize

from postane.core import flags
from postane.core.status import Condition, MailError
from postane.proto.imap.command import SequenceSet, Wire
from postane.store.api import SLICE, AccountRef, Changed, Changes, ClaimRecent, Mailbox, MailStore

LINES = 1000
"""The most response lines in one Wire."""


class Access(Enum):
    READ_WRITE = "read-write"
    READ_ONLY = "read-only"


class Shows(Enum):
    """What may be told while a command is answered."""

    NOTHING = "nothing"
    ALL_BUT_EXPUNGE = "all but expunge"
    EVERYTHING = "everything"


class View:
    """`uids` ascending, as told to the client; `modseq` is up to where the store has been asked."""

    __slots__ = (
        "_account",
        "_changed",
        "_fresh",
        "_gone",
        "_keyword_limit",
        "_mail",
        "_recent",
        "_tell_keywords",
        "access",
        "first_unseen",
        "is_deleted",
        "keywords",
        "mailbox",
        "modseq",
        "uids",
    )

    def __init__(
        self, mail: MailStore, account: AccountRef, mailbox: Mailbox, access: Access, keyword_limit: int
    ) -> None:
        self._mail = mail
        self._account = account
        self._keyword_limit = keyword_limit
        self.mailbox = mailbox
        self.access = access
        self.is_deleted = False
        """The mailbox itself has gone: nothing can be shown any more."""
        self.uids: array[int] = array("I")
        self.modseq = 0
        self.first_unseen = 0
        self.keywords: tuple[str, ...] = ()
        self._recent: array[int] = array("Q")
        """Bounds of runs of UIDs, start and stop in turn: a UID with an odd number of them not above it is \\Recent."""
        self._gone: set[int] = set()
        self._changed: dict[int, tuple[int, str]] = {}
        self._fresh = 0
        """How many at the end of `uids` the client has not been told of."""
        self._tell_keywords = False

    # ------------------------------------------------------------ what the store says

    async def open(self) -> None:
        """The first look: SELECT claims what is recent (RFC 3501 6.3.1), EXAMINE only shows it (6.3.2)."""
        recent_from = await self._claim_recent() if self.access is Access.READ_WRITE else 0
        snapshot = await self._mail.snapshot(self._account, self.mailbox.id)
        self.mailbox = snapshot.mailbox
        self.uids = snapshot.uids
        self.modseq = snapshot.modseq
        self.first_unseen = snapshot.first_unseen
        self.keywords = snapshot.keywords
        if self.access is Access.READ_ONLY:
            self._recent = array("Q", (snapshot.mailbox.recent_from, maxsize))
        elif recent_from is not None:
            self._mark_recent(recent_from)

    async def refresh(self) -> None:
        """Note what has changed; nothing is said, and no sequence number moves."""
        if await self._mail.modseq(self._account) == self.modseq:  # most often, and for a fraction of the work
            return
        changes = await self._mail.changes(self._account, self.mailbox.id, self.modseq)
        if changes.mailbox_gone:
            self.is_deleted = True
            return
        before = len(self.uids)
        self._take(changes)
        if not changes.is_complete:
            await self._compare()
        if len(self.uids) > before and self.access is Access.READ_WRITE:
            await self._claim_fresh()

    def absorb(self, modseq: int, changed: Sequence[Changed], *, is_silent: bool = False) -> None:
        """Note a change of flags made by this client itself at `modseq`.

        `is_silent` (RFC 3501 6.4.6 .SILENT): the client knows already, unless another has changed the same message
        meanwhile; then it is told all the same, "so that the status of the flags is determinate".
        """
        self._meet(changed)
        for each in changed:
            if not is_silent or each.uid in self._changed:
                self._note(each)
        if modseq == self.modseq + 1:  # no one else wrote in between, so that `refresh` need not look again
            self.modseq = modseq

    async def _claim_recent(self) -> int | None:
        try:
            return await self._mail.write(self._account, ClaimRecent(self.mailbox.id))
        except MailError:  # \Recent is a hint; a full disk must not keep anyone from reading
            return None

    async def _claim_fresh(self) -> None:
        """RFC 3501 2.3.2: recent is what this session is the first to be told of.

        The second look catches what came between the first one and the claim, and is claimed with it.
        """
        recent_from = await self._claim_recent()
        if recent_from is not None:
            self._take(await self._mail.changes(self._account, self.mailbox.id, self.modseq))
            self._mark_recent(recent_from)

    async def _compare(self) -> None:
        """The marks of what was expunged are gone (STORE.md rule 4): find it by what is still there."""
        snapshot = await self._mail.snapshot(self._account, self.mailbox.id)
        living = set(snapshot.uids)
        self._gone.update(uid for uid in self.uids if uid not in living)

    def _take(self, changes: Changes) -> None:
        last = self.uids[-1] if self.uids else 0
        expunged = set(changes.expunged)
        self._meet(changes.changed)
        fresh: list[int] = []
        for each in changes.changed:
            if each.uid <= last:
                self._note(each)
            elif each.uid not in expunged:
                fresh.append(each.uid)
        self._gone.update(uid for uid in expunged if self.holds(uid))
        self.uids.extend(sorted(fresh))
        self._fresh += len(fresh)
        self.modseq = max(self.modseq, changes.modseq)

    def _note(self, changed: Changed) -> None:
        if self.holds(changed.uid):
            self._changed[changed.uid] = (changed.flags, changed.keywords)

    def _meet(self, changed: Iterable[Changed]) -> None:
        """A keyword that the client has not been told of is told before the message that bears it."""
        borne = {each.keywords for each in changed if each.keywords}
        if borne:
            known = set(self.keywords)
            names = dict.fromkeys(name for text in sorted(borne) for name in text.split(" "))
            unknown = tuple(name for name in names if name not in known)
            self.keywords += unknown
            self._tell_keywords = self._tell_keywords or bool(unknown)

    def _mark_recent(self, first: int) -> None:
        at = bisect_left(self.uids, first)
        if at == len(self.uids):
            return
        start, stop = self.uids[at], self.uids[-1] + 1
        if self._recent and bisect_left(self.uids, self._recent[-1]) >= at:  # nothing of another's lies between
            self._recent[-1] = stop
        else:
            self._recent.extend((start, stop))

    # ------------------------------------------------------------ what the client is told

    @property
    def exists(self) -> int:
        return len(self.uids)

    @property
    def recent(self) -> int:
        bounds = [bisect_left(self.uids, bound) for bound in self._recent]
        return sum(bounds[1::2]) - sum(bounds[::2])

    @property
    def withholds(self) -> bool:
        """Messages have gone that the client may not yet be told of."""
        return bool(self._gone)

    def report(self, shows: Shows, *, with_uid: bool = True) -> Iterator[Wire]:
        """Say what `refresh` and `absorb` have noted; each Wire holds at most `LINES` lines."""
        if shows is Shows.NOTHING:
            return
        if self._tell_keywords:
            self._tell_keywords = False
            yield Wire(self.flag_lines())
        if self._gone and shows is Shows.EVERYTHING:
            yield from self._expunges()
        if self._fresh:
            self._fresh = 0
            yield Wire(b"* %d EXISTS\r\n* %d RECENT\r\n" % (self.exists, self.recent))
        if self._changed:
            yield from self._fetches(with_uid)

    def flag_lines(self) -> bytes:
        """RFC 3501 7.2.6 FLAGS and 7.1 PERMANENTFLAGS; \\* while more keywords may be made."""
        known = b" ".join((flags.COMBINED[31], *(name.encode("ascii") for name in self.keywords)))
        if self.access is Access.READ_ONLY:
            permanent, text = b"", b"Nothing can be changed here"
        else:
            more = b" \\*" if len(self.keywords) < self._keyword_limit else b""
            permanent, text = known + more, b"Flags that are kept"
        return b"* FLAGS (%b)\r\n* OK [PERMANENTFLAGS (%b)] %b\r\n" % (known, permanent, text)

    def flags_of(self, uids: Iterable[int], bits: Iterable[int], keywords: Iterable[str]) -> list[bytes]:
        """The inside of each message's FLAGS list, \\Recent included."""
        listed = [flags.wire(b, k) if k else flags.COMBINED[b] for b, k in zip(bits, keywords, strict=True)]
        if not self._recent:
            return listed
        recent = self._recent
        return [
            (b"\\Recent " + each if each else b"\\Recent") if bisect_right(recent, uid) & 1 else each
            for uid, each in zip(uids, listed, strict=True)
        ]

    def is_recent(self, uid: int) -> bool:
        return bool(bisect_right(self._recent, uid) & 1)

    def _expunges(self) -> Iterator[Wire]:
        """RFC 3501 7.4.1: each number is one lower for each that went before it."""
        gone, self._gone = sorted(self._gone), set()
        kept: array[int] = array("I")
        numbers: list[int] = []
        start = 0
        told = self.exists - self._fresh
        for uid in gone:
            self._changed.pop(uid, None)
            at = bisect_left(self.uids, uid, start)
            kept.extend(self.uids[start:at])
            start = at + 1
            if at < told:
                numbers.append(at + 1 - len(numbers))
            else:
                self._fresh -= 1
        kept.extend(self.uids[start:])
        self.uids = kept
        for first in range(0, len(numbers), LINES):
            yield Wire(b"".join([b"* %d EXPUNGE\r\n" % number for number in numbers[first : first + LINES]]))

    def _fetches(self, with_uid: bool) -> Iterator[Wire]:
        changed, self._changed = self._changed, {}
        uids = sorted(changed)
        for first in range(0, len(uids), LINES):
            some = uids[first : first + LINES]
            listed = self.flags_of(some, [changed[uid][0] for uid in some], [changed[uid][1] for uid in some])
            numbers = [bisect_left(self.uids, uid) + 1 for uid in some]
            if with_uid:
                rows = zip(numbers, listed, some, strict=True)
                yield Wire(b"".join([b"* %d FETCH (FLAGS (%b) UID %d)\r\n" % row for row in rows]))
            else:
                yield Wire(
                    b"".join([b"* %d FETCH (FLAGS (%b))\r\n" % row for row in zip(numbers, listed, strict=True)])
                )

    # ------------------------------------------------------------ sets

    def index(self, uid: int) -> int:
        """Of a UID that is there."""
        return bisect_left(self.uids, uid)

    def holds(self, uid: int) -> bool:
        at = self.index(uid)
        return at < len(self.uids) and self.uids[at] == uid

    def ranges(self, wanted: SequenceSet, is_uid: bool, *, is_lenient: bool = False) -> list[range]:
        """What a set names, as ascending disjoint ranges of indices into `uids`.

        A UID that is not there is passed over (RFC 3501 6.4.8); a sequence number that is not is BAD unless
        `is_lenient`, but `1:*` of an empty mailbox names nothing and is no error.
        """
        spans = self._spans_of_uids(wanted) if is_uid else self._spans_of_numbers(wanted, is_lenient)
        merged: list[range] = []
        for start, stop in sorted(spans):
            if start >= stop:
                continue
            if merged and start <= merged[-1].stop:
                merged[-1] = range(merged[-1].start, max(stop, merged[-1].stop))
            else:
                merged.append(range(start, stop))
        return merged

    def _spans_of_uids(self, wanted: SequenceSet) -> Iterator[tuple[int, int]]:
        if not self.uids:
            return
        for first, second in wanted.ranges:
            # RFC 3501 6.4.8: "*" is the highest UID there, also where the other end is higher still
            low, high = sorted((first or self.uids[-1], second or self.uids[-1]))
            yield bisect_left(self.uids, low), bisect_right(self.uids, high)

    def _spans_of_numbers(self, wanted: SequenceSet, is_lenient: bool) -> Iterator[tuple[int, int]]:
        for first, second in wanted.ranges:
            if not self.uids and 0 in (first, second):
                continue
            low, high = sorted((first or self.exists, second or self.exists))
            if high > self.exists and not is_lenient:
                raise MailError(Condition.BAD_ARGUMENT, f"There is no message {high}; the mailbox has {self.exists}")
            yield low - 1, min(high, self.exists)

    def uids_in(self, ranges: Iterable[range]) -> array[int]:
        found: array[int] = array("I")
        for each in ranges:
            found.extend(self.uids[each.start : each.stop])
        return found

    def slices(self, ranges: Iterable[range], size: int = SLICE) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
        """Sequence numbers and UIDs, `size` at a time and the last ones fewer."""
        numbers, uids = array("I"), array("I")
        for each in ranges:
            start = each.start
            while start < each.stop:
                stop = min(each.stop, start + size - len(uids))
                numbers.extend(range(start + 1, stop + 1))
                uids.extend(self.uids[start:stop])
                start = stop
                if len(uids) == size:
                    yield numbers, uids
                    numbers, uids = array("I"), array("I")
        if uids:
            yield numbers, uids
