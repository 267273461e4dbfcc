"""Address lists of header fields (RFC 5322 3.4 and 4.4), as IMAP's ENVELOPE says them (RFC 3501 7.4.2).

Text stays raw: encoded words untouched, quoted strings unquoted, comments
taken out; a comment is the display name where there is no other.  Groups and
source routes are kept.  A word that is no address has the host b"" (None would
mean a group).  Each octet is looked at a bounded number of times: a quote or a
parenthesis that never closes is dropped, and with it all later ones.
"""

from __future__ import annotations

import re

from postane.core.message import MessageAddress

_ATOM = rb'[^\s"(<>@,;:\\]+'
_SIMPLE = re.compile(
    rb'\s*(?:(?:"([^"\\\r\n]*)"\s*|(' + _ATOM + rb"(?:[ \t]+" + _ATOM + rb")*)\s*)?"
    rb"<(" + _ATOM + rb")@(" + _ATOM + rb")>|(" + _ATOM + rb")@(" + _ATOM + rb"))\s*(?:,|\Z)"
)
_TOKEN = re.compile(rb'(\s+)|(["(<>@,;:])|((?:=\?[^?\s]{1,80}\?[BbQq]\?[^?]*\?=)|[^\s"(<>@,;:]+)')
_QUOTED = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.S)
_IN_COMMENT = re.compile(rb"\\.|[()]", re.S)
_ESCAPED = re.compile(rb"\\(.)", re.S)
_BLANKS = re.compile(rb"\s+")
_GROUP_END = MessageAddress(None, None, None, None)


def parse_addresses(value: bytes, limit: int = 2000) -> tuple[MessageAddress, ...]:
    """The addresses of a field's value, at most about `limit`.  Never raises."""
    found: list[MessageAddress] = []
    at = 0
    while at < len(value) and len(found) < limit:
        simple = _SIMPLE.match(value, at)
        if simple is None:
            return tuple(found) + _AddressList(value, limit - len(found)).parse(at)
        quoted, phrase, local, host, bare_local, bare_host = simple.groups()
        found.append(MessageAddress(quoted or phrase, None, local or bare_local, host or bare_host))
        at = simple.end()
    return tuple(found)


class _Word:
    """A piece of an address: `spaced` where white space or a comment came before it."""

    __slots__ = ("spaced", "text")

    def __init__(self, text: bytes, spaced: bool) -> None:
        self.text = text
        self.spaced = spaced


