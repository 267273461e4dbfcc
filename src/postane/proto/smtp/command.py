"""What an SMTP or LMTP client can say (RFC 5321 4.1, RFC 2033), as values, and what a session may answer.

Made by `postane.proto.smtp.server`, acted on by `postane.session.smtp`.  A
session answers each event with a `postane.core.status.Reply` (one; at the end
of data by LMTP one a recipient), or as the event says.  What is malformed or
out of sequence the engine refuses by itself; no event tells of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from postane.core.address import Address
from postane.core.status import MailError


class Mode(Enum):
    """Which of the three dialogues one engine speaks."""

    SMTP = "SMTP"
    SUBMISSION = "SUBMISSION"
    LMTP = "LMTP"


class BodyType(Enum):
    """RFC 6152 2, the value of BODY=.  BINARYMIME (RFC 3030 3) is not offered."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"


# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Hello:
    """HELO, EHLO or LHLO.  `name` is what the client calls itself, unverified.  Answer: `Welcome` or a refusal."""

    name: str
    is_extended: bool


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL.  `sender` is None for the null reverse-path, `size` None where SIZE= was not said.

    `ret` "FULL", "HDRS" or "", and `envid` in xtext, as it came (RFC 3461 4.3, 4.4).
    """

    sender: Address | None
    size: int | None = None
    body: BodyType = BodyType.SEVEN_BIT
    utf8: bool = False
    ret: str = ""
    envid: str = ""


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT.  The domain of `recipient` is "" for a bare <Postmaster> (RFC 5321 4.1.1.3).

    `notify` "NEVER", or keywords in upper case with commas between; `orcpt` as it came (RFC 3461 4.1, 4.2).
    """

    recipient: Address
    notify: str = ""
    orcpt: str = ""


@dataclass(frozen=True, slots=True)
class Data:
    """DATA.  Answer: `Proceed` or a refusal; after `Proceed` come `Chunk`s and `EndOfMessage`."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Octets of the message, dot-stuffing undone.  No answer."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EndOfChunk:
    """A BDAT without LAST is whole: `size` octets in this one, `total` so far; `flaw` as in `EndOfMessage`."""

    size: int
    total: int
    flaw: MailError | None = None


@dataclass(frozen=True, slots=True)
class EndOfMessage:
    """The message is whole, of `size` octets.

    `flaw` is why it must be refused; its octets from the flaw on were not given.
    """

    size: int
    flaw: MailError | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """RSET."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP, whatever it was given."""


@dataclass(frozen=True, slots=True)
class Verify:
    """VRFY."""

    text: str


@dataclass(frozen=True, slots=True)
class Help:
    """HELP; `topic` is "" or what was asked about."""

    topic: str


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT.  Answer: a `Reply`, then `Hangup`."""


@dataclass(frozen=True, slots=True)
class StartTlsCommand:
    """STARTTLS.  Answer: a 220 `Reply`, then `StartTls`; or a refusal."""


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH.  `mechanism` upper-case; `initial` decoded, b"" for "=", None where absent.

    Answer: `Challenge` or `Reply`.
    """

    mechanism: str
    initial: bytes | None


@dataclass(frozen=True, slots=True)
class AuthResponse:
    """What came after a `Challenge`, decoded.  Answer: `Challenge` or `Reply`."""

    data: bytes


# ---------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class Welcome:
    """Answer to `Hello`.  The engine says its own extensions; these are for the session to know.

    `mechanisms` are those of AUTH, () where it is not offered now.
    """

    text: str
    starttls: bool = False
    mechanisms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proceed:
    """Answer to `Data`: 354."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Answer to `Auth` and `AuthResponse`: 334, not yet in base64 (RFC 4954 4)."""

    data: bytes
