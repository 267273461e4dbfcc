"""Every statement of the mail store finds its rows by a key: none reads a table from end to end but those that must."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from postane.store import sql
from postane.store.accounts_open import SCHEMA
from postane.store.api import Column
from postane.store.queries import _LIST, _RANGE, _entries_sql
from postane.store.sqlite_file import connect

STATEMENTS = {name: text for name, text in vars(sql).items() if name.isupper() and not name.startswith("_")}
STATEMENTS |= {f"entries {condition}": _entries_sql(tuple(Column), condition) for condition in (_RANGE, _LIST)}

# What must be read from end to end: bounded by a limit of its own, or asked by the timed process alone ...
WHOLE_TABLES = {
    "DELETE_REFERENCES",
    "KEYWORDS",
    "KEYWORD_COUNT",
    "MAILBOXES",
    "MAILBOX_COUNT",
    "PLACES",
    "SUBSCRIPTIONS",
    "USAGE",
}
# ... and a whole mailbox, in the pool or with a limit.
WHOLE_MAILBOXES = {"DELETED_UIDS", "DELETE_MAILBOXES", "FIRST_UNSEEN", "IN_MAILBOXES_MARKED_BEFORE", "LIVING_UIDS"}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> apsw.Connection:
    return connect(Path(tmp_path_factory.mktemp("plans")) / "x", SCHEMA, create=True)


def plan(connection: apsw.Connection, text: str) -> list[str]:
    values = tuple([1] * text.count("?"))
    return [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + text, values)]


@pytest.mark.parametrize("name", STATEMENTS)
def test_rows_are_found_by_key(connection: apsw.Connection, name: str) -> None:
    steps = [step for step in plan(connection, STATEMENTS[name]) if "json_each" not in step]

    whole_table = any(step.startswith("SCAN") or step.endswith("(account_id=?)") for step in steps)
    whole_mailbox = any("USING PRIMARY KEY (account_id=? AND mailbox_id=?)" in step for step in steps)
    assert (name in WHOLE_TABLES, name in WHOLE_MAILBOXES) == (whole_table, whole_mailbox), steps


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("CHANGED", "entry_changed (account_id=? AND mailbox_id=? AND changed_modseq>?)"),
        ("EXPUNGED", "entry_expunged (account_id=? AND mailbox_id=? AND expunged_modseq>?)"),
        ("MARKED_BEFORE", "entry_marked (account_id=? AND expunged_at<?)"),
        ("MAILBOX_BY_NAME", "mailbox_name (account_id=? AND parent_id=? AND name=?)"),
        ("MAILBOX_BY_ROLE", "mailbox_role (account_id=? AND role=?)"),
        ("HELD", "entry_message (message_id=?)"),
    ],
)
def test_what_changed_is_a_range_of_an_index(connection: apsw.Connection, name: str, index: str) -> None:
    assert any(index in step for step in plan(connection, STATEMENTS[name])), plan(connection, STATEMENTS[name])


def test_slim_columns_read_the_slim_table_alone(connection: apsw.Connection) -> None:
    text = _entries_sql((Column.UID, Column.FLAGS, Column.KEYWORDS, Column.SIZE, Column.MODSEQ, Column.UIDL), _RANGE)

    assert ["SEARCH e USING PRIMARY KEY (account_id=? AND mailbox_id=? AND uid>? AND uid<?)"] == plan(connection, text)
