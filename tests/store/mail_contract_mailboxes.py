"""What any mail store must do: accounts, mailboxes, subscriptions, the maildrop's lock."""

from __future__ import annotations

import unicodedata

import pytest
from mail_contract import DAY, Contract, refused
from mail_world import ACCOUNT, LIMITS, World

from postane.core.status import Condition, MailError
from postane.store.api import (
    Column,
    Copy,
    CreateMailbox,
    DeleteMailbox,
    Purge,
    RenameMailbox,
    Role,
    Subscribe,
)

FOUNDED = ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]


async def names(w: World) -> list[str]:
    return [mailbox.name for mailbox in await w.store.mailboxes(ACCOUNT)]


class MailboxContract(Contract):
    # ------------------------------------------------------------ accounts

    async def test_an_account_begins_with_its_roles(self) -> None:
        async with self.world() as w:
            mailboxes = await w.store.mailboxes(ACCOUNT)

            assert FOUNDED == [mailbox.name for mailbox in mailboxes]
            assert {mailbox.name.lower() for mailbox in mailboxes} == {mailbox.role.value for mailbox in mailboxes}
            assert tuple(FOUNDED) == await w.store.subscriptions(ACCOUNT)
            assert 6 == len({mailbox.uidvalidity for mailbox in mailboxes})
            assert 6 == len({mailbox.public_id for mailbox in mailboxes})

    async def test_creating_twice_is_harmless(self) -> None:
        async with self.world() as w:
            await w.append()

            await w.store.create(ACCOUNT)

            assert [1] == await w.uids()

    async def test_an_account_removed_is_gone_and_can_be_made_again(self) -> None:
        async with self.world() as w:
            await w.append()
            uidvalidity = (await w.box()).uidvalidity

            await w.store.remove(ACCOUNT)
            await w.store.remove(ACCOUNT)
            with pytest.raises(MailError):
                await w.store.mailboxes(ACCOUNT)
            w.clock.turn(60)
            await w.store.create(ACCOUNT)

            assert [] == await w.uids()
            assert (await w.box()).uidvalidity > uidvalidity

    # ------------------------------------------------------------ names

    async def test_a_mailbox_is_found_by_its_name(self) -> None:
        async with self.world() as w:
            made = await w.store.write(ACCOUNT, CreateMailbox("Posta/gelen kutusu/Ağustos"))

            assert made == await w.box("Posta/gelen kutusu/Ağustos")
            assert made == await w.box(unicodedata.normalize("NFD", "Posta/gelen kutusu/Ağustos"))
            assert await w.box("INBOX") == await w.box("iNbOx")
            for name in ("Posta/yok", "posta", "", "Posta//x", "\x00", "../..", "ınbox"):
                with refused(Condition.MAILBOX_NONEXISTENT):
                    await w.box(name)

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "/",
            "a//b",
            "/a",
            "..",
            "a/../b",
            "a/.",
            "nul\x00",
            "line\nbreak",
            "del\x7f",
            "c1\x85",
            "\ud800",
            "\u2028",
            "\ufffe",
            "x" * 10_000,
            "ş" * 130,
            "/".join("abcdefg"),
        ],
    )
    async def test_names_that_cannot_be(self, name: str) -> None:
        async with self.world() as w:
            with refused(Condition.MAILBOX_BAD_NAME):
                await w.store.write(ACCOUNT, CreateMailbox(name))
            with refused(Condition.MAILBOX_BAD_NAME):
                await w.store.write(ACCOUNT, RenameMailbox("Sent", name))
            with refused(Condition.MAILBOX_NONEXISTENT):
                await w.store.write(ACCOUNT, DeleteMailbox(name))

            assert FOUNDED == await names(w)

    # ------------------------------------------------------------ create

    async def test_create_makes_parents(self) -> None:
        async with self.world() as w:
            made = await w.store.write(ACCOUNT, CreateMailbox("a/b/c/", subscribe=True))

            assert "a/b/c" == made.name
            assert ["a", "a/b", "a/b/c"] == [name for name in await names(w) if name[0] == "a"]
            assert "a/b/c" in await w.store.subscriptions(ACCOUNT)
            with refused(Condition.MAILBOX_EXISTS):
                await w.store.write(ACCOUNT, CreateMailbox("a/b"))
            with refused(Condition.MAILBOX_EXISTS):
                await w.store.write(ACCOUNT, CreateMailbox("inbox"))

    async def test_parents_stand_before_children_whatever_sorts_between(self) -> None:
        async with self.world() as w:
            for name in ("b/x", "b-1", "b.c", "inbox/child"):
                await w.store.write(ACCOUNT, CreateMailbox(name))

            assert ["INBOX", "INBOX/child"] == [name for name in await names(w) if name.startswith("INBOX")]
            assert ["b", "b/x", "b-1", "b.c"] == [name for name in await names(w) if name[0] == "b"]

    async def test_a_role_belongs_to_one_mailbox(self) -> None:
        async with self.world() as w:
            with refused(Condition.MAILBOX_EXISTS):
                await w.store.write(ACCOUNT, CreateMailbox("Bin", role=Role.TRASH))
            await w.store.write(ACCOUNT, DeleteMailbox("Trash"))

            assert Role.TRASH is (await w.store.write(ACCOUNT, CreateMailbox("Bin", role=Role.TRASH))).role

    async def test_a_name_of_the_start_made_again_has_its_role_where_nobody_took_it(self) -> None:
        async with self.world() as w:
            await w.store.write(ACCOUNT, DeleteMailbox("Sent"))
            await w.store.write(ACCOUNT, DeleteMailbox("Junk"))
            await w.store.write(ACCOUNT, CreateMailbox("Spam", role=Role.JUNK))
            assert (await w.store.write(ACCOUNT, CreateMailbox("Sent"))).role is Role.SENT
            assert (await w.store.write(ACCOUNT, CreateMailbox("Junk"))).role is Role.NONE
            assert (await w.store.write(ACCOUNT, CreateMailbox("old/Sent"))).role is Role.NONE

    async def test_mailboxes_are_bounded(self) -> None:
        async with self.world() as w:
            for number in range(LIMITS.mailboxes - len(FOUNDED)):
                await w.store.write(ACCOUNT, CreateMailbox(f"m{number}"))

            with refused(Condition.MAILBOX_LIMIT):
                await w.store.write(ACCOUNT, CreateMailbox("one/more"))

            assert "one" not in await names(w)

    # ------------------------------------------------------------ delete

    async def test_a_name_made_again_has_a_higher_uidvalidity(self) -> None:
        async with self.world() as w:
            first = await w.store.write(ACCOUNT, CreateMailbox("x"))
            await w.append(mailbox=first.id)
            await w.store.write(ACCOUNT, DeleteMailbox("x"))
            await w.store.write(ACCOUNT, CreateMailbox("y"))

            second = await w.store.write(ACCOUNT, CreateMailbox("x"))

            assert second.uidvalidity > first.uidvalidity
            assert second.public_id != first.public_id
            assert [] == await w.uids("x")
            assert (await w.store.changes(ACCOUNT, first.id, 1)).mailbox_gone
            with refused(Condition.TRY_CREATE):
                await w.append(mailbox=first.id)
            with refused(Condition.MAILBOX_NONEXISTENT):
                await w.store.snapshot(ACCOUNT, first.id)

    async def test_deleting_frees_the_quota_and_purging_removes(self) -> None:
        async with self.world() as w:
            made = await w.store.write(ACCOUNT, CreateMailbox("x"))
            filed = await w.append(mailbox=made.id)
            await w.store.write(ACCOUNT, DeleteMailbox("x"))

            assert (0, 0) == ((await w.store.usage(ACCOUNT)).messages, (await w.store.usage(ACCOUNT)).bytes)
            assert [(filed.uid,)] == await w.store.entries(ACCOUNT, made.id, [filed.uid], [Column.UID])
            w.clock.turn(2 * DAY)
            assert 1 == (await w.store.write(ACCOUNT, Purge(int(w.clock.now())))).messages
            assert [] == await w.store.entries(ACCOUNT, made.id, [filed.uid], [Column.UID])
            assert (await w.store.changes(ACCOUNT, made.id, 1)).mailbox_gone

    async def test_a_parent_deleted_stays_as_a_name(self) -> None:
        async with self.world() as w:
            await w.store.write(ACCOUNT, CreateMailbox("a/b"))
            first = await w.box("a")
            await w.append(mailbox=first.id)

            await w.store.write(ACCOUNT, DeleteMailbox("a"))

            parent = await w.box("a")
            assert (False, 0) == (parent.selectable, parent.messages)
            with refused(Condition.MAILBOX_NONEXISTENT):
                await w.store.snapshot(ACCOUNT, parent.id)
            with refused(Condition.TRY_CREATE):
                await w.append(mailbox=parent.id)
            with refused(Condition.MAILBOX_HAS_CHILDREN):
                await w.store.write(ACCOUNT, DeleteMailbox("a"))
            assert (await w.store.changes(ACCOUNT, first.id, 1)).mailbox_gone
            again = await w.store.write(ACCOUNT, CreateMailbox("a"))
            assert again.selectable
            assert again.uidvalidity > first.uidvalidity
            assert ["a", "a/b"] == [name for name in await names(w) if name[0] == "a"]

    async def test_the_inbox_stays(self) -> None:
        async with self.world() as w:
            with refused(Condition.MAILBOX_BAD_NAME):
                await w.store.write(ACCOUNT, DeleteMailbox("inbox"))
            with refused(Condition.MAILBOX_NONEXISTENT):
                await w.store.write(ACCOUNT, DeleteMailbox("nothing"))

    # ------------------------------------------------------------ rename

    async def test_children_move_along(self) -> None:
        async with self.world() as w:
            made = await w.store.write(ACCOUNT, CreateMailbox("a/b/c"))
            await w.append(mailbox=made.id)

            await w.store.write(ACCOUNT, RenameMailbox("a/b", "new/parent/b2"))

            assert ["a", "new", "new/parent", "new/parent/b2", "new/parent/b2/c"] == [
                name for name in await names(w) if name[0] in "an"
            ]
            moved = await w.box("new/parent/b2/c")
            assert (made.id, made.uidvalidity, 1) == (moved.id, moved.uidvalidity, moved.messages)

    async def test_renames_that_cannot_be(self) -> None:
        async with self.world() as w:
            await w.store.write(ACCOUNT, CreateMailbox("a/b/c"))
            for name, new_name, condition in (
                ("a", "a", Condition.MAILBOX_EXISTS),
                ("a", "Sent", Condition.MAILBOX_EXISTS),
                ("a", "a/b/d", Condition.MAILBOX_BAD_NAME),
                ("a", "inbox", Condition.MAILBOX_EXISTS),
                ("nothing", "x", Condition.MAILBOX_NONEXISTENT),
                ("a", "1/2/3/4/5", Condition.MAILBOX_BAD_NAME),
                ("a", "x" * 198, Condition.MAILBOX_BAD_NAME),
            ):
                with refused(condition):
                    await w.store.write(ACCOUNT, RenameMailbox(name, new_name))

            assert ["a", "a/b", "a/b/c"] == [name for name in await names(w) if name[0] == "a"]

    async def test_renaming_the_inbox_moves_its_messages(self) -> None:
        async with self.world() as w:
            uids = await w.fill(3)
            inbox = await w.box()
            email_id = await w.column(Column.EMAIL_ID, uids[0])
            await w.store.write(ACCOUNT, CreateMailbox("INBOX/child"))

            await w.store.write(ACCOUNT, RenameMailbox("INBOX", "old/mail"))

            assert ([], [1, 2, 3]) == (await w.uids(), await w.uids("old/mail"))
            assert (inbox.id, inbox.uidvalidity) == ((await w.box()).id, (await w.box()).uidvalidity)
            assert "INBOX/child" in await names(w)
            assert email_id == await w.column(Column.EMAIL_ID, 1, "old/mail")
            assert Role.NONE is (await w.box("old/mail")).role
            assert 4 == (await w.append()).uid

    async def test_renaming_a_large_inbox_moves_all_that_is_there(self) -> None:
        async with self.world() as w:
            await w.fill(2)
            inbox = (await w.box()).id
            for _ in range(12):
                await w.store.write(ACCOUNT, Copy(inbox, await w.uids(), inbox))

            await w.store.write(ACCOUNT, RenameMailbox("INBOX", "old"))

            assert ([], list(range(1, 8193))) == (await w.uids(), await w.uids("old"))

    # ------------------------------------------------------------ subscriptions and the lock

    async def test_a_subscription_stands_alone(self) -> None:
        async with self.world() as w:
            await w.store.write(ACCOUNT, Subscribe("not/yet", True))
            await w.store.write(ACCOUNT, Subscribe("not/yet", True))
            await w.store.write(ACCOUNT, DeleteMailbox("Junk"))
            await w.store.write(ACCOUNT, Subscribe("inbox", False))

            assert ("Archive", "Drafts", "Junk", "Sent", "Trash", "not/yet") == await w.store.subscriptions(ACCOUNT)
            with refused(Condition.MAILBOX_BAD_NAME):
                await w.store.write(ACCOUNT, Subscribe("a//b", True))

    async def test_the_maildrop_is_locked_by_one(self) -> None:
        async with self.world() as w:
            lock = await w.store.lock_maildrop(ACCOUNT)
            with refused(Condition.MAILBOX_IN_USE):
                await w.store.lock_maildrop(ACCOUNT)
            await w.append()

            await lock.release()
            await lock.release()

            await (await w.store.lock_maildrop(ACCOUNT)).release()
