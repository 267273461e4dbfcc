"""Commands as octets and as values: the examples of RFC 3501, the extensions, what is refused and why."""

from __future__ import annotations

import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.flags import NO_FLAGS, Flag
from postane.core.limits import ImapLimits
from postane.proto.imap.append import AppendHead, append_head
from postane.proto.imap.command import (
    Authenticate,
    Capability,
    Check,
    Close,
    Command,
    CopyCommand,
    Create,
    Delete,
    Enable,
    ExpungeCommand,
    Fetch,
    FetchItem,
    Id,
    Idle,
    List,
    Login,
    Logout,
    Namespace,
    Noop,
    Rename,
    Section,
    SectionText,
    Select,
    SequenceSet,
    StartTlsCommand,
    Status,
    StatusItem,
    Store,
    StoreMode,
    SubscribeCommand,
    Wrong,
)
from postane.proto.imap.syntax import parse

LIMITS = ImapLimits()


def sequence(*ranges: tuple[int, int]) -> SequenceSet:
    return SequenceSet(ranges)


def section(
    text: SectionText = SectionText.ALL,
    label: bytes = b"BODY[]",
    *,
    path: tuple[int, ...] = (),
    fields: tuple[bytes, ...] = (),
    is_peek: bool = False,
    partial: tuple[int, int] | None = None,
) -> Section:
    return Section(path, text, fields, is_peek, partial, label)


FAST = (FetchItem.FLAGS, FetchItem.INTERNALDATE, FetchItem.RFC822_SIZE)

