"""The words of a message, for search and previews: decoded bodies, HTML to text, folding for comparison.

Linear in the size of its input, whatever that is; never raises for what the
bytes say.  HTML is read by a scanner of our own: script, style, title and
comments go with what they hold, other tags go, character references are
resolved; it is no sanitizer.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator

from postane.core.limits import KIB, MimeLimits
from postane.core.message import Part
from postane.mime.charset import decode
from postane.mime.header import Buffer, split_fields
from postane.mime.params import decoded_param
from postane.mime.transfer import decode_body
from postane.mime.words import decode_words

PREVIEW_LENGTH = 256
# Mostly the first are enough; HTML often opens with a long style sheet.
_PREVIEW_BYTES = {b"HTML": (8 * KIB,)}
_PREVIEW_BYTES_ELSE = (512, 2 * KIB)
_SPOILED = 8
"""Characters that may be wrong where an encoding was cut."""

_HIDDEN = re.compile(r"<(?:!--|(script|style|title)\b)", re.I)
_HIDDEN_ENDS = {
    "": re.compile("-->"),
    "script": re.compile(r"</script[^<>]*>", re.I),
    "style": re.compile(r"</style[^<>]*>", re.I),
    "title": re.compile(r"</title[^<>]*>", re.I),
}
_BLOCK = re.compile(
    r"</?(?:address|article|aside|blockquote|br|center|dd|div|dl|dt|fieldset|figure|footer|form|h[1-6]|header|hr|li|main"
    r"|nav|ol|p|pre|section|table|td|th|tr|ul)\b[^<>]*>",
    re.I,
)
_TAG = re.compile(r"</?[a-zA-Z!?][^<>]*>")
# More digits than any code point has; `int` would refuse thousands of them.
_HUGE_REFERENCE = re.compile(r"&#(?:0*[0-9]{8,}|[xX]0*[0-9a-fA-F]{7,});?")


def html_to_text(text: str) -> str:
    """What a reader of the HTML sees, one line a block."""
    # Line ends mean no more than blanks here.
    shown = _TAG.sub("", _BLOCK.sub("\n", " ".join(_without_hidden(text).split())))
    if "&" in shown:
        shown = html.unescape(_HUGE_REFERENCE.sub("\ufffd", shown))
    return "\n".join(filter(None, (" ".join(line.split()) for line in shown.split("\n"))))


def _without_hidden(text: str) -> str:
    kept = []
    at = 0
    while found := _HIDDEN.search(text, at):
        kept.append(text[at : found.start()])
        ends = _HIDDEN_ENDS[(found[1] or "").lower()].search(text, found.end())
        if ends is None:
            return "".join(kept)
        at = ends.end()
    kept.append(text[at:])
    return "".join(kept)


# Diacritics, and what shows nothing: soft hyphen, zero-width characters, direction marks.
_UNSEEN = re.compile("[\u0300-\u036f\u00ad\u200b-\u200f\u2060\ufeff]+")
# Letters whose stroke or missing dot is no combining mark in Unicode.
_PLAIN_LETTERS = (("ı", "i"), ("ø", "o"), ("đ", "d"), ("ł", "l"), ("ħ", "h"), ("ŧ", "t"))
# `unicodedata.normalize` takes quadratic time on long runs of marks, none of which are word characters.
_LONG_RUN = re.compile(r"([^\w\x00-\x7f]{32})")


def fold(text: str) -> str:
    """For comparison: without case, width, diacritics and invisible characters; I, İ, ı and i are one letter."""
    if text.isascii():
        return text.lower()
    return "".join(map(_fold_run, _LONG_RUN.split(text)))


def _fold_run(text: str) -> str:
    split = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = _UNSEEN.sub("", split)
    for letter, plain in _PLAIN_LETTERS:
        bare = bare.replace(letter, plain)
    # Kana and Hangul come together again.
    return unicodedata.normalize("NFC", bare)


def text_of(data: Buffer, part: Part) -> Iterator[str]:
    """The text of all text parts of `part`, in order, and the header fields of messages within it, decoded."""
    if part.message is not None:
        header = bytes(data[part.message.start : part.message.body])
        for field in split_fields(header, MimeLimits()):
            yield decode_words(field.name + b": " + field.value)
        yield from text_of(data, part.message)
    for child in part.children:
        yield from text_of(data, child)
    if part.type == b"TEXT":
        yield _decoded(bytes(data[part.body : part.end]), part)


def _decoded(body: bytes, part: Part) -> str:
    text = decode(decode_body(body, part.encoding), decoded_param(part.params, b"charset") or "")
    return html_to_text(text) if part.subtype == b"HTML" else text


def preview(data: Buffer, part: Part) -> str:
    """RFC 8970 3.1: the beginning of the first text that is no attachment, in one line of at most 256 characters."""
    first = _first_text(part)
    if first is None:
        return ""
    shown = ""
    for longest in _PREVIEW_BYTES.get(first.subtype, _PREVIEW_BYTES_ELSE):
        shown = _opening(data, first, longest)
        if len(shown) >= PREVIEW_LENGTH + _SPOILED or first.size <= longest:
            break
    return shown[:PREVIEW_LENGTH].rstrip()


def _opening(data: Buffer, part: Part, longest: int) -> str:
    """The text of the first `longest` octets of a body, in one line."""
    body = bytes(data[part.body : min(part.end, part.body + longest)])
    if part.size > longest:
        # Not in the middle of a character or of an encoded one.
        body = body[: body.rfind(b"\n") + 1] or body
    return " ".join(_decoded(body, part).replace("\0", " ").split())


def _first_text(part: Part) -> Part | None:
    if part.type == b"TEXT":
        is_shown = part.disposition is None or part.disposition.kind.lower() != b"attachment"
        return part if part.size and is_shown else None
    inner = part.children or ((part.message,) if part.message else ())
    return next(filter(None, map(_first_text, inner)), None)
