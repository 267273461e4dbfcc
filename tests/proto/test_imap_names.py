"""Modified UTF-7 (RFC 3501 5.1.3) and the names of mailboxes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.status import Condition, MailError
from postane.proto.imap.names import decode, encode

BOTH_WAYS = [
    (b"INBOX", "INBOX"),
    (b"INBOX/a", "INBOX/a"),
    (b"Inboxes", "Inboxes"),
    (b"a b", "a b"),
    (b"", ""),
    (b"&-", "&"),
    (b"Tom &- Jerry", "Tom & Jerry"),
    (b"&-&-", "&&"),
    (b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),  # the example of the RFC
    (b"G&APY-nderilmi&AV8-", "Gönderilmiş"),
    (b"&2D3eAA-", "😀"),
    (b"&AOQ-&-&AOQ-", "ä&ä"),
    (b"&AOQA9gD8-", "äöü"),
]


@pytest.mark.parametrize(("wire", "name"), BOTH_WAYS)
def test_names_both_ways(wire: bytes, name: str) -> None:
    assert decode(wire) == name
    assert encode(name) == wire


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        (b"iNbOx", "INBOX"),
        (b"inbox/Sub", "INBOX/Sub"),
        (b"inbox.x", "inbox.x"),
        (b"a&AwE-", "á"),  # a and a combining acute: NFC
    ],
)
def test_one_spelling_inside(wire: bytes, name: str) -> None:
    assert decode(wire) == name


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (b"&", "begins no modified UTF-7"),
        (b"&AOQ", "begins no modified UTF-7"),
        (b"&Jjo!", "begins no modified UTF-7"),
        (b"&AO/-", "begins no modified UTF-7"),
        (b"&A-", "cut short"),
        (b"&AO-", "cut short"),
        (b"&AOR-", "cut short"),
        (b"&AOQAAA-", "control character"),
        (b"&AOQAA-", "cut short"),
        (b"&U,BTFw-&ZeVnLIqe-", "leaves base64 and enters it again"),
        (b"&AGE-", "hides printable ASCII"),
        (b"&ACY-", "hides printable ASCII"),
        (b"&2D0-", "half a character"),
        (b"&3gA-", "half a character"),
        (b"G\xc3\xb6n", "not all printable ASCII"),
        (b"a\0b", "not all printable ASCII"),
        (b"a\tb", "not all printable ASCII"),
        (b"a\r\nb", "not all printable ASCII"),
        (b"a\n", "not all printable ASCII"),
        (b"a\x7f", "not all printable ASCII"),
        (b"&AAA-", "control character"),
        (b"&AAo-", "control character"),
        (b"&AIU-", "control character"),
        (b"&ICg-", "control character"),
    ],
)
def test_what_is_refused(wire: bytes, why: str) -> None:
    with pytest.raises(MailError, match=why) as refused:
        decode(wire)

    assert refused.value.condition is Condition.MAILBOX_BAD_NAME


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))))
def test_every_name_comes_back(name: str) -> None:
    wire = encode(unicodedata.normalize("NFC", name))

    assert wire.isascii()
    assert wire.decode("ascii").isprintable()
    assert encode(decode(wire)) == wire or name[:5].upper() == "INBOX"


@given(st.binary(max_size=30) | st.text("&-,+/AQOabDk2", max_size=30).map(str.encode))
def test_no_two_wire_names_for_one_name(wire: bytes) -> None:
    try:
        name = decode(wire)
    except MailError:
        return
    if unicodedata.is_normalized("NFC", name) and not name.startswith("INBOX"):
        assert encode(name) == wire or decode(encode(name)) == name != wire.decode("ascii")
