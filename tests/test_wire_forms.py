"""ENVELOPE and BODYSTRUCTURE of the published vectors, read by an independent client library (imapclient)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imapclient_reader import read
from postane.core.limits import MimeLimits
from postane.core.message import Part
from postane.flow.deliver import facts_of
from postane.mime.tree import scan
from postane.proto.imap import response

FOLDERS = ["mime-cpython", "mime-malformed", "mime-rubymail", "mail-sample", "dkim", "arc", "reports"]
LIMITS = MimeLimits()


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_client_can_read_what_we_say_of_every_vector(vectors: Path, folder: str) -> None:
    count = 0
    for path in sorted(each for each in (vectors / folder).rglob("*") if each.is_file()):
        data = path.read_bytes()
        if len(data) > 1 << 20:
            continue
        for message in (data, data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")):
            facts = facts_of(message, LIMITS)
            (envelope,) = read(facts.envelope)
            check_envelope(envelope)
            root = scan(message, LIMITS)
            (structure,) = read(facts.bodystructure)
            check_structure(structure, root, extended=True)
            (short,) = read(response.body(facts.bodystructure))
            check_structure(short, root, extended=False)
            count += 1

    assert count


def check_envelope(envelope: tuple[Any, ...]) -> None:
    """RFC 3501 9 envelope."""
    assert len(envelope) == 10
    for field in (*envelope[:2], *envelope[8:]):
        assert field is None or isinstance(field, bytes)
    for addresses in envelope[2:8]:
        for address in addresses or ():
            assert len(address) == 4
            assert all(item is None or isinstance(item, bytes) for item in address)


def check_structure(said: tuple[Any, ...], part: Part, *, extended: bool) -> None:
    """RFC 3501 9 body: as many fields as the type has, the sizes of the part, and the same below."""
    if part.type == b"MULTIPART":
        bodies = [item for item in said if isinstance(item, tuple) and item and isinstance(item[0], bytes | tuple)]
        inner = bodies[: len(part.children) or 1]
        assert said[len(inner)] == part.subtype
        assert len(said) == len(inner) + (5 if extended else 1)
        for body, child in zip(inner, part.children, strict=False):
            check_structure(body, child, extended=extended)
        return
    assert said[:2] == (part.type, part.subtype)
    assert said[6] == part.size
    own = 8 if part.type == b"TEXT" else 10 if (part.type, part.subtype) == (b"MESSAGE", b"RFC822") else 7
    assert len(said) == own + (4 if extended else 0)
    if own == 8:
        assert said[7] == part.lines
    elif own == 10:
        check_envelope(said[7])
        assert said[9] == part.lines
        if part.message is not None:
            check_structure(said[8], part.message, extended=extended)


def parts(root: Part) -> Iterator[Part]:
    waiting = [root]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += [*part.children, *([part.message] if part.message else [])]


def test_the_vectors_hold_what_is_worth_reading(vectors: Path) -> None:
    """Nested messages, dispositions, parameters and octets over 127 are among them: else little would be proved."""
    kinds: set[str] = set()
    for path in sorted((*(vectors / "mime-cpython").glob("*.txt"), *(vectors / "mime-rubymail").rglob("*.eml"))):
        if path.is_file():
            data = path.read_bytes()
            kinds |= {"8-bit"} if facts_of(data, LIMITS).needs_utf8 else set()
            for part in parts(scan(data, LIMITS)):
                kinds |= {"nested"} if part.message else set()
                kinds |= {"disposition"} if part.disposition else set()
                kinds |= {"params"} if part.params else set()

    assert kinds == {"nested", "disposition", "params", "8-bit"}
