"""The server as its operator meets it: started, looked at, killed in part, reloaded, stopped; real processes."""

from __future__ import annotations

import imaplib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from postane.machine import addresses
from postane.net import tls
from serving import Server

SERVICES = {"smtp", "lmtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s"}


def until(happens: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def login(server: Server, password: str | None = None, account: str | None = None) -> imaplib.IMAP4_SSL:
    context = ssl.create_default_context(cafile=str(server.certificate))
    client = imaplib.IMAP4_SSL("localhost", server.ports["imaps"], ssl_context=context, timeout=30)
    client.login(account or server.account, password or server.password)
    return client


def banner(port: int, host: str = "127.0.0.1") -> bytes:
    with socket.create_connection((host, port), timeout=10) as connection:
        return connection.recv(1000)


def test_the_first_start_says_all_that_is_needed(server: Server) -> None:
    ready = server.ready

    assert set(ready) == {"pid", "ports", "certificate", "account", "password"}
    assert set(ready["ports"]) == SERVICES
    assert ready["pid"] == server.processes()[0]
    for service in ("smtp", "lmtp", "submission", "imap", "pop3"):
        assert banner(ready["ports"][service])[:4] in (b"220 ", b"* OK", b"+OK ")
    login(server).logout()
    names = tls.names_of(tls.read_certificate(server.certificate))
    assert {"mail.demo.test", "localhost", "127.0.0.1", "::1"} <= set(names)
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_it_listens_on_both_protocols(server: Server) -> None:
    assert banner(server.ports["imap"], "::1").startswith(b"* OK")
    assert banner(server.ports["lmtp"], "::1").startswith(b"220 ")


def test_the_curl_line_works_when_pasted(server: Server) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed: apt-get install curl")
    until(lambda: "Ctrl-C stops the server" in server.log())
    line = re.search(r"curl .*", server.log())
    assert line

    done = subprocess.run(["bash", "-c", line[0]], capture_output=True, text=True, timeout=30)

    assert done.returncode == 0, done.stderr
    assert "* SEARCH" in done.stdout


def test_the_card_names_ports_user_and_fingerprint(server: Server) -> None:
    until(lambda: "Ctrl-C stops the server" in server.log())
    card = server.log()

    for service in ("imap", "imaps", "pop3", "pop3s", "submission", "submissions"):
        assert f"port {server.ports[service]}, " in card
    assert server.password in card
    assert tls.fingerprint(server.certificate) in re.sub(r"\s", "", card)
    assert "550 5.7.1" in card


def test_a_second_start_finds_everything_as_it_was(server: Server) -> None:
    fingerprint = tls.fingerprint(server.certificate)
    client = login(server)
    client.append("INBOX", "", "", b"Subject: kept\r\n\r\nx\r\n")
    client.logout()
    server.stop()

    server.start()

    assert set(server.ready) == {"pid", "ports", "certificate"}
    assert tls.fingerprint(server.certificate) == fingerprint
    assert login(server).select("INBOX")[1] == [b"1"]
    assert server.password not in server.log().rpartition("server.stopping")[2]


def test_a_second_server_on_the_same_folder_is_refused(server: Server, tmp_path: Path) -> None:
    other = Server(server.data, tmp_path / "other.log")
    other.launch()

    assert other.wait() == 1
    assert f"process {server.pid}, runs on the data folder" in other.log()
    assert "Traceback" not in other.log()


def test_a_port_already_taken_is_named_with_its_holder(server: Server, tmp_path: Path) -> None:
    taken = server.ports["imap"]
    other = Server(tmp_path / "other", tmp_path / "other.log", environment={"POSTANE_LISTEN__IMAP__PORT": str(taken)})
    other.launch()

    assert other.wait() == 1
    assert f"Cannot listen for imap: port {taken}" in other.log()
    assert "is taken by postane" in other.log()
    assert "listen.imap.port" in other.log()


def test_a_worker_that_dies_is_replaced_and_nobody_else_notices(server: Server) -> None:
    clients = [login(server) for _ in range(8)]
    before = server.workers()
    victim = before["postane-1"]

    os.kill(victim, signal.SIGKILL)

    until(lambda: server.workers().get("postane-1", victim) != victim)
    assert {name: pid for name, pid in server.workers().items() if name != "postane-1"} == {
        name: pid for name, pid in before.items() if name != "postane-1"
    }
    alive = 0
    for client in clients:
        try:
            alive += client.noop()[0] == "OK"
        except (imaplib.IMAP4.abort, OSError):
            pass
    assert alive or len(before) == 2
    login(server).logout()


def test_the_timed_process_is_replaced_too(server: Server) -> None:
    victim = server.workers()["postane-timed"]

    os.kill(victim, signal.SIGKILL)

    until(lambda: server.workers().get("postane-timed", victim) != victim)


def test_no_process_outlives_a_killed_supervisor(server: Server) -> None:
    others = server.processes()[1:]

    os.kill(server.pid, signal.SIGKILL)
    server.wait()

    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in others), 5)
    began = time.monotonic()
    server.start()
    assert time.monotonic() - began < 10
    login(server).logout()


