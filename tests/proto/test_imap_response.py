"""What is said on the wire, read back by an independent client library (imapclient)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imapclient_reader import read
from postane.core.flags import Flag
from postane.core.message import Disposition, Envelope, MessageAddress, Part
from postane.proto.imap import response
from postane.proto.imap.command import Ending, StatusItem

# ---------------------------------------------------------------- strings


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (None, b"NIL"),
        (b"", b'""'),
        (b"NIL", b'"NIL"'),
        (b"a b", b'"a b"'),
        (b'say "hi" \\ bye', b'"say \\"hi\\" \\\\ bye"'),
        (b"tab\tbell\x07", b'"tab\tbell\x07"'),
        (b"a\r\n b\0c", b'"a bc"'),
        (b"gr\xc3\xbc\xc3\x9fe", b"{7}\r\ngr\xc3\xbc\xc3\x9fe"),
        (b'\xff"\r\n', b'{2}\r\n\xff"'),
    ],
)
def test_nstring(value: bytes | None, wire: bytes) -> None:
    assert response.nstring(value) == wire


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("INBOX", b"INBOX"),
        ("", b'""'),
        ("nil", b'"nil"'),
        ("a b", b'"a b"'),
        ("50%", b'"50%"'),
        ('q"\\', b'"q\\"\\\\"'),
        ("[x]", b"[x]"),
        ("Gönderilmiş", b"G&APY-nderilmi&AV8-"),
        ("R&D", b"R&-D"),
    ],
)
def test_mailbox_name(name: str, wire: bytes) -> None:
    assert response.mailbox_name(name) == wire


# ---------------------------------------------------------------- the examples of RFC 3501


def test_envelope_of_the_rfc() -> None:
    """RFC 3501 8, the FETCH of message 12."""
    terry = MessageAddress(b"Terry Gray", None, b"gray", b"cac.washington.edu")
    said = response.envelope(
        Envelope(
            date=b"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)",
            subject=b"IMAP4rev1 WG mtg summary and minutes",
            from_=(terry,),
            sender=(terry,),
            reply_to=(terry,),
            to=(MessageAddress(None, None, b"imap", b"cac.washington.edu"),),
            cc=(
                MessageAddress(None, None, b"minutes", b"CNRI.Reston.VA.US"),
                MessageAddress(b"John Klensin", None, b"KLENSIN", b"MIT.EDU"),
            ),
            message_id=b"<B27397-0100000@cac.washington.edu>",
        )
    )

    assert said == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) '
        b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL '
        b'"<B27397-0100000@cac.washington.edu>")'
    )


def test_body_of_the_rfc() -> None:
    """RFC 3501 7.4.2 BODYSTRUCTURE."""
    charset = ((b"CHARSET", b"US-ASCII"),)
    first = Part(0, 0, 1152, 23, b"TEXT", b"PLAIN", charset)
    second = Part(
        0, 0, 4554, 73, b"TEXT", b"PLAIN", (*charset, (b"NAME", b"cc.diff")),
        id=b"<960723163407.20117h@cac.washington.edu>", description=b"Compiler diff", encoding=b"BASE64",
    )  # fmt: skip
    whole = response.bodystructure(Part(0, 0, 9000, 99, b"MULTIPART", b"MIXED", children=(first, second)))

    assert response.body(whole) == (
        b'(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23)'
        b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII" "NAME" "cc.diff") "<960723163407.20117h@cac.washington.edu>" '
        b'"Compiler diff" "BASE64" 4554 73) "MIXED")'
    )
    assert whole == (
        b'(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23 NIL NIL NIL NIL)'
        b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII" "NAME" "cc.diff") "<960723163407.20117h@cac.washington.edu>" '
        b'"Compiler diff" "BASE64" 4554 73 NIL NIL NIL NIL) "MIXED" NIL NIL NIL NIL)'
    )


def test_what_the_grammar_asks_for_is_there_though_the_message_has_none() -> None:
    assert read(response.bodystructure(Part(0, 0, 0, 0, b"MULTIPART", b"MIXED")))[0][0][0] == b"TEXT"
    deepest = read(response.bodystructure(Part(0, 0, 5, 1, b"MESSAGE", b"RFC822")))[0]
    assert deepest[7] == (None,) * 10
    assert deepest[8][:2] == (b"TEXT", b"PLAIN")
    assert deepest[9] == 1


# ---------------------------------------------------------------- any message

VALUES = st.binary(max_size=12) | st.sampled_from([b'")(', b"{3}\r\nabc", b"\\", b"NIL", b"\xc3\xbc", b'"'])
MAYBE = st.none() | VALUES
PARAMS = st.lists(st.tuples(VALUES, VALUES), max_size=2).map(tuple)
ADDRESSES = st.lists(st.builds(MessageAddress, MAYBE, MAYBE, MAYBE, MAYBE), max_size=2).map(tuple)
ENVELOPES = st.builds(
    Envelope, MAYBE, MAYBE, ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES, MAYBE, MAYBE
)
MORE: dict[str, st.SearchStrategy[Any]] = {
    "params": PARAMS,
    "disposition": st.none() | st.builds(Disposition, VALUES, PARAMS),
    "language": st.lists(VALUES, max_size=2).map(tuple),
    "location": MAYBE,
}
SINGLE = {**MORE, "id": MAYBE, "description": MAYBE, "encoding": VALUES, "md5": MAYBE}


def simple(kind: bytes, subtype: bytes, **fields: Any) -> st.SearchStrategy[Part]:
    size = st.integers(0, 99)
    return st.builds(
        Part, st.just(0), st.just(0), size, size, type=st.just(kind), subtype=st.just(subtype), **(SINGLE | fields)
    )


LEAVES = st.one_of(simple(b"TEXT", b"HTML"), simple(b"IMAGE", b"PNG"), simple(b"MESSAGE", b"GLOBAL"))
PARTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        simple(b"MESSAGE", b"RFC822", message=st.none() | inner, envelope=st.none() | ENVELOPES),
        st.builds(
            lambda children, **more: Part(0, 0, 9, 9, b"MULTIPART", b"MIXED", children=tuple(children), **more),
            st.lists(inner, max_size=3),
            **MORE,
        ),
    ),
    max_leaves=6,
)


def kept(value: bytes | None) -> bytes | None:
    return None if value is None else value.translate(None, b"\0\r\n")


def flat(params: tuple[tuple[bytes, bytes], ...]) -> tuple[bytes | None, ...] | None:
    return tuple(kept(each) for pair in params for each in pair) or None


def expected_envelope(envelope: Envelope | None) -> tuple[Any, ...]:
    def people(addresses: tuple[MessageAddress, ...]) -> tuple[Any, ...] | None:
        return tuple((kept(a.name), kept(a.route), kept(a.mailbox), kept(a.host)) for a in addresses) or None

    said = envelope or Envelope()
    lists = (said.from_, said.sender, said.reply_to, said.to, said.cc, said.bcc)
    return (
        kept(said.date), kept(said.subject), *map(people, lists), kept(said.in_reply_to), kept(said.message_id)
    )  # fmt: skip


def expected(part: Part, *, extended: bool = True) -> tuple[Any, ...]:
    """The structure as a client should see it; the empty body where there has to be one."""
    empty = Part(0, 0, 0, 0, b"TEXT", b"PLAIN")
    shown = part.disposition and (kept(part.disposition.kind), flat(part.disposition.params))
    placing = (shown, tuple(map(kept, part.language)) or None, kept(part.location))
    if part.type == b"MULTIPART":
        inner = tuple(expected(child, extended=extended) for child in part.children or (empty,))
        return (*inner, part.subtype, *((flat(part.params), *placing) if extended else ()))
    made: tuple[Any, ...] = (
        part.type, part.subtype, flat(part.params),
        kept(part.id), kept(part.description), kept(part.encoding), part.size,
    )  # fmt: skip
    if part.type == b"TEXT":
        made += (part.lines,)
    elif part.subtype == b"RFC822":
        inside = expected(part.message or empty, extended=extended)
        made += (expected_envelope(part.envelope), inside, part.lines)
    return made + ((kept(part.md5), *placing) if extended else ())


@settings(max_examples=150, deadline=None)
@given(ENVELOPES)
def test_every_envelope_is_read_as_it_was(envelope: Envelope) -> None:
    assert read(response.envelope(envelope)) == (expected_envelope(envelope),)


@settings(max_examples=150, deadline=None)
@given(PARTS)
def test_every_structure_is_read_as_it_was(part: Part) -> None:
    whole = response.bodystructure(part)

    assert read(whole) == (expected(part),)
    assert read(response.body(whole)) == (expected(part, extended=False),)


def test_nesting_and_breadth_take_linear_time_and_no_stack() -> None:
    deep = Part(0, 0, 1, 1, b"TEXT", b"PLAIN")
    for level in range(10_000):
        kind = (b"MULTIPART", b"MIXED") if level % 2 else (b"MESSAGE", b"RFC822")
        children, message = ((deep,), None) if level % 2 else ((), deep)
        deep = Part(0, 0, 1, 1, *kind, children=children, message=message)
    wide = Part(0, 0, 1, 1, b"MULTIPART", b"MIXED", children=(Part(0, 0, 1, 1, b"TEXT", b"PLAIN"),) * 10_000)
    began = time.process_time()

    for part in (deep, wide):
        whole = response.bodystructure(part)
        short = response.body(whole)
        assert short.count(b"(") == short.count(b")") >= 10_000
        assert response.body(whole) == short
    assert time.process_time() - began < 10


@pytest.mark.parametrize("nonsense", [b"", b"NIL", b"(", b"()", b'("TEXT")', b'(("TEXT" "PLAIN"', b'("TEXT" "PLAIN" {'])
def test_a_broken_structure_is_said_to_be_one(nonsense: bytes) -> None:
    with pytest.raises(ValueError, match="octet"):
        response.body(nonsense)


# ---------------------------------------------------------------- lines


@pytest.mark.parametrize(
    ("epoch", "wire"),
    [
        (837_571_465, b'"17-Jul-1996 02:44:25 +0000"'),
        (0, b'"01-Jan-1970 00:00:00 +0000"'),
        (-1, b'"31-Dec-1969 23:59:59 +0000"'),
        (1 << 60, b'"31-Dec-9999 23:59:59 +0000"'),
        (-(1 << 60), b'"01-Jan-0001 00:00:00 +0000"'),
    ],
)
def test_internal_date(epoch: int, wire: bytes) -> None:
    assert response.internal_date(epoch) == wire


def test_lines() -> None:
    assert response.capability((b"IMAP4rev1", b"IDLE")) == b"* CAPABILITY IMAP4rev1 IDLE\r\n"
    assert response.list_response("a/ü", (b"\\HasNoChildren", b"\\Sent")) == (
        b'* LIST (\\HasNoChildren \\Sent) "/" a/&APw-\r\n'
    )
    assert response.list_response("", (b"\\Noselect",)) == b'* LIST (\\Noselect) "/" ""\r\n'
    assert response.list_response("x", command=b"LSUB") == b'* LSUB () "/" x\r\n'
    assert response.status_response("a b", ((StatusItem.MESSAGES, 231), (StatusItem.UIDNEXT, 44292))) == (
        b'* STATUS "a b" (MESSAGES 231 UIDNEXT 44292)\r\n'
    )
    assert response.search_response(()) == b"* SEARCH\r\n"
    assert response.search_response([2, 84, 882]) == b"* SEARCH 2 84 882\r\n"
    assert response.search_response(range(1, 100_001)).count(b" ") == 100_001
    assert response.flag_list(Flag.SEEN | Flag.DELETED, "$x") == b"(\\Deleted \\Seen $x)"
    assert response.flag_list(0) == b"()"
    assert response.flag_list(0, is_recent=True) == b"(\\Recent)"
    assert response.flag_list(1, "k", is_recent=True) == b"(\\Seen k \\Recent)"


def test_no_text_ends_its_line() -> None:
    assert response.condition(b"a", Ending.NO, "x\r\n* OK y\0ü", b"ALERT\r\n") == b"a NO [ALERT] x* OK y?\r\n"
    assert response.condition(b"", Ending.BAD, "") == b"* BAD .\r\n"
    assert response.continuation("") == b"+ .\r\n"
