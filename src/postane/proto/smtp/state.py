"""Which SMTP command is legal when (RFC 5321 4.1.4): one table, and what is absent from it is 503."""

from __future__ import annotations

from enum import Enum

from postane.proto.smtp.command import Mode
from postane.proto.smtp.syntax import Verb


class State(Enum):
    __hash__ = object.__hash__  # as Verb's

    START = "start"
    """Nobody has said hello, or TLS has just begun (RFC 3207 4.2)."""
    READY = "ready"
    MAIL = "mail"
    RCPT = "rcpt"
    """One recipient at least is accepted."""
    CHUNKS = "chunks"
    """Between two BDATs."""
    FAILED = "failed"
    """A BDAT was refused: only a reset leads on (RFC 3030 2)."""


_HELLOS = {
    Mode.SMTP: frozenset({Verb.HELO, Verb.EHLO}),
    Mode.SUBMISSION: frozenset({Verb.HELO, Verb.EHLO}),
    Mode.LMTP: frozenset({Verb.LHLO}),
}

NEXT: dict[tuple[State, Verb], State] = {
    **{(state, hello): State.READY for state in State for hello in (Verb.HELO, Verb.EHLO, Verb.LHLO)},
    **{(state, verb): state for state in State for verb in (Verb.NOOP, Verb.VRFY, Verb.HELP, Verb.QUIT)},
    **{(state, Verb.RSET): State.READY for state in State},
    (State.START, Verb.RSET): State.START,
    (State.READY, Verb.STARTTLS): State.START,
    (State.READY, Verb.AUTH): State.READY,
    (State.READY, Verb.MAIL): State.MAIL,
    (State.MAIL, Verb.RCPT): State.RCPT,
    (State.RCPT, Verb.RCPT): State.RCPT,
    (State.RCPT, Verb.DATA): State.READY,
    (State.RCPT, Verb.BDAT): State.CHUNKS,
    (State.CHUNKS, Verb.BDAT): State.CHUNKS,
}

EXPECTED = {
    State.START: "say hello first",
    State.READY: "say MAIL first",
    State.MAIL: "a message is under way without a recipient: say RCPT or RSET",
    State.RCPT: "a message is under way: say RCPT, DATA, BDAT or RSET",
    State.CHUNKS: "the message comes in chunks: say BDAT or RSET",
    State.FAILED: "a chunk was refused: say RSET",
}

FOREIGN = {mode: frozenset({Verb.HELO, Verb.EHLO, Verb.LHLO}) - hellos for mode, hellos in _HELLOS.items()}
"""RFC 2033 4.1: to LMTP, HELO and EHLO are unknown, and LHLO to everyone else."""
