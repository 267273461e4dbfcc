"""StoreFlags: which entries differ afterwards, and one statement for all that become alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from postane.store import sql
from postane.store.api import AccountRef, Changed, FlagChange, FlagsStored, StoreFlags
from postane.store.commands.account import Context, Done, begin, known_keywords, learn_keywords, numbers
from postane.store.commands.counting import Counts
from postane.store.script import Script

State = tuple[int, str]
"""Flag bits and keywords as an entry keeps them."""


def store_flags(account: AccountRef, command: StoreFlags, context: Context) -> Script[Done[FlagsStored]]:
    begun = yield from begin(account)
    change = yield from _change_of(account, command, context)
    rows = yield sql.LIVING, (account.id, command.mailbox, numbers(command.uids))
    counts = Counts()
    groups: dict[State, list[int]] = defaultdict(list)
    changed, failed = [], []
    for uid, _, flags, keywords, size, modseq in rows:
        if command.unchanged_since is not None and modseq > command.unchanged_since:
            failed.append(uid)
            continue
        after = change(flags, keywords)
        if after != (flags, keywords):
            groups[after].append(uid)
            counts.take(flags, size)
            counts.add(after[0], size)
            modseq = begun.modseq
        changed.append(Changed(uid, *after, modseq=modseq, is_new=False))
    for (flags, keywords), uids in groups.items():
        yield sql.SET_FLAGS, (flags, keywords, begun.modseq, account.id, command.mailbox, numbers(uids))
    if groups:
        yield sql.COUNT_CHANGES, (*counts.values(), begun.modseq, begun.modseq, account.id, command.mailbox)
    return Done(FlagsStored(begun.modseq, tuple(changed), tuple(failed)), begun.modseq)


def _change_of(account: AccountRef, command: StoreFlags, context: Context) -> Script[Callable[[int, str], State]]:
    """What the command makes of an entry's flags.  Taking a keyword away never teaches it to the account."""
    bits = int(command.flags)
    if command.change is FlagChange.REMOVE:
        known = yield from known_keywords(account, command.keywords)
        gone = frozenset(known.values())
        return lambda flags, keywords: (flags & ~bits, " ".join(k for k in keywords.split() if k not in gone))
    names = yield from learn_keywords(account, command.keywords, context.limits.keywords)
    joined = " ".join(names)
    if command.change is FlagChange.REPLACE:
        return lambda flags, keywords: (bits, joined)
    if not names:
        return lambda flags, keywords: (flags | bits, keywords)
    return lambda flags, keywords: (
        flags | bits,
        " ".join(sorted({*keywords.split(), *names})) if keywords else joined,
    )
