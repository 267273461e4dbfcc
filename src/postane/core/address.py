"""Mail addresses: RFC 5321 4.1.2 Mailbox, with RFC 6531 3.3 for UTF-8.

A domain is kept as lower-case A-labels (UTS 46), so that it compares by
equality in either spelling; `display_domain` gives the U-labels back.  The
local part is kept as written, unquoted; who owns the domain decides how it
compares, and here that is without case (`Address.key`).

Refused: control characters, bare spaces, empty parts, a local part over 64
octets, a domain over 255, labels that are no host name, source routes (read
past, RFC 5321 4.1.1.3, never used).
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass

import idna

MAX_LOCAL = 64
MAX_DOMAIN = 255
_ATEXT = re.compile(
    r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\U0010ffff]+(\.[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\u0080-\U0010ffff]+)*\Z"
)
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e\u0080-\U0010ffff]|\\[\x20-\x7e])*)"')
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_\-]{0,61}[a-z0-9_])?\Z")


class BadAddress(ValueError):
    """The text is no address; the message says which part and why."""


@dataclass(frozen=True, slots=True)
class Address:
    """`local` as written and unquoted; `domain` lower-case A-labels, or an address literal in brackets."""

    local: str
    domain: str

    def __str__(self) -> str:
        local = self.local if _ATEXT.match(self.local) else _quote(self.local)
        return f"{local}@{self.domain}"

    @property
    def key(self) -> str:
        """What two spellings of one local mailbox have in common: NFC, without case."""
        return f"{fold_local(self.local)}@{self.domain}"

    @property
    def needs_utf8(self) -> bool:
        """RFC 6531 3.3: only the local part can, the domain being A-labels."""
        return not self.local.isascii()

    def without_tag(self, separator: str = "+") -> Address:
        """`user+tag` is `user` (RFC 5233 names the parts); an empty user stays as it is."""
        user, found, _ = self.local.partition(separator)
        return Address(user, self.domain) if found and user else self


def fold_local(local: str) -> str:
    if local.isascii():
        return local.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).casefold())


def _quote(local: str) -> str:
    return '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_domain(text: str) -> str:
    """A domain in either spelling -> lower-case A-labels; an address literal -> its canonical form."""
    if text.startswith("["):
        return _parse_literal(text)
    name = text.removesuffix(".")
    if not name:
        raise BadAddress("the domain is empty")
    try:
        ascii_name = name.lower() if name.isascii() else idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise BadAddress(f"the domain {text!r} is not a valid international name: {error}") from error
    if len(ascii_name) > MAX_DOMAIN:
        raise BadAddress("the domain is longer than 255 octets")
    for label in ascii_name.split("."):
        if not _LABEL.match(label):
            raise BadAddress(f"the domain {text!r} has a part {label!r} that is no host name")
    return ascii_name


def display_domain(domain: str) -> str:
    """A-labels -> what a person reads; anything that does not decode stays as it is."""
    if "xn--" not in domain:
        return domain
    try:
        return idna.decode(domain)
    except (idna.IDNAError, UnicodeError):
        return domain


def _parse_literal(text: str) -> str:
    """RFC 5321 4.1.3: [192.0.2.1] or [IPv6:2001:db8::1]."""
    if not text.endswith("]"):
        raise BadAddress("an address literal must end with ]")
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError as error:
        raise BadAddress(f"{text!r} is no address literal") from error


def parse(text: str) -> Address:
    """`local@domain`, the local part quoted or not."""
    if _CONTROL.search(text):
        raise BadAddress("the address holds a control character")
    quoted = _QUOTED.match(text)
    if quoted:
        local, rest = re.sub(r"\\(.)", r"\1", quoted[1]), text[quoted.end() :]
    else:
        local, at, domain = text.rpartition("@")
        rest = at + domain
        if at and not _ATEXT.match(local):
            raise BadAddress(
                f"{local!r} before the @ is not a valid local part" if local else "nothing stands before the @"
            )
    if not rest.startswith("@"):
        raise BadAddress("the address has no @")
    if len(local.encode("utf-8", "surrogatepass")) > MAX_LOCAL:
        raise BadAddress("the part before the @ is longer than 64 octets")
    return Address(local, parse_domain(rest[1:]))
