"""SMTP command lines -> values (RFC 5321 4.1).

Parameters: RFC 1870 SIZE, 6152 BODY, 6531 SMTPUTF8, 4954 AUTH, 3030 BDAT, 3461 RET, ENVID, NOTIFY and ORCPT.

Taken beyond the letter, because real clients need it: blanks after `FROM:` and
`TO:`, several blanks between words (Outlook, Windows Mail).  Source routes are
read past and forgotten (RFC 5321 C).

Refused: paths without angle brackets, unknown or repeated parameters, octets
over 127 in an address unless SMTPUTF8 was said, numbers of more than 20 digits.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from enum import Enum

from postane.core.address import Address, BadAddress
from postane.core.address import parse as parse_address
from postane.core.status import Condition, MailError, Reply
from postane.core.xtext import decode_address, decode_xtext
from postane.proto.smtp.command import BodyType, Mail, Mode, Rcpt

MAX_DIGITS = 20
"""RFC 1870 3 size-value = 1*20DIGIT."""
MAX_CHUNK = 2**63 - 1
MAX_ENVID = 100
MAX_ORCPT = 500

# Possessive throughout, so that hostile text costs one pass.  Between the brackets: an optional source route, then
# anything in which a quoted string may hide a ">".
_PATH = re.compile(r'<(?:@[^:>"]*+:)?((?:"(?:[^"\\]|\\.)*+"|[^"<>])*+)>(.*)\Z', re.DOTALL)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9\-]*+)(?:=([^\x00-\x20=\x7f]++))?\Z")
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+\-/?^_`{|}~]++\Z")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})++\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_MAIL_PARAMETERS = {
    Mode.SMTP: frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID"}),
    Mode.LMTP: frozenset({"SIZE", "BODY", "SMTPUTF8"}),
    Mode.SUBMISSION: frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"}),
}
_RCPT_PARAMETERS = {
    Mode.SMTP: frozenset({"NOTIFY", "ORCPT"}),
    Mode.LMTP: frozenset[str](),
    Mode.SUBMISSION: frozenset({"NOTIFY", "ORCPT"}),
}
_RETURNS = frozenset({"FULL", "HDRS"})
_NOTIFICATIONS = frozenset({"SUCCESS", "FAILURE", "DELAY"})

NEEDS_UTF8 = Reply(553, "5.6.7", "say SMTPUTF8 with MAIL to use an address that is not ASCII (RFC 6531)")


class Verb(Enum):
    """Every command we know, also those we only refuse by name."""

    # Enum's own is a Python function, and these are looked up several times a command.
    __hash__ = object.__hash__

    HELO = "HELO"
    EHLO = "EHLO"
    LHLO = "LHLO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"
    RSET = "RSET"
    NOOP = "NOOP"
    VRFY = "VRFY"
    EXPN = "EXPN"
    HELP = "HELP"
    QUIT = "QUIT"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"


VERBS = {verb.value: verb for verb in Verb}


class Refusal(Exception):
    """A command that is no good; `reply` is the whole answer.  Never leaves this package."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


def refusal(condition: Condition, text: str) -> Refusal:
    return Refusal(MailError(condition, text).reply)


@dataclass(frozen=True, slots=True)
class BdatCommand:
    size: int
    is_last: bool