COMMANDS: list[tuple[bytes, Command]] = [
    # RFC 3501 6.1 and 6.2
    (b"abcd CAPABILITY", Capability(b"abcd")),
    (b"a002 NOOP", Noop(b"a002")),
    (b"A023 LOGOUT", Logout(b"A023")),
    (b"a002 STARTTLS", StartTlsCommand(b"a002")),
    (b"A001 AUTHENTICATE GSSAPI", Authenticate(b"A001", "GSSAPI", None)),
    (b"a001 LOGIN SMITH SESAME", Login(b"a001", b"SMITH", b"SESAME")),
    (b"A001 LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man", Login(b"A001", b"FRED FOOBAR", b"fat man")),
    # RFC 3501 6.3
    (b"A142 SELECT INBOX", Select(b"A142", "INBOX", False)),
    (b"A932 EXAMINE blurdybloop", Select(b"A932", "blurdybloop", True)),
    (b"A003 CREATE owatagusiam/", Create(b"A003", "owatagusiam", True)),
    (b"A004 CREATE owatagusiam/blurdybloop", Create(b"A004", "owatagusiam/blurdybloop", False)),
    (b"A683 DELETE blurdybloop", Delete(b"A683", "blurdybloop")),
    (b'A682 LIST "" *', List(b"A682", "", "*", False)),
    (b'A86 LIST "" %', List(b"A86", "", "%", False)),
    (b"A683 RENAME blurdybloop sarasoop", Rename(b"A683", "blurdybloop", "sarasoop")),
    (b"Z433 RENAME INBOX old-mail", Rename(b"Z433", "INBOX", "old-mail")),
    (b"A002 SUBSCRIBE #news.comp.mail.mime", SubscribeCommand(b"A002", "#news.comp.mail.mime", True)),
    (b"A002 UNSUBSCRIBE #news.comp.mail.mime", SubscribeCommand(b"A002", "#news.comp.mail.mime", False)),
    (b'A101 LIST "" ""', List(b"A101", "", "", False)),
    (b'A102 LIST #news.comp.mail.misc ""', List(b"A102", "#news.comp.mail.misc", "", False)),
    (b"A202 LIST ~/Mail/ %", List(b"A202", "~/Mail/", "%", False)),
    (b'A002 LSUB "#news." "comp.mail.*"', List(b"A002", "#news.", "comp.mail.*", True)),
    (
        b"A042 STATUS blurdybloop (UIDNEXT MESSAGES)",
        Status(b"A042", "blurdybloop", (StatusItem.UIDNEXT, StatusItem.MESSAGES)),
    ),
    # RFC 3501 6.4
    (b"FXXZ CHECK", Check(b"FXXZ")),
    (b"A341 CLOSE", Close(b"A341", True)),
    (b"A202 EXPUNGE", ExpungeCommand(b"A202", None)),
    (
        b"A654 FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
        Fetch(
            b"A654",
            sequence((2, 4)),
            False,
            (
                FetchItem.FLAGS,
                section(SectionText.HEADER_FIELDS, b"BODY[HEADER.FIELDS (DATE FROM)]", fields=(b"DATE", b"FROM")),
            ),
        ),
    ),
    (
        b"A003 STORE 2:4 +FLAGS (\\Deleted)",
        Store(b"A003", sequence((2, 4)), False, StoreMode.ADD, False, Flag.DELETED, ()),
    ),
    (b"A003 COPY 2:4 MEETING", CopyCommand(b"A003", sequence((2, 4)), False, "MEETING", False)),
    (
        b"A999 UID FETCH 4827313:4828442 FLAGS",
        Fetch(b"A999", sequence((4827313, 4828442)), True, (FetchItem.UID, FetchItem.FLAGS)),
    ),
    # extensions
    (b"a NAMESPACE", Namespace(b"a")),
    (b"a IDLE", Idle(b"a")),
    (b"a UNSELECT", Close(b"a", False)),
    (b"a UID EXPUNGE 3000:3002", ExpungeCommand(b"a", sequence((3000, 3002)))),
    (b"a MOVE 1:* done", CopyCommand(b"a", sequence((1, 0)), False, "done", True)),
    (b"a UID MOVE 42:69 foo", CopyCommand(b"a", sequence((42, 69)), True, "foo", True)),
    (b"a ENABLE condstore X-GOOD-IDEA", Enable(b"a", ("CONDSTORE", "X-GOOD-IDEA"))),
    (b"a ID NIL", Id(b"a", None)),
    (b"a ID ()", Id(b"a", ())),
    (b'a023 ID ("name" "sodr" "version" NIL)', Id(b"a023", (("name", "sodr"), ("version", None)))),
    (b"a AUTHENTICATE plain =", Authenticate(b"a", "PLAIN", b"")),
    (b"a AUTHENTICATE PLAIN AGEAYg==", Authenticate(b"a", "PLAIN", b"\0a\0b")),
    (b"a AUTHENTICATE  PLAIN  ", Authenticate(b"a", "PLAIN", None)),
    (b"a CREATE MySpecial (USE (\\drafts \\Sent))", Create(b"a", "MySpecial", False, ("\\Drafts", "\\Sent"))),
    (b'a LIST (SPECIAL-USE) "" "*"', List(b"a", "", "*", False, True, False)),
    (b'a LIST "" "%" RETURN (SPECIAL-USE CHILDREN)', List(b"a", "", "%", False, False, True)),
    (b'a LIST () "" % RETURN ()', List(b"a", "", "%", False)),
    (b"a STATUS x (SIZE MESSAGES size)", Status(b"a", "x", (StatusItem.SIZE, StatusItem.MESSAGES))),
    # what clients do
    (b"a  noop  ", Noop(b"a")),
    (b"] noop", Noop(b"]")),
    (b'a select "in\\"b\\\\ox"', Select(b"a", 'in"b\\ox', False)),
    (b"a select {5+}\r\niNbOx", Select(b"a", "INBOX", False)),
    (b"a select {0000000005}\r\niNbOx", Select(b"a", "INBOX", False)),
    (b"a login u {5}\r\na b\xff\n", Login(b"a", b"u", b"a b\xff\n")),
    (b'a login "u" "\xc3\xbc"', Login(b"a", b"u", b"\xc3\xbc")),
    (b"a login u ]~}", Login(b"a", b"u", b"]~}")),
    (b"a FETCH 1 ALL", Fetch(b"a", sequence((1, 1)), False, (*FAST, FetchItem.ENVELOPE))),
    (b"a FETCH 1 fast", Fetch(b"a", sequence((1, 1)), False, FAST)),
    (b"a FETCH 1 (FULL)", Fetch(b"a", sequence((1, 1)), False, (*FAST, FetchItem.ENVELOPE, FetchItem.BODY))),
    (b"a FETCH *:4,5:7,* UID", Fetch(b"a", sequence((0, 4), (5, 7), (0, 0)), False, (FetchItem.UID,))),
    (b"a FETCH 9:1 (UID UID)", Fetch(b"a", sequence((9, 1)), False, (FetchItem.UID,))),
    (
        b"a UID FETCH 1 ( uid  BodyStructure RFC822 rfc822.header RFC822.TEXT RFC822.SIZE Internaldate )",
        Fetch(
            b"a",
            sequence((1, 1)),
            True,
            (
                FetchItem.UID,
                FetchItem.BODYSTRUCTURE,
                FetchItem.RFC822,
                FetchItem.RFC822_HEADER,
                FetchItem.RFC822_TEXT,
                FetchItem.RFC822_SIZE,
                FetchItem.INTERNALDATE,
            ),
        ),
    ),
    (b"a STORE 1 FLAGS \\Seen $x", Store(b"a", sequence((1, 1)), False, StoreMode.REPLACE, False, Flag.SEEN, ("$x",))),
    (b"a STORE 1 -flags.silent ()", Store(b"a", sequence((1, 1)), False, StoreMode.REMOVE, True, NO_FLAGS, ())),
    (
        b"a uid store 1:3 +FLAGS.SILENT (\\seen \\ANSWERED NonJunk nonjunk \\Recent)",
        Store(b"a", sequence((1, 3)), True, StoreMode.ADD, True, Flag.SEEN | Flag.ANSWERED, ("NonJunk",)),
    ),
]


