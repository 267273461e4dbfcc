"""The directory's statements, once: scripts for any driver.

Every writing script first takes the next version (and ids where it needs
them) from `directory_state`, so that version order is commit order.
"""

from __future__ import annotations

from collections.abc import Sequence

from postane.core.address import display_domain
from postane.core.status import Condition, MailError
from postane.store.api import SLICE, AccountState
from postane.store.script import Row, Rows, Script, just

DOMAIN = "id, name, tenant_id, plaintext_login"
_ACCOUNTS = (
    "SELECT id, public_id, generation, (SELECT key FROM address WHERE account_id = account.id), display_name, state,"
    " version, quota_bytes, quota_messages, created_at, incarnation FROM account"
)


def _advance(ids: int = 0) -> Script[int]:
    """Raises the version; takes `ids` new ids and returns the first."""
    rows = yield (
        "UPDATE directory_state SET version = version + 1, last_id = last_id + ? RETURNING last_id",
        (ids,),
    )
    last: int = rows[0][0]
    return last - ids + 1


def version() -> Script[int]:
    rows = yield "SELECT version FROM directory_state", ()
    result: int = rows[0][0]
    return result


# ------------------------------------------------------------ domains


def domains() -> Script[Rows]:
    return just(f"SELECT {DOMAIN} FROM domain ORDER BY name")  # noqa: S608  # a constant


def domain(name: str) -> Script[Rows]:
    return just(f"SELECT {DOMAIN} FROM domain WHERE name = ?", (name,))  # noqa: S608  # a constant


def add_domain(name: str, now: int) -> Script[Row]:
    if (yield from domain(name)):
        raise MailError(Condition.MAILBOX_EXISTS, f"the domain {display_domain(name)} exists already")
    number = yield from _advance(1)
    yield "INSERT INTO domain (id, name, created_at) VALUES (?, ?, ?)", (number, name, now)
    return (yield from domain(name))[0]


def remove_domain(name: str) -> Script[None]:
    number = yield from _domain_id(name)
    rows = yield "SELECT COUNT(account_id), COUNT(*) FROM address WHERE domain_id = ?", (number,)
    accounts, addresses = rows[0]
    if addresses:
        raise MailError(
            Condition.BAD_ARGUMENT,
            f"the domain {display_domain(name)} still has {accounts} accounts and {addresses - accounts} aliases; "
            f"remove them first",
        )
    yield from _advance()
    yield "DELETE FROM domain WHERE id = ?", (number,)


def _domain_id(name: str) -> Script[int]:
    rows = yield "SELECT id FROM domain WHERE name = ?", (name,)
    if not rows:
        raise MailError(
            Condition.UNKNOWN_DOMAIN, f"the domain {display_domain(name)} is not one of this server's; add it first"
        )
    number: int = rows[0][0]
    return number


# ----------------------------------------------------------- accounts


def account(key: str) -> Script[Rows]:
    return just(f"{_ACCOUNTS} WHERE id = (SELECT account_id FROM address WHERE key = ?)", (key,))  # noqa: S608


def account_by_id(account_id: int) -> Script[Rows]:
    return just(f"{_ACCOUNTS} WHERE id = ?", (account_id,))


def accounts(domain_name: str | None, after: int) -> Script[Rows]:
    """The next slice, by id."""
    if domain_name is None:
        return just(f"{_ACCOUNTS} WHERE id > ? ORDER BY id LIMIT {SLICE}", (after,))
    return just(
        f"{_ACCOUNTS} WHERE id IN (SELECT account_id FROM address WHERE domain_id = (SELECT id FROM domain"  # noqa: S608
        f" WHERE name = ?) AND account_id > ? ORDER BY account_id LIMIT {SLICE}) ORDER BY id",
        (domain_name, after),
    )


def add_account(
    key: str, domain_name: str, public_id: str, verifier: str, display_name: str, quota: tuple[int, int], now: int
) -> Script[Row]:
    domain_id = yield from _domain_id(domain_name)
    yield from _refuse_taken(key)
    number = yield from _advance(2)
    yield (
        "INSERT INTO account (id, public_id, state, version, display_name, quota_bytes, quota_messages, created_at)"
        " VALUES (?, ?, 'active', 1, ?, ?, ?, ?)",
        (number, public_id, display_name, *quota, now),
    )
    yield "INSERT INTO address (key, domain_id, account_id) VALUES (?, ?, ?)", (key, domain_id, number)
    yield (
        "INSERT INTO credential (id, account_id, kind, verifier, version, created_at)"
        " VALUES (?, ?, 'password', ?, 1, ?)",
        (number + 1, number, verifier, now),
    )
    return (yield from account_by_id(number))[0]


