"""What is found in a message at delivery, and that nothing in it makes the finding fail."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from postane.core.flags import Flag
from postane.core.limits import MimeLimits
from postane.flow.deliver import OFF_LOOP_SIZE, PARSED_BY, Filing, facts_of, id_hash
from postane.mime.tree import unpack
from postane.store.api import AccountRef, Append, Facts, Filed, Role

LIMITS = MimeLimits()
MESSAGE = (
    b"Date: Thu, 21 May 1998 05:33:29 -0700\r\n"
    b"From: =?utf-8?q?Ay=C5=9Fe_Y=C4=B1lmaz?= <Ayse@Postane.test>\r\n"
    b"To: Team: \"Bora, K.\" <bora@postane.test>, far@elsewhere.test;\r\n"
    b"Cc: CARL <carl@x.test>\r\n"
    b"Subject: Re: [list] Toplant\xc4\xb1 (fwd)\r\n"
    b"Message-ID: <one@x.test>\r\n"
    b"In-Reply-To: <zero@x.test>\r\n"
    b"References: <minus@x.test>\r\n <zero@x.test>\r\n"
    b"\r\n"
    b"Hello,\r\nworld.\r\n"
)  # fmt: skip


def test_everything_is_found() -> None:
    facts = facts_of(MESSAGE, LIMITS)

    assert facts.header == MESSAGE[: MESSAGE.index(b"Hello")]
    assert facts.sent_date == 895754009
    assert facts.base_subject == "toplanti"
    assert facts.from_ == "ayse yilmaz <ayse@postane.test>"
    assert facts.to == "bora, k. <bora@postane.test>, <far@elsewhere.test>"
    assert facts.cc == "carl <carl@x.test>"
    assert facts.message_id_hash == id_hash(b"one@x.test")
    assert facts.reference_hashes == (id_hash(b"minus@x.test"), id_hash(b"zero@x.test"))
    assert facts.needs_utf8
    assert facts.preview == "Hello, world."
    assert facts.parsed_by == PARSED_BY
    assert facts.envelope.startswith(b'("Thu, 21 May 1998 05:33:29 -0700" {')
    assert facts.bodystructure.startswith(b'("TEXT" "PLAIN" ')
    assert unpack(facts.parts).body == len(facts.header)


def test_in_reply_to_stands_in_for_references() -> None:
    """RFC 5256 THREAD=REFERENCES (1): the first id only."""
    facts = facts_of(b"In-Reply-To: <a@x> <b@x>\r\n\r\n", LIMITS)

    assert facts.reference_hashes == (id_hash(b"a@x"),)
    assert facts.message_id_hash == b""


def test_references_are_bounded_and_the_nearest_stay() -> None:
    many = b" ".join(b"<%d@x>\r\n" % number for number in range(5000))
    facts = facts_of(b"References: " + many + b"\r\n\r\n", LIMITS)

    assert len(facts.reference_hashes) == 200
    assert facts.reference_hashes[-1] == id_hash(b"4999@x")


def test_an_empty_message() -> None:
    facts = facts_of(b"", LIMITS)

    assert facts.header == b""
    assert facts.sent_date is None
    assert (facts.from_, facts.to, facts.cc, facts.base_subject, facts.preview) == ("", "", "", "", "")
    assert not facts.needs_utf8


def test_a_view_is_as_good_as_bytes() -> None:
    assert facts_of(memoryview(MESSAGE), LIMITS) == facts_of(MESSAGE, LIMITS)


@given(st.lists(st.sampled_from([*MESSAGE.splitlines(keepends=True), b"\r\n", b"\x00", b"=?", b"<", b'"', b":"])))
def test_no_octets_make_it_fail(lines: list[bytes]) -> None:
    assert isinstance(facts_of(b"".join(lines), LIMITS), Facts)


@given(st.binary())
def test_no_noise_makes_it_fail(data: bytes) -> None:
    assert isinstance(facts_of(data, LIMITS), Facts)


def test_published_mails_all_have_facts(vectors: Path) -> None:
    paths = [path for folder in ("mail-sample", "mime-malformed", "mime-rubymail") for path in
             (vectors / folder).rglob("*") if path.is_file() and path.suffix != ".json"]  # fmt: skip
    for path in paths:
        facts = facts_of(path.read_bytes(), LIMITS)
        assert facts.envelope.startswith(b"(")
        assert facts.bodystructure.endswith(b")")
    assert len(paths) > 1000


# ---------------------------------------------------------------- filing


class Shelf:
    """A mail store that keeps the commands it is given."""

    def __init__(self) -> None:
        self.commands: list[Append] = []

    async def write(self, account: AccountRef, command: Append) -> Filed:
        self.commands.append(command)
        return Filed(1, 1, len(self.commands), "email", 1)


class Letter:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.is_open = True

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def sha256(self) -> bytes:
        return b""

    @property
    def small(self) -> bytes | None:
        return None

    def view(self) -> memoryview:
        return memoryview(self.data)

    async def close(self) -> None:
        self.is_open = False


async def test_filing_scans_and_appends() -> None:
    shelf, letter = Shelf(), Letter(MESSAGE)
    filed = await Filing(shelf, LIMITS).file(  # type: ignore[arg-type]
        AccountRef(1, "a"), Role.INBOX, letter, internal_date=5, prefix=b"X: y\r\n", flags=Flag.SEEN, delivery_id="d"
    )

    assert filed.uid == 1
    assert letter.is_open
    assert shelf.commands == [
        Append(Role.INBOX, letter, facts_of(MESSAGE, LIMITS), b"X: y\r\n", 5, Flag.SEEN, (), "d")
    ]  # fmt: skip


async def test_facts_that_are_given_are_not_sought_again() -> None:
    shelf, facts = Shelf(), facts_of(b"Subject: other\r\n\r\n", LIMITS)
    await Filing(shelf, LIMITS).file(  # type: ignore[arg-type]
        AccountRef(1, "a"), 7, Letter(MESSAGE), internal_date=5, facts=facts
    )

    assert shelf.commands[0].facts is facts


async def test_a_large_message_is_scanned_alike() -> None:
    data = MESSAGE + b"line\r\n" * (OFF_LOOP_SIZE // 6)

    assert await Filing(Shelf(), LIMITS).scan(Letter(data)) == facts_of(data, LIMITS)  # type: ignore[arg-type]