@pytest.mark.parametrize(("line", "command"), COMMANDS, ids=lambda value: repr(value) if type(value) is bytes else "")
def test_commands(line: bytes, command: Command) -> None:
    assert parse(line, LIMITS) == command


SECTIONS: list[tuple[bytes, Section]] = [
    (b"BODY[]", section()),
    (b"BODY.PEEK[]", section(is_peek=True)),
    (b"body[]<0.1024>", section(partial=(0, 1024))),
    (b"BODY[]<4294967296.4294967295>", section(partial=(4294967296, 4294967295))),
    (b"BODY[header]", section(SectionText.HEADER, b"BODY[HEADER]")),
    (b"BODY[TEXT]<5.1>", section(SectionText.TEXT, b"BODY[TEXT]", partial=(5, 1))),
    (b"BODY[1]", section(label=b"BODY[1]", path=(1,))),
    (b"BODY.PEEK[4.2.2.1]", section(label=b"BODY[4.2.2.1]", path=(4, 2, 2, 1), is_peek=True)),
    (b"BODY.PEEK[1.2.mime]", section(SectionText.MIME, b"BODY[1.2.MIME]", path=(1, 2), is_peek=True)),
    (b"BODY[3.HEADER]", section(SectionText.HEADER, b"BODY[3.HEADER]", path=(3,))),
    (b"BODY[3.TEXT]", section(SectionText.TEXT, b"BODY[3.TEXT]", path=(3,))),
    (
        b'body[header.fields ("From" to)]',
        section(SectionText.HEADER_FIELDS, b"BODY[HEADER.FIELDS (From to)]", fields=(b"From", b"to")),
    ),
    (
        b"BODY[HEADER.FIELDS.NOT (a A b)]",
        section(SectionText.HEADER_FIELDS_NOT, b"BODY[HEADER.FIELDS.NOT (a b)]", fields=(b"a", b"b")),
    ),
    (
        b'BODY[2.HEADER.FIELDS ({4}\r\nFrom "X(Y")]',
        section(SectionText.HEADER_FIELDS, b'BODY[2.HEADER.FIELDS (From "X(Y")]', path=(2,), fields=(b"From", b"X(Y")),
    ),
]


@pytest.mark.parametrize(("item", "value"), SECTIONS, ids=lambda value: repr(value) if type(value) is bytes else "")
def test_sections(item: bytes, value: Section) -> None:
    for form in (b"a FETCH 1 " + item, b"a FETCH 1 (" + item + b")", b"a FETCH 1 (" + item + b" " + item + b")"):
        command = parse(form, LIMITS)
        assert isinstance(command, Fetch), command
        assert command.items == (value,)


