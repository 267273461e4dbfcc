"""Sections of a message's body (RFC 3501 6.4.5), as ranges of its blob.

Where each part lies was found at delivery, so a section is one range read,
whatever the message.  What receipt put before the message (its prefix) belongs
to the header of the whole and to nothing else.  A part that is not there is
NIL; a partial that begins behind the end is an empty string.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

from postane.core.dialogue import Body
from postane.core.limits import KIB
from postane.core.message import Part
from postane.core.status import Condition, MailError
from postane.mime.tree import find, unpack
from postane.proto.imap.command import FetchItem, Section, SectionText, Wire
from postane.session.imap.items import HEADERS, header_filter

HELD = 64 * KIB
"""Up to so many octets, counted once for each section, a message is read once for all its sections."""
CHUNK = 64 * KIB
"""A section above this is streamed."""

Read = Callable[[int, int], Awaitable[bytes]]
"""(start, length) of the blob -> its octets."""

_WHOLE = Section((), SectionText.ALL, (), False, None, b"RFC822")
_TEXT = Section((), SectionText.TEXT, (), False, None, b"RFC822.TEXT")


class Message:
    """One message as sections are cut from it: `size` is the blob's, `parts` the packed structure."""

    def __init__(self, prefix: bytes, size: int, parts: bytes) -> None:
        self.prefix = prefix
        self.size = size
        self._parts = parts

    @cached_property
    def root(self) -> Part:
        return unpack(self._parts)


class Span(NamedTuple):
    """`lead` and then `length` octets of the blob from `start`."""

    lead: bytes
    start: int
    length: int


def section_of(wanted: FetchItem | Section) -> Section:
    """RFC 3501 6.4.5: RFC822 is BODY[] and RFC822.TEXT is BODY[TEXT], under their own names."""
    if isinstance(wanted, Section):
        return wanted
    return _WHOLE if wanted is FetchItem.RFC822 else _TEXT


class Cutter:
    """One section of the command; what can be known of it is worked out once."""

    __slots__ = ("_filter", "_header_bytes", "_label", "_section")

    def __init__(self, section: Section, header_bytes: int) -> None:
        """`header_bytes`: how much of a part's header is looked through for fields."""
        self._section = section
        self._header_bytes = header_bytes
        self._filter = header_filter(section)
        self._label = section.label
        if section.partial is not None:
            self._label += b"<%d>" % section.partial[0]

    @property
    def nil(self) -> bytes:
        return self._label + b" NIL"

    def cut(self, message: Message, blob: bytes) -> bytes:
        """The item of the response, from a blob that is at hand."""
        span = self._span(message)
        if span is None:
            return self.nil
        return self._literal(span.lead + blob[span.start : span.start + span.length])

    async def fetch(self, message: Message, read: Read) -> AsyncGenerator[bytes | Body, None]:
        """The item of the response, with a Body in it where the section is long.

        The first octets are read before anything is said, so that a message that has gone can still be passed over.
        """
        span = self._span(message)
        if span is None:
            yield self.nil
        elif self._filter is not None or span.length <= CHUNK:
            yield self._literal(span.lead + await exactly(read, span.start, span.length))
        else:
            opening = span.lead + await exactly(read, span.start, CHUNK)
            length = len(span.lead) + span.length
            yield b"%b {%d}\r\n" % (self._label, length)
            yield Body(length, _chunks(opening, read, span.start + CHUNK, span.length - CHUNK))

    def _literal(self, octets: bytes) -> bytes:
        if self._filter is not None:
            octets = self._filter(octets)
            if self._section.partial is not None:
                first, count = self._section.partial
                octets = octets[first : first + count]
        return b"%b {%d}\r\n%b" % (self._label, len(octets), octets)

    def _span(self, message: Message) -> Span | None:
        """None where there is no such part."""
        where = self._locate(message)
        if where is None:
            return None
        start, length = where
        if self._filter is not None:
            return Span(b"", start, min(length, self._header_bytes))
        is_whole = not self._section.path and self._section.text is SectionText.ALL
        lead = message.prefix if is_whole else b""
        if self._section.partial is None:
            return Span(lead, start, length)
        first, count = self._section.partial
        cut = lead[first : first + count]
        begin = max(0, first - len(lead))
        return Span(cut, start + begin, max(0, min(length - begin, count - len(cut))))

    def _locate(self, message: Message) -> tuple[int, int] | None:
        """(start, length) in the blob."""
        section = self._section
        if not section.path:
            start = message.root.body if section.text is SectionText.TEXT else 0
            return start, message.size - start
        part = find(message.root, section.path)
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


async def _chunks(opening: bytes, read: Read, begin: int, left: int) -> AsyncIterator[bytes]:
    """A message that goes for good meanwhile leaves the body short, which ends the connection."""
    yield opening
    with suppress(MailError):
        for start in range(begin, begin + left, CHUNK):
            yield await read(start, min(CHUNK, begin + left - start))


async def exactly(read: Read, start: int, length: int) -> bytes:
    """MailError EXPUNGE_ISSUED where the blob has fewer."""
    if length <= 0:
        return b""
    data = await read(start, length)
    if len(data) != length:
        raise MailError(Condition.EXPUNGE_ISSUED, "A message has gone for good", f"{len(data)} of {length} octets")
    return data


async def lines(cutters: list[Cutter], head: bytes, message: Message, read: Read) -> AsyncGenerator[Wire | Body, None]:
    """A whole FETCH line: `head` opens it and says what columns have; the sections follow, in bounded memory.

    MailError where octets can't be had: before anything of the line is out, or else when the line has been ended.
    """
    said = [head]
    held = 0
    is_begun = False
    failure: MailError | None = None
    for number, cutter in enumerate(cutters):
        if number or not head.endswith(b"("):
            said.append(b" ")
        try:
            async for piece in cutter.fetch(message, read):
                if isinstance(piece, bytes):
                    said.append(piece)
                    held += len(piece)
                if isinstance(piece, Body) or held > CHUNK:
                    yield Wire(b"".join(said))
                    said.clear()
                    held = 0
                    is_begun = True
                if isinstance(piece, Body):
                    yield piece
        except MailError as error:
            if not is_begun:
                raise
            failure = error
            said.append(cutter.nil)
    said.append(b")\r\n")
    yield Wire(b"".join(said))
    if failure is not None:
        raise failure
