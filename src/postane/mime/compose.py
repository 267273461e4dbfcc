"""Header fields that we write ourselves: at receipt (RFC 5321 4.4) and at submission (RFC 6409 8).

Refused: names and values that would break out of their field (control
characters) or grow without bound (ValueError), and a message whose first line
would continue our last field (MailError BAD_CONTENT).
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

from postane.core.ids import new_id
from postane.core.status import Condition, MailError
from postane.mime.header import fields_with_junk, has_header

MAX_VALUE = 8192
_LINE = 78
_MAX_LINE = 998
_NAME = re.compile(r"[!-9;-~]{1,76}")
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_PIECE = re.compile(rb"[ \t]*[^ \t]+")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DOMAIN = re.compile(r"[\w.-]{1,255}|\[[0-9A-Za-z:.]{1,64}\]", re.A)
_WORD = re.compile(r"[!-'*-:<-\[\]-~]{1,255}")


def field(name: str, value: str) -> bytes:
    """One field with its CRLF, folded (RFC 5322 2.2.3) before white space so that lines stay within 78 octets.

    Unfolded it is `value` again.  Not ASCII: UTF-8 (RFC 6532).
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no field name")
    if _CONTROLS.search(value):
        raise ValueError(f"the value of {name} holds a control character")
    octets = value.strip().encode("utf-8")
    if len(octets) > MAX_VALUE:
        raise ValueError(f"the value of {name} is longer than {MAX_VALUE} octets")
    line = b"%b: %b" % (name.encode(), octets) if octets else b"%b:" % name.encode()
    lines = [line] if len(line) <= _LINE else _folded(line)
    # RFC 5322 2.1.1
    if max(map(len, lines)) > _MAX_LINE:
        raise ValueError(f"the value of {name} has a word that no line can hold")
    return b"\r\n".join(lines) + b"\r\n"


def _folded(line: bytes) -> list[bytes]:
    """Cut before white space, but never between the name and the first word."""
    name, first, *others = _PIECE.findall(line)
    lines = [name + first]
    for piece in others:
        if len(lines[-1]) + len(piece) <= _LINE:
            lines[-1] += piece
        else:
            lines.append(piece)
    return lines


def prefix(fields: Sequence[tuple[str, str]], data_start: bytes) -> bytes:
    """What receipt puts before a message (STORE.md, The bytes); `data_start` is its beginning, the first line at least.

    A message that begins with neither a field, nor an mbox "From " line, nor an
    empty line has no header: an empty line then ends ours.
    """
    if not fields:
        return b""
    if data_start[:1] in (b" ", b"\t"):
        raise MailError(
            Condition.BAD_CONTENT, "The message begins with white space, as if it continued another header field."
        )
    joined = b"".join(field(name, value) for name, value in fields)
    return joined if has_header(data_start) else joined + b"\r\n"


def with_keyword(base: str, *, utf8: bool = False, secured: bool = False, authenticated: bool = False) -> str:
    """What Received says after "with" (RFC 3848, RFC 6531 4.3); `base` is "SMTP" (after HELO), "ESMTP" or "LMTP"."""
    if base == "SMTP":
        return base
    kind = f"UTF8{base.removeprefix('E')}" if utf8 else base
    return kind + "S" * secured + "A" * authenticated


def received(
    *,
    helo: str,
    peer_host: str,
    by: str,
    with_: str,
    id: str,
    date: float,
    for_: str | None = None,
    tls: tuple[str, str] | None = None,
) -> str:
    """The value of a Received field (RFC 5321 4.4).

    `helo` is what the peer said, and is not trusted; `peer_host` its numeric
    address, "" on a Unix socket; `with_` as `with_keyword` gives it; `date` in
    seconds since the epoch; `for_` the recipient, only where there is one (more
    would tell them of each other, RFC 5321 7.2); `tls` version and cipher.
    """
    peer = _literal(peer_host)
    said = helo if _DOMAIN.fullmatch(helo) else peer or "unknown"
    clauses = [f"from {said} ({peer})" if peer else f"from {said}", f"by {by}", f"with {with_}"]
    if tls is not None:
        clauses.append("(" + " ".join(word for word in tls if _WORD.fullmatch(word)) + ")")
    clauses.append(f"id {id}")
    if for_ is not None:
        clauses.append(f"for <{for_}>")
    return f"{' '.join(clauses)}; {rfc5322_date(date)}"


@lru_cache(maxsize=1024)
def _literal(host: str) -> str:
    """RFC 5321 4.1.3."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None:
        return f"[{mapped}]"
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def rfc5322_date(epoch: float) -> str:
    """RFC 5322 3.3, in UTC."""
    at = time.gmtime(epoch)
    day = f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04d}"
    return f"{day} {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} +0000"


def message_id(host: str) -> str:
    """A new one, with its angle brackets (RFC 5322 3.6.4)."""
    return f"<{new_id()}@{host}>"


def drop_fields(header: bytes, should_drop: Callable[[bytes, bytes], bool]) -> bytes:
    """`header` without the fields for which `should_drop(name as written, unfolded value)` is true.

    Lines behind such a field that are no field go with it: a badly folded Bcc must not leave its tail.
    """
    return b"".join(
        raw for name, raw, value in fields_with_junk(header) if name is None or not should_drop(name, value)
    )
