"""Mail between two Postanes on two hosts: sent, delivered, and a notice for what could not be."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.hosts import THERE
from serving import PROGRAM

HERE_SETTINGS = f"""
[server]
host_name = "mx.here.test"
[relay]
enabled = true
[relay.smarthost]
host = "{THERE}"
port = 25
security = "starttls"
verify = false
"""
THERE_SETTINGS = """
[server]
host_name = "mx.there.test"
"""


class Host:
    """A Postane on the standard ports of a host of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.password = ""

    def run(self, *command: str, data: str = "") -> subprocess.CompletedProcess[str]:
        words = ["ip", "netns", "exec", self.name, *command]
        return subprocess.run(words, input=data, capture_output=True, text=True, timeout=60)

    def postane(self, *words: str, data: str = "") -> str:
        done = self.run(str(PROGRAM), *words, "--data", str(self.folder / "data"), data=data)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> subprocess.Popen[bytes]:
        ready, log = self.folder / "ready", self.folder / "log"
        command = [str(PROGRAM), "serve", "--data", str(self.folder / "data"), "--ready-file", str(ready)]
        with log.open("wb") as output:
            process = subprocess.Popen(["ip", "netns", "exec", self.name, *command], stdout=output, stderr=output)
        while not ready.exists():
            assert process.poll() is None, log.read_text()
            time.sleep(0.02)
        self.password = json.loads(ready.read_text())["password"]
        return process

    def inbox(self, account: str) -> str:
        """All of its mail, as IMAP gives it on this host."""
        out = Path(tempfile.mkdtemp(dir=self.folder))
        self.postane("mailbox", "export", account, str(out), "--format", "eml")
        return "\n".join(path.read_text() for path in sorted(out.rglob("*.eml")))


@pytest.fixture
def offices(hosts: tuple[str, str], tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """One that sends what is for elsewhere to the other, and that other, which knows ada@there.test."""
    running, made = [], []
    for name, settings in zip(hosts, (HERE_SETTINGS, THERE_SETTINGS), strict=True):
        folder = tmp_path / name
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "postane.toml").write_text(settings)
        host = Host(name, folder)
        running.append(host.start())
        made.append(host)
    made[1].postane("domain", "add", "there.test")
    made[1].postane("account", "add", "ada@there.test", "--password-stdin", data="correct horse battery")
    yield made[0], made[1]
    for process in running:
        process.terminate()
    for process in running:
        process.wait(30)


def send(office: Host, recipient: str) -> None:
    mail = office.folder / "mail.eml"
    mail.write_text(f"From: demo@demo.test\r\nTo: {recipient}\r\nSubject: over the wire\r\n\r\nhello\r\n")
    done = office.run(
        "curl", "--silent", "--show-error", "--cacert", str(office.folder / "data/tls/certificate.pem"),
        "--user", f"demo@demo.test:{office.password}", "smtps://localhost:465",
        "--mail-from", "demo@demo.test", "--mail-rcpt", recipient, "--upload-file", str(mail),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def until(office: Host, account: str, words: str) -> str:
    end = time.monotonic() + 30
    while words not in (mail := office.inbox(account)):
        assert time.monotonic() < end, (mail, office.postane("queue", "list"), (office.folder / "log").read_text())
        time.sleep(0.2)
    return mail


def test_mail_arrives_over_tls(offices: tuple[Host, Host]) -> None:
    here, there = offices

    send(here, "ada@there.test")

    mail = until(there, "ada@there.test", "over the wire")
    assert "Return-Path: <demo@demo.test>" in mail
    assert "with ESMTPS" in mail
    assert json.loads(here.postane("queue", "list", "--json")) == []


def test_what_is_refused_comes_back_as_a_notice(offices: tuple[Host, Host]) -> None:
    here, _ = offices

    send(here, "nobody@there.test")

    notice = until(here, "demo@demo.test", "multipart/report")
    assert "Action: failed" in notice
    assert "Status: 5.1.1" in notice
    assert "nobody@there.test" in notice
