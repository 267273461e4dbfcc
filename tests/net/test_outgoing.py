"""Connections of ours over real sockets, on both loops: to our own server's parts, and to peers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
from authority import Authority
from conversing import Serving, on_both_loops

from postane.core.dialogue import Closed, Endpoint, Hangup, Opened, Secured, StartTls
from postane.core.limits import ConnectionLimits, SmtpClientLimits, SmtpLimits
from postane.core.outgoing import PeerTls, TlsDemand, TlsFailure, Verify
from postane.core.status import Reply
from postane.net.outgoing import SocketConnector, SocketOutgoing
from postane.net.tls import make_self_signed, server_context
from postane.net.trust import Trust
from postane.proto.smtp.client import ClientEngine
from postane.proto.smtp.client_envelope import Envelope, Recipient
from postane.proto.smtp.client_reply import ServerReply, Step
from postane.proto.smtp.command import Chunk, Data, EndOfMessage, Hello, Mode, Proceed, Quit, StartTlsCommand, Welcome
from postane.proto.smtp.server import SmtpEngine

NAME = "mx.far.test"
LIMITS = ConnectionLimits(handshake=5)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def connector(authority: Authority | None = None, limits: ConnectionLimits = LIMITS) -> SocketConnector:
    return SocketConnector(limits, Trust(authority.bundle if authority else None))


@contextlib.asynccontextmanager
async def connected(
    handler: Handler, ours: SocketConnector, tls: ssl.SSLContext | None = None
) -> AsyncIterator[SocketOutgoing]:
    """A connection to a peer that `handler` plays."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=tls)
    outgoing = await ours.connect("127.0.0.1", server.sockets[0].getsockname()[1], timeout=5)
    try:
        yield outgoing
    finally:
        outgoing.abort()
        server.close()


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.close()


# ---------------------------------------------------------------- the connection


@on_both_loops
async def test_words_both_ways_and_the_end():
    async with Serving() as serving:
        outgoing = await connector().connect("127.0.0.1", serving.port, timeout=5)
        assert (outgoing.peer, outgoing.local.host) == (Endpoint("127.0.0.1", serving.port), "127.0.0.1")
        assert await outgoing.read(5) == b"hello\r\n"
        assert outgoing.take() == b""
        assert await outgoing.write(b"one\r\n")
        assert await outgoing.read(5) == b"you said one\r\n"
        await outgoing.write(b"quit\r\n")
        assert await outgoing.read(5) == b"bye\r\n"
        assert await outgoing.read(5) == b""
        outgoing.close()
        outgoing.abort()


@on_both_loops
async def test_the_address_to_bind():
    async with Serving() as serving:
        outgoing = await connector().connect("127.0.0.1", serving.port, source="127.0.0.9", timeout=5)
        assert outgoing.local.host == "127.0.0.9"
        outgoing.abort()
        for source in ("192.0.2.1", "::1"):
            with pytest.raises(OSError):
                await connector().connect("127.0.0.1", serving.port, source=source, timeout=5)


@on_both_loops
async def test_refused_and_not_numeric():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        with pytest.raises(ConnectionRefusedError):
            await connector().connect("127.0.0.1", taken.getsockname()[1], timeout=5)
    with pytest.raises(ValueError, match="localhost"):
        await connector().connect("localhost", 25, timeout=5)


@on_both_loops
async def test_a_host_that_never_answers_is_given_up():
    with socket.socket() as full, contextlib.ExitStack() as others:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # beyond its backlog the system drops what knocks
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        with pytest.raises(TimeoutError):
            await connector().connect("127.0.0.1", full.getsockname()[1], timeout=0.05)


@on_both_loops
async def test_a_peer_that_hangs():
    async with connected(_silent, connector()) as outgoing:
        with pytest.raises(TimeoutError, match=r"said nothing for 0\.05 seconds"):
            await outgoing.read(0.05)


@on_both_loops
async def test_a_peer_that_takes_nothing_is_dropped():
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()

    async with connected(deaf, connector(limits=replace(LIMITS, write_stall=0.1))) as outgoing:
        while await outgoing.write(b"x" * 2**20):
            pass
        assert await outgoing.read(5) == b""


