"""What the server says it can do (RFC 3501 6.1.1): one table.

Everything but the ways to log in is shown in every state: some clients ask once,
before they log in, and never again.  LITERAL- is not shown beside LITERAL+,
which allows all that it allows (RFC 7888 5 forbids both together).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from postane.proto.imap.command import State


class When(Enum):
    ALWAYS = "always"
    LOGIN_OPEN = "before login, where a password is accepted"
    LOGIN_CLOSED = "before login, where no password is accepted until there is TLS"
    TLS_POSSIBLE = "before login, while STARTTLS is possible"


@dataclass(frozen=True, slots=True)
class Offer:
    name: bytes
    standard: str
    when: When = When.ALWAYS


CAPABILITIES: tuple[Offer, ...] = (
    Offer(b"IMAP4rev1", "RFC 3501"),
    Offer(b"STARTTLS", "RFC 3501 6.2.1", When.TLS_POSSIBLE),
    Offer(b"LOGINDISABLED", "RFC 3501 6.2.3", When.LOGIN_CLOSED),
    Offer(b"AUTH=PLAIN", "RFC 4616", When.LOGIN_OPEN),
    Offer(b"AUTH=LOGIN", "draft-murchison-sasl-login", When.LOGIN_OPEN),
    Offer(b"SASL-IR", "RFC 4959", When.LOGIN_OPEN),
    Offer(b"LITERAL+", "RFC 7888"),
    Offer(b"ID", "RFC 2971"),
    Offer(b"ENABLE", "RFC 5161"),
    Offer(b"IDLE", "RFC 2177"),
    Offer(b"NAMESPACE", "RFC 2342"),
    Offer(b"CHILDREN", "RFC 3348"),
    Offer(b"SPECIAL-USE", "RFC 6154"),
    Offer(b"CREATE-SPECIAL-USE", "RFC 6154 3"),
    Offer(b"STATUS=SIZE", "RFC 8438"),
    Offer(b"UIDPLUS", "RFC 4315"),
    Offer(b"MOVE", "RFC 6851"),
    Offer(b"UNSELECT", "RFC 3691"),
)


def capabilities(state: State, *, can_start_tls: bool, may_login: bool) -> tuple[bytes, ...]:
    """The names for a CAPABILITY response or response code, in the table's order."""
    shown = {When.ALWAYS}
    if state is State.NOT_AUTHENTICATED:
        shown.add(When.LOGIN_OPEN if may_login else When.LOGIN_CLOSED)
        if can_start_tls:
            shown.add(When.TLS_POSSIBLE)
    return tuple(offer.name for offer in CAPABILITIES if offer.when in shown)
