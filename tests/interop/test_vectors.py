"""Every sample mail goes in through four doors and comes out of two, byte for byte (the prefix aside).

What SMTP forbids (NUL, a bare CR) enters by import and is shown refused elsewhere.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serving import Server
from wire import Imap, Pop3, Smtp

FOLDERS = ("mail-sample/ham", "mail-sample/spam", "mime-cpython", "mime-rubymail", "mime-malformed", "dkim", "reports")


def samples(vectors: Path) -> dict[str, bytes]:
    """Name -> bytes with CRLF line ends, as they would come over a wire."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((vectors / folder).rglob("*")):
            if path.is_file() and path.suffix not in {
                ".json",
                ".dns",
                ".md",
                ".xml",
                ".gz",
                ".zip",
                ".png",
                ".gif",
                ".au",
            }:
                data = path.read_bytes()
                if data and not data.startswith((b"LICENSE", b"Copyright")):
                    found[str(path.relative_to(vectors))] = re.sub(rb"\r?\n", b"\r\n", data)
    return found


def may_travel(data: bytes) -> bool:
    """What SMTP allows: no NUL, no bare CR, no first line that would continue our header, lines within our limit."""
    return (
        b"\x00" not in data
        and re.search(rb"\r(?!\n)", data) is None
        and data[:1] not in b" \t"
        and max(map(len, data.split(b"\r\n"))) < 65_000
    )


def with_line_end(data: bytes) -> bytes:
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def named(bodies: list[bytes], wanted: dict[str, bytes]) -> list[str]:
    """Names of those that no body ends with."""
    by_tail: dict[bytes, list[bytes]] = {}
    for body in bodies:
        by_tail.setdefault(body[-20:], []).append(body)
    return [name for name, data in wanted.items() if not any(b.endswith(data) for b in by_tail.get(data[-20:], []))]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("door", ["smtp", "lmtp"])
def test_by_transfer(server: Server, vectors: Path, door: str) -> None:
    mails = samples(vectors)
    client = Smtp(server.ports[door], b"LHLO tests" if door == "lmtp" else b"EHLO tests")
    for name, data in mails.items():
        code, said = client.message(b"friend@example.org", server.account.encode(), data)
        assert (250 if may_travel(data) else 5) == (code if code == 250 else code // 100), (name, said)

    wanted = {name: with_line_end(data) for name, data in mails.items() if may_travel(data)}
    assert len(wanted) > 1000
    imap = Imap(server.ports["imap"], server.account, server.password)
    assert [] == named(list(imap.bodies(b"INBOX").values()), wanted)
    imap.command(b"UNSELECT")
    pop3 = Pop3(server.ports["pop3"], server.account, server.password)
    count = int(pop3.command(b"STAT").split()[1])
    assert len(wanted) == count
    assert [] == named([pop3.retrieve(number) for number in range(1, count + 1)], wanted)


@pytest.mark.timeout(300)
def test_by_append(server: Server, vectors: Path) -> None:
    mails = samples(vectors)
    imap = Imap(server.ports["imap"], server.account, server.password)
    for name, data in mails.items():
        answer = imap.append(b"INBOX", data)
        assert (b"T NO" if b"\x00" in data else b"T OK") == answer[:4].rstrip(), (name, answer)

    wanted = {name: data for name, data in mails.items() if b"\x00" not in data}
    bodies = imap.bodies(b"INBOX")
    # An APPEND adds nothing, so here the bytes are equal, not only the tail; UIDs are in the order of arrival.
    assert list(wanted.values()) == [bodies[uid] for uid in sorted(bodies)]


@pytest.mark.timeout(300)
def test_by_import(server: Server, vectors: Path, tmp_path: Path) -> None:
    mails = samples(vectors)
    mails["a NUL"] = b"Subject: nul\r\n\r\na\x00b\r\n"
    mails["bare line ends"] = b"Subject: bare\r\n\r\na\nb\rc\r\n"
    folder = tmp_path / "eml"
    folder.mkdir()
    for number, data in enumerate(mails.values()):
        (folder / f"{number:05d}.eml").write_bytes(data)

    server.postane("mailbox", "import", server.account, str(folder))

    imap = Imap(server.ports["imap"], server.account, server.password)
    bodies = imap.bodies(b"INBOX")
    assert list(mails.values()) == [bodies[uid] for uid in sorted(bodies)]


@pytest.mark.timeout(300)
def test_malformed_mail_never_breaks_a_fetch(server: Server, vectors: Path, tmp_path: Path) -> None:
    """ENVELOPE and BODYSTRUCTURE of every sample are read by an independent client library."""
    import imapclient

    folder = tmp_path / "eml"
    folder.mkdir()
    mails = samples(vectors)
    for number, data in enumerate(mails.values()):
        (folder / f"{number:05d}.eml").write_bytes(data)
    server.postane("mailbox", "import", server.account, str(folder))

    with imapclient.IMAPClient("127.0.0.1", server.ports["imap"], ssl=False) as client:
        client.login(server.account, server.password)
        client.select_folder("INBOX", readonly=True)
        found = client.fetch(client.search(), ["ENVELOPE", "BODYSTRUCTURE", "BODY", "RFC822.SIZE"])

    assert len(mails) == len(found)
    for uid, data in zip(sorted(found), mails.values(), strict=True):
        assert len(data) == found[uid][b"RFC822.SIZE"]
        assert found[uid][b"BODYSTRUCTURE"] is not None
        assert found[uid][b"ENVELOPE"] is not None
