"""What a message says of itself: envelope and structure, as values.

`postane.mime` finds them in bytes, `postane.proto.imap.response` says them on
the wire, `postane.flow` hands them to the store.  Text is kept as the raw
bytes of the header (unfolded, encoded words untouched), because IMAP's
ENVELOPE and BODYSTRUCTURE say it raw (RFC 3501 7.4.2); None is NIL.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MessageAddress:
    """One address of a header field.  A group opens with host None and mailbox its name, and closes with both None."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


@dataclass(frozen=True, slots=True)
class Envelope:
    """RFC 3501 7.4.2.  An empty address list is (); sender and reply_to are already filled from From where absent."""

    date: bytes | None = None
    subject: bytes | None = None
    from_: tuple[MessageAddress, ...] = ()
    sender: tuple[MessageAddress, ...] = ()
    reply_to: tuple[MessageAddress, ...] = ()
    to: tuple[MessageAddress, ...] = ()
    cc: tuple[MessageAddress, ...] = ()
    bcc: tuple[MessageAddress, ...] = ()
    in_reply_to: bytes | None = None
    message_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Disposition:
    """RFC 2183: `kind` as written ("attachment"), `params` in order."""

    kind: bytes
    params: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """One MIME entity.  All offsets are octets from the start of the blob.

    `start` is the first octet of the header, `body` the first after the empty
    line, `end` one past the last octet of the body; `lines` counts the body's
    lines.  `type` and `subtype` are upper-case ASCII.  A multipart has
    `children`; a message/rfc822 part has `message` (the root part of what it
    holds) and that one's `envelope`.
    """

    start: int
    body: int
    end: int
    lines: int
    type: bytes
    subtype: bytes
    params: tuple[tuple[bytes, bytes], ...] = ()
    id: bytes | None = None
    description: bytes | None = None
    encoding: bytes = b"7BIT"
    md5: bytes | None = None
    disposition: Disposition | None = None
    language: tuple[bytes, ...] = ()
    location: bytes | None = None
    children: tuple[Part, ...] = ()
    message: Part | None = None
    envelope: Envelope | None = None

    @property
    def size(self) -> int:
        return self.end - self.body
