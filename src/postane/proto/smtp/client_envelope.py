"""MAIL and RCPT as a client says them (RFC 5321 4.1.1.2, 4.1.1.3), each parameter where its extension is offered.

A parameter whose extension the server did not offer is left out: whoever cannot
do without it (SMTPUTF8, REQUIRETLS, BINARYMIME) looks at the capabilities first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from postane.proto.smtp.client_capabilities import Capabilities
from postane.proto.smtp.command import BodyType

_BODY_NEEDS = {"7BIT": "8BITMIME", "8BITMIME": "8BITMIME", "BINARYMIME": "BINARYMIME"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """`sender` "" is the null reverse-path.

    `size` in octets (RFC 1870), `body` (RFC 6152, RFC 3030), `utf8` (RFC 6531), `ret` "FULL" or "HDRS" and
    `envid` in xtext (RFC 3461 4.3, 4.4), `requires_tls` (RFC 8689 2), `priority` -9 to 9 (RFC 6710 4),
    `by` "seconds;mode" (RFC 2852 4).
    """

    sender: str
    size: int | None = None
    body: BodyType | None = None
    utf8: bool = False
    ret: str = ""
    envid: str = ""
    requires_tls: bool = False
    priority: int | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Recipient:
    """`notify` "NEVER" or a list, `orcpt` "type;xtext" (RFC 3461 4.1, 4.2), both as they came."""

    address: str
    notify: str = ""
    orcpt: str = ""


def mail_line(envelope: Envelope, offered: Capabilities) -> str:
    words = (word for keyword, word in _mail_words(envelope) if keyword in offered)
    return " ".join([f"MAIL FROM:<{envelope.sender}>", *words])


def rcpt_line(recipient: Recipient, offered: Capabilities) -> str:
    line = f"RCPT TO:<{recipient.address}>"
    if "DSN" not in offered:
        return line
    notify = f" NOTIFY={recipient.notify}" if recipient.notify else ""
    orcpt = f" ORCPT={recipient.orcpt}" if recipient.orcpt else ""
    return line + notify + orcpt


def _mail_words(envelope: Envelope) -> Iterator[tuple[str, str]]:
    """(the extension's keyword, the parameter)."""
    if envelope.size is not None:
        yield "SIZE", f"SIZE={envelope.size}"
    if envelope.body is not None:
        yield _BODY_NEEDS[envelope.body.value], f"BODY={envelope.body.value}"
    if envelope.utf8:
        yield "SMTPUTF8", "SMTPUTF8"
    if envelope.ret:
        yield "DSN", f"RET={envelope.ret}"
    if envelope.envid:
        yield "DSN", f"ENVID={envelope.envid}"
    if envelope.requires_tls:
        yield "REQUIRETLS", "REQUIRETLS"
    if envelope.priority is not None:
        yield "MT-PRIORITY", f"MT-PRIORITY={envelope.priority}"
    if envelope.by:
        yield "DELIVERBY", f"BY={envelope.by}"