BAD: list[tuple[bytes, str]] = [
    (b"", "line is empty"),
    (b"   ", "tag and a command"),
    (b"a+b NOOP", "tag and a command"),
    (b'"a" NOOP', "tag and a command"),
    (b"a", "command expected after the tag"),
    (b"a \xff", "command expected after the tag"),
    (b"GET / HTTP/1.1", "command expected after the tag"),
    (b"A442 XPIG-LATIN", "command expected after the tag"),
    (b"A442 XPIG", "no command XPIG"),
    (b"a NOOP x", "end of the command expected at octet 8"),
    (b"a NOOP\0", "command expected"),
    (b"a LOGIN", "A space expected at the end"),
    (b"a LOGIN u", "A space expected at the end"),
    (b"a LOGIN u p q", "end of the command"),
    (b'a LOGIN u "p', "A password expected at octet 11"),
    (b'a LOGIN u "p\\q"', "A password expected"),
    (b'a LOGIN u "p\r\nq"', "A password expected"),
    (b"a LOGIN u {9}\r\nshort", "A password expected"),
    (b"a LOGIN u {1}\r\n\0", "NUL"),
    (b"a LOGIN u {99999999999}\r\nx", "A password expected"),
    (b"a LOGIN u p(", "end of the command"),
    (b"a AUTHENTICATE PLAIN =x", "not base64"),
    (b"a AUTHENTICATE PLAIN YQ", "not base64"),
    (b'a AUTHENTICATE "PLAIN"', "SASL mechanism"),
    (b"a SELECT", "A space"),
    (b"a SELECT a b", "end of the command"),
    (b"a SELECT G\xc3\xb6n", "end of the command expected at octet 11"),
    (b"a SELECT a (CONDSTORE)", "end of the command"),
    (b"a CREATE x (NAME (a))", "no parameter but USE"),
    (b"a CREATE x (USE (Sent))", "special use"),
    (b'a LIST ""', "A space"),
    (b'a LIST "" (a b)', "wildcards"),
    (b'a LIST (REMOTE) "" *', "no option REMOTE"),
    (b'a LIST "" * RETURN (SUBSCRIBED)', "no option SUBSCRIBED"),
    (b'a LIST "" * return', "A space"),
    (b'a LIST "" * x', "RETURN"),
    (b"a STATUS x MESSAGES", "list of STATUS items"),
    (b"a STATUS x ()", "STATUS item"),
    (b"a STATUS x (HIGHESTMODSEQ)", "no item HIGHESTMODSEQ"),
    (b"a ENABLE", "capability"),
    (b"a ID x", "NIL or a list"),
    (b"a ID (name NIL)", "A field"),
    (b"a UID", "A space"),
    (b"a UID NOOP", "no command UID NOOP"),
    (b"a FETCH 0 FLAGS", "neither a number nor a range"),
    (b"a FETCH 4294967296 FLAGS", "neither a number nor a range"),
    (b"a FETCH 1:2:3 FLAGS", "neither a number nor a range"),
    (b"a FETCH 1,,2 FLAGS", "neither a number nor a range"),
    (b"a FETCH 1: FLAGS", "neither a number nor a range"),
    (b"a FETCH $ FLAGS", "A set of numbers"),
    (b"a FETCH 1", "A space"),
    (b"a FETCH 1 ()", "item of FETCH"),
    (b"a FETCH 1 (FLAGS", "A space or )"),
    (b"a FETCH 1 (FLAGS(", "A space or )"),
    (b"a FETCH 1 FLAGS UID", "end of the command"),
    (b"a FETCH 1 MODSEQ", "no item MODSEQ"),
    (b"a FETCH 1 BODYX[]", "no item BODYX"),
    (b"a FETCH 1 RFC822[]", "no item RFC822"),
    (b"a FETCH 1 BODY[", "section of the body or ]"),
    (b"a FETCH 1 BODY[0]", "no part number 0"),
    (b"a FETCH 1 BODY[1.02]", "no part number 1.02"),
    (b"a FETCH 1 BODY[1.]", "HEADER, TEXT or MIME"),
    (b"a FETCH 1 BODY[1..2]", "no section . here"),
    (b"a FETCH 1 BODY[MIME]", "no section MIME"),
    (b"a FETCH 1 BODY[1.FOO]", "no section FOO"),
    (b"a FETCH 1 BODY[TEXT.1]", "no section TEXT."),
    (b"a FETCH 1 BODY[HEADER.FIELDS]", "list of header names"),
    (b"a FETCH 1 BODY[HEADER.FIELDS ()]", "header name"),
    (b'a FETCH 1 BODY[HEADER.FIELDS ("From:")]', "without spaces and colons"),
    (b"a FETCH 1 BODY[]<0>", "octets like"),
    (b"a FETCH 1 BODY[]<0.0>", "octets like"),
    (b"a FETCH 1 BODY[]<-1.5>", "octets like"),
    (b"a STORE 1 FLAGS", "FLAGS, "),
    (b"a STORE 1 FLAGS ", "A flag expected"),
    (b"a STORE 1 FLAGS (\\Foo)", "no flag of RFC 3501"),
    (b"a STORE 1 FLAGS (\\*)", "A flag"),
    (b"a STORE 1 FLAGS (a", "A flag or )"),
    (b"a STORE 1 FLAGS " + b"k" * 65, "64 octets"),
    (b"a STORE 1 (UNCHANGEDSINCE 5) FLAGS ()", "FLAGS, "),
    (b"a COPY 1", "A space"),
    (b"a COPY x INBOX", "set of numbers"),
    (b"a FETCH " + b",".join([b"4294967295:*"] * 20_001) + b" FLAGS", "20000 ranges"),
    (b"a FETCH 1 (" + b"UID " * 1001 + b")", "1000 items"),
    (b"a FETCH 1 BODY[HEADER.FIELDS (" + b"A " * 1001 + b")]", "1000 header names"),
    (b"a FETCH 1 BODY[" + b"1." * 60 + b"1]", "50 deep"),
]


