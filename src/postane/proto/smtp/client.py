"""The client's side of SMTP (RFC 5321) and LMTP (RFC 2033), without I/O.

Commands may be given at any time.  The engine says a command once it may be said:
after the greeting, one by one where PIPELINING (RFC 2920) is not offered, in groups
where it is, none behind STARTTLS before TLS is up.  Replies come out in the order of
the commands, each naming the one it answers.

What cannot be trusted ends the dialogue with `Broken`: octets that are no reply, a
reply to nothing, a "yes" of the wrong kind (354 to RCPT, 250 to DATA or to half a
message: from there on every reply might be another command's), 421 (RFC 5321 3.8),
and a connection that closes early.  A "no" in the middle of a message is taken as
its answer, and ends the dialogue as well, for nobody knows what the server has read.
Commands given after the end go nowhere.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import deque
from dataclasses import dataclass, field, replace

from postane.core.limits import SmtpClientLimits
from postane.proto.dots import DotWriter
from postane.proto.smtp.client_capabilities import Capabilities, read_capabilities
from postane.proto.smtp.client_envelope import Envelope, Recipient, mail_line, rcpt_line
from postane.proto.smtp.client_reply import Fault, RawReply, ReplyReader, ServerReply, Step
from postane.proto.smtp.command import Mode

MAX_AUTH_LINE = 512
"""RFC 4954 4: an initial response that would make the command longer waits for the server's go-ahead."""

# RFC 2920 3.1, RFC 3207 4, RFC 4954 4: nothing is said behind these before they are answered.
_LAST_IN_GROUP = frozenset({Step.GREETING, Step.HELLO, Step.STARTTLS, Step.AUTH, Step.DATA, Step.NOOP, Step.QUIT})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Broken:
    """The dialogue is over and no more replies come.

    `reason` is a sentence about the server; `awaiting` what it had to answer next, `reply` what it said last
    where that was its end.  `is_in_doubt`: the whole message was said and not answered, so it may have been taken.
    """

    reason: str
    awaiting: Step | None = None
    reply: ServerReply | None = None
    is_in_doubt: bool = False


@dataclass(slots=True, eq=False)
class _Command:
    """`data` are its octets; a RCPT's `recipients` is itself, the end of a message by LMTP has all that it is for."""

    step: Step
    data: bytearray = field(default_factory=bytearray)
    recipients: deque[int] = field(default_factory=deque)


