"""Domains, accounts and aliases by command: what is said, what is kept, and how a mistake is told."""

from __future__ import annotations

import re

import pytest
from commanding import Commands


def test_help_teaches(postane: Commands) -> None:
    said = postane("--help", place=False).out

    for example in ("postane serve", "postane domain add example.org", "postane account add ada@example.org"):
        assert example in said
    for noun in ("config", "domain", "account", "alias", "mailbox", "check", "trace", "queue"):
        assert postane(noun, "--help", place=False).out
    assert "--password-stdin" in postane("account", "add", "--help", place=False).out


def test_domains_in_either_spelling(postane: Commands) -> None:
    postane("domain", "add", "Bücher.example")
    said = postane("domain", "add", "xn--bcher-kva.example", status=1)
    assert "xn--bcher-kva.example is a domain of this server already" in said.err

    assert postane("domain", "list", "--json").json == [
        {"domain": "xn--bcher-kva.example", "display": "bücher.example", "accounts": 0, "aliases": 0}
    ]
    assert "bücher.example" in postane("domain", "list").out
    postane("domain", "remove", "bücher.example")
    assert postane("domain", "list", "--json").json == []


def test_a_domain_with_people_stays(postane: Commands, ada: str) -> None:
    said = postane("domain", "remove", "example.org", status=1)

    assert "example.org still has 1 accounts and 0 aliases" in said.err
    assert f"postane account remove {ada}" in said.err


def test_an_account_gets_a_password_and_a_card(postane: Commands) -> None:
    postane("domain", "add", "example.org")

    made = postane("account", "add", "Ada@Example.ORG", "--name", "Ada L", "--quota", "5G", "--json").json

    assert made["address"] == "ada@example.org"
    assert made["account"] == "ada@example.org"
    assert made["quota_bytes"] == 5 << 30
    assert made["ports"]["imaps"] == 993
    assert re.fullmatch(r"[a-z2-7]{5}(-[a-z2-7]{5}){3}", made["password"])
    assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", made["fingerprint"])


def test_a_given_password_is_never_shown(postane: Commands, ada: str) -> None:
    shown = postane("account", "show", ada)
    changed = postane("account", "passwd", ada, "--password-stdin", stdin="other-1852")

    assert "lovelace-1815" not in shown.out
    assert "other-1852" not in changed.out + changed.err
    assert "port 993, SSL/TLS" in shown.out
    assert "0 messages in 6 mailboxes" in shown.out


def test_no_password_is_taken_as_an_argument(postane: Commands, ada: str) -> None:
    postane("account", "passwd", ada, "secret", status=2)
    said = postane("account", "passwd", ada, status=1)
    assert "--password-stdin" in said.err


def test_a_password_that_cannot_be_one_is_refused(postane: Commands, ada: str) -> None:
    assert "the password is empty" in postane("account", "passwd", ada, "--password-stdin", status=1).err.lower()
    said = postane("account", "passwd", ada, "--password-stdin", stdin="tab\there", status=1)
    assert "control character" in said.err
    assert "tab\there" not in said.err