def test_term_finishes_what_is_being_accepted(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.ports["lmtp"]), timeout=30) as client:
        replies = client.makefile("rb")
        replies.readline()
        for line in (b"LHLO t", b"MAIL FROM:<a@example.org>", f"RCPT TO:<{server.account}>".encode(), b"DATA"):
            client.sendall(line + b"\r\n")
            while (reply := replies.readline())[3:4] == b"-":
                pass
        assert reply.startswith(b"354")
        client.sendall(b"Subject: half\r\n")
        server.signal(signal.SIGTERM)
        until(lambda: "server.stopping" in server.log())
        client.sendall(b"\r\nthe rest\r\n.\r\n")
        assert replies.readline().startswith(b"250")
        assert replies.readline().startswith((b"421", b""))
    assert server.wait() == 0
    server.start()
    assert login(server).select("INBOX")[1] == [b"1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_connections_are_told_and_the_server_stops_at_once(server: Server, number: signal.Signals) -> None:
    client = login(server)
    began = time.monotonic()

    server.signal(number)

    assert server.wait() == 0
    assert time.monotonic() - began < 5
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        client.noop()
    assert "Traceback" not in server.log()


def test_a_second_interrupt_hurries(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.ports["lmtp"]), timeout=30) as client:
        client.recv(1000)
        client.sendall(b"LHLO t\r\nMAIL FROM:<a@example.org>\r\n")
        client.recv(1000)
        client.sendall(f"RCPT TO:<{server.account}>\r\nDATA\r\nSubject: never ends\r\n".encode())
        server.signal(signal.SIGINT)
        until(lambda: "server.stopping" in server.log())
        began = time.monotonic()
        server.signal(signal.SIGINT)

        assert server.wait() == 0
        assert time.monotonic() - began < 5


def test_hup_reads_the_settings_again_and_keeps_them_where_they_are_wrong(server: Server) -> None:
    file = server.data / "postane.toml"
    file.write_text("[limits.pop3]\nerrors = 'many'\n")
    server.stop()
    file.write_text("[limits.connections]\nper_address = 200\n")
    server.start()
    assert len(hold(server, 3)) == 3

    file.write_text("[limits.connections]\nper_address = 2\n")
    server.signal(signal.SIGHUP)
    until(lambda: "reload.done" in server.log())

    until(lambda: len(hold(server, 5)) == 2)
    file.write_text("[limits.connections]\nper_adress = 5\n")
    server.signal(signal.SIGHUP)
    until(lambda: "reload.refused" in server.log())
    assert "per_address?" in server.log()
    until(lambda: len(hold(server, 5)) == 2)


def hold(server: Server, count: int) -> list[bytes]:
    """Greetings of so many connections at once; those that were refused said BYE or nothing."""
    held = [socket.create_connection(("127.0.0.1", server.ports["imap"]), timeout=10) for _ in range(count)]
    said = [one.recv(1000) for one in held]
    for one in held:
        one.close()
    return [one for one in said if one.startswith(b"* OK")]


