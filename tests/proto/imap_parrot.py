"""A session for tests of the IMAP engine alone: it says what it heard, and yes to everything.

Each event becomes an untagged line `* heard <repr>`; a mailbox called "refused"
refuses an APPEND, and "flooded" refuses it in the middle of its message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from postane.core.dialogue import Closed, Hangup, Opened, Secured, StartTls, TimedOut
from postane.proto.imap.command import (
    AppendBegin,
    AppendChunk,
    AppendEnd,
    AppendMessage,
    Authenticate,
    Challenge,
    Close,
    Command,
    Continue,
    Ending,
    Idle,
    IdleDone,
    Login,
    Logout,
    Proceed,
    SaslResponse,
    Select,
    StartTlsCommand,
    State,
    Tagged,
    Wire,
    Wrong,
)

_STATES = {Login: State.AUTHENTICATED, Select: State.SELECTED, Close: State.AUTHENTICATED}


class Parrot:
    """`answers` is the session without a pump; the methods below give it the face of `core.dialogue.Session`."""

    timeout = 60.0

    def __init__(self) -> None:
        self.heard: list[object] = []
        """Every event, the chunks of one message joined."""
        self._tag = b""
        self._message: bytearray | None = None
        self._is_refused = False

    def answers(self, event: object) -> Iterator[object]:
        self._note(event)
        match event:
            case Opened():
                yield Wire(b"* OK Parrot ready\r\n")
            case Closed():
                yield Wire(b"* BYE Parrot gone\r\n")
                yield Hangup()
            case Secured() | TimedOut():
                pass
            case AppendBegin() | AppendMessage() | AppendChunk() | AppendEnd():
                yield from self._append(event)
            case Wrong():
                yield from self._wrong(event)
            case _:
                yield Wire(b"* heard %b\r\n" % repr(event).encode("ascii", "backslashreplace"))
                yield from self._command(event)

    def _note(self, event: object) -> None:
        if isinstance(event, AppendChunk) and isinstance(self.heard[-1], AppendChunk):
            self.heard[-1] = AppendChunk(self.heard[-1].data + event.data)
        else:
            self.heard.append(event)

    def _append(self, event: object) -> Iterator[object]:
        match event:
            case AppendBegin(tag, mailbox):
                self._tag, self._message = tag, bytearray()
                self._is_refused = mailbox == "flooded"
                yield Wire(b"* heard %b\r\n" % repr(event).encode("ascii", "backslashreplace"))
                if mailbox == "refused":
                    yield Tagged(tag, Ending.NO, "No such mailbox", b"TRYCREATE")
            case AppendMessage():
                yield Wire(b"* heard %b\r\n" % repr(event).encode("ascii"))
                yield Proceed()
            case AppendChunk(data):
                assert self._message is not None
                self._message += data
                if self._is_refused and len(self._message) >= 3:
                    self._is_refused = False
                    yield Tagged(self._tag, Ending.NO, "The disk is full", b"UNAVAILABLE")
            case AppendEnd(tag):
                assert self._message is not None
                yield Wire(b"* heard %d octets\r\n" % len(self._message))
                yield Tagged(tag, Ending.OK, "APPEND completed", b"APPENDUID 1 2")

    def _wrong(self, wrong: Wrong) -> Iterator[object]:
        if wrong.is_fatal:
            yield Wire(b"* BYE %b\r\n" % wrong.text.encode("ascii"))
            yield Hangup()
        else:
            yield Tagged(wrong.tag, Ending.NO if wrong.is_no else Ending.BAD, wrong.text, wrong.code)

    def _command(self, event: object) -> Iterator[object]:
        match event:
            case Authenticate(tag, mechanism):
                self._tag = tag
                yield Challenge(mechanism.encode("ascii"))
            case SaslResponse(None):
                yield Tagged(self._tag, Ending.BAD, "Given up")
            case SaslResponse(b"more"):
                yield Challenge(b"")
            case SaslResponse():
                yield Tagged(self._tag, Ending.OK, "Logged in", state=State.AUTHENTICATED)
            case Idle(tag):
                self._tag = tag
                yield Continue("idling")
            case IdleDone(is_done):
                yield Tagged(self._tag, Ending.OK if is_done else Ending.BAD, "IDLE ended")
            case StartTlsCommand(tag):
                yield Tagged(tag, Ending.OK, "Begin TLS")
                yield StartTls()
            case Logout(tag):
                yield Wire(b"* BYE See you\r\n")
                yield Tagged(tag, Ending.OK, "LOGOUT completed", state=State.LOGOUT)
                yield Hangup()
            case Command(tag):
                yield Tagged(tag, Ending.OK, "completed", state=_STATES.get(type(event)))

    # ---------------------------------------------------------------- the face of a session

    async def handle(self, event: object) -> AsyncIterator[object]:
        for answer in self.answers(event):
            yield answer

    async def pushed(self) -> AsyncIterator[object]:
        for nothing in ():
            yield nothing

    async def aclose(self) -> None:
        pass
