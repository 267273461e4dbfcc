"""The relay over real sockets and TLS, to a server of our own in its own processes; read back by POP3."""

from __future__ import annotations

import poplib
import ssl
from pathlib import Path

from relay_world import World, world

from postane.core.clock import SystemClock
from postane.core.limits import ConnectionLimits
from postane.flow.relay.relay import Relay, Sender
from postane.flow.relay.route import Ourselves, Router
from postane.flow.relay.runner import QueueRunner
from postane.net.outgoing import SocketConnector
from postane.net.trust import Trust
from serving import Server

COUNT = 20


def runner_to(at: World, server: Server) -> QueueRunner:
    """One whose mail for any domain goes to the server."""
    clock = SystemClock()
    ourselves = Ourselves(allows_loopback=True)
    router = Router(at.zone, ourselves, at.limits.relay, port=server.ports["smtp"])
    connector = SocketConnector(ConnectionLimits(), Trust())
    runner = at.another()
    sender = Sender("mail.home.example", ("127.0.0.1",))
    runner._relay = Relay(at.queues[-1], router, connector, at.memory, sender, at.limits, clock)
    return runner


async def test_mail_goes_over_tls_many_in_a_connection_and_what_is_refused_comes_back(
    tmp_path: Path, server: Server
) -> None:
    domain = server.account.partition("@")[2]
    async with world(tmp_path) as at:
        at.zone.load(f"{domain}. MX 1 mx.{domain}.\nmx.{domain}. A 127.0.0.1")
        runner = runner_to(at, server)
        large = b"Subject: large\r\n\r\n" + b".line\r\n" * 50_000
        await at.enqueue(server.account, f"nobody@{domain}", body=large)
        for _ in range(COUNT):
            await at.enqueue(server.account)
        await runner.run_due()
        await runner.stop(5)

        assert await at.left() == []
        relayed = at.noted("relayed")
        assert len(relayed) == COUNT + 1
        assert {(each["host"], each["code"], each["tls"][:7]) for each in relayed} == {
            (f"mx.{domain}", "250", "TLSv1.3")
        }
        assert [(each["to"], each["enhanced"]) for each in at.noted("failed")] == [(f"nobody@{domain}", "5.1.1")]
        assert at.memory.domains == {domain}
    texts = retrieved(server)
    assert len(texts) == COUNT + 1
    (back,) = [text for text in texts if b"Subject: large" in text]
    assert back.count(b"\r\n.line") == 50_000


def retrieved(server: Server) -> list[bytes]:
    context = ssl.create_default_context(cafile=str(server.certificate))
    context.check_hostname = False
    box = poplib.POP3_SSL("127.0.0.1", server.ports["pop3s"], context=context)
    box.user(server.account)
    box.pass_(server.password)
    count, _ = box.stat()
    texts = [b"\r\n".join(box.retr(number)[1]) for number in range(1, count + 1)]
    box.quit()
    return texts
