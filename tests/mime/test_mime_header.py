"""Header sections: where they end, their fields, and the envelope (RFC 3501 7.4.2)."""

from __future__ import annotations

import mmap
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.limits import MimeLimits
from postane.core.message import MessageAddress
from postane.mime.header import envelope, fields_with_junk, has_header, header_end, message_ids, split_fields

LIMITS = MimeLimits()
HEADERISH = st.lists(
    st.sampled_from(
        [
            b"a: b",
            b"To:",
            b"From: me@x",
            b"sender:",
            b" folded",
            b"\tx",
            b"junk",
            b"From me",
            b"\r\n",
            b"\n",
            b"\r",
            b":",
            b"\0",
            b"\xff",
        ]
    )
).map(b"".join)


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", 0),
        (b"A: b\r\n\r\nbody", 8),
        (b"A: b\n\nbody", 6),
        (b"A: b\n\r\nbody", 7),
        (b"A: b\r\n \r\n\r\nbody", 11),
        (b"A: b\r\n", 6),
        (b"A: b", 4),
        (b"A:\n\nbody", 4),
        (b"\r\nbody", 2),
        (b"\nbody", 1),
        (b"From me Thu Jan 1 00:00:00 1970\nA: b\n\nbody", 38),
        (b"no field at all\n\nbody", 0),
        (b" A: b\n\nbody", 0),
        (b": b\n\nbody", 0),
        (b"A: b\njunk line\nC: d\n\nbody", 21),
    ],
)
def test_where_the_header_ends(data: bytes, end: int) -> None:
    assert header_end(data) == end
    assert header_end(memoryview(data)) == end
    assert has_header(data) == (end > 0)


def test_a_range_of_a_map_of_a_file() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"xxA: b\n\nbody")
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            assert header_end(data, 2) == 8
            assert header_end(data, 2, 5) == 5


def test_fields_keep_their_bytes_and_give_unfolded_values() -> None:
    header = b"From me\r\nSubject: one\r\n two\r\njunk\r\nX-Empty:\r\nTo :\tme\nCc: \r\n\tyou  \n\r\n"

    fields = split_fields(header, LIMITS)

    assert [(field.name, field.value) for field in fields] == [
        (b"Subject", b"one two"),
        (b"X-Empty", b""),
        (b"To", b"me"),
        (b"Cc", b"you"),
    ]
    assert fields[0].raw == b"Subject: one\r\n two\r\n"
    assert fields[3].raw == b"Cc: \r\n\tyou  \n"


def test_fields_are_bounded() -> None:
    assert len(split_fields(b"a: b\n" * 5000, LIMITS)) == LIMITS.header_fields
    assert len(split_fields(b"a: b\n" * 50, MimeLimits(header_bytes=50))) == 10


@given(HEADERISH)
def test_fields_with_junk_are_all_of_the_header(header: bytes) -> None:
    pieces = list(fields_with_junk(header))

    assert b"".join(raw for _, raw, _ in pieces) == header
    end = header_end(header)
    if end and not header.startswith((b"\n", b"\r\n")):
        named = [(name, value) for name, _, value in fields_with_junk(header[:end]) if name is not None]
        assert named == [(field.name, field.value) for field in split_fields(header[:end], LIMITS)]


def test_the_envelope_of_the_standard() -> None:
    """RFC 3501 8, the sample session."""
    header = (
        b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
        b"From: Terry Gray <gray@cac.washington.edu>\r\n"
        b"Subject: IMAP4rev1 WG mtg summary and minutes\r\n"
        b"To: imap@cac.washington.edu\r\n"
        b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
        b"Message-Id: <B27397-0100000@cac.washington.edu>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n"
    )

    found = envelope(header, LIMITS)

    gray = MessageAddress(b"Terry Gray", None, b"gray", b"cac.washington.edu")
    assert found.date == b"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)"
    assert found.subject == b"IMAP4rev1 WG mtg summary and minutes"
    assert found.from_ == found.sender == found.reply_to == (gray,)
    assert found.to == (MessageAddress(None, None, b"imap", b"cac.washington.edu"),)
    assert found.cc == (
        MessageAddress(None, None, b"minutes", b"CNRI.Reston.VA.US"),
        MessageAddress(b"John Klensin", None, b"KLENSIN", b"MIT.EDU"),
    )
    assert found.bcc == ()
    assert found.in_reply_to is None
    assert found.message_id == b"<B27397-0100000@cac.washington.edu>"


def test_an_envelope_of_little() -> None:
    found = envelope(b"Subject:\r\nSubject: second\r\nFrom: a@b\r\nSender:\r\nTo: c@d\r\nTO: e@f\r\n\r\n", LIMITS)

    # RFC 9051 7.5.2: there but empty is the empty string, absent is NIL.
    assert found.subject == b""
    assert found.date is None
    assert found.sender == found.from_
    assert [address.mailbox for address in found.to] == [b"c", b"e"]


def test_the_envelope_keeps_encoded_words_and_unfolds() -> None:
    found = envelope(b"Subject: =?utf-8?q?a?=\r\n =?utf-8?q?b?=\r\nFrom: =?utf-8?q?J?=\n\t<a@b>\n\n", LIMITS)

    assert found.subject == b"=?utf-8?q?a?= =?utf-8?q?b?="
    assert found.from_ == (MessageAddress(b"=?utf-8?q?J?=", None, b"a", b"b"),)


@given(HEADERISH)
def test_no_header_breaks_the_envelope(header: bytes) -> None:
    found = envelope(header, LIMITS)

    if found.from_:
        assert found.sender
        assert found.reply_to


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (b"<a@b>", (b"a@b",)),
        (b"<a@b>\r\n <c@d>\n", (b"a@b", b"c@d")),
        (b"<a@b><c@d>", (b"a@b", b"c@d")),
        (b"Your message of <a@b> yesterday", (b"a@b",)),
        (b"<>", ()),
        (b"a@b", (b"a@b",)),
        (b"a@b c@d e", (b"a@b", b"c@d")),
        (b"m", (b"m",)),
        (b"", ()),
        (b"<<<<<", ()),
    ],
)
def test_message_ids(value: bytes, ids: tuple[bytes, ...]) -> None:
    assert message_ids(value) == ids
