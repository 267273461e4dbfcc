"""POP3, the server's side: RFC 1939, CAPA (RFC 2449), response codes (RFC 3206), STLS (RFC 2595), AUTH (RFC 5034).

Which command is legal in which state stands in `_LEGAL`.  A line that makes no
command becomes `Refused`, for the session to answer and to count.  Refused:
APOP (its secret would have to be kept in the clear), lines over their limit,
control characters, arguments that are no numbers.

Sizes are the octets as stored.  Multi-line answers are dot-stuffed and framed
by `DotWriter`, which keeps every octet, also of text with bare line ends.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from postane.core.dialogue import Body, Piece
from postane.core.limits import Pop3Limits
from postane.core.status import Condition, MailError
from postane.proto.buffer import Line, LineEnd, ReceiveBuffer
from postane.proto.dots import DotWriter

# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Capa:
    """RFC 2449 5."""


@dataclass(frozen=True, slots=True)
class Stls:
    """RFC 2595 4."""


@dataclass(frozen=True, slots=True)
class User:
    name: str


@dataclass(frozen=True, slots=True)
class Pass:
    """RFC 1939 7: everything behind one space, spaces and all."""

    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Auth:
    """RFC 5034 4.  `mechanism` "" asks which there are; `initial` is decoded, None where none was sent."""

    mechanism: str
    initial: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthResponse:
    """The answer to a `Challenge`, decoded."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthCancelled:
    """RFC 5034 4: the client sent "*"."""


@dataclass(frozen=True, slots=True)
class Stat:
    pass


@dataclass(frozen=True, slots=True)
class List:
    """`number` None asks for all."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Uidl:
    number: int | None


@dataclass(frozen=True, slots=True)
class Retr:
    number: int


@dataclass(frozen=True, slots=True)
class Top:
    number: int
    lines: int


@dataclass(frozen=True, slots=True)
class Dele:
    number: int


@dataclass(frozen=True, slots=True)
class Noop:
    pass


@dataclass(frozen=True, slots=True)
class Rset:
    pass


@dataclass(frozen=True, slots=True)
class Quit:
    """The engine closes once this is answered."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What the client sent is no command, or none for now.  A running AUTH is over."""

    condition: Condition
    text: str


Event = (
    Capa | Stls | User | Pass | Auth | AuthResponse | AuthCancelled | Stat | List | Uidl | Retr | Top | Dele | Noop
    | Rset | Quit | Refused
)  # fmt: skip

# ---------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class Ok:
    text: str


