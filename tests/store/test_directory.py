"""The directory in SQL: what every filler of the port must do, and two processes on one file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from postane.core.clock import TurnedClock
from postane.core.status import Condition, MailError
from postane.store.api import Account, AccountState, Alias, Credential, Directory
from postane.store.directory import MAX_TARGETS, SCHEMA, SqlDirectory
from postane.store.sqlite import Database
from postane.store.stamp import Stamp

IDN = "xn--rksmrgs-5wao1o.example"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqlDirectory]:
    with ThreadPoolExecutor(2) as pool:
        database = Database(folder / "directory.sqlite", SCHEMA, pool, create=True)
        directory = SqlDirectory(database, TurnedClock(), Stamp(folder / "directory.stamp"))
        try:
            yield directory
        finally:
            await directory.close()


@asynccontextmanager
async def furnished(folder: Path) -> AsyncIterator[SqlDirectory]:
    async with opened(folder) as directory:
        await directory.add_domain("example.com")
        await directory.add_account("Ann@example.com", "v1", "Ann", 1000, 10)
        yield directory


async def refusal(awaitable: object) -> MailError:
    with pytest.raises(MailError) as failure:
        await awaitable  # type: ignore[misc]
    return failure.value


def fills_the_port(directory: SqlDirectory) -> Directory:
    return directory


# ------------------------------------------------------------ domains


async def test_domains_are_kept_by_a_labels_in_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as directory:
        assert (await directory.add_domain("Räksmörgås.example")).name == IDN
        await directory.add_domain("Example.COM")

        assert [each.name for each in await directory.domains()] == ["example.com", IDN]
        assert await directory.domain(IDN) == (await directory.domains())[1]
        assert await directory.domain("other.example") is None


@pytest.mark.parametrize("name", ["", "a b", "../x", "a..b", "[192.0.2.1]", "x" * 300, "nul\0.example"])
async def test_what_is_no_domain_is_refused(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path) as directory:
        assert (await refusal(directory.add_domain(name))).condition is Condition.BAD_ARGUMENT
        assert await directory.domains() == ()


async def test_a_domain_is_added_once_and_removed_only_when_empty(tmp_path: Path) -> None:
    async with furnished(tmp_path) as directory:
        assert (await refusal(directory.add_domain("EXAMPLE.com"))).condition is Condition.MAILBOX_EXISTS
        await directory.put_alias(Alias("all", "example.com", ("ann@example.com",)))

        used = await refusal(directory.remove_domain("example.com"))
        assert used.text == "the domain example.com still has 1 accounts and 1 aliases; remove them first"
        await directory.remove_alias("all", "example.com")
        account = await directory.account("ann@example.com")
        assert account
        await directory.remove_account(account.ref.id)
        await directory.remove_domain("example.com")
        assert await directory.domain("example.com") is None
        assert (await refusal(directory.remove_domain("example.com"))).condition is Condition.UNKNOWN_DOMAIN


# ----------------------------------------------------------- accounts


async def test_an_account_is_found_by_key_and_by_number(tmp_path: Path) -> None:
    async with furnished(tmp_path) as directory:
        account = await directory.account("ann@example.com")

        assert account
        assert account == await directory.account_by_id(account.ref.id)
        assert (account.address, account.display_name, account.state) == ("ann@example.com", "Ann", AccountState.ACTIVE)
        assert (account.quota_bytes, account.quota_messages, account.version) == (1000, 10, 1)
        assert account.ref.generation == 1
        assert account.created_at == 1_750_000_000
        assert len(account.ref.public_id) == 24
        assert await directory.account("bob@example.com") is None
        assert await directory.account_by_id(999) is None


@pytest.mark.parametrize(
    ("address", "condition"),
    [
        ("ANN@EXAMPLE.COM", Condition.MAILBOX_EXISTS),
        ("all@example.com", Condition.MAILBOX_EXISTS),
        ("bob@elsewhere.example", Condition.UNKNOWN_DOMAIN),
        ("bob", Condition.BAD_ARGUMENT),
        ("a b@example.com", Condition.BAD_ARGUMENT),
        ("a\0b@example.com", Condition.BAD_ARGUMENT),
        ("x" * 65 + "@example.com", Condition.BAD_ARGUMENT),
        ("", Condition.BAD_ARGUMENT),
    ],
)
async def test_an_account_that_cannot_be_is_refused_and_leaves_nothing(
    tmp_path: Path, address: str, condition: Condition
) -> None:
    async with furnished(tmp_path) as directory:
        await directory.put_alias(Alias("all", "example.com", ("ann@example.com",)))
        before = await directory.version()

        assert (await refusal(directory.add_account(address, "v", "", 0, 0))).condition is condition
        assert await directory.version() == before


@pytest.mark.parametrize("local", ["o'brien", '"quoted words"', "ayşe", '"../../etc"', "a/b", "a+b", "%"])
async def test_odd_local_parts_are_just_text(tmp_path: Path, local: str) -> None:
    async with furnished(tmp_path) as directory:
        account = await directory.add_account(f"{local}@example.com", "v", "", 0, 0)

        assert await directory.account(account.address) == account


async def test_numbers_and_public_ids_are_never_given_twice(tmp_path: Path) -> None:
    async with furnished(tmp_path) as directory:
        first = await directory.account("ann@example.com")
        assert first
        await directory.remove_account(first.ref.id)
        again = await directory.add_account("ann@example.com", "v", "", 0, 0)

        assert again.ref.id > first.ref.id
        assert again.ref.public_id != first.ref.public_id
        assert await directory.credentials(first.ref.id) == ()


async def test_the_version_of_an_account_rises_with_password_and_state_only(tmp_path: Path) -> None:
    async with furnished(tmp_path) as directory:
        number = (await directory.add_account("bob@example.com", "old", "", 0, 0)).ref.id

        assert (await directory.update_account(number, display_name="Bob", quota_bytes=5)).version == 1
        assert (await directory.update_account(number, state=AccountState.ACTIVE)).version == 1
        assert (await directory.update_account(number, state=AccountState.DISABLED)).version == 2
        changed = await directory.set_password(number, "new")
        assert (changed.version, changed.display_name, changed.quota_bytes, changed.quota_messages) == (3, "Bob", 5, 0)
        (credential,) = await directory.credentials(number)
        assert credential == Credential(credential.id, number, "password", "new", 2)


async def test_changing_whom_there_is_not_is_refused(tmp_path: Path) -> None:
    async with furnished(tmp_path) as directory:
        before = await directory.version()
        for change in (
            directory.update_account(999, display_name="x"),
            directory.set_password(999, "x"),
            directory.remove_account(999),
        ):
            assert (await refusal(change)).condition is Condition.UNKNOWN_RECIPIENT
        assert await directory.version() == before


async def test_accounts_come_oldest_first_beyond_one_slice(tmp_path: Path) -> None:
    async with furnished(tmp_path) as directory:
        await directory.add_domain("many.example")
        wanted = [(await directory.add_account(f"u{n}@many.example", "v", "", 0, 0)).ref.id for n in range(300)]

        assert [account.ref.id async for account in directory.accounts("many.example")] == wanted
        everyone = [account async for account in directory.accounts()]
        assert everyone[0].address == "ann@example.com"
        assert len(everyone) == 301
        assert [account async for account in directory.accounts("none.example")] == []


# ------------------------------------------------------------ aliases


async def test_aliases_are_put_replaced_listed_and_removed(tmp_path: Path) -> None:
    async with furnished(tmp_path) as directory:
        await directory.put_alias(Alias("All", "example.com", ("ann@example.com",)))
        await directory.put_alias(Alias("ALL", "example.com", ("b@elsewhere.example", "Ann@Räksmörgås.example")))
        await directory.put_alias(Alias("", "example.com", ("ann@example.com",)))

        every = Alias("all", "example.com", ("b@elsewhere.example", f"Ann@{IDN}"))
        catch = Alias("", "example.com", ("ann@example.com",))
        assert await directory.alias("aLL", "example.com") == every
        assert await directory.alias("", "example.com") == catch
        assert await directory.aliases() == await directory.aliases("example.com") == (catch, every)
        await directory.remove_alias("all", "example.com")
        assert await directory.alias("all", "example.com") is None
        assert (await refusal(directory.remove_alias("all", "example.com"))).condition is Condition.UNKNOWN_RECIPIENT


@pytest.mark.parametrize(
    ("alias", "condition"),
    [
        (Alias("ann", "example.com", ("b@c.example",)), Condition.MAILBOX_EXISTS),
        (Alias("a", "elsewhere.example", ("b@c.example",)), Condition.UNKNOWN_DOMAIN),
        (Alias("a", "example.com", ()), Condition.BAD_ARGUMENT),
        (Alias("a", "example.com", ("no address",)), Condition.BAD_ARGUMENT),
        (Alias("a\r", "example.com", ("b@c.example",)), Condition.BAD_ARGUMENT),
        (Alias("a", "example.com", tuple(f"u{n}@c.example" for n in range(MAX_TARGETS + 1))), Condition.BAD_ARGUMENT),
    ],
)
async def test_an_alias_that_cannot_be_is_refused(tmp_path: Path, alias: Alias, condition: Condition) -> None:
    async with furnished(tmp_path) as directory:
        assert (await refusal(directory.put_alias(alias))).condition is condition
        assert await directory.aliases() == ()


async def test_a_target_named_twice_is_kept_once(tmp_path: Path) -> None:
    async with furnished(tmp_path) as directory:
        await directory.put_alias(Alias("a", "example.com", ("b@c.example", "b@C.example")))

        assert await directory.alias("a", "example.com") == Alias("a", "example.com", ("b@c.example",))


# ---------------------------------------------------- settings, processes


async def test_settings(tmp_path: Path) -> None:
    async with opened(tmp_path) as directory:
        assert await directory.setting("x") is None
        await directory.put_setting("x", "1")
        await directory.put_setting("x", "2")
        assert await directory.setting("x") == "2"


async def test_every_change_raises_the_version_and_no_reading_does(tmp_path: Path) -> None:
    async with furnished(tmp_path) as directory:
        account = await directory.account("ann@example.com")
        assert isinstance(account, Account)
        number = account.ref.id
        for change in (
            directory.add_domain("b.example"),
            directory.remove_domain("b.example"),
            directory.update_account(number, display_name="x"),
            directory.set_password(number, "x"),
            directory.put_alias(Alias("a", "example.com", ("b@c.example",))),
            directory.remove_alias("a", "example.com"),
            directory.put_setting("a", "b"),
            directory.remove_account(number),
        ):
            before = await directory.version()
            await change
            assert await directory.version() == before + 1


async def test_what_one_process_changes_another_sees_at_its_next_look(tmp_path: Path) -> None:
    async with furnished(tmp_path) as one, opened(tmp_path) as other:
        seen = await other.account("ann@example.com")
        assert seen
        before = await other.version()

        await one.update_account(seen.ref.id, state=AccountState.DISABLED)

        assert await other.version() > before
        now = await other.account("ann@example.com")
        assert now
        assert now.state is AccountState.DISABLED


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with furnished(tmp_path) as directory:
        before = [account async for account in directory.accounts()]

    async with opened(tmp_path) as directory:
        assert [account async for account in directory.accounts()] == before
