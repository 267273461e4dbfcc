"""imapclient, which shares no code with us, as the judge of what we say on the wire."""

from __future__ import annotations

import re
from typing import Any

from imapclient.response_parser import parse_response

_LITERAL = re.compile(rb"\{([0-9]+)\}\r\n")


def read(wire: bytes) -> tuple[Any, ...]:
    """The items of a response, lists as tuples, NIL as None."""
    return _plain(parse_response(_split(wire)))


def _split(wire: bytes) -> list[Any]:
    """A response the way imaplib hands it on: each literal is a pair of what stands before it and its octets."""
    pieces: list[Any] = []
    at = 0
    while literal := _next_literal(wire, at):
        end = literal.end() + int(literal[1])
        pieces.append((wire[at : literal.end() - 2], wire[literal.end() : end]))
        at = end
    return [*pieces, wire[at:]]


def _next_literal(wire: bytes, at: int) -> re.Match[bytes] | None:
    """CR LF stands nowhere but behind a literal's size: a quoted string can't hold it."""
    end = wire.find(b"}\r\n", at)
    return _LITERAL.match(wire, wire.rfind(b"{", at, end)) if end >= 0 else None


def _plain(value: Any) -> Any:
    return tuple(_plain(each) for each in value) if isinstance(value, tuple | list) else value
