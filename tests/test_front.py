"""The front door's own parts: card, data folder, place of the settings, ports, counters, log."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from pathlib import Path

import pytest

from postane.binding import bind
from postane.card import Card, Reach, reachable_hosts
from postane.config.place import Place
from postane.config.settings import Listen, ListenerSettings, LmtpSettings, LogFormat, LogSettings, Ports, Settings
from postane.core.limits import ConnectionLimits
from postane.core.listener import STANDARD_PORTS, Service
from postane.crowd import Crowd
from postane.folder import lock, open_folder
from postane.logs import make_log
from postane.net.counters import SharedCounters
from postane.problem import Problem


def card(password: str = "p'w", **ports: int) -> Card:
    known = {Service(name): port for name, port in ports.items()} or dict(STANDARD_PORTS)
    reach = Reach(("mail.example.org", "192.0.2.1"), known, Path("/da ta/certificate.pem"), "AB:" * 31 + "AB", True)
    return Card(reach, "ada@example.org", password)


def test_the_card_says_what_to_type() -> None:
    text = card().text()

    assert "mail.example.org   or   192.0.2.1" in text
    assert "port 993, SSL/TLS   or   port 143, STARTTLS" in text
    assert "port 465, SSL/TLS   or   port 587, STARTTLS" in text
    assert "User name                        ada@example.org" in text


def test_the_curl_line_is_quoted_for_a_shell() -> None:
    words = shlex.split(card().curl())

    assert words[words.index("--user") + 1] == "ada@example.org:p'w"
    assert words[words.index("--cacert") + 1] == "/da ta/certificate.pem"
    assert words[-1] == "imaps://localhost:993/INBOX?ALL"
    assert shlex.split(card(imap=2143).curl("::1"))[-1] == "imap://[::1]:2143/INBOX?ALL"
    assert card(smtp=25).curl() == ""
    assert "--user ada@example.org " in card(password="").curl()


def test_hosts_of_the_card_are_those_that_are_listened_on() -> None:
    here = ("192.0.2.1", "2001:db8::1")

    assert reachable_hosts("vm.example.org", here, ("0.0.0.0", "::")) == ("vm.example.org", *here)
    assert reachable_hosts("vm", here, ("0.0.0.0",)) == ("192.0.2.1",)
    assert reachable_hosts("vm", here, ("2001:db8::1",)) == ("2001:db8::1",)
    assert reachable_hosts("vm.example.org", here, ("127.0.0.1",)) == ("127.0.0.1",)
    assert reachable_hosts("vm", (), ("0.0.0.0", "::")) == ("localhost",)


def test_a_new_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "a" / "data", create=True)

    assert folder.is_new
    assert (tmp_path / "a" / "data").stat().st_mode & 0o777 == 0o700
    assert not open_folder(tmp_path / "a" / "data", create=False).is_new


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "data").touch()

    with pytest.raises(Problem, match="is not a folder"):
        open_folder(tmp_path / "data", create=True)


def test_a_folder_is_locked_once(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "data", create=True)

    with lock(folder):
        with pytest.raises(Problem, match=f"process {os.getpid()}, runs on"), lock(folder):
            pass
    with lock(folder):
        pass


def test_the_data_folder_is_named_by_option_variable_or_setting(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('[server]\ndata = "below"\n')

    assert Place(Path("/one"), file, {"POSTANE_DATA": "/two"}, {}).load()[1] == Path("/one")
    assert Place(None, file, {"POSTANE_DATA": "/two"}, {}).load()[1] == Path("/two")
    assert Place(None, file, {}, {}).load()[1] == tmp_path / "below"
    assert Place(None, None, {"POSTANE_CONFIG": str(file)}, {}).load()[1] == tmp_path / "below"
    assert Place(None, None, {"POSTANE_SERVER__DATA": "/three"}, {}).load()[1] == Path("/three")


def only(service: Service, listener: ListenerSettings, ports: Ports = Ports.RANDOM) -> Settings:
    off = {one.value: ListenerSettings(enabled=False) for one in Service if one not in (service, Service.LMTP)}
    return Settings(listen=Listen(ports=ports, lmtp=LmtpSettings(enabled=False), **{**off, service.value: listener}))


def test_all_services_get_ports_of_their_own_on_both_protocols() -> None:
    binding = bind(Settings(listen=Listen(ports=Ports.RANDOM)))

    assert set(binding.ports) == set(Service)
    assert len(set(binding.ports.values())) == len(Service)
    families = {one.socket.family for one in binding.bound}
    assert socket.AF_INET in families
    lmtp = [one.socket.getsockname()[0] for one in binding.bound if one.listener.service is Service.LMTP]
    assert set(lmtp) <= {"127.0.0.1", "::1"}
    binding.close()


def test_a_taken_port_is_told_and_nothing_stays_bound() -> None:
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        port = holder.getsockname()[1]

        with pytest.raises(Problem, match=rf"imap: port {port} on 0.0.0.0 is taken by .*process {os.getpid()}"):
            bind(only(Service.IMAP, ListenerSettings(port=port)))


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(Problem, match=r"192\.0\.2\.77 is no address of this machine"):
        bind(only(Service.IMAP, ListenerSettings(port=0, addresses=("192.0.2.77",))))


def test_lmtp_on_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "lmtp.sock"
    settings = Settings(listen=Listen(ports=Ports.RANDOM, lmtp=LmtpSettings(socket=str(path))))

    left = bind(settings)
    binding = bind(settings)  # what a killed server left is no obstacle

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    binding.close()
    assert not path.exists()
    left.close()
    path.write_text("mine")
    with pytest.raises(Problem, match="is a file that is no socket"):
        bind(settings)
    assert path.read_text() == "mine"


def test_connections_are_counted_in_all_and_by_household(tmp_path: Path) -> None:
    counters = [SharedCounters(tmp_path / "counters", slot, 2) for slot in range(2)]
    first, second = (Crowd(one, ConnectionLimits(total=4, per_address=2, per_account=1)) for one in counters)

    assert first.enter_address("2001:db8::1")
    assert second.enter_address("2001:db8::2")
    assert not first.enter_address("2001:db8::3")
    assert first.enter_address("192.0.2.1")
    assert first.enter_address("192.0.2.2")
    assert not second.enter_address("192.0.2.3")
    second.leave_address("2001:db8::2")
    assert second.enter_address("192.0.2.3")
    assert first.enter(7)
    assert not second.enter(7)
    first.leave(7)
    assert second.enter(7)


def test_the_log_is_json_and_strikes_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make_log(LogSettings(format=LogFormat.JSON), "worker 1").bind(connection="abc")
    log.info("login", account="ada@example.org", password="lovelace")
    log.debug("not.shown")

    line = json.loads(capsys.readouterr().err)

    assert line["connection"] == "abc"
    assert line["password"] == "***"
    monkeypatch.setattr(sys, "stderr", open("/dev/full", "w", buffering=1))  # noqa: SIM115
    log.info("a log that cannot be written stops nothing")
