"""Sections of a message's body (RFC 3501 6.4.5), as ranges of its blob.

Where each part lies was found at delivery, so a section is one range read,
whatever the message.  What receipt put before the message (its prefix) belongs
to the header of the whole and to nothing else.  A part that is not there is
NIL; a partial that begins behind the end is an empty string.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from postane.core.dialogue import Body
from postane.core.limits import KIB
from postane.core.message import Part
from postane.core.status import Condition, MailError
from postane.mime.tree import find
from postane.proto.imap.command import FetchItem, Section, SectionText, Wire
from postane.session.imap.items import HEADERS, header_filter

INLINE = 64 * KIB
"""A message up to this size is read once for all its sections; beyond it each section is streamed by itself."""
CHUNK = 64 * KIB

Read = Callable[[int, int], Awaitable[bytes]]
"""(start, length) of the blob -> its octets."""

_WHOLE = Section((), SectionText.ALL, (), False, None, b"RFC822")
_TEXT = Section((), SectionText.TEXT, (), False, None, b"RFC822.TEXT")


@dataclass(frozen=True, slots=True)
class Message:
    """One message as sections are cut from it; `root` is its unpacked structure."""

    prefix: bytes
    size: int
    """Of the blob."""
    root: Part
    read: Read


def section_of(wanted: FetchItem | Section) -> Section:
    """RFC 3501 6.4.5: RFC822 is BODY[] and RFC822.TEXT is BODY[TEXT], under their own names."""
    if isinstance(wanted, Section):
        return wanted
    return _WHOLE if wanted is FetchItem.RFC822 else _TEXT


class Cutter:
    """One section of the command; what can be known of it is worked out once."""

    __slots__ = ("_filter", "_header_bytes", "_section", "label")

    def __init__(self, section: Section, header_bytes: int) -> None:
        """`header_bytes`: how much of a part's header is looked through for fields."""
        self._section = section
        self._header_bytes = header_bytes
        self._filter = header_filter(section)
        self.label = section.label
        if section.partial is not None:
            self.label += b"<%d>" % section.partial[0]

    async def cut(self, message: Message) -> AsyncIterator[bytes | Body]:
        """The item of the response: bytes that go out as they are, perhaps with a Body between."""
        where = self._locate(message)
        if where is None:
            yield self.label + b" NIL"
        elif self._filter is not None:
            start, length = where
            header = await _exactly(message.read, start, min(length, self._header_bytes))
            said = self._part_of(self._filter(header))
            yield b"%b {%d}\r\n%b" % (self.label, len(said), said)
        else:
            async for piece in self._range(message, *where):
                yield piece

    def _locate(self, message: Message) -> tuple[int, int] | None:
        """(start, length) in the blob; the prefix, where it belongs to the section, is not counted."""
        section, root = self._section, message.root
        if not section.path:
            start = root.body if section.text is SectionText.TEXT else 0
            return start, message.size - start
        part = find(root, section.path)
        if part is None:
            return None
        if section.text is SectionText.ALL:
            return part.body, part.end - part.body
        if section.text is SectionText.MIME:
            return part.start, part.body - part.start
        inner = part.message
        if inner is None:
            return None
        if section.text in HEADERS:
            return inner.start, inner.body - inner.start
        return inner.body, inner.end - inner.body

    def _part_of(self, said: bytes) -> bytes:
        if self._section.partial is None:
            return said
        first, count = self._section.partial
        return said[first : first + count]

    async def _range(self, message: Message, start: int, length: int) -> AsyncIterator[bytes | Body]:
        is_whole = not self._section.path and self._section.text is SectionText.ALL
        prefix = message.prefix if is_whole else b""
        first, count = self._section.partial or (0, len(prefix) + length)
        said = prefix[first : first + count]
        begin = start + max(0, first - len(prefix))
        left = max(0, min(start + length - begin, count - len(said)))
        total = len(said) + left
        head = b"%b {%d}\r\n%b" % (self.label, total, said)
        # The first octets are at hand before anything is promised: a message that has gone can still be passed over.
        opening = await _exactly(message.read, begin, min(left, CHUNK))
        if left <= CHUNK:
            yield head + opening
        else:
            yield b"%b {%d}\r\n" % (self.label, total)
            yield Body(total, _chunks(said, opening, message.read, begin + len(opening), left - len(opening)))


async def _chunks(said: bytes, opening: bytes, read: Read, begin: int, left: int) -> AsyncIterator[bytes]:
    """A message that goes for good meanwhile leaves the body short, which ends the connection."""
    yield said + opening
    with suppress(MailError):
        for start in range(begin, begin + left, CHUNK):
            yield await read(start, min(CHUNK, begin + left - start))


async def _exactly(read: Read, start: int, length: int) -> bytes:
    if length <= 0:
        return b""
    data = await read(start, length)
    if len(data) != length:
        raise MailError(Condition.EXPUNGE_ISSUED, "A message has gone for good", f"{len(data)} of {length} octets")
    return data


async def gather(cutters: list[Cutter], head: bytes, message: Message) -> AsyncIterator[Wire | Body]:
    """A whole FETCH line: `head` opens it and says what columns have; the sections follow.

    MailError where octets can't be had: before anything of the line is out, or else when the line has been ended.
    """
    said = [head]
    is_begun = False
    failure: MailError | None = None
    for number, cutter in enumerate(cutters):
        if number or not head.endswith(b"("):
            said.append(b" ")
        try:
            async for piece in cutter.cut(message):
                if isinstance(piece, Body):
                    yield Wire(b"".join(said))
                    said.clear()
                    is_begun = True
                    yield piece
                else:
                    said.append(piece)
        except MailError as error:
            if not is_begun:
                raise
            failure = error
            said.append(cutter.label + b" NIL")
    said.append(b")\r\n")
    yield Wire(b"".join(said))
    if failure is not None:
        raise failure
