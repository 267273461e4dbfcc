"""What a try to deliver came to, for one recipient: a fate and the words of whoever decided it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from postane.core.status import MailError


class Fate(Enum):
    DELIVERED = "in the mailbox"
    RELAYED = "another server has it"
    DEFERRED = "not now; again later"
    REFUSED = "never"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`code`, `enhanced` ("" where none was given) and `text` are what `host` said, or ours where `host` is "".

    `tls` tells how the connection was protected, or why it was not ("" where nobody tried).
    `passes_dsn`: the next server has taken on what the sender asked to be told (RFC 3461 5.2.1).
    `detail` is for our own eyes.
    """

    fate: Fate
    code: int
    enhanced: str
    text: str
    host: str = ""
    tls: str = ""
    passes_dsn: bool = False
    detail: str = ""

    @property
    def words(self) -> str:
        """On one line."""
        return " ".join(f"{self.code} {self.enhanced} {self.text}".split())

    @property
    def status(self) -> str:
        """An enhanced code always (RFC 3463): the class of `code` alone where the server gave none."""
        return self.enhanced or f"{self.code // 100}.0.0"


def deferred(enhanced: str, text: str, host: str = "", code: int = 451) -> Verdict:
    return Verdict(Fate.DEFERRED, code, enhanced, text, host)


def refused(enhanced: str, text: str, host: str = "", code: int = 550) -> Verdict:
    return Verdict(Fate.REFUSED, code, enhanced, text, host)


def failed(failure: MailError) -> Verdict:
    """What went wrong here, in our own words."""
    fate = Fate.DEFERRED if failure.is_temporary else Fate.REFUSED
    reply = failure.reply
    return Verdict(fate, reply.code, reply.enhanced, reply.text, detail=failure.detail)