@on_both_loops
async def test_last_words_before_a_close_are_read_though_writing_fails():
    async def curt(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(b"552 too big\r\n")
        await writer.drain()
        writer.close()

    async with connected(curt, connector()) as outgoing:
        await outgoing.write(b"half")
        said = await outgoing.read(5)
        while await outgoing.read(5):
            pass
        for _ in range(3):
            await outgoing.write(b"the rest")
        assert said == b"552 too big\r\n"
        assert await outgoing.read(5) == b""


# ---------------------------------------------------------------- TLS


async def _certificate_of(ours: SocketConnector, tls: ssl.SSLContext, demand: TlsDemand) -> PeerTls:
    async with Serving(tls=tls) as serving:
        outgoing = await ours.connect("127.0.0.1", serving.port, timeout=5)
        assert await outgoing.read(5) == b"hello\r\n"
        await outgoing.write(b"starttls\r\n")
        assert await outgoing.read(5) == b"go\r\n"
        peer = await outgoing.start_tls(demand)
        assert isinstance(peer, PeerTls)
        await outgoing.write(b"one\r\n")
        assert await outgoing.read(5) == b"you said one\r\n"
        outgoing.close()
        return peer


@on_both_loops
async def test_a_certificate_that_is_good_for_the_name(authority):
    peer = await _certificate_of(connector(authority), authority.context(NAME), TlsDemand(NAME, Verify.WEBPKI))

    assert (peer.version, peer.is_trusted, peer.problem) == ("TLSv1.3", True, "")
    assert peer.cipher
    pem = authority.issue(NAME).certificate.read_text().count("BEGIN CERTIFICATE")
    assert len(peer.chain) == pem == 2
    assert all(each.startswith(b"\x30\x82") for each in peer.chain)


async def test_certificates_that_are_not_good_are_told_and_tls_is_up(authority, tmp_path):
    own = server_context(make_self_signed(tmp_path, (NAME,)))
    for tls, name, problem in (
        (authority.context("*.far.test"), NAME, ""),
        (authority.context("a.test", "b.test"), NAME, "certificate-host-mismatch: it is for a.test, b.test"),
        (authority.context("*.test"), NAME, "certificate-host-mismatch: it is for *.test"),
        (authority.context(NAME, days=-5), NAME, "certificate-expired: it was good until "),
        (own, NAME, "certificate-not-trusted: no known authority vouches for it"),
        (authority.context(NAME), "", "certificate-not-trusted: it cannot be judged"),
    ):
        peer = await _certificate_of(connector(authority), tls, TlsDemand(name, Verify.WEBPKI))
        assert (peer.is_trusted, peer.problem[: len(problem)]) == (not problem, problem)
        assert bool(peer.problem) is bool(problem)


async def test_without_the_authorities_nobody_is_trusted(authority, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    for path, words in ((tmp_path / "missing.pem", "cannot be read"), (empty, "cannot be judged")):
        ours = SocketConnector(LIMITS, Trust(path))
        peer = await _certificate_of(ours, authority.context(NAME), TlsDemand(NAME, Verify.WEBPKI))
        assert not peer.is_trusted
        assert words in peer.problem


async def test_nobody_is_judged_unasked(authority):
    for verify in (Verify.NONE, Verify.CHAIN):
        peer = await _certificate_of(connector(authority), authority.context("other.test"), TlsDemand(NAME, verify))
        assert (peer.is_trusted, peer.problem, len(peer.chain)) == (False, "", 2)


async def test_the_name_is_asked_for(authority):
    asked = []
    tls = authority.context(NAME)
    tls.sni_callback = lambda _, name, __: asked.append(name)
    for name in (NAME, "", "_odd.far.test"):
        await _certificate_of(connector(authority), tls, TlsDemand(name))

    assert asked == [NAME, None, "_odd.far.test"]


async def test_a_name_that_cannot_be_asked_for(authority):
    async with connected(_silent, connector(authority)) as outgoing:
        failure = await outgoing.start_tls(TlsDemand("x" * 64 + ".test"))
        assert isinstance(failure, TlsFailure)
        assert "cannot be asked for" in failure.reason


@on_both_loops
async def test_plain_text_behind_the_220_is_dropped(authority):
    """RFC 3207 6: neither what came with the 220 nor what came behind it is read as if it had come inside TLS."""
    injected = asyncio.Event()

    async def forged(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"220 go\r\n250-evil.test\r\n250 AUTH PLAIN\r\n")
        await injected.wait()
        writer.write(b"250 more evil\r\n")
        await writer.start_tls(authority.context(NAME))
        writer.write(b"250 " + await reader.readline())

    async with connected(forged, connector(authority)) as outgoing:
        engine = ClientEngine(Mode.SMTP, SmtpClientLimits())
        engine.feed(b"220 hi\r\n")
        engine.starttls()
        await outgoing.write(engine.take_output())
        engine.feed(await outgoing.read(5))
        injected.set()
        while not outgoing._stream._inbox:
            await asyncio.sleep(0)
        peer = await outgoing.start_tls(TlsDemand(NAME, Verify.WEBPKI))
        assert isinstance(peer, PeerTls) and peer.is_trusted
        engine.secure()
        engine.hello("us.test")
        await outgoing.write(engine.take_output())
        engine.feed(await outgoing.read(5))

        replies = [engine.next_reply() for _ in range(4)]
        assert [reply and (reply.step, reply.text) for reply in replies] == [
            (Step.GREETING, "hi"),
            (Step.STARTTLS, "go"),
            (Step.HELLO, "EHLO us.test"),
            None,
        ]


@on_both_loops
async def test_what_is_no_tls(authority):
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"500 what?\r\n" * 100)

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    for handler in (garbage, closing):
        async with connected(handler, connector(authority)) as outgoing:
            failure = await outgoing.start_tls(TlsDemand(NAME))
            assert isinstance(failure, TlsFailure)
            assert failure.reason


@on_both_loops
async def test_a_handshake_that_hangs(authority):
    async with connected(_silent, connector(authority, replace(LIMITS, handshake=0.05))) as outgoing:
        assert await outgoing.start_tls(TlsDemand(NAME)) == TlsFailure("nothing came in time")
        assert await outgoing.read(5) == b""


async def test_tls_from_the_first_octet(authority):
    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")

    async with connected(hello, connector(authority), tls=authority.context(NAME)) as outgoing:
        peer = await outgoing.start_tls(TlsDemand(NAME, Verify.WEBPKI))
        assert isinstance(peer, PeerTls) and peer.is_trusted
        assert await outgoing.read(5) == b"220 hi\r\n"


# ---------------------------------------------------------------- the whole way


@dataclass
class Taking:
    """A session of our own server that takes every message."""

    timeout: float = 5.0
    secured: bool = False
    text: bytes = b""
    messages: list[tuple[bool, bytes]] = field(default_factory=list)

    async def handle(self, event: object) -> AsyncIterator[object]:
        match event:
            case Opened():
                yield Reply(220, "", "far.test")
            case Hello():
                yield Welcome("far.test", starttls=not self.secured)
            case StartTlsCommand():
                yield Reply(220, "2.0.0", "go")
                yield StartTls()
            case Secured():
                self.secured = True
            case Data():
                yield Proceed()
            case Chunk(data):
                self.text += data
            case EndOfMessage():
                self.messages.append((self.secured, self.text))
                yield Reply(250, "2.0.0", "taken")
            case Quit():
                yield Reply(221, "2.0.0", "bye")
                yield Hangup()
            case Closed():
                pass
            case _:
                yield Reply(250, "2.0.0", "ok")

    async def pushed(self) -> AsyncIterator[object]:
        for answer in ():
            yield answer

    async def aclose(self) -> None:
        pass


async def _ask(outgoing: SocketOutgoing, engine: ClientEngine, step: Step) -> ServerReply:
    """Says what there is to say and waits for the answer to `step`."""
    await outgoing.write(engine.take_output())
    while True:
        reply = engine.next_reply()
        if reply is None:
            engine.feed(await outgoing.read(5))
            await outgoing.write(engine.take_output())
        else:
            assert isinstance(reply, ServerReply) and reply.is_positive
            if reply.step is step:
                return reply


@on_both_loops
async def test_a_message_reaches_our_own_server_under_tls(authority):
    text = b".Hi\r\n" * 100_000
    async with Serving(Taking, lambda: SmtpEngine(Mode.SMTP, SmtpLimits()), tls=authority.context(NAME)) as serving:
        outgoing = await connector(authority).connect("127.0.0.1", serving.port, timeout=5)
        engine = ClientEngine(Mode.SMTP, SmtpClientLimits())
        engine.hello("us.test")
        await _ask(outgoing, engine, Step.HELLO)
        engine.starttls()
        await _ask(outgoing, engine, Step.STARTTLS)
        peer = await outgoing.start_tls(TlsDemand(NAME, Verify.WEBPKI))
        assert isinstance(peer, PeerTls) and peer.is_trusted
        engine.secure()
        engine.hello("us.test")
        await _ask(outgoing, engine, Step.HELLO)
        engine.mail(Envelope("a@us.test", size=len(text)))
        engine.rcpt(Recipient("b@far.test"))
        engine.data()
        await _ask(outgoing, engine, Step.DATA)
        for at in range(0, len(text), 65_536):
            engine.text(text[at : at + 65_536])
            assert await outgoing.write(engine.take_output())
        engine.end()
        assert (await _ask(outgoing, engine, Step.END)).text == "taken"
        engine.quit()
        await _ask(outgoing, engine, Step.QUIT)
        outgoing.close()
        assert serving.sessions[0].messages == [(True, text)]
