"""A port we listen on, as a value: which protocol, and how TLS comes about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Service(Enum):
    """The names of `ports` in the ready file."""

    SMTP = "smtp"
    LMTP = "lmtp"
    SUBMISSION = "submission"
    SUBMISSIONS = "submissions"
    IMAP = "imap"
    IMAPS = "imaps"
    POP3 = "pop3"
    POP3S = "pop3s"


STANDARD_PORTS = {
    Service.SMTP: 25,
    Service.LMTP: 24,
    Service.SUBMISSION: 587,
    Service.SUBMISSIONS: 465,
    Service.IMAP: 143,
    Service.IMAPS: 993,
    Service.POP3: 110,
    Service.POP3S: 995,
}

IMPLICIT_TLS = frozenset({Service.SUBMISSIONS, Service.IMAPS, Service.POP3S})


@dataclass(frozen=True, slots=True)
class Listener:
    """`plaintext_login`: the setting `login.plaintext = "allow"` holds here (RFC 8314 4.1 says why it should not)."""

    service: Service
    plaintext_login: bool = False

    @property
    def is_tls(self) -> bool:
        return self.service in IMPLICIT_TLS