@pytest.mark.parametrize(("line", "why"), BAD, ids=lambda value: repr(value)[:50])
def test_what_is_refused(line: bytes, why: str) -> None:
    wrong = parse(line, LIMITS)

    assert isinstance(wrong, Wrong), wrong
    assert why in wrong.text
    assert not wrong.is_no
    assert wrong.code == b""
    assert len(wrong.text) < 200


@pytest.mark.parametrize(
    "line",
    [
        b'a SELECT "G\xc3\xb6n"',
        b'a SELECT ""',
        b"a CREATE {0}\r\n",
        b"a CREATE &",
        b"a CREATE &AAA-",
        b"a DELETE " + b"x" * 10_000,
        b"a RENAME a &AGE-",
        b'a LIST "" "&%"',
    ],
)
def test_names_that_cannot_be_are_answered_no(line: bytes) -> None:
    wrong = parse(line, LIMITS)

    assert isinstance(wrong, Wrong)
    assert (wrong.is_no, wrong.code) == (True, b"CANNOT")


def test_append_heads() -> None:
    def head(text: bytes) -> AppendHead | Wrong | None:
        return append_head(text, LIMITS)

    assert head(b"a APPEND ") is None
    assert head(b"a NOOP x ") is None
    assert head(b"a APPEND x ") == AppendHead(b"a", "x", NO_FLAGS, (), None)
    assert head(b'a append "x" () ') == AppendHead(b"a", "x", NO_FLAGS, (), None)
    assert head(b'a APPEND x "17-Jul-1996 02:44:25 -0700" ') == AppendHead(b"a", "x", NO_FLAGS, (), 837_596_665)
    assert head(b'a APPEND x " 1-jan-1970 00:00:00 +0100" ') == AppendHead(b"a", "x", NO_FLAGS, (), -3600)
    assert head(b'a APPEND x "31-Dec-2016 23:59:60 +0000" ') == AppendHead(b"a", "x", NO_FLAGS, (), 1_483_228_799)
    for text in (b"a APPEND x", b'a APPEND x "x" ', b'a APPEND x "30-Feb-2020 00:00:00 +0000" ', b"a APPEND x NIL "):
        assert isinstance(head(text), Wrong)
    for text in (b'a APPEND x "01-Jan-2020 25:00:00 +0000" ', b'a APPEND x "01-Jan-0000 00:00:00 +0000" '):
        assert isinstance(head(text), Wrong)


# ---------------------------------------------------------------- any octets

TOKENS = [line for line, _ in COMMANDS] + [
    b" ",
    b"(",
    b")",
    b"[",
    b"]",
    b"<1.2>",
    b'"',
    b"\\",
    b"{3}\r\n",
    b"*",
    b",",
    b"\0",
]
ANY = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from(TOKENS) | st.binary(max_size=3), max_size=6).map(b"".join),
    st.tuples(st.sampled_from(TOKENS), st.integers(0, 80), st.binary(max_size=4)).map(
        lambda made: made[0][: made[1]] + made[2] + made[0][made[1] :]
    ),
)


@given(ANY)
def test_parse_never_raises(data: bytes) -> None:
    assert isinstance(parse(data, LIMITS), Command | Wrong)
    append_head(data, LIMITS)


@given(ANY, st.integers(0, 40))
def test_a_command_is_none_when_it_is_cut_short(data: bytes, at: int) -> None:
    """Whatever is parsed took all its octets: a NUL behind it is always refused."""
    assert isinstance(parse(data[:at] + b"\0", LIMITS), Wrong)


def test_the_hot_paths_are_quick() -> None:
    """Ten times what they take, lest a slow machine fail them."""
    long = b"A1 FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (FROM TO CC DATE)])"

    assert min(timeit.repeat(lambda: parse(b"A1 NOOP", LIMITS), number=1000, repeat=3)) < 0.012
    assert min(timeit.repeat(lambda: parse(long, LIMITS), number=1000, repeat=3)) < 0.15
