"""FETCH of sections and header fields, against the standard library's reading of the same messages."""

from __future__ import annotations

import asyncio
import email
import email.message
import hashlib
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imap_world import Client, World, message

from postane.proto.imap.command import Section, SectionText
from postane.session.imap.items import FEW, header_filter
from postane.store.api import Expunge, Purge

LITERAL = re.compile(rb"(BODY\[[^\]]*\](?:<\d+>)?|RFC822[.A-Z]*) (?:\{(\d+)\}\r\n|NIL)")


def literals(said: bytes) -> dict[bytes, bytes | None]:
    """The sections of one FETCH line."""
    found: dict[bytes, bytes | None] = {}
    at = said.index(b"(") + 1
    while match := LITERAL.match(said, at):
        size = match[2]
        end = match.end() + int(size or 0)
        found[match[1]] = said[match.end() : end] if size is not None else None
        at = end + 1
    return found


async def sections(client: Client, number: int, *wanted: bytes) -> list[bytes | None]:
    said = await client.say(b"FETCH %d (%b)" % (number, b" ".join(b"BODY.PEEK[%b]" % each for each in wanted)))
    assert b" OK " in said, said
    found = literals(said)
    return [found[b"BODY[%b]" % re.sub(rb"(\].*)", b"", each)] for each in wanted]


# ---------------------------------------------------------------- parts


def entity(kind: str, body: bytes, boundary: str = "") -> bytes:
    parameter = f'; boundary="{boundary}"' if boundary else ""
    return f"Content-Type: {kind}{parameter}\r\nX-Mark: {kind}\r\n\r\n".encode() + body


def multipart(parts: list[bytes], has_preamble: bool) -> bytes:
    boundary = hashlib.sha256(b"".join(parts)).hexdigest()[:12]
    line = b"--" + boundary.encode()
    preamble = b"preamble\r\n" if has_preamble else b""
    body = preamble + b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"
    return entity("multipart/mixed", body, boundary)


TEXTS = st.binary(max_size=60).map(lambda octets: octets.hex(" ", 2).encode() + b"\r\nline two\r\n")
LEAVES = st.builds(entity, st.sampled_from(["text/plain", "text/html", "image/png"]), TEXTS)


def grown(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.one_of(
        st.builds(multipart, st.lists(inner, min_size=1, max_size=3), st.booleans()),
        inner.map(lambda part: entity("message/rfc822", b"Subject: within\r\nMIME-Version: 1.0\r\n" + part)),
    )


TREES = st.recursive(LEAVES, grown, max_leaves=6)


def header_of(part: email.message.Message) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in part.raw_items()) + b"\r\n"


def expected(part: email.message.Message, path: tuple[int, ...], *, is_root: bool) -> Iterator[tuple[bytes, bytes]]:
    """Section -> octets, as RFC 3501 6.4.5 counts the parts that the standard library has found."""
    here = b".".join(b"%d" % number for number in path)
    if path and not is_root:
        yield here + b".MIME", header_of(part)
    if part.get_content_maintype() == "multipart":
        for number, child in enumerate(part.get_payload(), 1):
            yield from expected(child, (*path, number), is_root=False)
    elif part.get_content_type() == "message/rfc822":
        if is_root:  # the root of a message counts as its part 1
            here, path = b".".join((here, b"1")).lstrip(b"."), (*path, 1)
        inner = part.get_payload(0)
        yield here + b".HEADER", header_of(inner)
        yield here + b".HEADER.FIELDS (subject x-none)", b"Subject: within\r\n\r\n"
        yield from expected(inner, path, is_root=True)
    else:
        where = here + (b".1" if path else b"1") if is_root else here
        yield where, part.get_payload().encode("ascii")


async def check_tree(data: bytes, folder: Path) -> None:
    async with World(folder) as world:
        await world.deliver(data, prefix=b"Return-Path: <>\r\n")
        client = await world.client()
        await client.say(b"EXAMINE INBOX")
        wanted = dict(expected(email.message_from_bytes(data), (), is_root=True))

        found = await sections(client, 1, *wanted)

        assert dict(zip(wanted, found, strict=True)) == wanted
        assert await sections(client, 1, b"99", b"1.99.99", b"TEXT", b"") == [
            None,
            None,
            data.partition(b"\r\n\r\n")[2],
            b"Return-Path: <>\r\n" + data,
        ]


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_sections_are_the_parts_that_the_standard_library_finds(tree: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check_tree(b"Subject: outer\r\nMIME-Version: 1.0\r\n" + tree, Path(folder)))


# ---------------------------------------------------------------- the whole, and parts of it


