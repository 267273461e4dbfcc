"""A plain blocking client for tests of a real server: lines out, lines in, no library's opinion between."""

from __future__ import annotations

import re
import socket
import ssl


class Wire:
    """One connection.  `line()` gives a line without its CRLF."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        raw = socket.create_connection((host, port), timeout=60)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = tls.wrap_socket(raw, server_hostname="localhost") if tls else raw
        self.tail = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def more(self) -> None:
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError(f"closed by the server after {self.tail[-200:]!r}")
        self.tail += data

    def line(self) -> bytes:
        while (end := self.tail.find(b"\r\n")) < 0:
            self.more()
        line, self.tail = self.tail[:end], self.tail[end + 2 :]
        return line

    def exactly(self, count: int) -> bytes:
        while len(self.tail) < count:
            self.more()
        data, self.tail = self.tail[:count], self.tail[count:]
        return data

    def close(self) -> None:
        self.socket.close()


class Smtp(Wire):
    """SMTP and LMTP; `reply` gives (code, last line)."""

    def __init__(self, port: int, hello: bytes = b"EHLO tests", tls: ssl.SSLContext | None = None) -> None:
        super().__init__(port, tls=tls)
        self.reply()
        self.command(hello)

    def reply(self) -> tuple[int, bytes]:
        while True:
            line = self.line()
            if line[3:4] != b"-":
                return int(line[:3]), line

    def command(self, line: bytes) -> tuple[int, bytes]:
        self.send(line + b"\r\n")
        return self.reply()

    def message(self, sender: bytes, recipient: bytes, data: bytes) -> tuple[int, bytes]:
        """The first refusal, or the answer to the end of data.  `data` has CRLF line ends, not yet stuffed."""
        for line in (b"MAIL FROM:<%b>" % sender, b"RCPT TO:<%b>" % recipient, b"DATA"):
            code, said = self.command(line)
            if code >= 400:
                self.command(b"RSET")
                return code, said
        stuffed = re.sub(rb"(?m)^\.", b"..", data)
        if not stuffed.endswith(b"\r\n"):
            stuffed += b"\r\n"
        self.send(stuffed + b".\r\n")
        return self.reply()


class Imap(Wire):
    def __init__(self, port: int, user: str, password: str, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(port, tls=tls)
        self.line()
        self.command(b'LOGIN "%b" "%b"' % (user.encode(), password.encode()))

    def command(self, text: bytes) -> list[bytes]:
        """All untagged lines, literals in their place; AssertionError unless the command ends with OK."""
        self.send(b"T " + text + b"\r\n")
        lines = []
        while True:
            line = self.line()
            while match := re.search(rb"\{(\d+)\}\Z", line):
                line += b"\r\n" + self.exactly(int(match[1])) + self.line()
            if line.startswith(b"T "):
                assert line.startswith(b"T OK"), (text[:200], line)
                return lines
            lines.append(line)

    def search(self, keys: bytes) -> list[int]:
        """UIDs; what else the server says meanwhile (EXISTS, FETCH) is passed over."""
        found = [line for line in self.command(b"UID SEARCH " + keys) if line.startswith(b"* SEARCH")]
        return [int(uid) for uid in found[0].split()[2:]]

    def append(self, mailbox: bytes, data: bytes) -> bytes:
        """The tagged answer."""
        self.send(b'T APPEND "%b" {%d}\r\n' % (mailbox, len(data)))
        line = self.line()
        if not line.startswith(b"+"):
            return line
        self.send(data + b"\r\n")
        while not (line := self.line()).startswith(b"T "):
            pass
        return line

    def bodies(self, mailbox: bytes) -> dict[int, bytes]:
        """UID -> BODY[] of every message."""
        self.command(b'EXAMINE "%b"' % mailbox)
        out = {}
        for line in self.command(b"UID FETCH 1:* (BODY.PEEK[])"):
            match = re.match(rb"\* \d+ FETCH \((?:UID (\d+) )?BODY\[\] \{(\d+)\}\r\n", line)
            if match:
                body = line[match.end() : match.end() + int(match[2])]
                uid = match[1] or re.search(rb"UID (\d+)\)\Z", line)[1]  # type: ignore[index]
                out[int(uid)] = body
        return out


class Pop3(Wire):
    def __init__(self, port: int, user: str, password: str, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(port, tls=tls)
        self.line()
        self.command(b"USER " + user.encode())
        self.command(b"PASS " + password.encode())

    def command(self, text: bytes) -> bytes:
        self.send(text + b"\r\n")
        line = self.line()
        assert line.startswith(b"+OK"), (text, line)
        return line

    def retrieve(self, number: int) -> bytes:
        """The message, its dots unstuffed."""
        self.command(b"RETR %d" % number)
        while not self.tail.startswith(b".\r\n") and (at := self.tail.find(b"\r\n.\r\n")) < 0:
            self.more()
        at = 0 if self.tail.startswith(b".\r\n") else at + 2
        data, self.tail = self.tail[:at], self.tail[at + 3 :]
        return re.sub(rb"(?m)^\.", b"", data)
