"""The pump and the stream together, over real sockets, on both loops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct

import pytest
from conversing import LineEngine, Serving, WordSession, certificates, client_context, on_both_loops

from postane.core.dialogue import Closed, Opened, Secured, TimedOut
from postane.core.limits import ConnectionLimits
from transcript import Cut, parse, play_turns


async def until(condition) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not come about")


@on_both_loops
async def test_lines_are_answered_in_order_however_they_come():
    async with Serving() as serving:
        reader, writer = await serving.connect()
        assert b"hello\r\n" == await reader.readline()

        writer.write(b"one\r\ntwo\r\nthr")
        assert b"you said one\r\n" == await reader.readline()
        assert b"you said two\r\n" == await reader.readline()
        writer.write(b"ee\r\nquit\r\nnever\r\n")
        assert b"you said three\r\nbye\r\n" == await reader.read()
        writer.close()
        await asyncio.gather(*serving.tasks)
        session = serving.sessions[0]
        assert session.closed
        assert b"never" not in session.told


@on_both_loops
async def test_everything_received_before_the_end_is_answered():
    async with Serving() as serving:
        reader, writer = await serving.connect()
        writer.write(b"one\r\ntwo\r\nhalf")
        writer.write_eof()

        assert b"hello\r\nyou said one\r\nyou said two\r\n" == await reader.read()
        assert isinstance(serving.sessions[0].told[-1], Closed)
        writer.close()


@on_both_loops
async def test_last_words_arrive_although_bytes_were_left_unread():
    async with Serving() as serving:
        reader, writer = await serving.connect()
        writer.write(b"quit\r\n" + b"x" * 500_000)
        assert b"hello\r\nbye\r\n" == await reader.read()
        writer.close()


@on_both_loops
async def test_timeout_and_ring():
    async with Serving() as serving:
        reader, writer = await serving.connect()
        await reader.readline()
        session = serving.sessions[0]
        session.news.append(b"news")
        session.opened.ring()
        assert b"news\r\n" == await reader.readline()

        # In the middle of a line nothing unasked is said.
        writer.write(b"ha")
        await until(lambda: serving.streams[0] and serving.tasks and len(session.told) == 1)
        await asyncio.sleep(0.02)
        session.news.append(b"more news")
        session.opened.ring()
        writer.write(b"lf\r\n")
        assert b"you said half\r\n" == await reader.readline()
        assert b"more news\r\n" == await reader.readline()

        session.timeout = 0.02
        writer.write(b"x\r\n")
        assert b"you said x\r\nbye\r\n" == await reader.read()
        assert isinstance(session.told[-1], TimedOut)
        writer.close()


@on_both_loops
async def test_starttls_drops_what_was_sent_in_the_clear_behind_it(tmp_path):
    store = certificates(tmp_path)
    async with Serving(tls=store.context) as serving:
        reader, writer = await serving.connect()
        await reader.readline()
        writer.write(b"starttls\r\nEVIL\r\n")
        assert b"go\r\n" == await reader.readline()
        await writer.start_tls(client_context(tmp_path / "certificate.pem"), server_hostname="localhost")
        writer.write(b"good\r\nquit\r\n")
        assert b"you said good\r\nbye\r\n" == await reader.read()
        writer.close()

        session = serving.sessions[0]
        assert b"EVIL" not in session.told
        secured = next(event for event in session.told if isinstance(event, Secured))
        assert ("TLSv1.3", "localhost") == (secured.version, secured.server_name)
        assert "tls-server-end-point" in secured.bindings


@on_both_loops
async def test_implicit_tls_carries_large_bodies_whole(tmp_path):
    store = certificates(tmp_path)
    async with Serving(tls=store.context, implicit_tls=True) as serving:
        reader, writer = await serving.connect(
            ssl=client_context(tmp_path / "certificate.pem"), server_hostname="mail.bench.test"
        )
        assert b"hello\r\n" == await reader.readline()
        writer.write(b"large\r\nlast\r\n")
        assert b"{10485760}\r\n" == await reader.readline()
        assert b"x" * 10485760 == await reader.readexactly(10485760)
        assert b"you said last\r\n" == await reader.readline()
        session = serving.sessions[0]
        assert isinstance(session.told[0], Opened)
        assert session.told[0].secured is not None
        writer.write_eof() if writer.can_write_eof() else writer.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
@on_both_loops
async def test_tls_1_2_gives_the_old_binding_and_1_1_is_refused(tmp_path):
    store = certificates(tmp_path)
    async with Serving(tls=store.context, implicit_tls=True) as serving:
        context = client_context(tmp_path / "certificate.pem")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        reader, writer = await serving.connect(ssl=context, server_hostname="localhost")
        await reader.readline()
        assert "tls-unique" in serving.sessions[0].told[0].secured.bindings
        writer.close()

        old = client_context(tmp_path / "certificate.pem")
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1_1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await serving.connect(ssl=old, server_hostname="localhost")


@on_both_loops
async def test_garbage_for_a_handshake_and_silence_end_the_connection(tmp_path):
    store = certificates(tmp_path)
    limits = ConnectionLimits(handshake=0.05)
    async with Serving(tls=store.context, implicit_tls=True, limits=limits) as serving:
        for sent in (b"EHLO someone\r\n" * 10, b"", b"\x16\x03\x01\x02\x00"):
            reader, writer = await serving.connect()
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
        await asyncio.gather(*serving.tasks)
        assert [("info", "connection.dropped")] * 3 == serving.log.lines
        assert all(session.closed and not session.told for session in serving.sessions)


@on_both_loops
async def test_garbage_inside_tls_ends_the_connection(tmp_path):
    store = certificates(tmp_path)
    async with Serving(tls=store.context, implicit_tls=True) as serving:
        reader, writer = await serving.connect(
            ssl=client_context(tmp_path / "certificate.pem"), server_hostname="localhost"
        )
        await reader.readline()
        serving.streams[0].data_received(b"\x17\x03\x03\x00\x05garbage")
        await asyncio.gather(*serving.tasks)
        assert not any(level == "exception" for level, _ in serving.log.lines)
        writer.close()


@on_both_loops
async def test_a_reset_cancels_the_answer_and_releases_the_session():
    async with Serving() as serving:
        reader, writer = await serving.connect()
        await reader.readline()
        writer.write(b"hold\r\n")
        session = serving.sessions[0]
        await until(lambda: b"hold" in session.told)
        _reset(writer)
        await asyncio.gather(*serving.tasks)
        assert session.cancelled
        assert session.closed
        assert [("info", "connection.dropped")] == serving.log.lines


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@on_both_loops
async def test_a_failing_session_says_so_and_hurts_nobody_else():
    async with Serving() as serving:
        reader, writer = await serving.connect()
        other_reader, other_writer = await serving.connect()
        writer.write(b"one\r\nfail\r\ntwo\r\n")
        assert b"hello\r\nyou said one\r\ninternal error\r\n" == await reader.read()
        other_writer.write(b"quit\r\n")
        assert b"hello\r\nbye\r\n" == await other_reader.read()
        writer.close()
        other_writer.close()
        assert [("exception", "session.failed")] == serving.log.lines


@on_both_loops
async def test_a_short_body_ends_the_connection_and_is_never_padded():
    async with Serving() as serving:
        reader, writer = await serving.connect()
        await reader.readline()
        writer.write(b"short\r\nafter\r\n")
        said = b""
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                said += piece
        assert len(said) <= len(b"{196608}\r\n") + 2 * 2**16
        assert b"after" not in said
        await asyncio.gather(*serving.tasks)
        writer.close()


@on_both_loops
async def test_a_client_that_reads_nothing_is_dropped_in_bounded_memory():
    limits = ConnectionLimits(write_stall=0.1)
    async with Serving(limits=limits) as serving:
        _reader, writer = await serving.connect(limit=1000)
        writer.write(b"large\r\n" * 5)
        await until(lambda: serving.tasks and serving.tasks[0].done())
        session = serving.sessions[0]
        assert session.finished
        assert session.told.count(b"large") < 5
        assert [("info", "connection.dropped")] == serving.log.lines
        writer.close()


@on_both_loops
async def test_reading_pauses_while_an_answer_is_made():
    limits = ConnectionLimits(input_buffer=4096)
    async with Serving(limits=limits) as serving:
        reader, writer = await serving.connect()
        await reader.readline()
        writer.write(b"hold\r\n" + b"line\r\n" * 2_000_000)
        session = serving.sessions[0]
        await until(lambda: b"hold" in session.told)
        await asyncio.sleep(0.05)
        assert len(serving.streams[0]._inbox) < 300_000
        session.hold.set()
        assert b"held\r\n" == await reader.readline()
        assert b"you said line\r\n" == await reader.readline()
        writer.transport.abort()


@on_both_loops
async def test_stopping_ends_conversations_between_commands_only():
    async with Serving() as serving:
        idle_reader, idle_writer = await serving.connect()
        busy_reader, busy_writer = await serving.connect()
        await idle_reader.readline()
        await busy_reader.readline()
        busy_writer.write(b"ha")
        await asyncio.sleep(0.02)
        serving.stopping.begin()
        assert b"stopping\r\n" == await idle_reader.read()
        assert not serving.tasks[1].done()
        busy_writer.write(b"lf\r\n")
        assert b"you said half\r\nstopping\r\n" == await busy_reader.read()
        await asyncio.gather(*serving.tasks)
        for writer in (idle_writer, busy_writer):
            writer.close()


@on_both_loops
async def test_a_pipelining_client_leaves_the_others_their_turn():
    async with Serving() as serving:
        _greedy_reader, greedy = await serving.connect()
        reader, writer = await serving.connect()
        await reader.readline()
        greedy.write(b"x\r\n" * 30_000)
        await asyncio.sleep(0)
        writer.write(b"one\r\n")
        await reader.readline()
        assert serving.sessions[0].told.count(b"x") < 30_000
        greedy.transport.abort()


@on_both_loops
async def test_cancelling_aborts():
    async with Serving() as serving:
        reader, writer = await serving.connect()
        await reader.readline()
        serving.tasks[0].cancel()
        with contextlib.suppress(ConnectionError):
            assert b"" == await reader.read()
        assert serving.tasks[0].cancelled()
        assert serving.sessions[0].closed
        writer.close()


SCRIPT = """
S: hello
C: one
C+ tw\\x6f\\r\\nthree\\r\\n
S~ you said o.e
S: you said two
S+ you said three\\r\\n
C: starttls
C: injected
S: go
** tls
C: four
S: you said four
** timeout
S: bye
** closed
"""


@pytest.mark.parametrize("cut", Cut)
async def test_the_player_plays(cut):
    session = WordSession()
    await play_turns(parse(SCRIPT), LineEngine(), session, cut)
    assert b"injected" not in session.told


@pytest.mark.parametrize(
    "wrong",
    [
        SCRIPT.replace("said four", "said five"),
        SCRIPT.replace("S: bye\n", ""),
        SCRIPT.replace("** tls\n", ""),
        SCRIPT.replace("S: you said two\n", ""),
        SCRIPT.replace("** closed", "C: five\nS: you said five"),
        SCRIPT.replace("** timeout\nS: bye\n", ""),
    ],
)
async def test_the_player_notices(wrong):
    with pytest.raises(AssertionError):
        await play_turns(parse(wrong), LineEngine(), WordSession())