class ClientEngine:
    """Commands and the server's octets in, octets and replies out.  A command out of place is a ValueError."""

    def __init__(self, mode: Mode, limits: SmtpClientLimits) -> None:
        self.capabilities = Capabilities()
        """Those of the last EHLO or LHLO; none before it, after HELO, and once TLS is up."""
        self._mode = mode
        self._limits = limits
        self._reader = ReplyReader(limits.reply_bytes)
        self._output = bytearray()
        self._asked: deque[_Command] = deque([_Command(Step.GREETING)])
        self._held: deque[_Command] = deque()
        self._replies: deque[ServerReply] = deque()
        self._broken: Broken | None = None
        self._over = False
        self._securing = False
        self._extended = True
        self._initial: bytes | None = None
        self._challenged = False
        self._text: DotWriter | None = None
        self._chunk: _Command | None = None
        self._chunk_left = 0
        self._recipients = 0
        self._accepted: list[int] = []

    # ------------------------------------------------------------ the engine's face

    @property
    def is_over(self) -> bool:
        """Nothing will be said or heard any more; replies may still be waiting."""
        return self._over

    @property
    def awaiting(self) -> Step | None:
        """What the server has to answer next; None where it is our turn."""
        return self._asked[0].step if self._asked else None

    @property
    def is_awaiting_text(self) -> bool:
        """DATA was answered with 354: `text` and `end` are due."""
        return self._text is not None

    @property
    def accepted(self) -> tuple[int, ...]:
        """The recipients, counted from 0 since MAIL, that the server has taken so far."""
        return tuple(self._accepted)

    @property
    def timeout(self) -> float:
        """Seconds that the server may now be silent (RFC 5321 4.5.3.2)."""
        match self.awaiting:
            case None | Step.CHUNK:
                return self._limits.text
            case Step.GREETING:
                return self._limits.greeting
            case Step.DATA:
                return self._limits.data
            case Step.END:
                return self._limits.end
            case Step.QUIT:
                return self._limits.quit
            case _:
                return self._limits.command

    def feed(self, data: bytes) -> None:
        """Takes what the server said; b"" where it will say no more."""
        if not data:
            self._end_of_input()
        if not data or self._over or self._securing:
            return
        self._reader.feed(data)
        while not self._over and not self._securing:
            said = self._reader.next()
            if said is None:
                return
            if isinstance(said, Fault):
                self._break(said.reason)
            else:
                self._take(said)

    def next_reply(self) -> ServerReply | Broken | None:
        """In the order of the commands; `Broken` again and again once it has come; None where nothing is there."""
        return self._replies.popleft() if self._replies else self._broken

    def take_output(self) -> bytes:
        output = bytes(self._output)
        self._output.clear()
        return output

    def secure(self) -> None:
        """TLS is up: what the server said before it, and behind its 220 to STARTTLS, is forgotten (RFC 3207 4.2)."""
        self._reader.clear()
        self.capabilities = Capabilities()
        self._securing = False
        self._release()

    # ------------------------------------------------------------ commands

    def hello(self, name: str) -> None:
        """EHLO, by LMTP LHLO; `name` is our host name or address literal."""
        self._extended = True
        self._say(Step.HELLO, f"{'LHLO' if self._mode is Mode.LMTP else 'EHLO'} {name}")

    def helo(self, name: str) -> None:
        """For a server that refuses EHLO (RFC 5321 3.2)."""
        self._extended = False
        self._say(Step.HELLO, f"HELO {name}")

    def starttls(self) -> None:
        """After 220: the handshake, then `secure`, then `hello` again."""
        self._say(Step.STARTTLS, "STARTTLS")

    def auth(self, mechanism: str, initial: bytes | None = None) -> None:
        """Each 334 is a reply with a `challenge`, for `respond` or `cancel`."""
        line = f"AUTH {mechanism}" if initial is None else f"AUTH {mechanism} {_base64(initial) or '='}"
        self._initial = None
        if len(line) + 2 > MAX_AUTH_LINE:
            line, self._initial = f"AUTH {mechanism}", initial
        self._say(Step.AUTH, line)

    def respond(self, response: bytes) -> None:
        self._continue_auth(_base64(response))

    def cancel(self) -> None:
        """Ends an exchange that cannot go on (RFC 4954 4); the server answers 501."""
        self._continue_auth("*")

    def mail(self, envelope: Envelope) -> None:
        self._recipients = 0
        self._say(Step.MAIL, mail_line(envelope, self.capabilities))

    def rcpt(self, recipient: Recipient) -> None:
        self._say(Step.RCPT, rcpt_line(recipient, self.capabilities), self._recipients)
        self._recipients += 1

    def data(self) -> None:
        """May be pipelined; where it is answered 354 though no recipient was taken, `end` at once (RFC 2920 3.1)."""
        self._say(Step.DATA, "DATA")

    def bdat(self, size: int, *, last: bool) -> None:
        """RFC 3030 2: `size` octets of `text` are due before any other command; no `end`."""
        command = self._say(Step.END if last else Step.CHUNK, f"BDAT {size} LAST" if last else f"BDAT {size}")
        self._chunk, self._chunk_left = command, size

    def text(self, chunk: bytes) -> None:
        """The next octets of the message as they are; dots are stuffed here."""
        if self._over:
            return
        if self._text is not None:
            self._output += self._text.feed(chunk)
        elif self._chunk is not None and len(chunk) <= self._chunk_left:
            self._chunk_left -= len(chunk)
            is_held = bool(self._held) and self._held[-1] is self._chunk
            target = self._chunk.data if is_held else self._output
            target += chunk
        else:
            raise ValueError("no text is due, or not so much")

    def end(self) -> None:
        """The final dot; by LMTP it is answered once for each accepted recipient (RFC 2033 4.2)."""
        if self._over:
            return
        if self._text is None:
            raise ValueError("no text is due")
        self._output += self._text.finish()
        self._text = None
        self._ask(_Command(Step.END))
        self._release()

    def reset(self) -> None:
        self._say(Step.RESET, "RSET")

    def noop(self) -> None:
        self._say(Step.NOOP, "NOOP")

    def quit(self) -> None:
        self._say(Step.QUIT, "QUIT")

    def _say(self, step: Step, line: str, recipient: int | None = None) -> _Command:
        if _CONTROL.search(line):
            raise ValueError("a command holds a control character")
        if self._text is not None or self._chunk_left:
            raise ValueError("a message is being said")
        recipients: deque[int] = deque() if recipient is None else deque([recipient])
        command = _Command(step, bytearray(line.encode("utf-8") + b"\r\n"), recipients)
        if not self._over:
            self._held.append(command)
            self._release()
        return command

    def _continue_auth(self, line: str) -> None:
        if self._over:
            return
        if not self._challenged:
            raise ValueError("there is no challenge to respond to")
        self._challenged = False
        self._ask(_Command(Step.AUTH, bytearray(line.encode("ascii") + b"\r\n")))

    # ------------------------------------------------------------ saying

    def _release(self) -> None:
        while self._held and self._may_say(self._held[0]):
            self._ask(self._held.popleft())

    def _may_say(self, command: _Command) -> bool:
        if self._securing or self._challenged or self._text is not None:
            return False
        if not self._asked:
            return True
        if self._mode is Mode.LMTP and command.step is Step.END:
            return False  # how many answers it has depends on those to come
        return "PIPELINING" in self.capabilities and self._asked[-1].step not in _LAST_IN_GROUP

    def _ask(self, command: _Command) -> None:
        if self._mode is Mode.LMTP and command.step is Step.END:
            command.recipients = deque(self._accepted)
        self._output += command.data
        command.data = bytearray()
        self._asked.append(command)

    # ------------------------------------------------------------ hearing

    def _take(self, said: RawReply) -> None:
        if not self._asked:
            self._take_unasked(said)
            return
        command = self._asked[0]
        reply = said.answer(command.step, command.recipients.popleft() if command.recipients else None)
        if (wrong := self._mistrust(command, reply)) is not None:
            self._break(wrong, reply)
            return
        if not command.recipients:
            self._asked.popleft()
        if self._act(said, reply):
            self._replies.append(reply)
        if reply.code == 421:
            self._break(f"closes the connection: {reply.text}", reply)
        elif not self._over:
            self._release()

    def _mistrust(self, command: _Command, reply: ServerReply) -> str | None:
        """Why this "yes" cannot be the answer to that command."""
        if not reply.is_positive:
            return None
        step = command.step
        if step is Step.DATA:
            is_fit = reply.code == 354
        else:
            is_fit = reply.code < 300 or (step is Step.AUTH and reply.code == 334)
        if not is_fit:
            return f"answered {reply.code} to {step.value}"
        if self._is_being_said(command):
            return f"answered {reply.code} to {step.value} before it was all said"
        return None

    def _is_being_said(self, command: _Command) -> bool:
        return command is self._chunk and self._chunk_left > 0

    def _act(self, said: RawReply, reply: ServerReply) -> bool:
        """What a reply changes here; false where the answer to it is ours alone to give."""
        match reply.step:
            case Step.HELLO if reply.is_positive:
                lines = said.lines if self._extended else said.lines[:1]
                self.capabilities = read_capabilities(lines)
            case Step.STARTTLS if reply.is_positive:
                self._securing = True
            case Step.AUTH if reply.code == 334:
                return self._challenge(reply)
            case Step.MAIL:
                self._accepted = []
            case Step.RCPT if reply.is_positive and reply.recipient is not None:
                self._accepted.append(reply.recipient)
            case Step.DATA if reply.is_positive:
                self._text = DotWriter()
            case Step.QUIT:
                self._over = True
        return True

    def _challenge(self, reply: ServerReply) -> bool:
        self._challenged = True
        if self._initial is not None:
            initial, self._initial = self._initial, None
            self.respond(initial)
            return False
        try:
            challenge = base64.b64decode(reply.text.encode("utf-8"), validate=True)
        except binascii.Error:
            self._break("gave a challenge that is no base64", reply)
            return False
        self._replies.append(replace(reply, challenge=challenge))
        return False

    def _take_unasked(self, said: RawReply) -> None:
        """Nothing was waiting for an answer: a "no" to the message being said, or words out of place."""
        if self._text is not None:
            reply = said.answer(Step.END)
            if not reply.is_positive:
                self._replies.append(reply)
            self._break(f"said {reply.code} in the middle of the message: {reply.text}", reply)
            return
        reply = said.answer(Step.NOOP)
        self._break(f"said {reply.code} unasked: {reply.text}", reply)

    def _end_of_input(self) -> None:
        if self._over:
            return
        if self.awaiting is Step.QUIT and not self._reader.is_partial:
            self._over = True  # RFC 5321 4.1.1.10: many close without a word
        elif self._reader.is_partial:
            self._break("closed the connection in the middle of a reply")
        elif self._asked:
            self._break(f"closed the connection without an answer to {self._asked[0].step.value}")
        elif self._text is not None:
            self._break("closed the connection in the middle of the message")
        else:
            self._break("closed the connection")

    def _break(self, reason: str, reply: ServerReply | None = None) -> None:
        if not self._over:
            self._over = True
            doubt = any(each.step is Step.END and not self._is_being_said(each) for each in self._asked)
            self._broken = Broken(f"the server {reason}", self.awaiting, reply, doubt)
            self._text = None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
