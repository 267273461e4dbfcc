"""Flag lists on the wire, and which keywords are atoms."""

from __future__ import annotations

import pytest

from postane.core.flags import BY_NAME, COMBINED, Flag, is_keyword, wire


def test_every_combination_names_its_flags() -> None:
    for bits in range(32):
        named = {BY_NAME[name.lower()] for name in COMBINED[bits].split()}
        assert Flag(bits) == sum(named, Flag(0))


def test_keywords_follow_the_flags() -> None:
    assert wire(Flag.SEEN | Flag.ANSWERED, "$Forwarded todo") == b"\\Answered \\Seen $Forwarded todo"
    assert wire(0, "todo") == b"todo"
    assert wire(0) == b""


@pytest.mark.parametrize("name", [b"$Forwarded", b"NonJunk", b"a", b"x" * 64, b"[label", b"a.b/c"])
def test_atoms(name: bytes) -> None:
    assert is_keyword(name)


@pytest.mark.parametrize(
    "name", [b"", b"\\Seen", b"a b", b"a(", b"x" * 65, b"caf\xc3\xa9", b"a]", b'a"', b"a*", b"a\x00"]
)
def test_not_atoms(name: bytes) -> None:
    assert not is_keyword(name)
