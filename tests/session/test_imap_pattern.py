"""LIST patterns against the definition read aloud (RFC 3501 6.3.8), and in linear time."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.session.imap.pattern import Pattern

TEXT = st.text("ab/", max_size=8)
WILD = st.text("ab/*%", max_size=8)


def by_expression(pattern: str, name: str) -> bool:
    words = {"*": ".*", "%": "[^/]*"}
    return re.fullmatch("".join(words.get(c, re.escape(c)) for c in pattern), name, re.DOTALL) is not None


@given(WILD, TEXT)
def test_a_pattern_matches_what_it_says(pattern: str, name: str) -> None:
    assert Pattern(pattern).matches(name) == by_expression(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*a%b", "xa/ab", True),  # the first "a" is the wrong one
        ("%", "a/b", False),
        ("*", "a/b", True),
        ("%/%", "a/b", True),
        ("a*%*b", "a/c/b", True),
        ("", "", True),
        ("Ünal%", "Ünal/x", False),
    ],
)
def test_examples(pattern: str, name: str, matches: bool) -> None:
    assert Pattern(pattern).matches(name) is matches


def test_no_pattern_takes_long() -> None:
    pattern = Pattern("*a" * 500 + "%b" * 500)
    began = time.process_time()

    assert not pattern.matches("a" * 1000)
    assert time.process_time() - began < 5  # exponential ones never end