@dataclass(frozen=True, slots=True)
class Err:
    """`code` is a response code (RFC 2449 8) or ""."""

    text: str
    code: str = ""

    @classmethod
    def of(cls, error: MailError) -> Err:
        return cls(error.text, error.condition.pop3)


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Positive; the TRANSACTION state begins."""

    text: str


@dataclass(frozen=True, slots=True)
class Challenge:
    data: bytes


@dataclass(frozen=True, slots=True)
class Multiline:
    """Positive; `Piece`s or a `Body` follow, and an `End`."""

    text: str


@dataclass(frozen=True, slots=True)
class End:
    """Of a `Multiline` answer."""


Answer = Ok | Err | LoggedIn | Challenge | Multiline | Piece | Body | End

# ---------------------------------------------------------------- the engine


class State(Enum):
    """RFC 1939 3.  What it calls UPDATE is the answer to QUIT."""

    AUTHORIZATION = "before login"
    TRANSACTION = "after login"


_LEGAL: dict[State, frozenset[bytes]] = {
    State.AUTHORIZATION: frozenset({b"USER", b"PASS", b"AUTH", b"STLS", b"CAPA", b"QUIT"}),
    State.TRANSACTION: frozenset(
        {b"STAT", b"LIST", b"RETR", b"DELE", b"NOOP", b"RSET", b"TOP", b"UIDL", b"CAPA", b"QUIT"}
    ),
}
_NUMBER = re.compile(rb"[0-9]{1,10}\Z")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Pop3Engine:
    """Bytes in, events out; answers in, bytes out."""

    def __init__(self, limits: Pop3Limits) -> None:
        self._limits = limits
        self._buffer = ReceiveBuffer(LineEnd.LF)
        self._output: list[bytes] = []
        self._state = State.AUTHORIZATION
        self._challenged = False
        self._text: DotWriter | None = None
        self.closed = False

    @property
    def pending(self) -> bool:
        return self._buffer.is_partial or self._challenged

    def feed(self, data: bytes) -> None:
        self._buffer.feed(data)

    def next_event(self) -> Event | None:
        if self.closed:
            return None
        # RFC 5034 4: AUTH may carry more than a command line holds.
        limit = self._limits.command_line if self._state is State.TRANSACTION else self._limits.auth_line
        line = self._buffer.line(limit)
        if line is None:
            return None
        challenged, self._challenged = self._challenged, False
        try:
            if line is Line.TOO_LONG:
                raise MailError(Condition.LINE_TOO_LONG, "the line is too long")
            return self._response(line) if challenged else self._command(line)
        except MailError as error:
            return Refused(error.condition, error.text)

    def send(self, answer: object) -> None:
        match answer:
            case Piece(data):
                assert self._text is not None, "a Piece stands in a Multiline answer"
                self._output.append(self._text.feed(data))
            case Ok(text):
                self._say(f"+OK {text}")
            case Err(text, code):
                self._say(f"-ERR [{code}] {text}" if code else f"-ERR {text}")
            case Multiline(text):
                self._say(f"+OK {text}")
                self._text = DotWriter()
            case End():
                assert self._text is not None, "an End closes a Multiline answer"
                self._output.append(self._text.finish())
                self._text = None
            case LoggedIn(text):
                self._state = State.TRANSACTION
                self._say(f"+OK {text}")
            case Challenge(data):
                self._challenged = True
                self._output.append(b"+ " + base64.b64encode(data) + b"\r\n")
            case Body():
                pass  # its pieces follow
            case _:
                raise TypeError(f"POP3 has no words for {answer!r}")

    def take_output(self) -> bytes:
        if not self._output:
            return b""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def secure(self) -> None:
        """RFC 2595 4: what the client said before counts no more."""
        self._buffer.clear()
        self._state = State.AUTHORIZATION

    def _say(self, line: str) -> None:
        self._output.append(line.replace("\r", " ").replace("\n", " ").encode() + b"\r\n")

    # ------------------------------------------------------------ lines

    def _response(self, line: bytes) -> Event:
        return AuthCancelled() if line == b"*" else AuthResponse(_decode(line))

    def _command(self, line: bytes) -> Event:
        keyword, _, rest = line.partition(b" ")
        keyword = keyword.upper()
        if _CONTROL.search(line):
            raise MailError(Condition.SYNTAX, "a command holds no control characters")
        parser = _PARSERS.get(keyword)
        if parser is None:
            raise MailError(Condition.NOT_IMPLEMENTED, _unknown(keyword))
        if keyword not in _LEGAL[self._state]:
            raise MailError(Condition.BAD_SEQUENCE, f"{keyword.decode()} is not valid {self._state.value}")
        event = parser(rest)
        self.closed = isinstance(event, Quit)
        return event


def _unknown(keyword: bytes) -> str:
    if keyword == b"APOP":
        return "APOP is not supported; use USER and PASS, or AUTH, over TLS"
    return "no such command"


def _decode(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise MailError(Condition.AUTH_BAD_BASE64, "this is no base64") from None


def _string(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise MailError(Condition.SYNTAX, "the argument is no UTF-8") from None


def _numbers(rest: bytes, least: int, most: int) -> list[int]:
    words = rest.split()
    if not least <= len(words) <= most or not all(_NUMBER.match(word) for word in words):
        takes = {(0, 0): "no argument", (0, 1): "one number or none", (1, 1): "one number", (2, 2): "two numbers"}
        raise MailError(Condition.BAD_ARGUMENT, f"this command takes {takes[least, most]}")
    return [int(word) for word in words]


def _bare(event: Event) -> Callable[[bytes], Event]:
    def parse(rest: bytes) -> Event:
        if rest:
            _numbers(rest, 0, 0)
        return event

    return parse


def _user(rest: bytes) -> Event:
    name = _string(rest).strip()
    if not name:
        raise MailError(Condition.BAD_ARGUMENT, "USER takes a name: the full address")
    return User(name)


def _pass(rest: bytes) -> Event:
    return Pass(_string(rest))


def _auth(rest: bytes) -> Event:
    """Outlook asks with a space behind; Windows Mail puts two between the words."""
    words = rest.split()
    if not words:
        return Auth("", None)
    if len(words) > 2:
        raise MailError(Condition.BAD_ARGUMENT, "AUTH takes a mechanism and at most an initial response")
    if len(words) == 1:
        return Auth(_string(words[0]).upper(), None)
    # RFC 5034 4: "=" is an initial response of no octets.
    return Auth(_string(words[0]).upper(), b"" if words[1] == b"=" else _decode(words[1]))


def _list(rest: bytes) -> Event:
    return List(next(iter(_numbers(rest, 0, 1)), None))


def _uidl(rest: bytes) -> Event:
    return Uidl(next(iter(_numbers(rest, 0, 1)), None))


_PARSERS: dict[bytes, Callable[[bytes], Event]] = {
    b"CAPA": _bare(Capa()),
    b"STLS": _bare(Stls()),
    b"USER": _user,
    b"PASS": _pass,
    b"AUTH": _auth,
    b"STAT": _bare(Stat()),
    b"LIST": _list,
    b"UIDL": _uidl,
    b"RETR": lambda rest: Retr(*_numbers(rest, 1, 1)),
    b"TOP": lambda rest: Top(*_numbers(rest, 2, 2)),
    b"DELE": lambda rest: Dele(*_numbers(rest, 1, 1)),
    b"NOOP": _bare(Noop()),
    b"RSET": _bare(Rset()),
    b"QUIT": _bare(Quit()),
}
