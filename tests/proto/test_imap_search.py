"""SEARCH (RFC 3501 6.4.4) as octets and as a tree of keys."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.flags import Flag
from postane.core.limits import ImapLimits
from postane.proto.imap.charset import find_codec
from postane.proto.imap.command import (
    DateRelation,
    Recency,
    Search,
    SearchAll,
    SearchAnd,
    SearchDate,
    SearchFlag,
    SearchHeader,
    SearchKey,
    SearchKeyword,
    SearchNot,
    SearchOr,
    SearchRecency,
    SearchSet,
    SearchSize,
    SearchText,
    SequenceSet,
    Wrong,
)
from postane.proto.imap.syntax import parse

LIMITS = ImapLimits()
FEBRUARY = datetime.date(1994, 2, 1)
DELETED = SearchFlag(Flag.DELETED, True)
SEEN = SearchFlag(Flag.SEEN, True)


def numbers(*ranges: tuple[int, int], is_uid: bool = False) -> SearchSet:
    return SearchSet(SequenceSet(ranges), is_uid)


def date(relation: DateRelation, *, is_sent: bool = False) -> SearchDate:
    return SearchDate(relation, FEBRUARY, is_sent)


KEYS: list[tuple[bytes, SearchKey]] = [
    # the examples of RFC 3501 6.4.4
    (
        b'FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"',
        SearchAnd((SearchFlag(Flag.FLAGGED, True), date(DateRelation.SINCE), SearchNot(SearchHeader("From", "Smith")))),
    ),
    (b'TEXT "string not in mailbox"', SearchText("string not in mailbox", True)),
    (b"CHARSET UTF-8 TEXT {6}\r\n\xd0\x99\xd1\x86\xd1\x83", SearchText("Йцу", True)),
    # every key
    (b"1:4,9", numbers((1, 4), (9, 9))),
    (b"*", numbers((0, 0))),
    (b"all", SearchAll()),
    (b"ANSWERED", SearchFlag(Flag.ANSWERED, True)),
    (b"BCC x", SearchHeader("Bcc", "x")),
    (b"BEFORE 1-Feb-1994", date(DateRelation.BEFORE)),
    (b"BODY x", SearchText("x", False)),
    (b"CC x", SearchHeader("Cc", "x")),
    (b"DELETED", DELETED),
    (b"DRAFT", SearchFlag(Flag.DRAFT, True)),
    (b"FLAGGED", SearchFlag(Flag.FLAGGED, True)),
    (b"FROM x", SearchHeader("From", "x")),
    (b'HEADER X-Spam ""', SearchHeader("X-Spam", "")),
    (b"KEYWORD $Forwarded", SearchKeyword("$Forwarded", True)),
    (b"LARGER 4096", SearchSize(4096, True)),
    (b"NEW", SearchRecency(Recency.NEW)),
    (b"NOT SEEN", SearchNot(SEEN)),
    (b"OLD", SearchRecency(Recency.OLD)),
    (b'ON "01-feb-1994"', date(DateRelation.ON)),
    (b"OR SEEN DELETED", SearchOr(SEEN, DELETED)),
    (b"RECENT", SearchRecency(Recency.RECENT)),
    (b"SEEN", SEEN),
    (b"SENTBEFORE 1-FEB-1994", date(DateRelation.BEFORE, is_sent=True)),
    (b"SENTON 1-Feb-1994", date(DateRelation.ON, is_sent=True)),
    (b"SENTSINCE 1-Feb-1994", date(DateRelation.SINCE, is_sent=True)),
    (b"SINCE 1-Feb-1994", date(DateRelation.SINCE)),
    (b"SMALLER 1", SearchSize(1, False)),
    (b"SUBJECT {1}\r\nx", SearchHeader("Subject", "x")),
    (b"TEXT x", SearchText("x", True)),
    (b"TO x", SearchHeader("To", "x")),
    (b"UID 3:*", numbers((3, 0), is_uid=True)),
    (b"UNANSWERED", SearchFlag(Flag.ANSWERED, False)),
    (b"UNDELETED", SearchFlag(Flag.DELETED, False)),
    (b"UNDRAFT", SearchFlag(Flag.DRAFT, False)),
    (b"UNFLAGGED", SearchFlag(Flag.FLAGGED, False)),
    (b"UNKEYWORD x", SearchKeyword("x", False)),
    (b"unseen", SearchFlag(Flag.SEEN, False)),
    # how they nest
    (b"((SEEN))", SEEN),
    (b"( SEEN  DELETED )", SearchAnd((SEEN, DELETED))),
    (b"NOT NOT SEEN", SearchNot(SearchNot(SEEN))),
    (b"OR NOT SEEN (DELETED ALL)", SearchOr(SearchNot(SEEN), SearchAnd((DELETED, SearchAll())))),
    (b"OR OR SEEN DELETED ALL", SearchOr(SearchOr(SEEN, DELETED), SearchAll())),
    (b"NOT OR SEEN DELETED ALL", SearchAnd((SearchNot(SearchOr(SEEN, DELETED)), SearchAll()))),
    (b"1:* NOT DELETED", SearchAnd((numbers((1, 0)), SearchNot(DELETED)))),  # how an iPhone asks
    # charsets
    (b'TEXT "\xc3\xbc"', SearchText("ü", True)),  # without a word, as clients do
    (b'CHARSET iso-8859-9 TEXT "\xfe\xfd"', SearchText("şı", True)),
    (b'CHARSET "windows-1254" SUBJECT "\xf0"', SearchHeader("Subject", "ğ")),
    (b"CHARSET us-ascii ALL", SearchAll()),
    (b"CHARSET KOI8-U BODY {1}\r\n\xa4", SearchText("є", False)),
    (b"CHARSET utf-16be BODY {2+}\r\n\x01\x31", SearchText("ı", False)),
]


@pytest.mark.parametrize(("text", "key"), KEYS, ids=lambda value: repr(value) if type(value) is bytes else "")
def test_keys(text: bytes, key: SearchKey) -> None:
    assert parse(b"a SEARCH " + text, LIMITS) == Search(b"a", False, key)
    assert parse(b"a uid search  " + text + b"  ", LIMITS) == Search(b"a", True, key)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "A SEARCH key expected at the end"),
        (b"()", "A SEARCH key expected"),
        (b"(SEEN", "A ) expected at the end"),
        (b"SEEN)", "A SEARCH key expected at octet 14"),
        (b"NOT", "A space expected at the end"),
        (b"NOT ", "A SEARCH key expected at the end"),
        (b"OR SEEN", "A SEARCH key expected at the end"),
        (b"(OR SEEN)", "A SEARCH key expected"),
        (b"FOO", "no key FOO"),
        (b"MODSEQ 5", "no key MODSEQ"),
        (b"RETURN (ALL) ALL", "no key RETURN"),
        (b"SEENDELETED", "no key SEENDELETED"),
        (b"SEEN(DELETED)", "A space or )"),
        (b"TEXT", "A space"),
        (b'TEXT "x"y', "A space or )"),
        (b"SINCE 31-Feb-1994", "no such date"),
        (b"SINCE 1-Foo-1994", "no such date"),
        (b'SINCE "1-Feb-1994', "A date"),
        (b"SINCE 1994-02-01", "A date"),
        (b"LARGER x", "number of octets"),
        (b"LARGER -1", "number of octets"),
        (b"LARGER " + b"9" * 5000, "number of octets"),
        (b"UID x", "set of numbers"),
        (b"0", "neither a number nor a range"),
        (b"KEYWORD \\Seen", "A keyword"),
        (b"KEYWORD " + b"k" * 65, "64 octets"),
        (b'CHARSET UTF-8 TEXT "\xff"', "not in the charset utf-8"),
        (b'TEXT "\xff"', "not in the charset utf-8"),
        (b'CHARSET US-ASCII TEXT "\xc3\xbc"', "not in the charset ascii"),
        (b"CHARSET UTF-8", "A space expected at the end"),
        (b"CHARSET UTF-8 ", "A SEARCH key expected"),
        (b"(" * 10_000 + b"ALL" + b")" * 10_000, "50 deep"),
        (b"NOT " * 51 + b"ALL", "50 deep"),
        (b"OR ALL " * 51 + b"ALL", "50 deep"),
        (b"ALL " * 1001, "1000 keys"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_refused(text: bytes, why: str) -> None:
    wrong = parse(b"a SEARCH " + text, LIMITS)

    assert isinstance(wrong, Wrong), wrong
    assert why in wrong.text
    assert not wrong.is_no


@pytest.mark.parametrize(
    "charset", [b"X-NOPE", b"base64", b"rot13", b"idna", b"\xff", b"x" * 5000, b"../aliases", b"mbcs"]
)
def test_unknown_charsets(charset: bytes) -> None:
    wrong = parse(b'a SEARCH CHARSET "' + charset + b'" ALL', LIMITS)

    assert isinstance(wrong, Wrong)
    assert (wrong.is_no, wrong.code) == (True, b"BADCHARSET (US-ASCII UTF-8)")


def test_every_charset_that_is_known_is_one_of_text() -> None:
    for charset in (b"US-ASCII", b"utf8", b"ISO-2022-JP", b"EUC-KR", b"Big5", b"GB18030", b"windows-874", b"UTF-7"):
        b"abc".decode(find_codec(charset))


WORDS = [text for text, _ in KEYS] + [b"(", b")", b"NOT ", b"OR ", b" ", b"CHARSET ", b'"', b"{1}\r\n"]


@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=3), max_size=12).map(b" ".join))
def test_no_search_raises(text: bytes) -> None:
    assert isinstance(parse(b"a SEARCH " + text, LIMITS), Search | Wrong)


def leaves() -> st.SearchStrategy[tuple[bytes, SearchKey]]:
    return st.sampled_from(
        [(text, key) for text, key in KEYS if not isinstance(key, SearchAnd) and b"CHARSET" not in text]
    )


def nested(
    inner: st.SearchStrategy[tuple[bytes, SearchKey]],
) -> st.SearchStrategy[tuple[bytes, SearchKey]]:
    def both(keys: list[tuple[bytes, SearchKey]]) -> tuple[bytes, SearchKey]:
        return b"(" + b" ".join(text for text, _ in keys) + b")", SearchAnd(tuple(key for _, key in keys))

    return st.one_of(
        inner.map(lambda made: (b"NOT " + made[0], SearchNot(made[1]))),
        st.tuples(inner, inner).map(
            lambda made: (b"OR " + made[0][0] + b" " + made[1][0], SearchOr(made[0][1], made[1][1]))
        ),
        st.lists(inner, min_size=2, max_size=4).map(both),
    )


@given(st.recursive(leaves(), nested, max_leaves=20))
def test_every_tree_is_read_as_it_was_written(made: tuple[bytes, SearchKey]) -> None:
    text, key = made

    assert parse(b"a SEARCH " + text, LIMITS) == Search(b"a", False, key)
