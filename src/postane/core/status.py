"""What can go wrong, and the words each protocol has for it.

One failure type serves the whole house: `MailError`.  It carries a `Condition`
(what happened), a public text (what the peer may read) and a private detail
(what only the log sees).  Each `Condition` knows its SMTP reply code and
enhanced code (RFC 3463, RFC 5248, RFC 7372), its IMAP response code
(RFC 5530, RFC 3501 7.1, RFC 9208) and its POP3 response code (RFC 2449 8,
RFC 3206), so that no session invents its own.

Refused here: exceptions as control flow between layers for anything else.
An exception that is not a `MailError` is a defect.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP reply: `code` (250), `enhanced` ("2.0.0" or ""), `text` (may hold "\\n" between lines)."""

    code: int
    enhanced: str
    text: str

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 400


class Condition(Enum):
    """(name, SMTP code, enhanced code, IMAP response code, POP3 response code).

    The name stands in the value because an Enum folds members of equal value into one.
    """

    # who and where
    UNKNOWN_RECIPIENT = ("UNKNOWN_RECIPIENT", 550, "5.1.1", "NONEXISTENT", "")
    UNKNOWN_DOMAIN = ("UNKNOWN_DOMAIN", 550, "5.1.2", "NONEXISTENT", "")
    BAD_RECIPIENT_SYNTAX = ("BAD_RECIPIENT_SYNTAX", 501, "5.1.3", "CANNOT", "")
    BAD_SENDER_SYNTAX = ("BAD_SENDER_SYNTAX", 501, "5.1.7", "CANNOT", "")
    RELAY_DENIED = ("RELAY_DENIED", 550, "5.7.1", "NOPERM", "")
    SENDER_NOT_OWNED = ("SENDER_NOT_OWNED", 550, "5.7.1", "NOPERM", "")
    MAILBOX_DISABLED = ("MAILBOX_DISABLED", 550, "5.2.1", "CONTACTADMIN", "SYS/PERM")
    ACCOUNT_BUSY = ("ACCOUNT_BUSY", 450, "4.2.1", "UNAVAILABLE", "SYS/TEMP")
    # what and how much
    OVER_QUOTA = ("OVER_QUOTA", 452, "4.2.2", "OVERQUOTA", "SYS/TEMP")
    MESSAGE_TOO_LARGE = ("MESSAGE_TOO_LARGE", 552, "5.3.4", "TOOBIG", "SYS/PERM")
    TOO_MANY_RECIPIENTS = ("TOO_MANY_RECIPIENTS", 452, "4.5.3", "LIMIT", "")
    MAIL_LOOP = ("MAIL_LOOP", 554, "5.4.6", "CANNOT", "")
    BAD_CONTENT = ("BAD_CONTENT", 554, "5.6.0", "CANNOT", "")
    BARE_LINE_END = ("BARE_LINE_END", 554, "5.6.0", "CANNOT", "")
    # who asks
    AUTH_FAILED = ("AUTH_FAILED", 535, "5.7.8", "AUTHENTICATIONFAILED", "AUTH")
    ACCOUNT_DISABLED = ("ACCOUNT_DISABLED", 525, "5.7.13", "CONTACTADMIN", "AUTH")
    AUTH_TEMPORARY = ("AUTH_TEMPORARY", 454, "4.7.0", "UNAVAILABLE", "SYS/TEMP")
    AUTH_REQUIRED = ("AUTH_REQUIRED", 530, "5.7.0", "AUTHORIZATIONFAILED", "AUTH")
    AUTH_BAD_BASE64 = ("AUTH_BAD_BASE64", 501, "5.5.2", "CLIENTBUG", "")
    TLS_REQUIRED = ("TLS_REQUIRED", 530, "5.7.0", "PRIVACYREQUIRED", "AUTH")
    TOO_MANY_LOGINS = ("TOO_MANY_LOGINS", 421, "4.7.0", "LIMIT", "SYS/TEMP")
    TOO_MANY_CONNECTIONS = ("TOO_MANY_CONNECTIONS", 421, "4.7.0", "LIMIT", "SYS/TEMP")
    TOO_MANY_ERRORS = ("TOO_MANY_ERRORS", 421, "4.7.0", "LIMIT", "SYS/TEMP")
    # mailboxes
    MAILBOX_NONEXISTENT = ("MAILBOX_NONEXISTENT", 550, "5.1.1", "NONEXISTENT", "")
    TRY_CREATE = ("TRY_CREATE", 550, "5.1.1", "TRYCREATE", "")
    MAILBOX_EXISTS = ("MAILBOX_EXISTS", 550, "5.0.0", "ALREADYEXISTS", "")
    MAILBOX_BAD_NAME = ("MAILBOX_BAD_NAME", 501, "5.1.3", "CANNOT", "")
    MAILBOX_HAS_CHILDREN = ("MAILBOX_HAS_CHILDREN", 550, "5.0.0", "HASCHILDREN", "")
    MAILBOX_IN_USE = ("MAILBOX_IN_USE", 450, "4.2.1", "INUSE", "IN-USE")
    MAILBOX_READ_ONLY = ("MAILBOX_READ_ONLY", 550, "5.7.1", "NOPERM", "SYS/PERM")
    SPECIAL_USE = ("SPECIAL_USE", 550, "5.0.0", "USEATTR", "")
    KEYWORD_LIMIT = ("KEYWORD_LIMIT", 452, "4.3.1", "LIMIT", "")
    MAILBOX_LIMIT = ("MAILBOX_LIMIT", 452, "4.3.1", "LIMIT", "")
    EXPUNGE_ISSUED = ("EXPUNGE_ISSUED", 450, "4.2.0", "EXPUNGEISSUED", "")
    BAD_CHARSET = ("BAD_CHARSET", 501, "5.6.0", "BADCHARSET", "")
    # the protocol
    SYNTAX = ("SYNTAX", 500, "5.5.2", "CLIENTBUG", "")
    BAD_ARGUMENT = ("BAD_ARGUMENT", 501, "5.5.4", "CLIENTBUG", "")
    BAD_SEQUENCE = ("BAD_SEQUENCE", 503, "5.5.1", "CLIENTBUG", "")
    NOT_IMPLEMENTED = ("NOT_IMPLEMENTED", 502, "5.5.1", "CANNOT", "")
    PARAMETER_NOT_IMPLEMENTED = ("PARAMETER_NOT_IMPLEMENTED", 555, "5.5.4", "CANNOT", "")
    LINE_TOO_LONG = ("LINE_TOO_LONG", 500, "5.5.6", "TOOBIG", "")
    # the machine
    DISK_FULL = ("DISK_FULL", 452, "4.3.1", "UNAVAILABLE", "SYS/TEMP")
    TEMPORARY = ("TEMPORARY", 451, "4.3.0", "UNAVAILABLE", "SYS/TEMP")
    SHUTTING_DOWN = ("SHUTTING_DOWN", 421, "4.3.2", "UNAVAILABLE", "SYS/TEMP")
    TIMED_OUT = ("TIMED_OUT", 421, "4.4.2", "UNAVAILABLE", "SYS/TEMP")
    BUG = ("BUG", 451, "4.3.0", "SERVERBUG", "SYS/TEMP")

    def __init__(self, label: str, code: int, enhanced: str, imap: str, pop3: str) -> None:
        self.label = label
        self.code = code
        self.enhanced = enhanced
        self.imap = imap
        self.pop3 = pop3


class MailError(Exception):
    """The one failure: `condition`, the public `text`, the private `detail`."""

    def __init__(self, condition: Condition, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.condition = condition
        self.text = text
        self.detail = detail

    @property
    def reply(self) -> Reply:
        return Reply(self.condition.code, self.condition.enhanced, self.text)

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.condition.code < 500
