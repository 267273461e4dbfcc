"""The server's side of SMTP (RFC 5321), submission (RFC 6409) and LMTP (RFC 2033), without I/O.

Speaks PIPELINING (RFC 2920), SIZE (1870), 8BITMIME (6152), SMTPUTF8 (6531),
CHUNKING (3030), ENHANCEDSTATUSCODES (2034), LIMITS (9422), STARTTLS (3207), but
for LMTP DSN (3461) and, at submission, AUTH (4954).  What may be said when is `postane.proto.smtp.state`.

Refused: commands that are no text, lines over their limit, text whose lines do
not end with CR LF (read to its true end, so nothing in it becomes a command),
chunks whose size cannot be believed (the connection ends, for nobody knows
where the next command begins), HTTP, more errors than the limits say, or more
commands without a message that was accepted.
"""

from __future__ import annotations

import base64
from enum import Enum

from postane.core.address import MAX_DOMAIN
from postane.core.limits import SmtpLimits
from postane.core.status import Condition, MailError, Reply
from postane.proto.buffer import Line, LineEnd, ReceiveBuffer
from postane.proto.dots import DotReader
from postane.proto.smtp import syntax
from postane.proto.smtp.body import ChunkReader, Incoming
from postane.proto.smtp.command import (
    Auth,
    AuthResponse,
    Challenge,
    Chunk,
    Data,
    EndOfChunk,
    EndOfMessage,
    Hello,
    Help,
    Mode,
    Noop,
    Proceed,
    Quit,
    Reset,
    StartTlsCommand,
    Verify,
    Welcome,
)
from postane.proto.smtp.state import EXPECTED, FOREIGN, NEXT, State
from postane.proto.smtp.syntax import BdatCommand, Refusal, Verb, refusal

MAX_REPLY_LINE = 500
"""RFC 5321 4.5.3.1.5: 512 octets with code and CR LF."""


class _Reading(Enum):
    """What the next octets are."""

    COMMAND = "command"
    RESPONSE = "response"
    TEXT = "text"
    END = "end"
    """The line with the dot has been read; nothing more is read before it is answered."""
    CHUNK = "chunk"


class _Step(Enum):
    AGAIN = "again"
    """No event came of what was read; there may be more."""


_PLAIN: dict[Verb, type] = {
    Verb.DATA: Data,
    Verb.RSET: Reset,
    Verb.NOOP: Noop,
    Verb.QUIT: Quit,
    Verb.STARTTLS: StartTlsCommand,
}
_BARE = frozenset(_PLAIN) - {Verb.NOOP}
_HTTP = frozenset({"GET", "HEAD", "POST", "PUT", "OPTIONS", "CONNECT"})


