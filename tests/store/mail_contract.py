"""What any mail store must do: messages.  A store's own test file inherits this and says how one is made."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest
from mail_world import ACCOUNT, DATE, LIMITS, PREFIX, MakeStore, World, body_of, facts, world

from postane.core.flags import NO_FLAGS, Flag
from postane.core.status import Condition, MailError
from postane.store.api import (
    AccountRef,
    Append,
    Column,
    Copy,
    CreateMailbox,
    Expunge,
    FlagChange,
    Move,
    Role,
    SetQuota,
    StoreFlags,
    Usage,
)

DAY = 86_400
SEEN, DELETED, FLAGGED = Flag.SEEN, Flag.DELETED, Flag.FLAGGED
LARGE = 100_000


class Contract:
    make_store: MakeStore

    @pytest.fixture(autouse=True)
    def _root(self, tmp_path: Path) -> None:
        self.root = tmp_path

    def world(self) -> AbstractAsyncContextManager[World]:
        return world(self.root, type(self).make_store)


@contextmanager
def refused(condition: Condition) -> Iterator[None]:
    with pytest.raises(MailError) as caught:
        yield

    assert condition is caught.value.condition


class MessageContract(Contract):
    # ------------------------------------------------------------ append and read

    @pytest.mark.parametrize("size", [40, 32 * 1024, 32 * 1024 + 1, LARGE])
    async def test_bytes_come_back_as_they_came(self, size: int) -> None:
        async with self.world() as w:
            body = body_of(size)

            filed = await w.append(body)

            assert PREFIX + body == await w.bytes_of(filed.uid)

    @pytest.mark.parametrize("size", [1000, LARGE])
    async def test_a_range_is_shorter_only_at_the_end(self, size: int) -> None:
        async with self.world() as w:
            body = body_of(size)
            blob = await w.column(Column.BLOB, (await w.append(body)).uid)
            assert isinstance(blob, int)

            assert body[10:30] == await w.store.read(ACCOUNT, blob, 10, 20)
            assert body[-5:] == await w.store.read(ACCOUNT, blob, size - 5, 20)
            assert b"" == await w.store.read(ACCOUNT, blob, size + 5, 20)

    async def test_every_column(self) -> None:
        async with self.world() as w:
            body = body_of(500)
            filed = await w.append(body, flags=SEEN, keywords=("b", "a"), found=facts(body, subject="s", sent=5))
            mailbox = (await w.box()).id
            columns = [column for column in Column if column not in (Column.UIDL, Column.THREAD_ID)]

            (row,) = await w.store.entries(ACCOUNT, mailbox, [filed.uid], columns)

            found = dict(zip(columns, row, strict=True))
            assert found.pop(Column.MESSAGE_ID) > 0
            assert found.pop(Column.BLOB) > 0
            assert found == {
                Column.UID: filed.uid,
                Column.FLAGS: SEEN,
                Column.KEYWORDS: "a b",
                Column.MODSEQ: filed.modseq,
                Column.INTERNALDATE: DATE,
                Column.SAVEDATE: int(w.clock.now()),
                Column.SIZE: len(PREFIX) + 500,
                Column.ENVELOPE: b"(envelope of 500 octets)",
                Column.BODYSTRUCTURE: b"(structure)",
                Column.PARTS: b"\x00parts",
                Column.PREFIX: PREFIX,
                Column.BLOB_SIZE: 500,
                Column.BODY: body,
                Column.HEADER: PREFIX + b"Subject: x\r\n\r\n",
                Column.EMAIL_ID: filed.email_id,
                Column.SENT_DATE: 5,
                Column.BASE_SUBJECT: "s",
                Column.FROM: "from",
                Column.TO: "to",
                Column.CC: "cc",
                Column.PREVIEW: "preview",
                Column.NEEDS_UTF8: 0,
            }

    @pytest.mark.parametrize("size", [32 * 1024, 32 * 1024 + 1])
    async def test_small_bodies_come_with_the_row(self, size: int) -> None:
        async with self.world() as w:
            filed = await w.append(body_of(size))

            expected = body_of(size) if size <= 32 * 1024 else None
            assert expected == await w.column(Column.BODY, filed.uid)

    async def test_without_a_date_field_the_internal_date_counts(self) -> None:
        async with self.world() as w:
            filed = await w.append()

            assert DATE == await w.column(Column.SENT_DATE, filed.uid)

    async def test_text_that_no_database_takes_is_mended(self) -> None:
        async with self.world() as w:
            filed = await w.append(found=facts(body_of(), subject="nul \0 lone \ud800 ı"))

            assert "nul \ufffd lone ? ı" == await w.column(Column.BASE_SUBJECT, filed.uid)

    async def test_entries_are_given_in_uid_order_for_runs_and_for_lists(self) -> None:
        async with self.world() as w:
            uids = await w.fill(6)
            mailbox = (await w.box()).id

            dense = await w.store.entries(ACCOUNT, mailbox, array("I", uids), [Column.UID])
            sparse = await w.store.entries(ACCOUNT, mailbox, [uids[0], uids[3], uids[5], 4_000_000_000], [Column.UID])

            assert [(uid,) for uid in uids] == dense
            assert [(uids[0],), (uids[3],), (uids[5],)] == sparse
            assert [] == await w.store.entries(ACCOUNT, mailbox, [], [Column.UID])

    async def test_append_by_role_falls_back_to_the_inbox(self) -> None:
        async with self.world() as w:
            assert (await w.box("Junk")).id == (await w.append(mailbox=Role.JUNK)).mailbox
            assert (await w.box()).id == (await w.append(mailbox=Role.NONE)).mailbox

    async def test_append_to_no_mailbox(self) -> None:
        async with self.world() as w:
            with refused(Condition.TRY_CREATE):
                await w.append(mailbox=999)
            with refused(Condition.TRY_CREATE):
                await w.append(body_of(LARGE), mailbox=999)

    async def test_counters_and_hints_follow(self) -> None:
        async with self.world() as w:
            filed = await w.append(body_of(100), flags=SEEN | DELETED)
            await w.append(body_of(50))

            box = await w.box()
            size = 150 + 2 * len(PREFIX)
            assert (2, 1, 1, size) == (box.messages, box.unseen, box.deleted, box.bytes)
            assert Usage(size, 2, 0, 0, 6) == await w.store.usage(ACCOUNT)
            assert box.highest_modseq == await w.store.modseq(ACCOUNT) == filed.modseq + 1
            assert (ACCOUNT.id, filed.modseq + 1) == w.hints.said[-1]

    async def test_uidls_are_the_entries_own(self) -> None:
        async with self.world() as w:
            (uid,) = await w.fill(1)
            trash = await w.box("Trash")
            await w.store.write(ACCOUNT, Copy((await w.box()).id, [uid], trash.id))

            uidls = {await w.column(Column.UIDL, uid), await w.column(Column.UIDL, 1, "Trash")}

            assert 2 == len(uidls)

    # ------------------------------------------------------------ quota and once

    async def test_over_quota_stores_nothing(self) -> None:
        async with self.world() as w:
            size = len(PREFIX) + 100
            await w.store.write(ACCOUNT, SetQuota(bytes=2 * size, messages=0))
            await w.append(body_of(100))
            (uid,) = [(await w.append(body_of(100))).uid]

            with refused(Condition.OVER_QUOTA):
                await w.append(body_of(100))
            with refused(Condition.OVER_QUOTA):
                await w.append(body_of(LARGE))
            with refused(Condition.OVER_QUOTA):
                await w.store.write(ACCOUNT, Copy((await w.box()).id, [uid], (await w.box("Trash")).id))

            usage = await w.store.usage(ACCOUNT)
            assert (2, 2 * size, 2 * size) == (usage.messages, usage.bytes, usage.quota_bytes)
            assert 3 == (await w.box()).uidnext
            assert [] == await w.uids("Trash")

    async def test_over_the_number_of_messages(self) -> None:
        async with self.world() as w:
            await w.store.write(ACCOUNT, SetQuota(bytes=0, messages=1))
            await w.append()

            with refused(Condition.OVER_QUOTA):
                await w.append()

    async def test_moving_and_expunging_at_the_quota(self) -> None:
        async with self.world() as w:
            await w.store.write(ACCOUNT, SetQuota(bytes=0, messages=1))
            (uid,) = await w.fill(1)
            trash = await w.box("Trash")

            await w.store.write(ACCOUNT, Move((await w.box()).id, [uid], trash.id))
            with refused(Condition.OVER_QUOTA):
                await w.append()
            await w.store.write(ACCOUNT, Expunge(trash.id, None, only_deleted=False))

            await w.append()

    @pytest.mark.parametrize("size", [60, LARGE])
    async def test_a_hand_over_repeated_is_harmless(self, size: int) -> None:
        async with self.world() as w:
            first = await w.append(body_of(size), delivery_id="queue:1")
            again = await w.append(body_of(size), delivery_id="queue:1")
            other = await w.append(body_of(size), delivery_id="queue:2")

            assert (first.uid, first.email_id, first.uidvalidity) == (again.uid, again.email_id, again.uidvalidity)
            assert (False, True, False) == (first.repeated, again.repeated, other.repeated)
            assert [first.uid, other.uid] == await w.uids()

    # ------------------------------------------------------------ threads

    async def test_threads_join_by_reference_and_base_subject(self) -> None:
        async with self.world() as w:

            async def thread(message_id: str, references: tuple[str, ...], subject: str = "s") -> object:
                found = facts(body_of(), subject=subject, message_id=message_id, references=references)
                return await w.column(Column.THREAD_ID, (await w.append(found=found)).uid)

            first = await thread("a", ())
            assert first == await thread("b", ("a",))
            assert first == await thread("c", ("unknown", "b"))
            assert first == await thread("a", ())
            assert first != await thread("d", ("a",), subject="other")
            assert first != await thread("e", ())
            # An answer that came before what it answers keeps its thread, and the other joins it.
            early = await thread("g", ("f",))
            assert early == await thread("f", ())

    async def test_messages_without_ids_are_alone(self) -> None:
        async with self.world() as w:
            uids = await w.fill(2)

            assert await w.column(Column.THREAD_ID, uids[0]) != await w.column(Column.THREAD_ID, uids[1])

    # ------------------------------------------------------------ flags

    async def test_flags_are_added_removed_replaced(self) -> None:
        async with self.world() as w:
            uids = await w.fill(2, flags=SEEN, keywords=("old",))
            box = (await w.box()).id

            async def store(change: FlagChange, flags: Flag, *keywords: str) -> list[tuple[int, str]]:
                stored = await w.store.write(ACCOUNT, StoreFlags(box, uids, change, flags, keywords))
                assert uids == [changed.uid for changed in stored.changed]
                return [(changed.flags, changed.keywords) for changed in stored.changed]

            assert [(SEEN | FLAGGED, "new old")] * 2 == await store(FlagChange.ADD, FLAGGED, "new")
            assert [(FLAGGED, "old")] * 2 == await store(FlagChange.REMOVE, SEEN, "NEW", "never")
            assert [(DELETED, "")] * 2 == await store(FlagChange.REPLACE, DELETED)
            mailbox = await w.box()
            assert (2, 2) == (mailbox.unseen, mailbox.deleted)

    async def test_what_does_not_differ_keeps_its_modseq(self) -> None:
        async with self.world() as w:
            one, two = await w.fill(2)
            box = (await w.box()).id
            first = await w.store.write(ACCOUNT, StoreFlags(box, [one], FlagChange.ADD, SEEN))

            stored = await w.store.write(ACCOUNT, StoreFlags(box, [one, two], FlagChange.ADD, SEEN))

            assert [first.modseq, stored.modseq] == [changed.modseq for changed in stored.changed]

    async def test_unchanged_since(self) -> None:
        async with self.world() as w:
            one, two = await w.fill(2)
            box = (await w.box()).id
            since = await w.store.modseq(ACCOUNT)
            await w.store.write(ACCOUNT, StoreFlags(box, [one], FlagChange.ADD, FLAGGED))

            stored = await w.store.write(
                ACCOUNT, StoreFlags(box, [one, two], FlagChange.ADD, SEEN, unchanged_since=since)
            )

            assert ((one,), [two]) == (stored.failed, [changed.uid for changed in stored.changed])
            assert FLAGGED == await w.column(Column.FLAGS, one)

    async def test_unknown_and_expunged_are_passed_over(self) -> None:
        async with self.world() as w:
            one, two = await w.fill(2)
            box = (await w.box()).id
            await w.store.write(ACCOUNT, Expunge(box, [one], only_deleted=False))

            stored = await w.store.write(ACCOUNT, StoreFlags(box, [one, two, 77], FlagChange.ADD, SEEN))

            assert [two] == [changed.uid for changed in stored.changed]

    async def test_keywords_are_bounded_and_keep_their_first_spelling(self) -> None:
        async with self.world() as w:
            (uid,) = await w.fill(1, keywords=("Work", "work", "WORK"))
            box = (await w.box()).id
            assert "Work" == await w.column(Column.KEYWORDS, uid)

            for name in "abcd":
                await w.store.write(ACCOUNT, StoreFlags(box, [uid], FlagChange.ADD, NO_FLAGS, (name,)))
            with refused(Condition.KEYWORD_LIMIT):
                await w.store.write(ACCOUNT, StoreFlags(box, [uid], FlagChange.ADD, NO_FLAGS, ("e",)))
            with refused(Condition.KEYWORD_LIMIT):
                await w.append(keywords=("f",))
            with refused(Condition.BAD_ARGUMENT):
                await w.append(keywords=("two words",))

            assert LIMITS.keywords == len((await w.store.snapshot(ACCOUNT, box)).keywords)
            assert "Work a b c d" == await w.column(Column.KEYWORDS, uid)

    async def test_many_at_once(self) -> None:
        async with self.world() as w:
            await w.append()
            box, trash = (await w.box()).id, (await w.box("Trash")).id
            await asyncio.gather(*(w.append() for _ in range(255)))
            for _ in range(5):  # 8192 messages: more than one commit takes
                await w.store.write(ACCOUNT, Copy(box, await w.uids(), box))
            uids = await w.uids()
            assert 8192 == len(uids)

            stored = await w.store.write(ACCOUNT, StoreFlags(box, uids, FlagChange.ADD, DELETED))
            assert uids == [changed.uid for changed in stored.changed]
            moved = await w.store.write(ACCOUNT, Move(box, uids[:5000], trash))
            assert tuple(uids[:5000]) == moved.sources
            assert tuple(range(1, 5001)) == moved.targets
            assert tuple(uids[5000:]) == await w.store.write(ACCOUNT, Expunge(box, None))
            changes = await w.store.changes(ACCOUNT, box, 1)
            assert ((), ()) == (changes.changed, changes.expunged)
            changes = await w.store.changes(ACCOUNT, box, stored.modseq)
            assert tuple(uids) == changes.expunged

    # ------------------------------------------------------------ fences and failures

    async def test_a_write_under_an_older_generation_is_refused(self) -> None:
        async with self.world() as w:
            newer = AccountRef(ACCOUNT.id, ACCOUNT.public_id, generation=2)
            await w.store.write(newer, CreateMailbox("there"))

            with refused(Condition.ACCOUNT_BUSY):
                await w.append()

            w.account = newer
            await w.append()

    async def test_one_that_fails_leaves_its_batch_alone(self) -> None:
        async with self.world() as w:
            results = await asyncio.gather(
                w.append(), w.append(mailbox=999), w.append(), w.append(keywords=("a b",)), return_exceptions=True
            )

            assert [False, True, False, True] == [isinstance(result, MailError) for result in results]
            assert [1, 2] == await w.uids()

    async def test_a_caller_who_is_cancelled_does_not_stop_the_commit(self) -> None:
        async with self.world() as w:
            await w.append()
            staged = await w.staged(body_of())
            command = Append(Role.INBOX, staged, facts(body_of()), PREFIX, DATE)
            task = asyncio.create_task(w.store.write(ACCOUNT, command))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

            await w.append()

            assert [1, 2, 3] == await w.uids()
            assert 3 == len([said for said in w.hints.said if said[1] > 1])

    async def test_two_stores_on_one_folder(self) -> None:
        async with self.world() as w:
            other = World(
                type(self).make_store(w.root, w.hints, w.clock, w.pool), w.staging, w.hints, w.clock, w.root, w.pool
            )

            filed = await asyncio.gather(*(one.append() for one in [w, other] * 50))

            assert list(range(1, 101)) == sorted(one.uid for one in filed)
            assert 100 == len({one.modseq for one in filed})
            assert await w.uids() == await other.uids() == list(range(1, 101))
            await other.store.close()  # type: ignore[attr-defined]