def test_accounts_are_changed_disabled_and_removed(postane: Commands, ada: str) -> None:
    assert postane("account", "set", ada, "--quota", "10M", "--name", "A", "--json").json["quota_bytes"] == 10 << 20
    assert postane("account", "show", ada, "--json").json["display_name"] == "A"
    assert postane("account", "disable", ada, "--json").json["state"] == "disabled"
    assert postane("account", "enable", ada, "--json").json["state"] == "active"
    assert "Say --yes" in postane("account", "remove", ada, status=1).err
    folders = list((postane.data / "accounts").glob("??/*"))
    assert len(folders) == 1

    postane("account", "remove", ada, "--yes")

    assert postane("account", "list", "--json").json == []
    assert list((postane.data / "accounts").glob("??/*")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("account", "show", "bob@example.org"),
            ["There is no account bob@example.org", "account add bob@example.org"],
        ),
        (("account", "show", "bob@other.example"), ["other.example is no domain of this server"]),
        (("account", "add", "bob@other.example"), ["other.example is no domain", "postane domain add other.example"]),
        (("account", "add", "ada@example.org"), ["There is an account ada@example.org already"]),
        (("account", "add", "no-at-sign"), ["'no-at-sign' is no address", "name@example.org"]),
        (("account", "add", "a\nb@example.org"), ["control character"]),
        (("account", "add", "x" * 65 + "@example.org"), ["longer than 64 octets"]),
        (("account", "add", "../../etc@example.org"), ["is not a valid local part"]),
        (("account", "set", "ada@example.org"), ["Nothing is to be changed", "--quota"]),
        (("account", "set", "ada@example.org", "--quota", "lots"), ["'lots' is no size", "500M"]),
        (("domain", "add", "exa mple.org"), ["is no domain", "no host name"]),
        (("domain", "add", ""), ["the domain is empty"]),
        (("domain", "remove", "none.example"), ["none.example is no domain of this server"]),
        (("alias", "add", "info@none.example", "ada@example.org"), ["none.example is no domain of this server"]),
        (("alias", "add", "ada@example.org", "bob@example.net"), ["ada@example.org is an account"]),
        (("alias", "add", "info@example.org", "nobody"), ["'nobody' is no address"]),
        (("alias", "remove", "info@example.org"), ["There is no alias info@example.org"]),
        (("mailbox", "list", "bob@example.org"), ["There is no account bob@example.org"]),
        (("trace", "nothing"), ["There is no trace of nothing"]),
    ],
)
def test_mistakes_name_the_object_and_the_mend(
    postane: Commands, ada: str, arguments: tuple[str, ...], said: list[str]
) -> None:
    told = postane(*arguments, status=1)

    for words in said:
        assert words in told.err
    assert postane(*arguments, "--json", status=1).json["error"]


def test_odd_but_legal_names_work(postane: Commands, ada: str) -> None:
    for name in ('"a b"@example.org', "ömer@example.org", "o'neill!#$%@example.org", "a/b@example.org"):
        postane("account", "add", name)
        assert postane("account", "show", name, "--json").json["messages"] == 0


def test_aliases(postane: Commands, ada: str) -> None:
    postane("alias", "add", "info@example.org", ada, "elsewhere@example.net")
    postane("alias", "add", "@example.org", ada)
    postane("alias", "add", "sales+tr@example.org", ada)

    listed = postane("alias", "list", "example.org", "--json").json

    assert {one["alias"]: one["targets"] for one in listed} == {
        "info@example.org": [ada, "elsewhere@example.net"],
        "@example.org": [ada],
        "sales+tr@example.org": [ada],
    }
    assert "info@example.org" in postane("alias", "list").out
    postane("alias", "remove", "@example.org")
    postane("alias", "remove", "INFO@example.org")
    assert len(postane("alias", "list", "--json").json) == 1


def test_commands_want_a_data_folder(postane: Commands) -> None:
    said = postane("account", "list", status=1)

    assert f"There is no data folder {postane.data}" in said.err
    assert "--data" in said.err


def test_check_of_a_sound_folder_finds_nothing(postane: Commands, ada: str) -> None:
    assert postane("check", "--json").json == {"accounts": 1, "findings": []}
    assert postane("queue", "list", "--json").json == []
    assert "The queue is empty" in postane("queue", "list").out


def test_check_goes_on_past_an_account_that_cannot_be_read(postane: Commands, ada: str) -> None:
    postane("account", "add", "bob@example.org")
    files = sorted(postane.data.glob("accounts/*/*/mail.sqlite"))
    files[0].write_bytes(bytes(range(256)) * 64)
    for beside in files[0].parent.glob("mail.sqlite-*"):
        beside.unlink()

    said = postane("check", "--json", status=1).json

    assert said["accounts"] == 2
    (finding,) = said["findings"]
    assert finding["where"] == "the database file"
    assert str(files[0]) in finding["problem"]
    assert "backup" in finding["problem"]
