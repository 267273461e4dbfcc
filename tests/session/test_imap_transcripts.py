"""Golden dialogues of IMAP: engine, session and the real store, through the real pump, cut three ways.

Besides the player's own lines a file may say

    ** other COMMAND     another device of the same account says it
    ** deliver SUBJECT   a message comes in
    ** file NAME         the message of that name in `MESSAGES` comes in
    ** revoke            the password is changed
    ** rest SECONDS      time passes

The first line of a file may be `# plain`: then the connection begins without TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from imap_world import USER, Client, World, message

from postane.core.limits import ImapLimits, Limits
from postane.core.listener import Service
from transcript import parse, play, transcripts

RFC3501_8 = (
    b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
    b"From: Terry Gray <gray@cac.washington.edu>\r\n"
    b"Subject: IMAP4rev1 WG mtg summary and minutes\r\n"
    b"To: imap@cac.washington.edu\r\n"
    b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
    b"Message-Id: <B27397-0100000@cac.washington.edu>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n"
    b"\r\n"
)
"""The message of RFC 3501 8, with a body of as many octets and lines as its BODY says."""

NESTED = (
    b"From: a@x.test\r\nSubject: outer\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"before\r\n--b\r\n\r\nfirst part\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\nContent-Description: forwarded\r\n\r\n"
    b"From: b@x.test\r\nSubject: inner\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/alternative; boundary="c"\r\n\r\n'
    b"--c\r\nContent-Type: text/plain\r\n\r\nplain\r\n--c\r\nContent-Type: text/html\r\n\r\n<b>html</b>\r\n--c--\r\n"
    b"--b--\r\n"
)

MESSAGES: dict[str, tuple[bytes, int | None]] = {
    "rfc3501": (RFC3501_8 + b"x" * 30 + b"\r\n" + (b"y" * 31 + b"\r\n") * 90 + b"z" * 24 + b"\r\n", 837596665),
    "nested": (NESTED, None),
    "8bit": ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nİstanbul ıĞne\r\n".encode(), None),
    "large": (message("large", "0123456789" * 20_000), None),
}


class Stage:
    """One performance: a world, and the other device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0
        self.world: World
        self.other: Client | None = None

    async def begin(self, service: Service) -> object:
        self.number += 1
        limits = Limits(imap=ImapLimits(errors=5, append_bytes=1000, mailbox_depth=5))
        self.world = World(self.folder / str(self.number), limits)
        await self.world.__aenter__()
        self.other = None
        return self.world.session(service)

    async def says(self, command: str) -> None:
        if self.other is None:
            self.other = await self.world.client()
        assert b" OK " in await self.other.say(command.encode()), command

    async def deliver(self, subject: str) -> None:
        await self.world.deliver(message(subject))

    async def file(self, name: str) -> None:
        data, at = MESSAGES[name]
        await self.world.deliver(data, at=at)

    async def revoke(self) -> None:
        self.world.directory.change(USER, verifier="another")
        self.world.hints.revoked(self.world.account.id)

    async def rest(self, seconds: str) -> None:
        self.world.clock.turn(float(seconds))

    def events(self, path: Path) -> dict[str, Callable[[], object]]:
        verbs = {"other": self.says, "deliver": self.deliver, "file": self.file, "rest": self.rest}
        found: dict[str, Callable[[], object]] = {"revoke": self.revoke}
        for turn in parse(path.read_text("utf-8")):
            verb, _, rest = turn.event.partition(" ")
            if verb in verbs:
                found[turn.event] = partial(verbs[verb], rest)
        return found


@pytest.mark.parametrize("path", transcripts("imap"), ids=lambda path: path.stem)
async def test_dialogue(path: Path, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    is_plain = path.read_text("utf-8").startswith("# plain")
    service = Service.IMAP if is_plain else Service.IMAPS

    await play(
        path,
        lambda: stage.world.engine(),
        lambda: stage.begin(service),
        implicit_tls=not is_plain,
        events=stage.events(path),  # type: ignore[arg-type]
    )