class _AddressList:
    """One pass over the tokens.  `words` lie outside angle brackets, `angle` inside."""

    def __init__(self, value: bytes, limit: int) -> None:
        self.value = value
        self.limit = limit
        self.found: list[MessageAddress] = []
        self.in_group = False
        self.quotes_close = True
        self.comments_close = True
        self.clear()

    def clear(self) -> None:
        self.words: list[_Word] = []
        self.angle: list[bytes] | None = None
        self.angle_closed = False
        self.comment = b""
        self.spaced = False
        self.last_at = -1

    def parse(self, at: int) -> tuple[MessageAddress, ...]:
        value, end = self.value, len(self.value)
        while at < end and len(self.found) < self.limit:
            token = _TOKEN.match(value, at)
            if token is None:
                break
            at = token.end()
            if token.lastindex == 1:
                self.spaced = True
            elif token.lastindex == 3:
                self.word(token[3])
            else:
                at = self.special(token[2], at)
        self.flush()
        if self.in_group:
            self.found.append(_GROUP_END)
        return tuple(self.found)

    def word(self, text: bytes) -> None:
        if self.angle is not None and not self.angle_closed:
            self.angle.append(text)
            if text == b"@":
                self.last_at = len(self.angle) - 1
            return
        if text == b"@" and self.angle is None:
            self.last_at = len(self.words)
        self.words.append(_Word(text, self.spaced))
        self.spaced = False

    def special(self, mark: bytes, at: int) -> int:
        """Acts on a mark that ended at `at`; returns where to go on."""
        if mark == b'"':
            return self.quoted(at)
        if mark == b"(":
            return self.commented(at)
        if self.angle is not None and not self.angle_closed:
            self.special_in_angle(mark)
        elif mark == b",":
            self.flush()
        elif mark == b";":
            self.flush()
            if self.in_group:
                self.found.append(_GROUP_END)
                self.in_group = False
        elif mark == b":" and self.angle is None and self.last_at < 0 and self.words and not self.in_group:
            self.found.append(MessageAddress(None, None, _phrase(self.words), None))
            self.in_group = True
            self.clear()
        elif mark == b"<":
            self.angle, self.angle_closed, self.last_at = [], False, -1
        elif mark != b">":
            self.word(mark)
        return at

    def special_in_angle(self, mark: bytes) -> None:
        assert self.angle is not None
        is_route = self.angle[:1] == [b"@"]
        if mark == b">":
            self.angle_closed, self.spaced = True, True
        elif mark == b"<":
            self.angle, self.last_at = [], -1
        elif mark == b"," and not is_route:
            self.flush()
        else:
            self.word(mark)

    def quoted(self, at: int) -> int:
        found = _QUOTED.match(self.value, at - 1) if self.quotes_close else None
        if found is None:
            self.quotes_close = False
            return at
        self.word(_unescape(_BLANKS.sub(b" ", found[1]) if b"\n" in found[1] else found[1]))
        return found.end()

    def commented(self, at: int) -> int:
        self.spaced = True
        if not self.comments_close:
            return at
        depth = 1
        for found in _IN_COMMENT.finditer(self.value, at):
            if found[0] == b"(":
                depth += 1
            elif found[0] == b")":
                depth -= 1
                if depth == 0:
                    text = self.value[at : found.start()]
                    self.comment = self.comment or _unescape(_BLANKS.sub(b" ", text)).strip()
                    return found.end()
        self.comments_close = False
        return at

    def flush(self) -> None:
        """The address is over; what was gathered becomes one."""
        if not self.words and self.angle is None:
            self.comment, self.spaced = b"", False
            return
        if self.angle is not None:
            self.add_angle(self.angle)
        elif self.last_at >= 0:
            self.add_bare()
        else:
            self.add(self.comment, None, _phrase(self.words), b"")
        self.clear()

    def add(self, name: bytes, route: bytes | None, mailbox: bytes, host: bytes) -> None:
        self.found.append(MessageAddress(name or None, route, mailbox, host))

    def add_angle(self, angle: list[bytes]) -> None:
        """RFC 5322 3.4 angle-addr, 4.4 obs-route."""
        route, start = None, 0
        if angle[:1] == [b"@"] and b":" in angle:
            start = angle.index(b":") + 1
            route = b"".join(angle[: start - 1])
        name = _phrase(self.words) or self.comment
        if self.last_at >= start:
            self.add(name, route, b"".join(angle[start : self.last_at]), b"".join(angle[self.last_at + 1 :]))
        elif angle or name:
            self.add(name, route, b"".join(angle[start:]), b"")

    def add_bare(self) -> None:
        """RFC 5322 3.4 addr-spec, with white space around its dots (4.4) and loose words before or behind."""
        words, at = self.words, self.last_at
        first = max(0, at - 1)
        while first > 0 and _belongs(words[first - 1], words[first]):
            first -= 1
        last = min(at + 2, len(words))
        while last < len(words) and _belongs(words[last - 1], words[last]):
            last += 1
        name = _phrase(words[:first] + words[last:]) or self.comment
        mailbox = b"".join(word.text for word in words[first:at])
        self.add(name, None, mailbox, b"".join(word.text for word in words[at + 1 : last]))


def _belongs(before: _Word, after: _Word) -> bool:
    return not after.spaced or after.text.startswith(b".") or before.text.endswith(b".")


def _phrase(words: list[_Word]) -> bytes:
    return b"".join(b" " + word.text if word.spaced else word.text for word in words).strip()


def _unescape(text: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text