def test_too_many_connections_are_told_politely(tmp_path: Path) -> None:
    server = Server(
        tmp_path / "data", tmp_path / "server.log", environment={"POSTANE_LIMITS__CONNECTIONS__PER_ADDRESS": "1"}
    )
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.ports["imap"]), timeout=10) as first:
            assert first.recv(1000).startswith(b"* OK")
            assert banner(server.ports["imap"]).startswith(b"* BYE [UNAVAILABLE] Too many")
            assert banner(server.ports["smtp"]).startswith(b"421 4.7.0 Too many")
            assert banner(server.ports["pop3"]).startswith(b"-ERR [SYS/TEMP] Too many")
        until(lambda: banner(server.ports["imap"]).startswith(b"* OK"))
    finally:
        server.stop()


def test_a_new_domain_is_covered_by_the_certificate_at_once(server: Server) -> None:
    before = tls.read_certificate(server.certificate)

    server.postane("domain", "add", "bücher.example")

    context = ssl.create_default_context(cafile=str(server.certificate))

    def covered() -> bool:
        with socket.create_connection(("127.0.0.1", server.ports["imaps"]), timeout=10) as raw:
            try:
                context.wrap_socket(raw, server_hostname="mail.xn--bcher-kva.example").close()
            except ssl.SSLCertVerificationError:
                return False
        return True

    until(covered)
    after = tls.read_certificate(server.certificate)
    assert after.public_key() == before.public_key()
    assert set(tls.names_of(before)) <= set(tls.names_of(after))


def test_commands_are_live_while_the_server_runs(server: Server) -> None:
    server.postane("domain", "add", "bench.test")
    made = server.postane("account", "add", "user@bench.test", "--password-stdin", "--json", stdin="first-Pa55word\n")
    assert json.loads(made.stdout)["ports"] == server.ports

    client = login(server, "first-Pa55word", "user@bench.test")
    server.postane("account", "passwd", "user@bench.test", "--password-stdin", stdin="second-Pa55word")
    ends(client)
    with pytest.raises(imaplib.IMAP4.error):
        login(server, "first-Pa55word", "user@bench.test")

    client = login(server, "second-Pa55word", "user@bench.test")
    server.postane("account", "disable", "user@bench.test")
    ends(client)
    with pytest.raises(imaplib.IMAP4.error):
        login(server, "second-Pa55word", "user@bench.test")
    server.postane("account", "enable", "user@bench.test")
    client = login(server, "second-Pa55word", "user@bench.test")
    server.postane("account", "remove", "user@bench.test", "--yes")
    ends(client)


def ends(client: imaplib.IMAP4_SSL) -> None:
    """The server says BYE of its own accord; nothing is asked."""
    client.sock.settimeout(10)
    said = b""
    while chunk := client.sock.recv(1000):
        said += chunk
    assert b"* BYE" in said


def test_mail_brought_in_by_a_command_is_seen_by_an_open_session(server: Server, tmp_path: Path) -> None:
    client = login(server)
    client.select("INBOX")
    (tmp_path / "one.eml").write_bytes(b"Subject: one\r\n\r\nx\r\n")

    server.postane("mailbox", "import", server.account, str(tmp_path / "one.eml"))

    until(lambda: client.noop()[0] == "OK" and client.response("EXISTS")[1][-1] == b"1")