def _refuse_taken(key: str) -> Script[None]:
    rows = yield "SELECT account_id FROM address WHERE key = ?", (key,)
    if rows:
        holder = "an alias" if rows[0][0] is None else "an account"
        raise MailError(Condition.MAILBOX_EXISTS, f"the address {key} belongs to {holder} already")


def update_account(
    account_id: int,
    display_name: str | None,
    quota_bytes: int | None,
    quota_messages: int | None,
    state: AccountState | None,
) -> Script[Row]:
    """What is None stays.  The account's version rises where its state does change."""
    yield from _advance()
    value = None if state is None else state.value
    yield (
        "UPDATE account SET version = version + (CASE WHEN state <> COALESCE(?, state) THEN 1 ELSE 0 END),"
        " state = COALESCE(?, state), display_name = COALESCE(?, display_name),"
        " quota_bytes = COALESCE(?, quota_bytes), quota_messages = COALESCE(?, quota_messages) WHERE id = ?",
        (value, value, display_name, quota_bytes, quota_messages, account_id),
    )
    return (yield from _one_account(account_id))


def set_password(account_id: int, verifier: str) -> Script[Row]:
    yield from _advance()
    yield "UPDATE account SET version = version + 1 WHERE id = ?", (account_id,)
    yield (
        "UPDATE credential SET verifier = ?, version = version + 1 WHERE account_id = ? AND kind = 'password'",
        (verifier, account_id),
    )
    return (yield from _one_account(account_id))


def credentials(account_id: int) -> Script[Rows]:
    return just(
        "SELECT id, account_id, kind, verifier, version FROM credential WHERE account_id = ? ORDER BY id", (account_id,)
    )


def remove_account(account_id: int) -> Script[None]:
    yield from _one_account(account_id)
    yield from _advance()
    yield "DELETE FROM address WHERE account_id = ?", (account_id,)
    yield "DELETE FROM account WHERE id = ?", (account_id,)


def _one_account(account_id: int) -> Script[Row]:
    rows = yield from account_by_id(account_id)
    if not rows:
        raise MailError(Condition.UNKNOWN_RECIPIENT, f"there is no account number {account_id}")
    return rows[0]


# ------------------------------------------------------------ aliases


def alias_targets(key: str) -> Script[Rows]:
    return just("SELECT target FROM alias_target WHERE address = ? ORDER BY position", (key,))


def aliases(domain_name: str | None) -> Script[Rows]:
    """(key, domain, target) in order of domain, key and position."""
    where, values = ("", ()) if domain_name is None else (" WHERE domain.name = ?", (domain_name,))
    return just(
        "SELECT address.key, domain.name, alias_target.target FROM alias_target"  # noqa: S608  # constants
        " JOIN address ON address.key = alias_target.address JOIN domain ON domain.id = address.domain_id"
        f"{where} ORDER BY domain.name, address.key, alias_target.position",
        values,
    )


def put_alias(key: str, domain_name: str, targets: Sequence[str]) -> Script[None]:
    domain_id = yield from _domain_id(domain_name)
    if (yield from alias_targets(key)):
        yield "DELETE FROM address WHERE key = ?", (key,)
    yield from _refuse_taken(key)
    yield from _advance()
    yield "INSERT INTO address (key, domain_id) VALUES (?, ?)", (key, domain_id)
    for position, target in enumerate(targets):
        yield "INSERT INTO alias_target (address, position, target) VALUES (?, ?, ?)", (key, position, target)


def remove_alias(key: str) -> Script[None]:
    if not (yield from alias_targets(key)):
        raise MailError(Condition.UNKNOWN_RECIPIENT, f"there is no alias {key}")
    yield from _advance()
    yield "DELETE FROM address WHERE key = ?", (key,)


# ----------------------------------------------------------- settings


def setting(name: str) -> Script[Rows]:
    return just("SELECT value FROM setting WHERE name = ?", (name,))


def put_setting(name: str, value: str) -> Script[None]:
    yield from _advance()
    yield (
        "INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
