"""The clients of the benchmarks: raw sockets, as little work a byte as Python allows."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time

from mail import message
from peers import PASSWORD


class _Lmtp(asyncio.Protocol):
    """One LMTP connection that sends one message after another, envelope pipelined."""

    def __init__(self, jobs: list[tuple[str, bytes]], done: asyncio.Future[None]) -> None:
        self.jobs, self.done, self.buffer = jobs, done, b""
        self.steps: list[bytes] = []
        self.expect = b"220"
        self.accepted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.state = "greeting"

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n")) >= 0:
            line, self.buffer = self.buffer[:end], self.buffer[end + 2 :]
            if line[3:4] != b"-":
                self.reply(line)

    def reply(self, line: bytes) -> None:
        good = line[:1] in b"23"
        if not good:
            self.fail(line)
        elif self.state == "greeting":
            self.say("hello", b"LHLO bench\r\n")
        elif self.state in ("hello", "sent"):
            self.accepted += self.state == "sent"
            if not self.jobs:
                self.transport.close()
                if not self.done.done():
                    self.done.set_result(None)
                return
            self.user, self.body = self.jobs.pop()
            self.waiting = 3
            self.say("envelope", b"MAIL FROM:<a@example.org>\r\nRCPT TO:<%b>\r\nDATA\r\n" % self.user.encode())
        elif self.state == "envelope":
            self.waiting -= 1
            if not self.waiting:
                self.say("sent", self.body)

    def say(self, state: str, data: bytes) -> None:
        self.state = state
        self.transport.write(data)

    def fail(self, line: bytes) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"{self.state}: {line!r}"))
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"connection lost in {self.state}: {error}"))


async def _deliver(port: int, users: list[str], count: int, size: int, connections: int, start: int) -> float:
    bodies = [message(start + i, size).replace(b"\r\n.", b"\r\n..") + b".\r\n" for i in range(min(count, 400))]
    loop = asyncio.get_running_loop()
    queues: list[list[tuple[str, bytes]]] = [[] for _ in range(connections)]
    for i in range(count):
        queues[i % connections].append((users[i % len(users)], bodies[i % len(bodies)]))
    began = time.perf_counter()
    waits = []
    for queue in queues:
        done: asyncio.Future[None] = loop.create_future()
        await loop.create_connection(lambda q=queue, d=done: _Lmtp(q, d), "127.0.0.1", port)  # type: ignore[misc]
        waits.append(done)
    await asyncio.gather(*waits)
    return time.perf_counter() - began


def deliver(port: int, users: list[str], count: int, size: int, connections: int, start: int = 0) -> float:
    """Seconds until `count` messages were acknowledged by LMTP."""
    return asyncio.run(_deliver(port, users, count, size, connections, start))


class Line:
    """A blocking connection for IMAP and POP3."""

    def __init__(self, port: int, tls: bool = False) -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.tail = b""
        self.line()

    def line(self) -> bytes:
        while (end := self.tail.find(b"\r\n")) < 0:
            data = self.socket.recv(65536)
            if not data:
                raise RuntimeError(f"closed after {self.tail!r}")
            self.tail += data
        line, self.tail = self.tail[:end], self.tail[end + 2 :]
        return line

    def imap(self, tag: bytes, command: bytes) -> int:
        """Sends one command; returns how many octets came before its tagged OK."""
        self.socket.sendall(tag + b" " + command + b"\r\n")
        total, mark, last = 0, b"\r\n" + tag + b" ", b"\r\n" + self.tail
        self.tail = b""
        while True:
            at = last.find(mark)
            if at >= 0 and last.find(b"\r\n", at + 2) > 0:
                ending = last[at + 2 : last.find(b"\r\n", at + 2)]
                if not ending.startswith(tag + b" OK"):
                    raise RuntimeError(f"{command[:60]!r} -> {ending!r}")
                return total + at
            keep = max(0, len(last) - 4096) if at < 0 else at
            total += keep
            last = last[keep:]
            data = self.socket.recv(1 << 20)
            if not data:
                raise RuntimeError("closed")
            last += data

    def login(self, user: str) -> None:
        self.imap(b"L", b"LOGIN %b %b" % (user.encode(), PASSWORD.encode()))

    def pop3_login(self, user: str) -> int:
        """Returns the number of messages that STAT tells."""
        for text in (b"USER " + user.encode(), b"PASS " + PASSWORD.encode()):
            self.socket.sendall(text + b"\r\n")
            answer = self.line()
            if not answer.startswith(b"+OK"):
                raise RuntimeError(answer)
        self.socket.sendall(b"STAT\r\n")
        match = re.match(rb"\+OK (\d+)", self.line())
        assert match
        return int(match[1])

    def pop3_all(self, count: int) -> int:
        """RETR of every message, pipelined by 100; returns the octets that came."""
        total = 0
        for first in range(1, count + 1, 100):
            last = min(first + 99, count)
            self.socket.sendall(b"".join(b"RETR %d\r\n" % n for n in range(first, last + 1)))
            total += self._endings(last - first + 1)
        return total

    def _endings(self, wanted: int) -> int:
        data, total = self.tail, 0
        self.tail = b""
        while True:
            found = data.count(b"\r\n.\r\n")
            if found >= wanted:
                return total + len(data)
            cut = max(0, len(data) - 4)
            wanted -= found
            if found:
                cut = max(cut, data.rfind(b"\r\n.\r\n") + 3)
            total += cut
            data = data[cut:]
            more = self.socket.recv(1 << 20)
            if not more:
                raise RuntimeError("closed")
            data += more