def test_root_gives_its_rights_away(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give rights away: run as root")
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    os.chown(data, 65534, 65534)
    for above in (tmp_path, *tmp_path.parents):
        if above.stat().st_uid == 0 and above.parts[:2] == ("/", "tmp"):
            above.chmod(above.stat().st_mode | 0o011)
    server = Server(data, tmp_path / "server.log")
    server.start()
    try:
        for name, pid in server.workers().items():
            status = Path(f"/proc/{pid}/status").read_text()
            assert re.search(r"^Uid:\t65534\t65534\t65534\t65534$", status, re.M), name
            assert re.search(r"^NoNewPrivs:\t1$", status, re.M), name
            assert re.search(r"^Groups:\t\s*$", status, re.M), name
        login(server).logout()
        server.postane("domain", "add", "bench.test")
        owners = {one.stat().st_uid for one in data.rglob("*")}
        assert owners == {65534}
        modes = {stat.S_IMODE(one.stat().st_mode) & 0o077 for one in data.rglob("*") if one.name != "certificate.pem"}
        assert modes == {0}
    finally:
        server.stop()


def test_a_folder_of_another_version_is_refused(server: Server) -> None:
    server.stop()
    (server.data / "postane.format").write_text("2\n")
    server.launch()

    assert server.wait() == 1
    assert "has format '2'; this program knows format 1" in server.log()


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "thesis.txt").write_text("x")
    server = Server(data, tmp_path / "server.log")
    server.launch()

    assert server.wait() == 1
    assert "is not a Postane data folder: it holds thesis.txt" in server.log()
    assert [one.name for one in data.iterdir()] == ["thesis.txt"]


def test_a_certificate_that_does_not_match_its_key_is_refused(tmp_path: Path) -> None:
    one, other = (tls.make_self_signed(tmp_path / name, ["a.example"]) for name in ("one", "other"))
    environment = {"POSTANE_TLS__CERTIFICATE": str(one.certificate), "POSTANE_TLS__KEY": str(other.key)}
    server = Server(tmp_path / "data", tmp_path / "server.log", environment=environment)
    server.launch()

    assert server.wait() == 1
    assert f"{other.key}: the key does not belong to the certificate {one.certificate}" in server.log()


def plain_login(server: Server, host: str) -> bytes:
    with socket.create_connection((host, server.ports["imap"]), timeout=10) as client:
        replies = client.makefile("rb")
        replies.readline()
        client.sendall(f'A LOGIN {server.account} "{server.password}"\r\n'.encode())
        while not (line := replies.readline()).startswith(b"A "):
            assert line
        return line


def test_login_before_tls_is_for_this_machine_or_where_it_is_allowed(server: Server) -> None:
    if not (here := addresses()):
        pytest.skip("this machine has no address but loopback: give it one")
    assert plain_login(server, "127.0.0.1").startswith(b"A OK")
    refused = plain_login(server, here[0])
    assert refused.startswith(b"A NO [PRIVACYREQUIRED]")
    assert b"port %d" % server.ports["imaps"] in refused

    (server.data / "postane.toml").write_text('[domains."demo.test"]\nlogin.plaintext = "allow"\n')
    server.signal(signal.SIGHUP)
    until(lambda: plain_login(server, here[0]).startswith(b"A OK"))

    (server.data / "postane.toml").write_text("")
    server.signal(signal.SIGHUP)
    until(lambda: plain_login(server, here[0]).startswith(b"A NO"))
    (server.data / "postane.toml").write_text('[listen.imap]\nlogin.plaintext = "allow"\n')
    server.signal(signal.SIGHUP)
    until(lambda: plain_login(server, here[0]).startswith(b"A OK"))


def test_no_relay_is_ever_open(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.ports["smtp"]), timeout=10) as client:
        replies = client.makefile("rb")
        replies.readline()
        client.sendall(b"HELO t\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n")
        said = [replies.readline() for _ in range(3)]

    assert said[2].startswith(b"550 5.7.1")


def test_the_password_is_in_no_file_and_no_log(server: Server) -> None:
    until(lambda: "Ctrl-C stops the server" in server.log())
    login(server).logout()
    server.stop()

    for file in server.data.rglob("*"):
        if file.is_file():
            assert server.password.encode() not in file.read_bytes(), file
    assert shlex.quote(server.password) == server.password


def test_a_smarthost_without_its_password_file_is_said_at_the_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "postane.toml").write_text(
        '[relay.smarthost]\nhost = "relay.example.org"\nuser = "u"\npassword_file = "/nowhere/password"\n'
    )
    server = Server(data, tmp_path / "server.log")
    server.launch()

    assert server.wait() != 0
    assert "relay.smarthost.password_file = '/nowhere/password' cannot be read" in server.log()
    assert "Traceback" not in server.log()
