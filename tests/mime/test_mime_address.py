"""Address lists, as ENVELOPE gives them (RFC 5322 3.4, 4.4; RFC 3501 7.4.2)."""

from __future__ import annotations

import email.utils
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.message import MessageAddress
from postane.mime.address import parse_addresses
from postane.mime.header import unfold
from postane.mime.words import decode_words

Quad = tuple[bytes | None, bytes | None, bytes | None, bytes | None]
END: Quad = (None, None, None, None)


def quads(value: bytes) -> list[Quad]:
    return [(each.name, each.route, each.mailbox, each.host) for each in parse_addresses(value)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", []),
        (b"  ", []),
        (b",,", []),
        (b"a@b", [(None, None, b"a", b"b")]),
        (b"<a@b>", [(None, None, b"a", b"b")]),
        (b"A B <a@b>, c@d", [(b"A B", None, b"a", b"b"), (None, None, b"c", b"d")]),
        (b'"B, A" <a@b>', [(b"B, A", None, b"a", b"b")]),
        (rb'"a \"b\" \\" <a@b>', [(rb'a "b" ' + b"\\", None, b"a", b"b")]),
        (b"a@b (Name)", [(b"Name", None, b"a", b"b")]),
        (b"a@b (Name (in (it)))", [(b"Name (in (it))", None, b"a", b"b")]),
        (b"<a@b> (Name)", [(b"Name", None, b"a", b"b")]),
        (b"Real <a@b> (Name)", [(b"Real", None, b"a", b"b")]),
        (b'"john doe"@b', [(None, None, b"john doe", b"b")]),
        (b'<"a@x"@b>', [(None, None, b"a@x", b"b")]),
        (b"Mary <@x,@y.z:mary@b>", [(b"Mary", b"@x,@y.z", b"mary", b"b")]),
        (b"jdoe@test  . example", [(None, None, b"jdoe", b"test.example")]),
        (b"John <jdoe@machine(comment).  example>", [(b"John", None, b"jdoe", b"machine.example")]),
        (b"a@[192.0.2.1]", [(None, None, b"a", b"[192.0.2.1]")]),
        (b"a@[IPv6:2001:db8::1], c@d", [(None, None, b"a", b"[IPv6:2001:db8::1]"), (None, None, b"c", b"d")]),
        (b"=?utf-8?q?a=2C_b?= <a@b>", [(b"=?utf-8?q?a=2C_b?=", None, b"a", b"b")]),
        (b"=?utf-8?q?a, b?= <a@b>", [(b"=?utf-8?q?a, b?=", None, b"a", b"b")]),
        (b"J. R. Doe <a@b>", [(b"J. R. Doe", None, b"a", b"b")]),
        (b"John a@b", [(b"John", None, b"a", b"b")]),
        (b"a@b@c", [(None, None, b"a@b", b"c")]),
        (b"<a@b", [(None, None, b"a", b"b")]),
        (b"X <a@b, c@d>", [(b"X", None, b"a", b"b"), (None, None, b"c", b"d")]),
        (b"<<a@b>>", [(None, None, b"a", b"b")]),
        (b'"John <a@b>, c@d', [(b"John", None, b"a", b"b"), (None, None, b"c", b"d")]),
        (b"Foo (bar <a@b>", [(b"Foo bar", None, b"a", b"b")]),
        (b"no address", [(None, None, b"no address", b"")]),
        (b"a@b; c@d", [(None, None, b"a", b"b"), (None, None, b"c", b"d")]),
        # RFC 5322 A.1.3: groups
        (b"G:a@b, C <c@d>;, e@f", [
            (None, None, b"G", None), (None, None, b"a", b"b"), (b"C", None, b"c", b"d"), END, (None, None, b"e", b"f"),
        ]),
        (b"Undisclosed recipients:;", [(None, None, b"Undisclosed recipients", None), END]),
        (b"G: a@b", [(None, None, b"G", None), (None, None, b"a", b"b"), END]),
        (b'"g, 1": a@b; (end)', [(None, None, b"g, 1", None), (None, None, b"a", b"b"), END]),
    ],
)  # fmt: skip
def test_addresses(value: bytes, expected: list[Quad]) -> None:
    assert quads(value) == expected


def test_at_most_so_many() -> None:
    assert len(parse_addresses(b"a@b," * 5000, 10)) == 10
    assert len(parse_addresses(b"(x) a@b," * 5000, 10)) == 10


ATOMS = st.text("abcXYZ019.-_+=?", min_size=1, max_size=12).map(lambda text: text.strip(".")).filter(bool)


@given(st.lists(st.tuples(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20), ATOMS, ATOMS)))
def test_what_the_library_formats_is_read_back(people: list[tuple[str, str, str]]) -> None:
    people = [(" ".join(name.split()), local, host) for name, local, host in people]
    value = ", ".join(email.utils.formataddr((name, f"{local}@{host}")) for name, local, host in people)

    assert [
        ((each.name or b"").decode(), (each.mailbox or b"").decode(), (each.host or b"").decode())
        for each in parse_addresses(value.encode())
    ] == people


@given(
    st.lists(st.sampled_from([*map(bytes, zip(b'a<>@,;:."()\\ [')), b"=?u?q?", b"?=", b"\xff", b"\0"])).map(b"".join)
)
def test_nothing_breaks_the_parser(value: bytes) -> None:
    found = parse_addresses(value)

    opened = 0
    for address in found:
        if address.host is None:
            opened += 1 if address.mailbox is not None else -1
        else:
            assert address.mailbox is not None
        assert opened in (0, 1)
    assert opened == 0


# The reference parser joins comments to names and gives entries without an address; the envelope has no place for them.
COMMENTS_DIFFER = ("Pete(", "A Group(", "(Empty list)", "Nathaniel", "Name (comment)", "John Doe <jdoe@machine(")
# It ends a value at the first line that is no continuation, or keeps white space round dots.
REST_DIFFERS = ("test@test.com\n", '"=?ISO-8859-1?Q =', "Mary Smith <@node.test")


def test_the_published_vectors(vectors: Path) -> None:
    compared = 0
    for row in json.loads((vectors / "mime-malformed" / "address.json").read_text()):
        if row["header"].startswith(COMMENTS_DIFFER + REST_DIFFERS):
            continue
        groups = row["expected"].get("Group") or [{"name": None, "addresses": row["expected"]["List"]}]
        expected = [(entry["name"], entry["address"]) for group in groups for entry in group["addresses"]]
        names = [group["name"] for group in groups if group["name"] is not None]

        found = parse_addresses(unfold(row["header"].encode()))

        assert [shown(each) for each in found if each.host is not None] == expected, row["header"]
        assert [decode_words(each.mailbox) for each in found if each.host is None and each.mailbox] == names
        compared += 1
    assert compared == 50


def shown(address: MessageAddress) -> tuple[str | None, str]:
    assert address.mailbox is not None
    spec = address.mailbox + (b"@" + address.host if address.host else b"")
    return (decode_words(address.name) if address.name is not None else None), spec.decode()
