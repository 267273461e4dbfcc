"""Every published message is scanned; well-formed ones as the library reads them, broken ones as a reference does."""

from __future__ import annotations

import email
import email.message
import email.policy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postane.core.limits import MimeLimits
from postane.core.message import Part
from postane.mime.date import parse_date
from postane.mime.header import envelope, header_end, message_ids, split_fields
from postane.mime.subject import base_subject
from postane.mime.text import fold, preview, text_of
from postane.mime.transfer import decode_body
from postane.mime.tree import pack, scan, unpack
from postane.mime.words import decode_words

LIMITS = MimeLimits()
FOLDERS = ("mail-sample", "mime-cpython", "mime-malformed", "mime-rubymail", "dkim", "arc", "reports")


@pytest.fixture(scope="module")
def messages(vectors: Path) -> dict[str, bytes]:
    files = (path for folder in FOLDERS for path in (vectors / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(vectors)): path.read_bytes() for path in files}


def leaves(part: Part) -> Iterator[Part]:
    inner = part.children or ((part.message,) if part.message else ())
    if not inner:
        yield part
    for each in inner:
        yield from leaves(each)


def test_every_message_is_read_whole(messages: dict[str, bytes]) -> None:
    for name, data in messages.items():
        started = time.process_time()
        root = scan(data, LIMITS)
        header = data[: root.body]
        said = envelope(header, LIMITS)
        for field in split_fields(header, LIMITS):
            decode_words(field.value)
            message_ids(field.value)
            parse_date(field.value)
        base_subject(decode_words(said.subject or b""))
        for text in text_of(data, root):
            fold(text)
        assert len(preview(data, root)) <= 256
        assert pack(unpack(pack(root))) == pack(root)
        assert scan(memoryview(data), LIMITS) == root
        assert time.process_time() - started < 5, name
    assert len(messages) > 1200


def test_the_other_line_end_changes_nothing_else(messages: dict[str, bytes]) -> None:
    for name, data in messages.items():
        plain = data.replace(b"\r\n", b"\n")
        if b"\r" in plain:
            continue
        root, other = scan(plain, LIMITS), scan(plain.replace(b"\n", b"\r\n"), LIMITS)
        for part, same in zip(leaves(root), leaves(other), strict=True):
            assert (part.type, part.subtype, part.params, part.lines) == (
                same.type,
                same.subtype,
                same.params,
                same.lines,
            ), name
            # Each line end before the body, and in it, is one octet longer.
            assert same.start - part.start == plain.count(b"\n", 0, part.start)
            assert same.size - part.size == part.lines


def library_leaves(message: email.message.Message) -> Iterator[email.message.Message]:
    kind = message.get_content_type()
    # A message within any type but message/rfc822 is none to IMAP.
    if not message.is_multipart() or (kind.startswith("message/") and kind != "message/rfc822"):
        yield message
        return
    for inner in message.get_payload():
        assert isinstance(inner, email.message.Message)
        yield from library_leaves(inner)


def is_well_formed(message: email.message.Message) -> bool:
    return not any(part.defects or part.get_content_type() == "message/partial" for part in message.walk())


LIBRARY_DIFFERS = {
    # delimiters that follow each other: the library makes one of them, here there is an empty part between
    "mime-cpython/msg_37.txt",
    "mime-malformed/malformed/000.eml",
    # plain text behind the base64 of an attachment: the library gives up and leaves it encoded
    "mail-sample/spam/spam-1-00260.c75ce8b8d8bfc55723426979d260bf61.eml",
}


def test_well_formed_messages_are_what_the_library_reads(messages: dict[str, bytes]) -> None:
    compared = 0
    for name, data in messages.items():
        theirs = email.message_from_bytes(data, policy=email.policy.compat32)
        if name in LIBRARY_DIFFERS or not is_well_formed(theirs) or header_end(data) == 0:
            continue
        ours = list(leaves(scan(data, LIMITS)))
        assert [(part.type + b"/" + part.subtype).decode().lower() for part in ours] == [
            part.get_content_type() for part in library_leaves(theirs)
        ], name
        for part, other in zip(ours, library_leaves(theirs), strict=True):
            if not other.is_multipart():
                body = decode_body(data[part.body : part.end], part.encoding)
                assert body == other.get_payload(decode=True), name
        compared += 1
    assert compared > 1000


REFERENCE_DIFFERS = {
    # RFC 2046 5.1.2: an outer delimiter ends what lies within, and of two equal boundaries the outer counts;
    # the reference lets the inner one go on
    **dict.fromkeys(("001", "003", "005", "008", "009", "011", "012", "013", "016", "019"), "outer delimiters"),
    **dict.fromkeys(("000", "007", "014"), "a delimiter right behind a header or at the very end opens an empty part"),
    "004": "a boundary is the whole line",
    **dict.fromkeys(("020", "021"), "the first of two Content-Types counts"),
    "022": "message/rfc822 stays a message though it holds none, as BODYSTRUCTURE needs",
    "rfc/008": "IMAP has no part numbers within an encoded message",
}

Place = tuple[tuple[int, ...], int, int]


def our_places(part: Part, path: tuple[int, ...] = ()) -> Iterator[Place]:
    yield path, part.body, part.end
    if part.message is not None:
        yield from our_places(part.message, (*path, 0))
    for number, child in enumerate(part.children, 1):
        yield from our_places(child, (*path, number))


def reference_places(parts: list[dict[str, Any]], index: int = 0, path: tuple[int, ...] = ()) -> Iterator[Place]:
    part = parts[index]
    yield path, part["offset_body"], part["offset_end"]
    body = part["body"] if isinstance(part["body"], dict) else {}
    if "Message" in body:
        yield from reference_places(body["Message"]["parts"], 0, (*path, 0))
    for number, child in enumerate(body.get("Multipart", []), 1):
        yield from reference_places(parts, child, (*path, number))


@pytest.mark.parametrize("line_end", ["LF", "CRLF"])
def test_malformed_messages_are_cut_as_the_reference_does(vectors: Path, line_end: str) -> None:
    compared = 0
    for path in sorted((vectors / "mime-malformed").glob("*/*.eml")):
        name = path.stem if path.parent.name == "malformed" else f"{path.parent.name}/{path.stem}"
        data = path.read_bytes().replace(b"\r\n", b"\n")
        reference = path.with_suffix(".json")
        if line_end == "CRLF":
            data, reference = data.replace(b"\n", b"\r\n"), path.with_suffix(".crlf.json")
        places = sorted(our_places(scan(data, LIMITS)))
        agreed = places == sorted(reference_places(json.loads(reference.read_text())["parts"]))
        assert agreed == (name not in REFERENCE_DIFFERS), name
        compared += 1
    assert compared == 33
