"""mbox files (RFC 4155, and the older habits that mail programs really have), in and out.

A message begins with a line `From ` at the start of the file or after an empty
line; that empty line belongs to no message.  `>From ` in a body is what a
writer made of `From `: mboxrd takes one ">" away from any number of them,
mboxo only where there is just one, and NONE leaves all as it is.

Flags come from Status, X-Status (mutt, Dovecot) and X-Mozilla-Status.
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from postane.core.flags import NO_FLAGS, Flag
from postane.flow.exchange.parcel import CHUNK, Parcel, mailbox_of

SPOOL = 128 * 1024
"""A message up to this size waits in memory, a larger one in a temporary file."""

_EMPTY = (b"\n", b"\r\n")
_QUOTED_RD = re.compile(rb">+From ")
_TO_QUOTE = re.compile(rb">*From ")
_STATUS = re.compile(rb"^(X-Status|Status|X-Mozilla-Status):[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_BY_LETTER = {b"R": Flag.SEEN, b"A": Flag.ANSWERED, b"F": Flag.FLAGGED, b"D": Flag.DELETED, b"T": Flag.DRAFT}
_BY_MOZILLA = {1: Flag.SEEN, 2: Flag.ANSWERED, 4: Flag.FLAGGED, 8: Flag.DELETED}


class FromQuoting(Enum):
    """What the writer of the file did to lines that begin with "From "."""

    RD = "rd"
    O = "o"  # noqa: E741 - its name
    NONE = "none"


class MboxFiles:
    """All messages of one file, for the mailbox that the import goes to; or of all `*.mbox` below a folder.

    There each file is a mailbox, named by its place: `Old/1998.mbox` is Old/1998.
    """

    def __init__(self, path: Path, quoting: FromQuoting = FromQuoting.RD) -> None:
        if path.is_dir():
            files = ((file.relative_to(path).with_suffix(""), file) for file in path.rglob("*.mbox") if file.is_file())
            self._files = tuple(sorted((mailbox_of(name.parts), file) for name, file in files))
        else:
            self._files = (("", path),)
        self._quoting = quoting

    @property
    def octets(self) -> int:
        return sum(file.stat().st_size for _, file in self._files)

    def mailboxes(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._files)

    def parcels(self) -> Iterator[Parcel]:
        for mailbox, path in self._files:
            with path.open("rb", buffering=CHUNK * 4) as file:
                splitter = _Splitter(file, self._quoting)
                for number, (postmark, message) in enumerate(splitter.messages(), 1):
                    flags = _flags_of(message)
                    source = f"{path}, message {number}"
                    yield Parcel(mailbox, flags, (), _date_of(postmark), source, message)


class _Splitter:
    """Cuts a file into messages.  Lines are read in pieces of CHUNK octets, so that none is too long."""

    def __init__(self, file: BinaryIO, quoting: FromQuoting) -> None:
        self._file = file
        self._quoting = quoting

    def messages(self) -> Iterator[tuple[bytes, BinaryIO]]:
        postmark = self._first()
        while postmark is not None:
            spool = cast(BinaryIO, SpooledTemporaryFile(SPOOL))  # noqa: SIM115 - closed by whoever takes it
            following = self._copy(spool, is_alone=not postmark)
            spool.seek(0)
            yield postmark, spool
            postmark = following

    def _first(self) -> bytes | None:
        """Empty lines may stand before the first message; a file that begins otherwise is one message of its own."""
        while line := self._file.readline(CHUNK):
            if line.startswith(b"From "):
                return self._to_end_of_line(line)
            if line not in _EMPTY:
                self._file.seek(-len(line), 1)
                return b""
        return None

    def _to_end_of_line(self, line: bytes) -> bytes:
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = self._file.readline(CHUNK)
        return line

    def _copy(self, spool: BinaryIO, is_alone: bool) -> bytes | None:
        """One message; returns the postmark of the next, or None at the end of the file.

        An empty line is held back until it is known that no postmark follows it.
        """
        held, at_start = b"", True
        while line := self._file.readline(CHUNK):
            if not is_alone and at_start and held and line.startswith(b"From "):
                return self._to_end_of_line(line)
            spool.write(held)
            held = b""
            if at_start and line in _EMPTY:
                held = line
            else:
                spool.write(self._unquoted(line) if at_start else line)
            at_start = line.endswith(b"\n")
        if is_alone:
            spool.write(held)
        return None

    def _unquoted(self, line: bytes) -> bytes:
        if self._quoting is FromQuoting.RD and _QUOTED_RD.match(line):
            return line[1:]
        if self._quoting is FromQuoting.O and line.startswith(b">From "):
            return line[1:]
        return line


def _flags_of(message: BinaryIO) -> Flag:
    head = message.read(CHUNK)
    message.seek(0)
    end = min((at for at in (head.find(b"\n\n"), head.find(b"\r\n\r\n")) if at >= 0), default=len(head))
    flags = NO_FLAGS
    for field in _STATUS.finditer(head[:end]):
        name, value = field[1].lower(), field[2].strip()
        if name == b"x-mozilla-status":
            bits = int(value, 16) if re.fullmatch(rb"[0-9A-Fa-f]{1,8}", value) else 0
            wanted = [flag for bit, flag in _BY_MOZILLA.items() if bits & bit]
        else:
            wanted = [flag for letter, flag in _BY_LETTER.items() if letter in value]
        for flag in wanted:
            flags |= flag
    return flags


def _date_of(postmark: bytes) -> int | None:
    """RFC 4155: `From address Sat Jan  3 01:05:34 1996`, in UTC; a zone behind the time is passed over."""
    found = re.search(rb"([A-Z][a-z]{2}) ([A-Z][a-z]{2}) +(\d+) (\d+:\d+(?::\d+)?)(?: [A-Z+\-0-9]+)? (\d{4})", postmark)
    if not found:
        return None
    clock = found[4] if found[4].count(b":") == 2 else found[4] + b":00"
    try:
        text = b" ".join((found[2], found[3], clock, found[5])).decode("ascii")
        return timegm(time.strptime(text, "%b %d %H:%M:%S %Y"))
    except ValueError:
        return None


# ---------------------------------------------------------------- out


def postmark(date: int) -> bytes:
    return b"From MAILER-DAEMON " + time.asctime(time.gmtime(date)).encode("ascii") + b"\n"


class Quoter:
    """mboxrd: one more ">" before every line that is any number of them and `From `; fed in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_inside = False
        """Within a line whose beginning has been written."""

    def feed(self, data: bytes) -> bytes:
        done = b""
        data = self._rest + data
        if self._is_inside:
            done, newline, data = data.partition(b"\n")
            if not newline:
                return done
            done, self._is_inside = done + newline, False
        *lines, self._rest = data.split(b"\n")
        done += b"".join(_quote(line) + b"\n" for line in lines)
        if len(self._rest) > CHUNK:
            done, self._rest, self._is_inside = done + _quote(self._rest), b"", True
        return done

    def finish(self) -> bytes:
        rest, self._rest, self._is_inside = _quote(self._rest), b"", False
        return rest


def _quote(line: bytes) -> bytes:
    return b">" + line if _TO_QUOTE.match(line) else line
