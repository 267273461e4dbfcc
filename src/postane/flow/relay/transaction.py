"""One message to some of its recipients over an open conversation: MAIL, RCPT, DATA, and what came of each.

RFC 5321 3.3 and 4.5.3.1.10, RFC 2920 (all commands at once where the server can),
RFC 1870, RFC 6152, RFC 6531 3.1 and RFC 3461 5.2 (what the next server must be able to).

Refused, before a word is said: a message that the server has told it cannot take.
A final answer that never came leaves doubt: such a recipient is tried again later
and not at once elsewhere, because the message may have arrived.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from postane.flow.relay.conversation import Conversation, Lost
from postane.flow.relay.verdict import Fate, Verdict
from postane.proto.smtp.client_envelope import Envelope, Recipient
from postane.proto.smtp.client_reply import ServerReply
from postane.proto.smtp.command import BodyType
from postane.store.api import QueuedMessage, QueuedRecipient, Staged

_PIECE = 64 * 1024
_HEADER_LOOK = 256 * 1024
_RETURN_PATH = b"return-path:"
_NO_UTF8_ADDRESS = "the server takes no addresses with letters beyond ASCII (SMTPUTF8)"


@dataclass(frozen=True, slots=True)
class Letter:
    """A message of the queue as the next server gets it."""

    message: QueuedMessage
    staged: Staged

    @property
    def size(self) -> int:
        return len(self._prefix) + self.staged.size

    @property
    def _prefix(self) -> bytes:
        """RFC 5321 4.4: Return-Path is for final delivery alone."""
        prefix = self.message.prefix
        if prefix[: len(_RETURN_PATH)].lower() != _RETURN_PATH:
            return prefix
        end = prefix.find(b"\r\n") + 2
        while prefix[end : end + 1] in (b" ", b"\t"):
            end = prefix.find(b"\r\n", end) + 2
        return prefix[end:]

    def pieces(self) -> Iterator[bytes]:
        body = self.staged.view()
        prefix = self._prefix
        yield prefix + bytes(body[:_PIECE])
        for start in range(_PIECE, len(body), _PIECE):
            yield bytes(body[start : start + _PIECE])

    @property
    def is_seven_bit(self) -> bool:
        return all(piece.isascii() for piece in self.pieces())

    @property
    def has_utf8_header(self) -> bool:
        head = bytes(self.staged.view()[:_HEADER_LOOK])
        end = head.find(b"\r\n\r\n")
        return not (self._prefix.isascii() and (head if end < 0 else head[:end]).isascii())


@dataclass(slots=True)
class Sent:
    """`verdicts` by place among the recipients.

    Who has none was not decided on: `trouble` says why, and another server may do better; where it is None, this
    one wanted fewer recipients at once.
    """

    verdicts: dict[int, Verdict] = field(default_factory=dict)
    trouble: Verdict | None = None


async def send(conversation: Conversation, letter: Letter, recipients: Sequence[QueuedRecipient]) -> Sent:
    """Never raises for what the server does.  Once there was `trouble` the conversation is good for its end only."""
    sent = Sent()
    objection = _objection(conversation, letter)
    for place, recipient in enumerate(recipients):
        verdict = objection or _objection_to(conversation, recipient)
        if verdict is not None:
            sent.verdicts[place] = verdict
    if len(sent.verdicts) == len(recipients):
        return sent
    transaction = _Transaction(conversation, letter, recipients, sent)
    try:
        await transaction.run()
    except Lost as lost:
        conversation.abort()
        transaction.lose(lost)
    return sent


def _objection(conversation: Conversation, letter: Letter) -> Verdict | None:
    """Why this server cannot take this message, whoever it is for."""
    offered, message = conversation.engine.capabilities, letter.message
    most = offered.size
    if most is not None and letter.size > most:
        text = f"the message has {letter.size} octets, and the server takes {most}"
        return _refusal(conversation, 552, "5.3.4", text)
    if "SMTPUTF8" not in offered and not message.sender.isascii():
        return _refusal(conversation, 553, "5.6.7", _NO_UTF8_ADDRESS)
    if "SMTPUTF8" not in offered and message.utf8 and letter.has_utf8_header:
        text = "the server takes no headers with letters beyond ASCII (SMTPUTF8)"
        return _refusal(conversation, 554, "5.6.9", text)
    if "8BITMIME" not in offered and message.body != BodyType.SEVEN_BIT.value and not letter.is_seven_bit:
        return _refusal(conversation, 554, "5.6.3", "the server takes 7-bit text only (no 8BITMIME)")
    return None


def _objection_to(conversation: Conversation, recipient: QueuedRecipient) -> Verdict | None:
    if recipient.address.isascii() or "SMTPUTF8" in conversation.engine.capabilities:
        return None
    return _refusal(conversation, 553, "5.6.7", _NO_UTF8_ADDRESS)


def _refusal(conversation: Conversation, code: int, enhanced: str, text: str) -> Verdict:
    return replace(conversation.verdict(enhanced, text), fate=Fate.REFUSED, code=code)


class _Transaction:
    """Recipients are known by their place; those with a verdict already are left out."""

    def __init__(
        self, conversation: Conversation, letter: Letter, recipients: Sequence[QueuedRecipient], sent: Sent
    ) -> None:
        self._conversation = conversation
        self._engine = conversation.engine
        self._letter = letter
        self._recipients = {place: one for place, one in enumerate(recipients) if place not in sent.verdicts}
        self._sent = sent
        self._accepted: list[int] = []
        self._is_pipelined = "PIPELINING" in conversation.engine.capabilities

    async def run(self) -> None:
        is_first = self._conversation.messages == 0
        self._conversation.begin_message()
        if not is_first:
            self._engine.reset()
        self._engine.mail(self._envelope())
        if self._is_pipelined:
            for recipient in self._recipients.values():
                self._engine.rcpt(_as_said(recipient))
            self._engine.data()
        if not is_first:
            await self._hear_reset()
        mail = await self._conversation.answer()
        if not mail.is_positive:
            self._hear_no_to_mail(mail)
        if mail.is_positive or self._is_pipelined:
            await self._name_recipients(is_heard=mail.is_positive)
        if self._accepted or self._is_pipelined:
            await self._say_message()

    def lose(self, lost: Lost) -> None:
        """Whoever had been accepted, or not been spoken of, may be tried elsewhere, unless there is doubt."""
        self._sent.trouble = lost.verdict
        if lost.is_in_doubt:
            doubt = replace(lost.verdict, text=f"{lost.verdict.text}; it may have taken the message all the same")
            self._sent.verdicts.update(dict.fromkeys(self._accepted, doubt))

    async def _hear_reset(self) -> None:
        """A server that refuses RSET is of no more use."""
        reply = await self._conversation.answer()
        if not reply.is_positive:
            raise Lost(self._conversation.said(reply))

    def _envelope(self) -> Envelope:
        message = self._letter.message
        return Envelope(
            sender=message.sender,
            size=self._letter.size,
            body=BodyType(message.body),
            utf8=message.utf8,
            ret=message.ret,
            envid=message.envid,
            priority=next(iter(self._recipients.values())).priority or None,
        )

    def _hear_no_to_mail(self, reply: ServerReply) -> None:
        verdict = self._conversation.said(reply)
        if reply.is_temporary:
            self._sent.trouble = verdict
        else:
            self._sent.verdicts.update(dict.fromkeys(self._recipients, verdict))

    async def _name_recipients(self, *, is_heard: bool) -> None:
        """`is_heard` false: MAIL was refused, and the answers only have to be read."""
        for place, recipient in self._recipients.items():
            if not self._is_pipelined:
                self._engine.rcpt(_as_said(recipient))
            reply = await self._conversation.answer()
            if not is_heard:
                continue
            if reply.is_positive:
                self._accepted.append(place)
            elif not (self._accepted and _wants_fewer(reply)):
                self._sent.verdicts[place] = _about_recipient(self._conversation.said(reply))

    async def _say_message(self) -> None:
        conversation, engine = self._conversation, self._engine
        if not self._is_pipelined:
            engine.data()
        reply = await conversation.answer()
        if reply.is_positive:
            if self._accepted:
                for piece in self._letter.pieces():
                    engine.text(piece)
                    await conversation.push()
                    if engine.is_over:
                        break
            engine.end()
            reply = await conversation.answer()
        verdict = conversation.said(reply, passes_dsn="DSN" in engine.capabilities)
        self._sent.verdicts.update(dict.fromkeys(self._accepted, verdict))


def _as_said(recipient: QueuedRecipient) -> Recipient:
    return Recipient(recipient.address, recipient.notify, recipient.orcpt)


def _wants_fewer(reply: ServerReply) -> bool:
    """RFC 5321 4.5.3.1.10: too many recipients, in either spelling; a full mailbox has an enhanced code of its own."""
    return reply.code in (452, 552) and reply.enhanced in ("", "4.5.3", "5.5.3")


def _about_recipient(verdict: Verdict) -> Verdict:
    """RFC 5321 4.5.3.1.10: 552 to RCPT is to be taken as 452 if it means too many recipients."""
    if verdict.code == 552 and verdict.enhanced in ("", "5.5.3"):
        return replace(verdict, fate=Fate.DEFERRED)
    return verdict
