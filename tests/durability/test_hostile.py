"""Clients that mean harm, or are merely broken, against a real server: it stays up, bounded, and serves the others."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from pathlib import Path

import pytest

from serving import Server
from wire import Imap, Smtp, Wire

TEXT_PORTS = ("smtp", "lmtp", "submission", "imap", "pop3")
ALL_PORTS = (*TEXT_PORTS, "submissions", "imaps", "pop3s")


def still_serves(server: Server) -> None:
    code, said = Smtp(server.ports["smtp"]).message(
        b"a@example.org", server.account.encode(), b"Subject: x\r\n\r\ny\r\n"
    )
    assert code == 250, said
    client = Imap(server.ports["imap"], server.account, server.password)
    assert client.bodies(b"INBOX")
    client.close()


def memory(server: Server) -> int:
    """Resident KiB of all processes of the server."""
    total = 0
    for pid in server.processes():
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
    return total


@pytest.mark.parametrize("port", ALL_PORTS)
def test_garbage(server: Server, port: str) -> None:
    rng = random.Random(port)
    workers = server.processes()
    for size in (1, 10, 1000, 100_000, 1_000_000):
        for alphabet in (bytes(range(256)), b"\x00", b'{}()[]"\\ \r\n', b"A", b"(", b"\r\n"):
            with contextlib.suppress(OSError):
                sock = socket.create_connection(("127.0.0.1", server.ports[port]), timeout=5)
                sock.settimeout(1)
                with contextlib.closing(sock):
                    sock.sendall(bytes(rng.choices(alphabet, k=size)))
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(65536):
                        pass
    still_serves(server)
    assert workers == server.processes()
    log = server.log()
    assert "Traceback" not in log, log[-5000:]


def test_a_thousand_connections_hurt_nobody(server: Server) -> None:
    before = memory(server)
    held = []
    for n in range(1000):
        source = (f"127.0.1.{n % 250 + 1}", 0)
        sock = socket.create_connection(("127.0.0.1", server.ports["imap"]), timeout=10, source_address=source)
        sock.sendall(b"A1 LOGIN {1000}\r\n" if n % 2 else b"A1 LOG")
        held.append(sock)
    still_serves(server)
    assert memory(server) - before < 64 * 1024
    for sock in held:
        sock.close()


def test_one_address_cannot_take_all_connections(tmp_path: Path) -> None:
    limit = {"POSTANE_LIMITS__CONNECTIONS__PER_ADDRESS": "200"}
    server = Server(tmp_path / "data", tmp_path / "server.log", environment=limit)
    server.start()
    try:
        held = [socket.create_connection(("127.0.0.1", server.ports["imap"]), timeout=10) for _ in range(260)]
        refused = 0
        for sock in held:
            sock.settimeout(5)
            first = sock.recv(200)
            refused += not first.startswith(b"* OK")
            assert first.startswith((b"* OK", b"* BYE")), first
        assert 60 == refused
        for sock in held:
            sock.close()
    finally:
        server.stop()


def test_who_stops_reading_costs_bounded_memory(server: Server) -> None:
    body = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n"
    body += (b"y" * 76 + b"\r\n") * 130_000  # ten megabytes
    assert Smtp(server.ports["lmtp"], b"LHLO t").message(b"a@example.org", server.account.encode(), body)[0] == 250
    before = memory(server)
    held = []
    for _ in range(20):
        client = Imap(server.ports["imap"], server.account, server.password)
        client.command(b"SELECT INBOX")
        client.send(b"F FETCH 1 BODY.PEEK[]\r\n" * 5)
        held.append(client)
    still_serves(server)
    assert memory(server) - before < 120 * 1024
    for client in held:
        client.close()


def test_half_a_message_is_no_message(server: Server) -> None:
    client = Smtp(server.ports["smtp"])
    for line in (b"MAIL FROM:<a@example.org>", b"RCPT TO:<%b>" % server.account.encode(), b"DATA"):
        client.command(line)
    client.send(b"Subject: half\r\n\r\nhalf\r\n")
    client.close()
    still_serves(server)
    imap = Imap(server.ports["imap"], server.account, server.password)
    assert not [one for one in imap.bodies(b"INBOX").values() if b"Subject: half" in one]


def test_a_literal_of_four_gigabytes(server: Server) -> None:
    for command in (b"A LOGIN {4294967295}", b"A LOGIN {4294967295+}", b"A LOGIN {99999999999999999999}"):
        client = Wire(server.ports["imap"])
        client.line()
        client.send(command + b"\r\n")
        said = client.line()
        assert said.startswith((b"A BAD", b"A NO", b"* BYE", b"* BAD")), said
        client.close()
    imap = Imap(server.ports["imap"], server.account, server.password)
    assert imap.append(b"INBOX", b"")[:4] in (b"T OK", b"T NO")
    imap.send(b"T APPEND INBOX {4294967295}\r\n")
    assert imap.line().startswith(b"T NO")
    still_serves(server)


def test_nesting_and_sets(server: Server) -> None:
    imap = Imap(server.ports["imap"], server.account, server.password)
    imap.command(b"SELECT INBOX")
    for command in (
        b"T SEARCH " + b"(" * 10_000 + b"ALL" + b")" * 10_000,
        b"T SEARCH " + b"NOT " * 10_000 + b"ALL",
        b"T SEARCH " + b"OR " * 8_000 + b"ALL",
        b"T FETCH " + b",".join([b"4294967295:*,1:4294967295"] * 1000) + b" FLAGS",
        b"T FETCH 1 (" + b"FLAGS " * 10_000 + b")",
        b"T FETCH 1 BODY[" + b"1." * 10_000 + b"1]",
        b'T LIST "" ' + b"%*" * 10_000,
    ):
        began = time.monotonic()
        imap.send(command + b"\r\n")
        while not (line := imap.line()).startswith(b"T "):
            if line.startswith(b"* BYE"):
                imap = Imap(server.ports["imap"], server.account, server.password)
                imap.command(b"SELECT INBOX")
                break
        assert time.monotonic() - began < 10, command[:40]
    still_serves(server)


@pytest.mark.parametrize(
    "name", [b"../../etc", b"a/../b", b"x" * 10_000, b"&AAA", b"&2AA-", b"a//b", b"/a", b"..", b"a\x01b"]
)
def test_mailbox_names_that_cannot_be(server: Server, name: bytes) -> None:
    imap = Imap(server.ports["imap"], server.account, server.password)
    for verb in (b"CREATE", b"SELECT", b"DELETE", b"STATUS"):
        imap.send(b'T %b "%b"%b\r\n' % (verb, name, b" (MESSAGES)" if verb == b"STATUS" else b""))
        while not (line := imap.line()).startswith((b"T ", b"* BAD", b"* BYE")):
            pass
        assert not line.startswith(b"T OK"), (verb, line)
    still_serves(server)


def test_a_full_disk_in_the_middle_of_a_delivery(server: Server, tmp_path: Path) -> None:
    """The file size limit of the workers stands for the disk's end; what is refused is 452 and nothing half is kept."""
    if os.getuid():
        pytest.skip("a small file system can't be mounted here: run as root")
    small = tmp_path / "small"
    small.mkdir()
    if os.system(f"mount -t tmpfs -o size=24m none {small} 2>/dev/null"):
        pytest.skip("a small file system can't be mounted here")
    other = Server(small / "data", tmp_path / "small.log")
    try:
        other.start()
        client = Smtp(other.ports["lmtp"], b"LHLO t")
        body = b"Subject: big\r\n\r\n" + (b"y" * 76 + b"\r\n") * 13_000  # one megabyte
        codes = []
        for _ in range(40):
            code, said = client.message(b"a@example.org", other.account.encode(), body)
            codes.append(code)
            if code != 250:
                assert code == 452, said
        assert 250 in codes
        assert 452 in codes
        imap = Imap(other.ports["imap"], other.account, other.password)
        kept = imap.bodies(b"INBOX")
        assert codes.count(250) == len(kept)
        assert all(one.endswith(body) for one in kept.values())
    finally:
        other.stop()
        os.system(f"umount -l {small}")
