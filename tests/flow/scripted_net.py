"""Other servers as the relay meets them: scripted, in memory, on a clock that is turned.

A `FakeServer` is a small SMTP server of its own making (none of ours).  `script`
is asked about every line it hears and may answer otherwise: with a reply, with
`Do.CUT` (the connection ends without a word) or `Do.HANG` (nothing comes, ever).
The message's end is the line ".".  Waiting turns the clock; nothing sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from postane.core.clock import TurnedClock
from postane.core.dialogue import Endpoint
from postane.core.outgoing import PeerTls, TlsDemand, TlsFailure


class Do(Enum):
    CUT = "cut"
    HANG = "hang"
    TAKE_AND_CUT = "take the message, then cut without the answer"


Script = Callable[[str], "str | Do | None"]
EVERYTHING_FITS: Script = lambda line: None  # noqa: E731


@dataclass
class Mail:
    """What a server has taken.  `params` are those of MAIL, with the sender."""

    params: str
    recipients: list[str]
    text: bytes
    tls: bool


@dataclass
class FakeServer:
    name: str
    extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SIZE 1000000", "STARTTLS")
    script: Script = EVERYTHING_FITS
    tls: PeerTls | TlsFailure = field(
        default_factory=lambda: PeerTls("TLSv1.3", "TLS_AES_256_GCM_SHA384", (b"der",), is_trusted=False)
    )
    mails: list[Mail] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    connections: int = 0
    demands: list[TlsDemand] = field(default_factory=list)
    sources: list[str | None] = field(default_factory=list)

    @property
    def delivered(self) -> list[str]:
        return [recipient for mail in self.mails for recipient in mail.recipients]


class FakeNet:
    """Addresses and who is there.  Where nobody is, a connection is refused; a `Do.HANG` lets it time out."""

    def __init__(self, clock: TurnedClock) -> None:
        self.clock = clock
        self.places: dict[str, FakeServer | Do] = {}
        self.tried: list[str] = []
        self.open: set[FakeOutgoing] = set()

    async def connect(self, address: str, port: int, *, source: str | None = None, timeout: float) -> FakeOutgoing:
        self.tried.append(address)
        server = self.places.get(address)
        if server is Do.HANG:
            self.clock.turn(timeout)
            raise TimeoutError
        if not isinstance(server, FakeServer):
            raise ConnectionRefusedError(111, "Connection refused")
        server.connections += 1
        server.sources.append(source)
        outgoing = FakeOutgoing(self, server, Endpoint(address, port))
        self.open.add(outgoing)
        return outgoing


class FakeOutgoing:
    def __init__(self, net: FakeNet, server: FakeServer, peer: Endpoint) -> None:
        self.peer = peer
        self.local = Endpoint("192.0.2.250", 40000)
        self._net = net
        self._server = server
        self._said = b""
        self._input = b""
        self._is_cut = False
        self._is_silent = False
        self._is_text = False
        self._tls = False
        self._text: list[str] = []
        self._params = ""
        self._recipients: list[str] = []
        self._has_mail = False
        self._answer("greeting", f"220 {server.name} ready")

    # ------------------------------------------------------------ the port

    async def read(self, timeout: float) -> bytes:
        if self._said:
            said, self._said = self._said, b""
            return said
        if self._is_cut:
            return b""
        self._net.clock.turn(max(timeout, 0.001))
        raise TimeoutError

    def take(self) -> bytes:
        said, self._said = self._said, b""
        return said

    async def write(self, data: bytes) -> bool:
        self._input += data
        while not (self._is_cut or self._is_silent) and b"\r\n" in self._input:
            line, _, self._input = self._input.partition(b"\r\n")
            self._hear(line.decode("utf-8", "surrogateescape"))
        return not self._is_cut

    async def start_tls(self, demand: TlsDemand) -> PeerTls | TlsFailure:
        self._server.demands.append(demand)
        if isinstance(self._server.tls, TlsFailure):
            self.abort()
            return self._server.tls
        self._tls = True
        return self._server.tls

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._is_cut = True
        self._net.open.discard(self)

    # ------------------------------------------------------------ the server

    def _hear(self, line: str) -> None:
        if self._is_text and line != ".":
            self._text.append(line.removeprefix("."))
            return
        self._server.heard.append(line)
        verb = line.split(" ")[0].upper()
        self._answer(line, getattr(self, f"_{verb.lower()}", self._unknown)(line) if line != "." else self._dot())

    def _answer(self, line: str, usual: str) -> None:
        """A message counts as taken only if the script lets the usual answer, or TAKE_AND_CUT, come about."""
        scripted = self._server.script(line)
        said = usual if scripted is None else scripted
        if said is Do.HANG:
            self._is_silent = True
            return
        if line == "." and (said is Do.TAKE_AND_CUT or str(said).startswith("2")):
            text = "".join(f"{each}\r\n" for each in self._text).encode("utf-8", "surrogateescape")
            self._server.mails.append(Mail(self._params, self._recipients, text, self._tls))
        if isinstance(said, Do):
            self._is_cut = True
            return
        if line.startswith("MAIL"):
            self._has_mail = said.startswith("2")
        if said.startswith("2") and line.startswith("RCPT"):
            self._recipients.append(line.split("<")[1].split(">")[0])
        self._is_text = said.startswith("354")
        if line == ".":
            self._has_mail, self._recipients = False, []
        self._said += said.encode() + b"\r\n"
        if said.startswith("421"):
            self._is_cut = True

    def _ehlo(self, line: str) -> str:
        extensions = [each for each in self._server.extensions if not (each == "STARTTLS" and self._tls)]
        lines = [self._server.name, *extensions]
        return "\r\n".join([f"250-{each}" for each in lines[:-1]] + [f"250 {lines[-1]}"])

    def _helo(self, line: str) -> str:
        return f"250 {self._server.name}"

    def _starttls(self, line: str) -> str:
        return "220 2.0.0 go on"

    def _auth(self, line: str) -> str:
        return "235 2.7.0 welcome"

    def _mail(self, line: str) -> str:
        self._params, self._recipients = line[len("MAIL FROM:") :], []
        return "250 2.1.0 ok"

    def _rcpt(self, line: str) -> str:
        return "250 2.1.5 ok" if self._has_mail else "503 5.5.1 no MAIL"

    def _data(self, line: str) -> str:
        self._text = []
        return "354 go on" if self._recipients else "503 5.5.1 no recipients"

    def _dot(self) -> str:
        return "250 2.0.0 taken"

    def _rset(self, line: str) -> str:
        self._has_mail, self._recipients = False, []
        return "250 2.0.0 ok"

    def _quit(self, line: str) -> str:
        return "221 2.0.0 bye"

    def _unknown(self, line: str) -> str:
        return "500 5.5.2 what?"


def web_trusted() -> PeerTls:
    return PeerTls("TLSv1.3", "TLS_AES_128_GCM_SHA256", (b"der",), is_trusted=True)