@pytest.mark.parametrize("size", [0, 10, 32_000, 70_000, 300_000])
async def test_partials_are_slices_of_the_whole(size: int, tmp_path: Path) -> None:
    """Held in the database, in a file and read at once, in a file and streamed; the prefix comes first."""
    prefix, data = b"Return-Path: <>\r\n", message("long", "0123456789" * (size // 10))
    whole = prefix + data
    async with World(tmp_path) as world:
        await world.deliver(data, prefix=prefix)
        client = await world.client()
        await client.say(b"SELECT INBOX")
        for first in (0, 1, len(prefix) - 1, len(prefix), len(prefix) + 1, size, len(whole) - 1, len(whole), 10**9):
            for count in (1, 7, len(prefix) + 3, 66_000, 10**9):
                said = await client.say(b"FETCH 1 BODY.PEEK[]<%d.%d>" % (first, count))

                assert literals(said) == {b"BODY[]<%d>" % first: whole[first : first + count]}
        said = await client.say(b"FETCH 1 (BODY.PEEK[TEXT]<3.70000> BODY.PEEK[1] RFC822.SIZE RFC822.HEADER)")
        found = literals(said.replace(b"(RFC822.SIZE %d " % len(whole), b"("))
        body = data.partition(b"\r\n\r\n")[2]

        assert found == {
            b"RFC822.HEADER": whole[: -len(body)],
            b"BODY[TEXT]<3>": body[3:70_003],
            b"BODY[1]": body,
        }


async def test_the_sample_mails_come_out_as_they_went_in(vectors: Path, tmp_path: Path) -> None:
    paths = sorted(vectors.glob("mail-sample/*/*.eml"))[::10] + sorted(vectors.glob("mime-*/*/*.eml"))
    mails = [path.read_bytes() for path in paths]
    assert len(mails) > 200
    async with World(tmp_path) as world:
        for data in mails:
            await world.deliver(data)
        client = await world.client()
        await client.say(b"SELECT INBOX")
        for number, data in enumerate(mails, 1):
            whole, header, text = await sections(client, number, b"", b"HEADER", b"TEXT")

            assert whole == data
            assert (header or b"") + (text or b"") == data
            assert b" OK " in await client.say(b"FETCH %d (FULL BODYSTRUCTURE BODY.PEEK[1.MIME])" % number)
        # Listing opens no body and sets no \\Seen
        assert await client.say(b"SEARCH SEEN") == b"* SEARCH\r\nt%d OK SEARCH completed\r\n" % client.number


async def test_a_message_that_can_not_be_read_keeps_nobody_from_the_others(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for size in (10, 40_000, 80_000, 10):
            await world.deliver(message("m", "x" * size))
        client = await world.client()
        await client.say(b"SELECT INBOX")
        for blob in (tmp_path / "accounts").rglob("blobs/*"):
            if blob.is_file():
                blob.unlink()

        said = await client.say(b"FETCH 1:4 (UID BODY[])")

        assert re.findall(rb"^\* (\d) FETCH \(UID", said, re.MULTILINE) == [b"1", b"4"]
        assert re.findall(rb"^\* (\d) FETCH \(FLAGS", said, re.MULTILINE) == [b"1", b"4"]
        assert re.search(rb"\r\nt\d+ NO \[[A-Z]+\] ", said)


async def test_what_was_removed_for_good_is_passed_over(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for subject in ("one", "two"):
            await world.deliver(message(subject))
        client = await world.client()
        await client.say(b"SELECT INBOX")
        inbox = (await world.mail.mailbox(world.account, "INBOX")).id
        await world.mail.write(world.account, Expunge(inbox, [1], only_deleted=False))
        world.clock.turn(3 * 86_400)
        await world.mail.write(world.account, Purge(int(world.clock.now())))

        assert re.match(rb"\* 2 FETCH \(UID 2\)\r\nt\d+ NO \[EXPUNGEISSUED\]", await client.say(b"FETCH 1:2 UID"))
        assert re.match(rb"t\d+ NO \[EXPUNGEISSUED\]", await client.say(b"FETCH 1 BODY[]"))
        assert b"* 1 EXPUNGE\r\n" in await client.say(b"NOOP")


# ---------------------------------------------------------------- header fields

NAMES = [b"From", b"To", b"X-To", b"To-Do", b"Subject", b"a%b"]
LINES = st.lists(
    st.one_of(
        st.builds(
            lambda name, blank, value: name + blank + b":" + value,
            st.sampled_from([*NAMES, b"FROM", b"x-to"]),
            st.sampled_from([b"", b" ", b"\t "]),
            st.sampled_from([b"", b" v", b" v\r\n folded", b" \r\n\t\r\n x"]),
        ),
        st.sampled_from([b"no field", b" continues nothing", b":", b"Froma: x"]),
    ),
    max_size=6,
)


def by_lines(header: bytes, names: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """The fields named and the others, line by line; the empty line belongs to both."""
    chosen, others = [], []
    wanted = {name.lower() for name in names}
    is_wanted = False
    for line in re.findall(rb"[^\n]*\n|[^\n]+", header):
        if line in (b"\r\n", b"\n"):
            chosen.append(line)
            others.append(line)
            continue
        if line[:1] not in b" \t":
            name, colon, _ = line.partition(b":")
            is_wanted = bool(colon) and name.rstrip(b" \t").lower() in wanted
        (chosen if is_wanted else others).append(line)
    return b"".join(chosen), b"".join(others)


@given(
    LINES, st.sampled_from([b"\r\n", b"\n"]), st.booleans(), st.lists(st.sampled_from(NAMES), min_size=1, unique=True)
)
def test_header_fields_are_those_that_were_named(
    lines: list[bytes], end: bytes, ends: bool, names: list[bytes]
) -> None:
    header = b"".join(line.replace(b"\r\n", end) + end for line in lines) + (end if ends or not lines else b"")
    many = (*names, *(b"unused-%d" % number for number in range(FEW)))

    for asked in (tuple(names), many):
        for text, expected_ in zip(
            (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT), by_lines(header, tuple(names)), strict=True
        ):
            select = header_filter(Section((), text, asked, True, None, b"BODY[...]"))

            assert select is not None
            assert select(header) == expected_


@pytest.mark.parametrize("count", [2, FEW + 1])
def test_choosing_fields_of_a_hostile_header_takes_linear_time(count: int) -> None:
    select = header_filter(
        Section((), SectionText.HEADER_FIELDS, tuple(b"n%d" % n for n in range(count)), True, None, b"")
    )
    assert select is not None
    for header in (b"n0" + b" " * 200_000, b"n0 \t" * 50_000, b"n0:\r\n \r\n" * 20_000, b"\n" * 200_000):
        began = time.process_time()
        select(header)

        assert time.process_time() - began < 5  # a quadratic one takes minutes
