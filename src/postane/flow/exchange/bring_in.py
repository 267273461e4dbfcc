"""Bringing files into an account: streaming, in groups, in the files' own order.

A message whose lines all end with a bare LF gets CRLF, which is what mail is
made of (RFC 5322 2.1); one that holds any CR stays as it is, and so does every
message where `line_ends` says KEEP or its reader says verbatim.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import groupby, islice
from typing import BinaryIO

from postane.core.clock import Clock
from postane.core.status import Condition, MailError
from postane.flow.deliver import Filing
from postane.flow.exchange.parcel import CHUNK, Parcel, Reader
from postane.store.api import INBOX, AccountRef, CreateMailbox, Facts, MailStore, Staged, Staging

GROUP = 64
"""Messages that are committed together."""


class LineEnds(Enum):
    MEND = "mend"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Brought:
    """One message is in; or `problem` says why it is not."""

    source: str
    octets: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Waiting:
    parcel: Parcel
    mailbox: int
    staged: Staged
    facts: Facts


class BringIn:
    def __init__(self, mail: MailStore, staging: Staging, filing: Filing, clock: Clock) -> None:
        self._mail = mail
        self._staging = staging
        self._filing = filing
        self._clock = clock

    async def run(
        self, account: AccountRef, reader: Reader, into: str, line_ends: LineEnds = LineEnds.MEND
    ) -> AsyncIterator[Brought]:
        """Makes and subscribes missing mailboxes, then files every message.

        A message that is refused is told and passed over; a full disk or quota ends the import (MailError).
        """
        ids = {name: await self._mailbox(account, _below(into, name)) for name in reader.mailboxes()}
        parcels = reader.parcels()
        while group := await asyncio.to_thread(_take, parcels):
            waiting = [await self._stage(parcel, ids[parcel.mailbox], line_ends) for parcel in group]
            try:
                for together in _runs(waiting):
                    told = await asyncio.gather(*(self._file(account, one) for one in together), return_exceptions=True)
                    for result in told:
                        if isinstance(result, BaseException):
                            raise result
                        yield result
            finally:
                for one in waiting:
                    await one.staged.close()

    async def _mailbox(self, account: AccountRef, name: str) -> int:
        try:
            return (await self._mail.mailbox(account, name)).id
        except MailError as error:
            if error.condition is not Condition.MAILBOX_NONEXISTENT:
                raise
        return (await self._mail.write(account, CreateMailbox(name, subscribe=True))).id

    async def _stage(self, parcel: Parcel, mailbox: int, line_ends: LineEnds) -> _Waiting:
        writer = self._staging.begin()
        try:
            with parcel.opened as source:
                mend = line_ends is LineEnds.MEND and not parcel.is_verbatim and _is_bare_throughout(source)
                while chunk := source.read(CHUNK):
                    await writer.write(chunk.replace(b"\n", b"\r\n") if mend else chunk)
        except BaseException:
            await writer.abort()
            raise
        staged = await writer.finish()
        return _Waiting(parcel, mailbox, staged, await self._filing.scan(staged))

    async def _file(self, account: AccountRef, one: _Waiting) -> Brought:
        parcel = one.parcel
        date = parcel.date if parcel.date is not None else one.facts.sent_date
        try:
            await self._filing.file(
                account,
                one.mailbox,
                one.staged,
                internal_date=int(self._clock.now()) if date is None else date,
                flags=parcel.flags,
                keywords=parcel.keywords,
                facts=one.facts,
            )
        except MailError as error:
            if error.condition in (Condition.OVER_QUOTA, Condition.DISK_FULL):
                raise
            return Brought(parcel.source, one.staged.size, error.text)
        return Brought(parcel.source, one.staged.size)


def _runs(waiting: list[_Waiting]) -> Iterator[list[_Waiting]]:
    """What may be committed together in this order: a large body is linked first and would come behind the small."""
    for _, run in groupby(enumerate(waiting), lambda place: -1 if place[1].staged.small is not None else place[0]):
        yield [one for _, one in run]


def _take(parcels: Iterator[Parcel]) -> list[Parcel]:
    return list(islice(parcels, GROUP))


def _below(into: str, name: str) -> str:
    if not name:
        return into
    return name if into == INBOX else f"{into}/{name}"


def _is_bare_throughout(source: BinaryIO) -> bool:
    """Whether there is an LF and no CR; the source stands at its start again."""
    has_line = False
    while chunk := source.read(CHUNK):
        if b"\r" in chunk:
            has_line = False
            break
        has_line = has_line or b"\n" in chunk
    source.seek(0)
    return has_line
