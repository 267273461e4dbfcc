"""What any mail store must do: messages copied, moved, expunged and purged, and telling what changed."""

from __future__ import annotations

import pytest
from mail_contract import DAY, DELETED, FLAGGED, LARGE, SEEN, Contract, refused
from mail_world import ACCOUNT, DATE, PREFIX, World, body_of, facts

from postane.core.status import Condition
from postane.store.api import (
    Changed,
    ClaimRecent,
    Column,
    Copy,
    Expunge,
    FlagChange,
    Move,
    Purge,
    StoreFlags,
)


class ChangeContract(Contract):
    # ------------------------------------------------------------ copy and move

    async def test_copy_is_another_entry_of_the_same_message(self) -> None:
        async with self.world() as w:
            uids = await w.fill(3, flags=FLAGGED, keywords=("k",))
            box, trash = await w.box(), await w.box("Trash")
            w.clock.turn(50)

            copied = await w.store.write(ACCOUNT, Copy(box.id, uids, trash.id))

            assert (trash.uidvalidity, tuple(uids), (1, 2, 3)) == (copied.uidvalidity, copied.sources, copied.targets)
            for column in (Column.EMAIL_ID, Column.THREAD_ID, Column.FLAGS, Column.KEYWORDS, Column.INTERNALDATE):
                assert await w.column(column, uids[0]) == await w.column(column, 1, "Trash")
            assert DATE != await w.column(Column.SAVEDATE, 1, "Trash") == int(w.clock.now())
            assert 3 == (await w.box("Trash")).unseen

    @pytest.mark.parametrize("size", [60, LARGE])
    async def test_a_mailbox_that_holds_it_gets_a_message_of_its_own(self, size: int) -> None:
        async with self.world() as w:
            body = body_of(size)
            uid = (await w.append(body)).uid
            box, trash = await w.box(), await w.box("Trash")

            for target in (trash, trash, box):
                await w.store.write(ACCOUNT, Copy(box.id, [uid], target.id))

            ids = [await w.column(Column.EMAIL_ID, 1), await w.column(Column.EMAIL_ID, 2)]
            ids += [await w.column(Column.EMAIL_ID, 2, "Trash")]
            assert 3 == len(set(ids))
            assert ids[0] == await w.column(Column.EMAIL_ID, 1, "Trash")
            assert PREFIX + body == await w.bytes_of(2) == await w.bytes_of(2, "Trash")
            assert await w.column(Column.HEADER, 1) == await w.column(Column.HEADER, 2)

    async def test_copy_is_all_or_nothing(self) -> None:
        async with self.world() as w:
            one, two = await w.fill(2)
            box, trash = (await w.box()).id, (await w.box("Trash")).id
            await w.store.write(ACCOUNT, Expunge(box, [one], only_deleted=False))

            with refused(Condition.EXPUNGE_ISSUED):
                await w.store.write(ACCOUNT, Copy(box, [one, two], trash))
            with refused(Condition.TRY_CREATE):
                await w.store.write(ACCOUNT, Copy(box, [two], 999))

            assert [] == await w.uids("Trash")

    async def test_move_keeps_the_message_and_passes_over_what_is_gone(self) -> None:
        async with self.world() as w:
            one, two, three = await w.fill(3)
            box, trash = (await w.box()).id, (await w.box("Trash")).id
            email_id = await w.column(Column.EMAIL_ID, three)
            await w.store.write(ACCOUNT, Expunge(box, [two], only_deleted=False))

            moved = await w.store.write(ACCOUNT, Move(box, [one, two, three], trash))

            assert ((one, three), (1, 2)) == (moved.sources, moved.targets)
            assert ([], [1, 2]) == (await w.uids(), await w.uids("Trash"))
            assert email_id == await w.column(Column.EMAIL_ID, 2, "Trash")
            with refused(Condition.TRY_CREATE):
                await w.store.write(ACCOUNT, Move(trash, [1], 999))
            assert [1, 2] == await w.uids("Trash")

    async def test_move_within_and_there_and_back_keeps_the_message(self) -> None:
        async with self.world() as w:
            (uid,) = await w.fill(1)
            box, trash = (await w.box()).id, (await w.box("Trash")).id
            email_id = await w.column(Column.EMAIL_ID, uid)

            await w.store.write(ACCOUNT, Move(box, [uid], box))
            await w.store.write(ACCOUNT, Move(box, [2], trash))
            await w.store.write(ACCOUNT, Move(trash, [1], box))

            assert [3] == await w.uids()
            assert email_id == await w.column(Column.EMAIL_ID, 3)

    # ------------------------------------------------------------ expunge and purge

    async def test_expunge_marks_what_is_deleted(self) -> None:
        async with self.world() as w:
            uids = await w.fill(4)
            box = (await w.box()).id
            await w.store.write(ACCOUNT, StoreFlags(box, uids[1:], FlagChange.ADD, DELETED))

            assert (uids[1],) == await w.store.write(ACCOUNT, Expunge(box, uids[:2]))
            assert tuple(uids[2:]) == await w.store.write(ACCOUNT, Expunge(box, None))
            before = await w.store.modseq(ACCOUNT)
            assert () == await w.store.write(ACCOUNT, Expunge(box, None))
            assert () == await w.store.write(ACCOUNT, Expunge(box, [uids[0]]))
            assert before == await w.store.modseq(ACCOUNT)

            assert [uids[0]] == await w.uids()
            usage = await w.store.usage(ACCOUNT)
            assert (1, len(PREFIX) + 60) == (usage.messages, usage.bytes)

    async def test_what_is_marked_can_still_be_read(self) -> None:
        async with self.world() as w:
            (uid,) = await w.fill(1)
            box = (await w.box()).id

            await w.store.write(ACCOUNT, Expunge(box, [uid], only_deleted=False))

            assert (await w.bytes_of(uid)).startswith(PREFIX)

    async def test_purge_removes_what_is_old_and_raises_the_floor(self) -> None:
        async with self.world() as w:
            uids = await w.fill(3)
            box, trash = (await w.box()).id, (await w.box("Trash")).id
            big = await w.append(body_of(LARGE))
            await w.store.write(ACCOUNT, Copy(box, [uids[0]], trash))
            await w.store.write(ACCOUNT, Copy(box, [big.uid], box))
            before = await w.store.modseq(ACCOUNT)
            await w.store.write(ACCOUNT, Expunge(box, [*uids, big.uid], only_deleted=False))
            marked = await w.store.modseq(ACCOUNT)
            now = int(w.clock.now())

            assert 0 == (await w.store.write(ACCOUNT, Purge(now + 1))).messages, "younger than a day"
            w.clock.turn(DAY + 1)
            assert 1 == (await w.store.write(ACCOUNT, Purge(now + 1, limit=1))).messages
            purged = await w.store.write(ACCOUNT, Purge(now + 1))

            assert (3, LARGE + 2 * 60 + 3 * len(PREFIX)) == (purged.messages, purged.bytes)
            assert [] == await w.store.entries(ACCOUNT, box, uids, [Column.UID])
            assert not (await w.store.changes(ACCOUNT, box, before)).is_complete
            assert (await w.store.changes(ACCOUNT, box, marked)).is_complete
            assert (await w.bytes_of(1, "Trash")).startswith(PREFIX), "the copy keeps the message"
            assert PREFIX + body_of(LARGE) == await w.bytes_of(big.uid + 1), "the copy keeps the blob"

    async def test_a_thread_goes_with_its_last_message(self) -> None:
        async with self.world() as w:
            found = facts(body_of(), message_id="a")
            first = await w.append(found=found)
            thread = await w.column(Column.THREAD_ID, first.uid)
            await w.store.write(ACCOUNT, Expunge(first.mailbox, [first.uid], only_deleted=False))
            w.clock.turn(2 * DAY)
            await w.store.write(ACCOUNT, Purge(int(w.clock.now())))

            again = await w.append(found=found)

            assert thread != await w.column(Column.THREAD_ID, again.uid)

    async def test_uids_are_never_used_again(self) -> None:
        async with self.world() as w:
            uids = await w.fill(3)
            box = (await w.box()).id
            await w.store.write(ACCOUNT, Expunge(box, None, only_deleted=False))
            w.clock.turn(2 * DAY)
            await w.store.write(ACCOUNT, Purge(int(w.clock.now())))

            assert uids[-1] + 1 == (await w.append()).uid

    # ------------------------------------------------------------ what changed

    async def test_snapshot(self) -> None:
        async with self.world() as w:
            await w.fill(2, flags=SEEN, keywords=("k",))
            (third,) = await w.fill(1)
            box = await w.box()

            snapshot = await w.store.snapshot(ACCOUNT, box.id)

            assert (box, [1, 2, 3], third, ("k",)) == (
                snapshot.mailbox,
                list(snapshot.uids),
                snapshot.first_unseen,
                snapshot.keywords,
            )
            assert snapshot.modseq == await w.store.modseq(ACCOUNT)

    async def test_changes_tell_news_flags_and_what_left(self) -> None:
        async with self.world() as w:
            one, two, three = await w.fill(3)
            box = (await w.box()).id
            since = await w.store.modseq(ACCOUNT)
            flagged = await w.store.write(ACCOUNT, StoreFlags(box, [two], FlagChange.ADD, FLAGGED, ("k",)))
            await w.store.write(ACCOUNT, Expunge(box, [one], only_deleted=False))
            new = await w.append()
            short = await w.append()
            await w.store.write(ACCOUNT, Expunge(box, [short.uid], only_deleted=False))

            changes = await w.store.changes(ACCOUNT, box, since)

            assert changes.changed == (
                Changed(two, FLAGGED, "k", flagged.modseq, is_new=False),
                Changed(new.uid, 0, "", new.modseq, is_new=True),
            )
            assert ((one,), True, False) == (changes.expunged, changes.is_complete, changes.mailbox_gone)
            assert changes.modseq == await w.store.modseq(ACCOUNT)
            assert three not in {changed.uid for changed in changes.changed}
            assert ((), ()) == (await self._nothing_since(w, box, changes.modseq))

    @staticmethod
    async def _nothing_since(w: World, box: int, modseq: int) -> tuple[object, object]:
        changes = await w.store.changes(ACCOUNT, box, modseq)
        return changes.changed, changes.expunged

    async def test_recent_is_claimed_once(self) -> None:
        async with self.world() as w:
            await w.fill(2)
            box = (await w.box()).id

            assert 1 == await w.store.write(ACCOUNT, ClaimRecent(box))
            before = await w.store.modseq(ACCOUNT)
            assert 3 == await w.store.write(ACCOUNT, ClaimRecent(box))
            assert before == await w.store.modseq(ACCOUNT), "nothing to claim is nothing written"
            await w.append()
            assert 3 == await w.store.write(ACCOUNT, ClaimRecent(box))
            with refused(Condition.MAILBOX_NONEXISTENT):
                await w.store.write(ACCOUNT, ClaimRecent(999))
