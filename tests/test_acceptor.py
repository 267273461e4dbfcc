"""Accepting: fair shares, polite refusals, and no spinning where the system has run out of descriptors."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from postane import acceptor
from postane.acceptor import Acceptor
from postane.binding import Bound
from postane.core.listener import Listener, Service
from postane.core.log import NullLog


class Door:
    """Lets in `places` at a time; whoever is let in is served until `leave` is set."""

    def __init__(self, places: int = 100) -> None:
        self.places = places
        self.served: list[Service] = []
        self.left: list[str] = []
        self.leave = asyncio.Event()

    def enter_address(self, host: str) -> bool:
        self.places -= 1
        return self.places >= 0

    def leave_address(self, host: str) -> None:
        self.left.append(host)

    async def serve(self, connection: socket.socket, listener: Listener, host: str) -> None:
        self.served.append(listener.service)
        await self.leave.wait()
        connection.close()


class Exhausted(socket.socket):
    """A listening socket of a process that has no descriptor left for a while."""

    failures = 3
    asked = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        if self.asked <= self.failures:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


@contextmanager
def listening(kind: type[socket.socket] = socket.socket, service: Service = Service.IMAP) -> Iterator[Bound]:
    with kind() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
        made.setblocking(False)
        yield Bound(Listener(service), made)


async def connected(bound: Bound) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*bound.socket.getsockname())


async def until(happens: asyncio.Event | object) -> None:
    for _ in range(1000):
        if happens():  # type: ignore[operator]
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not happen")


async def test_connections_are_served_counted_and_let_go() -> None:
    door = Door()
    with listening() as bound:
        one = Acceptor((bound,), door.serve, door, NullLog())
        one.open()
        await connected(bound)
        await connected(bound)
        await until(lambda: door.served == [Service.IMAP] * 2)
        assert len(one.connections) == 2

        door.leave.set()

        await until(lambda: door.left == ["127.0.0.1"] * 2)
        assert not one.connections
        one.close()


async def test_too_many_hear_it_in_their_protocol_and_are_not_counted() -> None:
    said = {}
    for service in (Service.SMTP, Service.LMTP, Service.SUBMISSION, Service.IMAP, Service.POP3, Service.IMAPS):
        door = Door(places=0)
        with listening(service=service) as bound:
            one = Acceptor((bound,), door.serve, door, NullLog())
            one.open()
            reader, _ = await connected(bound)
            said[service] = await reader.read()
            assert not door.served
            assert not door.left
            one.close()

    assert said[Service.SMTP].startswith(b"421 4.7.0 ")
    assert said[Service.SMTP] == said[Service.LMTP] == said[Service.SUBMISSION]
    assert said[Service.IMAP].startswith(b"* BYE [UNAVAILABLE] ")
    assert said[Service.POP3].startswith(b"-ERR [SYS/TEMP] ")
    assert said[Service.IMAPS] == b""


async def test_without_descriptors_it_rests_and_does_not_spin(monkeypatch) -> None:
    monkeypatch.setattr(acceptor, "REST", 0.02)
    door = Door()
    with listening(Exhausted) as bound:
        one = Acceptor((bound,), door.serve, door, NullLog())
        one.open()
        await connected(bound)

        await until(lambda: door.served)

        assert isinstance(bound.socket, Exhausted)
        assert bound.socket.asked == 4
        one.close()


async def test_after_closing_nobody_is_let_in_and_those_inside_stay() -> None:
    door = Door()
    with listening() as bound:
        one = Acceptor((bound,), door.serve, door, NullLog())
        one.open()
        await connected(bound)
        await until(lambda: door.served)

        one.close()

        assert bound.socket.fileno() == -1
        assert len(one.connections) == 1
        door.leave.set()
        await until(lambda: not one.connections)