class SmtpEngine:
    """Bytes in, events of `postane.proto.smtp.command` out; answers in, bytes out."""

    def __init__(self, mode: Mode, limits: SmtpLimits) -> None:
        self.state = State.START
        self._mode = mode
        self._limits = limits
        self._buffer = ReceiveBuffer(LineEnd.LF)
        self._output = bytearray()
        self._reading = _Reading.COMMAND
        self._after = State.START
        self._hello = Verb.HELO
        self._utf8 = False
        self._authenticated = False
        self._incoming = Incoming(limits)
        self._dots = DotReader(limits.text_line)
        self._chunks = ChunkReader(limits.text_line)
        self._chunk = BdatCommand(0, is_last=False)
        self._chunk_left = 0
        self._chunk_refused: Reply | None = None
        self._chunk_is_silent = False
        self._errors = 0
        self._commands = 0
        self._is_after_message = False
        self._has_ended = False
        self._closed = False

    # ------------------------------------------------------------ the engine's face

    @property
    def pending(self) -> bool:
        return self._reading is not _Reading.COMMAND or self._buffer.is_partial

    @property
    def closed(self) -> bool:
        return self._closed

    def feed(self, data: bytes) -> None:
        if not data:
            self._has_ended = True
        elif not self._closed:
            self._buffer.feed(data)

    def next_event(self) -> object | None:
        while not self._closed:
            event = self._read()
            if event is None:
                self._closed = self._has_ended
                return None
            if event is not _Step.AGAIN:
                return event
        return None

    def take_output(self) -> bytes:
        output = bytes(self._output)
        self._output.clear()
        return output

    def secure(self) -> None:
        """RFC 3207 4.2: what was said before TLS, and what was sent behind STARTTLS, is forgotten."""
        self._buffer.clear()
        self._reading = _Reading.COMMAND
        self.state = State.START
        self._authenticated = False

    def send(self, answer: object) -> None:
        match answer:
            case Reply():
                self._answer(answer)
            case Welcome():
                self._welcome(answer)
            case Proceed():
                self._say(Reply(354, "", "Start mail input; end with <CRLF>.<CRLF>"))
                self._dots = DotReader(self._limits.text_line)
                self._incoming = Incoming(self._limits)
                self._reading = _Reading.TEXT
            case Challenge():
                self._output += b"334 " + base64.b64encode(answer.data) + b"\r\n"
                self._reading = _Reading.RESPONSE
            case _:
                raise TypeError(f"{answer!r} is no answer of SMTP")

    # ------------------------------------------------------------ answers

    def _answer(self, reply: Reply) -> None:
        if reply.is_positive:
            self.state = self._after
            self._authenticated |= reply.code == 235
            if self._is_after_message:
                self._commands = 0  # a relay sends many messages over one connection
        self._reading = _Reading.COMMAND
        self._say(reply)
        # By LMTP a well-behaved relay hands over many messages; who is unknown or full here is not its fault.
        if self._mode is not Mode.LMTP:
            self._count_error(reply)

    def _welcome(self, answer: Welcome) -> None:
        self.state = self._after
        if self._hello is Verb.HELO:
            self._say(Reply(250, "", answer.text))
            return
        keywords = [
            "PIPELINING",
            f"SIZE {self._limits.message_bytes}",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "ENHANCEDSTATUSCODES",
            f"LIMITS RCPTMAX={self._limits.recipients}",
        ]
        if self._mode is not Mode.LMTP:
            keywords.append("DSN")
        if answer.starttls:
            keywords.append("STARTTLS")
        if answer.mechanisms:
            keywords.append("AUTH " + " ".join(answer.mechanisms))
        self._say(Reply(250, "", "\n".join([answer.text, *keywords])))

    def _refuse(self, reply: Reply) -> None:
        self._say(reply)
        self._count_error(reply)

    def _count_error(self, reply: Reply) -> None:
        self._errors += reply.code >= 500
        if self._errors >= self._limits.errors:
            self._part(MailError(Condition.TOO_MANY_ERRORS, "too many errors; good-bye"))

    def _part(self, reason: MailError) -> None:
        if not self._closed:
            self._say(reason.reply)
            self._closed = True

    def _say(self, reply: Reply) -> None:
        """RFC 5321 4.2.1 for several lines, RFC 2034 4 for the enhanced code on each."""
        prefix = f"{reply.enhanced} " if reply.enhanced else ""
        *before, last = reply.text.split("\n")
        for line in before:
            self._output += _reply_line(f"{reply.code}-{prefix}{line}")
        self._output += _reply_line(f"{reply.code} {prefix}{last}")

    # ------------------------------------------------------------ reading

    def _read(self) -> object | None:
        match self._reading:
            case _Reading.COMMAND:
                return self._read_command()
            case _Reading.TEXT:
                return self._read_text()
            case _Reading.END:
                return self._end_of_message()
            case _Reading.CHUNK:
                return self._read_chunk()
            case _Reading.RESPONSE:
                return self._read_response()

    def _read_command(self) -> object | None:
        # RFC 4954 4: the line of an AUTH with its initial response may be longer than any other.
        longest = self._limits.auth_line if self._mode is Mode.SUBMISSION else self._limits.command_line
        line = self._buffer.line(longest)
        if line is None:
            return None
        self._is_after_message = False
        self._commands += 1
        if self._commands > self._limits.commands:
            self._part(MailError(Condition.TOO_MANY_ERRORS, "too many commands in one session; good-bye"))
            return None
        try:
            return self._command(line)
        except Refusal as refused:
            self._refuse(refused.reply)
            return _Step.AGAIN

    def _read_response(self) -> object | None:
        line = self._buffer.line(self._limits.auth_line)
        if line is None:
            return None
        self._reading = _Reading.COMMAND
        try:
            if line is Line.TOO_LONG:
                raise refusal(Condition.LINE_TOO_LONG, "the response is too long")
            if line == b"*":
                raise refusal(Condition.BAD_ARGUMENT, "authentication is cancelled")  # RFC 4954 4
            return AuthResponse(syntax.from_base64(line))
        except Refusal as refused:
            self._refuse(refused.reply)
            return _Step.AGAIN

    def _read_text(self) -> object | None:
        data = self._buffer.take(len(self._buffer))
        if not data:
            return None
        text = self._dots.feed(data)
        if self._dots.finished:
            self._buffer.put_back(self._dots.rest)
            self._reading = _Reading.END
        return self._gather(self._incoming.take(text, self._dots.flaws))

    def _read_chunk(self) -> object | None:
        if not self._chunk_left:
            return self._end_of_chunk()
        data = self._buffer.take(self._chunk_left)
        if not data:
            return None
        self._chunk_left -= len(data)
        if self._chunk_refused:
            return _Step.AGAIN
        return self._gather(self._incoming.take(self._chunks.feed(data), self._chunks.flaws))

    def _gather(self, text: bytes) -> object | None:
        if self._incoming.is_endless:
            self._part(MailError(Condition.TOO_MANY_ERRORS, "the message does not end; good-bye"))
        return Chunk(text) if text else _Step.AGAIN

    def _end_of_message(self) -> EndOfMessage:
        """Whatever the answer, the transaction is over (RFC 5321 4.1.1.4)."""
        self._reading = _Reading.COMMAND
        self._is_after_message = True
        self.state = self._after = State.READY
        return EndOfMessage(self._incoming.size, self._incoming.flaw)

    def _end_of_chunk(self) -> object:
        self._reading = _Reading.COMMAND
        if self._chunk_refused:
            if not self._chunk_is_silent:
                self._refuse(self._chunk_refused)
            return _Step.AGAIN
        if self._chunk.is_last:
            self._chunks.finish()
            self._incoming.take(b"", self._chunks.flaws)
            return self._end_of_message()
        self.state, self._after = State.FAILED, State.CHUNKS
        return EndOfChunk(self._chunk.size, self._incoming.size, self._incoming.flaw)

    # ------------------------------------------------------------ commands

    def _command(self, line: bytes | Line) -> object:
        if isinstance(line, Line):
            raise refusal(Condition.LINE_TOO_LONG, "the line is too long")
        word, rest = syntax.split(line)
        if word in _HTTP:
            self._part(MailError(Condition.TOO_MANY_ERRORS, "this is a mail server and speaks no HTTP; good-bye"))
            return _Step.AGAIN
        verb = syntax.VERBS.get(word)
        if verb is None or verb in FOREIGN[self._mode]:
            raise Refusal(Reply(500, "5.5.1", "no such command here; HELP lists what there is"))
        if verb is not Verb.AUTH and len(line) + 2 > self._limits.command_line:
            raise refusal(Condition.LINE_TOO_LONG, "the line is too long")
        if verb is Verb.BDAT:
            return self._begin_chunk(rest)
        after = self._permit(verb, rest)
        event = self._event(verb, rest)
        self._after = after
        return event

    def _permit(self, verb: Verb, rest: str) -> State:
        """The state after a positive answer."""
        if verb is Verb.EXPN:
            raise refusal(Condition.NOT_IMPLEMENTED, "who is behind an address is told to nobody")
        if verb is Verb.AUTH and self._mode is not Mode.SUBMISSION:
            raise refusal(Condition.NOT_IMPLEMENTED, "log in on port 465 (TLS) or 587 (STARTTLS), not here")
        after = NEXT.get((self.state, verb))
        if after is None:
            raise refusal(Condition.BAD_SEQUENCE, EXPECTED[self.state])
        if verb is Verb.AUTH and self._authenticated:
            raise refusal(Condition.BAD_SEQUENCE, "you are logged in already")  # RFC 4954 4
        if verb is Verb.VRFY and not rest:
            raise refusal(Condition.BAD_ARGUMENT, "say VRFY and whom")
        if verb in _BARE and rest:
            raise refusal(Condition.BAD_ARGUMENT, f"{verb.value} takes nothing behind it")
        return after

    def _event(self, verb: Verb, rest: str) -> object:
        if verb in _PLAIN:
            return _PLAIN[verb]()
        match verb:
            case Verb.MAIL:
                mail = syntax.mail(rest, self._mode, self._limits.message_bytes)
                self._utf8 = mail.utf8
                return mail
            case Verb.RCPT:
                return syntax.rcpt(rest, self._mode, self._utf8)
            case Verb.AUTH:
                return Auth(*syntax.auth(rest))
            case Verb.VRFY:
                return Verify(rest)
            case Verb.HELP:
                return Help(rest)
            case _:
                return self._hello_event(verb, rest)

    def _hello_event(self, verb: Verb, name: str) -> Hello:
        if not name or len(name) > MAX_DOMAIN:
            raise refusal(Condition.BAD_ARGUMENT, f"say {verb.value} and your host name")
        self._hello = verb
        return Hello(name, is_extended=verb is not Verb.HELO)

    def _begin_chunk(self, rest: str) -> _Step:
        """From here `size` octets are no commands, whether they are wanted or not (RFC 3030 2)."""
        first = self.state is State.RCPT
        before = 0 if first else self._incoming.size
        try:
            self._chunk = syntax.bdat(rest)
            if self._chunk.size + before > 2 * self._limits.message_bytes:
                raise refusal(
                    Condition.MESSAGE_TOO_LARGE, f"a message may have at most {self._limits.message_bytes} octets"
                )
        except Refusal as refused:
            self._refuse(refused.reply)
            self._part(
                MailError(Condition.TOO_MANY_ERRORS, "there is no telling where your next command begins; good-bye")
            )
            return _Step.AGAIN
        self._reading = _Reading.CHUNK
        self._chunk_left = self._chunk.size
        if (self.state, Verb.BDAT) not in NEXT:
            self._refuse_chunk()
            return _Step.AGAIN
        self._chunk_refused = None
        if first:
            self._incoming = Incoming(self._limits)
            self._chunks = ChunkReader(self._limits.text_line)
        return _Step.AGAIN

    def _refuse_chunk(self) -> None:
        """RFC 2033 4.3: by LMTP the last chunk has an answer a recipient, so none where there is no recipient."""
        self._chunk_refused = MailError(Condition.BAD_SEQUENCE, EXPECTED[self.state]).reply
        self._chunk_is_silent = self._mode is Mode.LMTP and self.state is State.MAIL and self._chunk.is_last
        if self._chunk_is_silent:
            self.state = State.READY


def _reply_line(text: str) -> bytes:
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "?" for c in text)
    return text.encode("ascii", "backslashreplace")[:MAX_REPLY_LINE] + b"\r\n"
