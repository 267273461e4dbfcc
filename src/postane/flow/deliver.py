"""Parsed once, at delivery: bytes and facts go to the store together.

`mime` finds what the message says, `proto.imap.response` says it in the form
that IMAP will be asked for, and here, where both may be seen, the two become
the `Facts` that the store keeps; a list view later opens no body.
"""

from __future__ import annotations

import asyncio
import hashlib
import re

from postane.core.flags import NO_FLAGS, Flag
from postane.core.limits import KIB, MimeLimits
from postane.core.message import Envelope, MessageAddress
from postane.mime.date import parse_date
from postane.mime.header import envelope, message_ids, unfold
from postane.mime.subject import base_subject
from postane.mime.text import fold, preview
from postane.mime.tree import pack, scan
from postane.mime.words import decode_words
from postane.proto.imap import response
from postane.store.api import AccountRef, Append, Facts, Filed, MailStore, Role, Staged

PARSED_BY = 1
"""Rises with every change of what `facts_of` finds, so that older rows can be made anew."""

OFF_LOOP_SIZE = 256 * KIB
"""A larger message is scanned in a thread: its scan takes longer than the loop should wait."""
MAX_REFERENCES = 200
_REFERENCES = re.compile(rb"\n[Rr][Ee][Ff][Ee][Rr][Ee][Nn][Cc][Ee][Ss][ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)")


def facts_of(data: bytes | memoryview, limits: MimeLimits) -> Facts:
    """One scan of a whole message (without its prefix); never raises for what the bytes say."""
    root = scan(data, limits)
    header = bytes(data[: root.body])
    said = envelope(header, limits)
    envelope_wire = response.envelope(said)
    structure_wire = response.bodystructure(root)
    own_id = message_ids(said.message_id)[:1] if said.message_id else ()
    return Facts(
        envelope=envelope_wire,
        bodystructure=structure_wire,
        parts=pack(root),
        header=header,
        sent_date=parse_date(said.date) if said.date else None,
        base_subject=fold(base_subject(decode_words(said.subject))) if said.subject else "",
        from_=_addresses(said.from_),
        to=_addresses(said.to),
        cc=_addresses(said.cc),
        message_id_hash=id_hash(own_id[0]) if own_id else b"",
        reference_hashes=tuple(id_hash(each) for each in _references(header, said, limits)),
        needs_utf8=not (envelope_wire.isascii() and structure_wire.isascii()),
        preview=preview(data, root),
        parsed_by=PARSED_BY,
    )


def id_hash(message_id: bytes) -> bytes:
    """8 octets that stand for a Message-ID; equal ids have equal ones, the reverse holds nearly always."""
    return hashlib.blake2b(message_id, digest_size=8).digest()


def _references(header: bytes, said: Envelope, limits: MimeLimits) -> list[bytes]:
    """RFC 5256 THREAD=REFERENCES (1): References, else the first id of In-Reply-To; the last ones are the nearest."""
    found = _REFERENCES.search(b"\n" + header[: limits.header_bytes])
    ids = message_ids(unfold(found[1])) if found else ()
    if not ids and said.in_reply_to:
        ids = message_ids(said.in_reply_to)[:1]
    return list(dict.fromkeys(ids[-MAX_REFERENCES:]))


def _addresses(addresses: tuple[MessageAddress, ...]) -> str:
    """For search and sort: each as "display <mailbox@host>", folded; the marks of groups are left out."""
    return ", ".join(_address(each) for each in addresses if each.host is not None)


def _address(address: MessageAddress) -> str:
    spec = b"%b@%b" % (address.mailbox or b"", address.host or b"")
    text = f"<{spec.decode('utf-8', 'replace')}>"
    return fold(f"{decode_words(address.name)} {text}" if address.name else text)


class Filing:
    """Puts a staged message into a mailbox."""

    def __init__(self, mail: MailStore, limits: MimeLimits) -> None:
        self._mail = mail
        self._limits = limits

    async def scan(self, staged: Staged) -> Facts:
        """The facts of a staged message, for who files it more than once."""
        if staged.size > OFF_LOOP_SIZE:
            return await asyncio.to_thread(facts_of, staged.view(), self._limits)
        return facts_of(staged.view(), self._limits)

    async def file(
        self,
        account: AccountRef,
        mailbox: int | Role,
        staged: Staged,
        *,
        internal_date: int,
        prefix: bytes = b"",
        flags: Flag = NO_FLAGS,
        keywords: tuple[str, ...] = (),
        delivery_id: str | None = None,
        facts: Facts | None = None,
    ) -> Filed:
        """Scans (in a thread where it is large) unless `facts` are given, then one `Append`.  Leaves `staged` open."""
        found = facts if facts is not None else await self.scan(staged)
        return await self._mail.write(
            account,
            Append(
                mailbox=mailbox,
                staged=staged,
                facts=found,
                prefix=prefix,
                internal_date=internal_date,
                flags=flags,
                keywords=keywords,
                delivery_id=delivery_id,
            ),
        )