def split(line: bytes) -> tuple[str, str]:
    """(verb in upper case, the rest without blanks around it).  A line that is no text is refused."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise refusal(Condition.SYNTAX, "the command is not UTF-8 text") from None
    if _CONTROL.search(text):
        raise refusal(Condition.SYNTAX, "the command holds a control character")
    verb, _, rest = text.partition(" ")
    return verb.upper(), rest.strip(" \t")


def mail(rest: str, mode: Mode, message_bytes: int) -> Mail:
    """MAIL FROM:<path> [parameters]; `message_bytes` is the largest SIZE taken."""
    path, words = _path(rest, "FROM:", Condition.BAD_SENDER_SYNTAX)
    said = _parameters(words, "MAIL", _MAIL_PARAMETERS[mode])
    size = _number(said["SIZE"], "SIZE") if "SIZE" in said else None
    body = _body(said["BODY"]) if "BODY" in said else BodyType.SEVEN_BIT
    utf8 = "SMTPUTF8" in said
    if said.get("SMTPUTF8"):
        raise refusal(Condition.BAD_ARGUMENT, "SMTPUTF8 takes no value")  # RFC 6531 3.4
    # RFC 4954 5: who first sent it is nobody's word that is trusted here, so <> is assumed.
    if "AUTH" in said and said["AUTH"] != "<>" and not _XTEXT.match(said["AUTH"]):
        raise refusal(Condition.BAD_ARGUMENT, "AUTH wants <> or an address in xtext")
    if size is not None and size > message_bytes:
        raise refusal(Condition.MESSAGE_TOO_LARGE, f"a message may have at most {message_bytes} octets")
    sender = _address(path, utf8, Condition.BAD_SENDER_SYNTAX) if path else None
    return Mail(sender, size, body, utf8, _ret(said), _envid(said))


def rcpt(rest: str, mode: Mode, utf8: bool) -> Rcpt:
    """RCPT TO:<path> [parameters].  `utf8` is what MAIL said."""
    path, words = _path(rest, "TO:", Condition.BAD_RECIPIENT_SYNTAX)
    said = _parameters(words, "RCPT", _RCPT_PARAMETERS[mode])
    notify, orcpt = _notify(said), _orcpt(said, utf8)
    if path.lower() == "postmaster":
        return Rcpt(Address(path, ""), notify, orcpt)
    return Rcpt(_address(path, utf8, Condition.BAD_RECIPIENT_SYNTAX), notify, orcpt)


def bdat(rest: str) -> BdatCommand:
    """RFC 3030 2: BDAT SP chunk-size [SP LAST]."""
    words = rest.split()
    if len(words) not in (1, 2) or (len(words) == 2 and words[1].upper() != "LAST"):
        raise refusal(Condition.BAD_ARGUMENT, "say BDAT, how many octets follow, and LAST with the last of them")
    size = _number(words[0], "BDAT")
    if size > MAX_CHUNK:
        raise refusal(Condition.BAD_ARGUMENT, "the chunk size is out of all measure")
    return BdatCommand(size, is_last=len(words) == 2)


def auth(rest: str) -> tuple[str, bytes | None]:
    """RFC 4954 4: AUTH mechanism [initial-response]."""
    words = rest.split()
    if len(words) not in (1, 2):
        raise refusal(Condition.BAD_ARGUMENT, "say AUTH, a mechanism, and its initial response if there is one")
    initial = None if len(words) == 1 else b"" if words[1] == "=" else from_base64(words[1].encode("utf-8"))
    return words[0].upper(), initial


def from_base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise refusal(Condition.AUTH_BAD_BASE64, "the response is not base64") from None


def _path(rest: str, prefix: str, wrong: Condition) -> tuple[str, list[str]]:
    """What stands between the angle brackets, and the words behind them."""
    if rest[: len(prefix)].upper() != prefix:
        raise refusal(Condition.BAD_ARGUMENT, f"say {prefix}<address>")
    found = _PATH.match(rest[len(prefix) :].lstrip(" \t"))
    if not found or (found[2] and found[2][0] not in " \t"):
        raise refusal(wrong, f"the address must stand in angle brackets: {prefix}<user@example.org>")
    return found[1].strip(" \t"), found[2].split()


def _parameters(words: list[str], command: str, known: frozenset[str]) -> dict[str, str]:
    """RFC 5321 4.1.2 esmtp-param: name in upper case -> value, "" where it has none; each at most once."""
    parameters: dict[str, str] = {}
    for word in words:
        found = _PARAMETER.match(word)
        if not found:
            raise refusal(Condition.BAD_ARGUMENT, "a parameter is written NAME or NAME=value")
        name = found[1].upper()
        if name not in known:
            raise refusal(Condition.PARAMETER_NOT_IMPLEMENTED, f"{command} knows no parameter {name[:40]} here")
        if name in parameters:
            raise refusal(Condition.BAD_ARGUMENT, f"{name} is said twice")
        parameters[name] = found[2] or ""
    return parameters


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise refusal(Condition.BAD_ARGUMENT, f"{name} wants a number of octets")
    return int(text)


def _body(value: str) -> BodyType:
    try:
        return BodyType(value.upper())
    except ValueError:
        raise refusal(Condition.PARAMETER_NOT_IMPLEMENTED, "BODY can be 7BIT or 8BITMIME here") from None


def _ret(said: dict[str, str]) -> str:
    """RFC 3461 4.3."""
    value = said.get("RET", "FULL").upper()
    if value not in _RETURNS:
        raise refusal(Condition.BAD_ARGUMENT, "RET wants FULL or HDRS")
    return value if "RET" in said else ""


def _envid(said: dict[str, str]) -> str:
    """RFC 3461 4.4."""
    if "ENVID" not in said:
        return ""
    value = said["ENVID"]
    try:
        decode_xtext(value)
    except ValueError:
        raise refusal(Condition.BAD_ARGUMENT, "ENVID wants printable text in xtext") from None
    if not 0 < len(value) <= MAX_ENVID:
        raise refusal(Condition.BAD_ARGUMENT, f"ENVID wants 1 to {MAX_ENVID} characters")
    return value


def _notify(said: dict[str, str]) -> str:
    """RFC 3461 4.1; each keyword once."""
    if "NOTIFY" not in said:
        return ""
    value = said["NOTIFY"].upper()
    keywords = value.split(",")
    if value != "NEVER" and not (_NOTIFICATIONS.issuperset(keywords) and len(set(keywords)) == len(keywords)):
        raise refusal(Condition.BAD_ARGUMENT, "NOTIFY wants NEVER, or some of SUCCESS, FAILURE and DELAY")
    return value


def _orcpt(said: dict[str, str], utf8: bool) -> str:
    """RFC 3461 4.2, RFC 6533 3."""
    if "ORCPT" not in said:
        return ""
    value = said["ORCPT"]
    if len(value) > MAX_ORCPT:
        raise refusal(Condition.BAD_ARGUMENT, f"ORCPT has at most {MAX_ORCPT} characters")
    if not utf8 and not value.isascii():
        raise Refusal(NEEDS_UTF8)
    try:
        kind, _ = decode_address(value)
    except ValueError as error:
        raise refusal(Condition.BAD_ARGUMENT, f"ORCPT: {error}") from None
    if not _ATOM.match(kind):
        raise refusal(Condition.BAD_ARGUMENT, "ORCPT begins with the address type, such as rfc822")
    return value


def _address(path: str, utf8: bool, wrong: Condition) -> Address:
    if not utf8 and not path.isascii():
        raise Refusal(NEEDS_UTF8)
    try:
        return parse_address(path)
    except BadAddress as error:
        raise refusal(wrong, str(error)) from None
