"""The daily round trip of real clients, over TLS, against a real server.

Each client is Debian's; where one is not installed its test is named as
skipped with the package to install.  What a client did is looked at from
outside: by Python's imaplib, or by the files that the client wrote.
"""

from __future__ import annotations

import imaplib
import mailbox
import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.hosts import HERE
from serving import PROGRAM, Server

BODY = "Merhaba dünya.\r\n.dot at the start\r\n..two dots\r\n\r\nFrom the first column\r\n"


def need(program: str, package: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed: apt-get install {package}")
    return path


def letter(server: Server, subject: str, body: str = BODY) -> bytes:
    return (
        f"From: Friend <friend@example.org>\r\nTo: {server.account}\r\nSubject: {subject}\r\n"
        f"Date: Mon, 16 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{subject.replace(' ', '.')}@example.org>\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}"
    ).encode()


def run(*command: str, data: bytes = b"", cwd: Path | None = None, home: Path | None = None) -> str:
    """Runs a client to its end; what it said is in the failure when it fails."""
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "HOME": str(home or cwd or "/nonexistent"),
    }
    done = subprocess.run(command, input=data, capture_output=True, cwd=cwd, env=environment, timeout=60)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{said}"
    return said


@pytest.fixture
def imap(server: Server) -> Iterator[imaplib.IMAP4_SSL]:
    context = ssl.create_default_context(cafile=str(server.certificate))
    client = imaplib.IMAP4_SSL("localhost", server.ports["imaps"], ssl_context=context)
    client.login(server.account, server.password)
    yield client
    client.logout()


def deliver(server: Server, *letters: bytes) -> None:
    """By SMTP on the open port, as the world does."""
    import smtplib

    with smtplib.SMTP("localhost", server.ports["smtp"]) as client:
        client.starttls(context=ssl.create_default_context(cafile=str(server.certificate)))
        for one in letters:
            client.sendmail("friend@example.org", [server.account], one)


def bodies(client: imaplib.IMAP4_SSL, folder: str) -> list[bytes]:
    assert client.select(folder, readonly=True)[0] == "OK"
    numbers = client.search(None, "ALL")[1][0].split()
    return [client.fetch(n, "(BODY.PEEK[])")[1][0][1] for n in numbers]  # type: ignore[index,misc]


def flags(client: imaplib.IMAP4_SSL, folder: str) -> list[tuple[bytes, ...]]:
    assert client.select(folder, readonly=True)[0] == "OK"
    numbers = client.search(None, "ALL")[1][0].split()
    return [imaplib.ParseFlags(client.fetch(n, "(FLAGS)")[1][0]) for n in numbers]  # type: ignore[arg-type]


# ---------------------------------------------------------------- curl


def test_curl_sends_and_reads(server: Server, tmp_path: Path, imap: imaplib.IMAP4_SSL) -> None:
    curl = need("curl", "curl")
    mail = tmp_path / "mail.eml"
    mail.write_bytes(letter(server, "by curl").replace(b"friend@example.org", server.account.encode()))
    login = [
        "--silent",
        "--show-error",
        "--cacert",
        str(server.certificate),
        "--user",
        f"{server.account}:{server.password}",
    ]
    envelope = ["--mail-from", server.account, "--mail-rcpt", server.account, "--upload-file", str(mail)]

    run(curl, *login, f"smtps://localhost:{server.ports['submissions']}", *envelope)
    run(curl, *login, "--ssl-reqd", f"smtp://localhost:{server.ports['submission']}", *envelope)

    for url in (
        f"imaps://localhost:{server.ports['imaps']}/INBOX;MAILINDEX=1",
        f"pop3s://localhost:{server.ports['pop3s']}/1",
    ):
        assert mail.read_bytes().decode() in run(curl, *login, url).replace("\n", "\r\n").replace("\r\r", "\r")
    for url in (f"imap://localhost:{server.ports['imap']}", f"pop3://localhost:{server.ports['pop3']}"):
        run(curl, *login, "--ssl-reqd", url)
    assert 2 == len(bodies(imap, "INBOX"))


def test_curl_with_a_wrong_password(server: Server) -> None:
    """Loopback is exempt from the rule that login needs TLS, so here only the password is refused."""
    curl = need("curl", "curl")
    done = subprocess.run(
        [
            curl,
            "--silent",
            "--show-error",
            "--user",
            f"{server.account}:wrong",
            f"imap://localhost:{server.ports['imap']}",
        ],
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 67  # CURLE_LOGIN_DENIED


# ---------------------------------------------------------------- swaks


@pytest.mark.parametrize(
    ("port", "options"),
    [
        ("smtp", ["--tls", "--tls-verify"]),
        ("smtp", ["--pipeline"]),
        ("lmtp", ["--protocol", "LMTP"]),
        ("submission", ["--tls", "--auth", "PLAIN"]),
        ("submission", ["--tls", "--auth", "LOGIN"]),
        ("submissions", ["--tls-on-connect", "--auth", "PLAIN"]),
    ],
)
def test_swaks(server: Server, imap: imaplib.IMAP4_SSL, port: str, options: list[str]) -> None:
    swaks = need("swaks", "swaks libnet-ssleay-perl")
    own = "--auth" in options
    login = ["--auth-user", server.account, "--auth-password", server.password] if own else []
    if "--tls-verify" in options:
        options = [*options, "--tls-ca-path", str(server.certificate)]

    said = run(
        swaks, "--server", "localhost", "--port", str(server.ports[port]), "--to", server.account,
        "--from", server.account if own else "friend@example.org", *options, *login,
    )  # fmt: skip

    assert "250 2.0.0" in said
    assert 1 == len(bodies(imap, "INBOX"))


def test_swaks_is_no_relay(server: Server) -> None:
    swaks = need("swaks", "swaks")
    done = subprocess.run(
        [
            swaks,
            "--server",
            "localhost",
            "--port",
            str(server.ports["smtp"]),
            "--to",
            "victim@example.com",
            "--from",
            "x@example.org",
        ],
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 24  # swaks: no recipient was accepted
    assert b"550 5.7.1" in done.stdout


# ---------------------------------------------------------------- mutt


def mutt_login(server: Server) -> str:
    return (
        "set ssl_force_tls=yes\nset ssl_usesystemcerts=no\nset ssl_verify_host=no\n"
        f'set certificate_file="{server.certificate}"\n'
        f'set imap_user="{server.account}"\nset imap_pass="{server.password}"\n'
    )


@pytest.mark.parametrize(("program", "package"), [("mutt", "mutt"), ("neomutt", "neomutt")])
def test_mutt_reads_files_and_expunges(
    server: Server, tmp_path: Path, imap: imaplib.IMAP4_SSL, program: str, package: str
) -> None:
    path, script = need(program, package), need("script", "bsdutils")
    deliver(server, letter(server, "to keep"), letter(server, "to archive"))
    rc = tmp_path / "muttrc"
    rc.write_text(
        f"{mutt_login(server)}"
        f'set folder="imaps://localhost:{server.ports["imaps"]}"\nset spoolfile="+INBOX"\nset confirmappend=no\n'
        'set delete=yes\nset quit=yes\nset mark_old=no\nset sort=mailbox-order\nset wait_key=no\nset header_cache=""\n'
        "set pager_stop=yes\nset prompt_after=no\nunset confirmcreate\n"
    )
    keys = "<first-entry><display-message><exit><last-entry><save-message>=Archive<enter><sync-mailbox><quit>"

    run(script, "-qec", f"{path} -n -F {rc} -e 'push \"{keys}\"'", str(tmp_path / "typescript"), cwd=tmp_path)

    inbox, archive = bodies(imap, "INBOX"), bodies(imap, "Archive")
    assert [True] == [b"Subject: to keep" in one for one in inbox]
    assert [True] == [b"Subject: to archive" in one for one in archive]
    assert b"\\Seen" in flags(imap, "INBOX")[0]


def test_mutt_sends_and_files_in_sent(server: Server, tmp_path: Path, imap: imaplib.IMAP4_SSL) -> None:
    mutt = need("mutt", "mutt")
    user, _, domain = server.account.partition("@")
    rc = tmp_path / "muttrc"
    rc.write_text(
        f'{mutt_login(server)}set from="{server.account}"\nset use_from=yes\n'
        f'set smtp_url="smtps://{user}%40{domain}@localhost:{server.ports["submissions"]}"\n'
        f'set smtp_pass="{server.password}"\n'
        f'set folder="imaps://localhost:{server.ports["imaps"]}"\nset record="+Sent"\nset copy=yes\nset realname="Me"\n'
    )

    run(mutt, "-n", "-F", str(rc), "-s", "by mutt", server.account, data=b"hello\n", cwd=tmp_path)

    assert [True] == [b"Subject: by mutt" in one for one in bodies(imap, "INBOX")]
    assert [True] == [b"Subject: by mutt" in one for one in bodies(imap, "Sent")]


# ---------------------------------------------------------------- synchronisers


def maildir_texts(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for part in ("cur", "new") for path in (folder / part).iterdir())


def test_mbsync_both_ways(server: Server, tmp_path: Path, imap: imaplib.IMAP4_SSL) -> None:
    mbsync = need("mbsync", "isync")
    deliver(server, letter(server, "one"), letter(server, "two"))
    here = tmp_path / "Mail"
    here.mkdir()
    rc = tmp_path / "mbsyncrc"
    rc.write_text(
        f"IMAPAccount us\nHost localhost\nPort {server.ports['imaps']}\nUser {server.account}\nPass {server.password}\n"
        f"SSLType IMAPS\nCertificateFile {server.certificate}\n\nIMAPStore far\nAccount us\n\n"
        f"MaildirStore near\nPath {here}/\nInbox {here}/INBOX\nSubFolders Verbatim\n\n"
        "Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n"
    )

    run(mbsync, "-c", str(rc), "all", cwd=tmp_path)

    assert 2 == len(maildir_texts(here / "INBOX"))
    assert {"Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"} <= {one.name for one in here.iterdir()}

    box = mailbox.Maildir(here / "INBOX")
    for key in list(box.iterkeys()):
        one = box[key]
        one.set_subdir("cur")
        one.add_flag("T" if one["Subject"] == "one" else "SF")
        box[key] = one
    mailbox.Maildir(here / "Archive").add(letter(server, "made here").replace(b"\r\n", b"\n"))
    run(mbsync, "-c", str(rc), "all", cwd=tmp_path)

    assert [True] == [b"Subject: two" in one for one in bodies(imap, "INBOX")]
    assert {b"\\Seen", b"\\Flagged"} <= set(flags(imap, "INBOX")[0])
    assert [True] == [b"Subject: made here" in one for one in bodies(imap, "Archive")]


def test_offlineimap(server: Server, tmp_path: Path, imap: imaplib.IMAP4_SSL) -> None:
    offlineimap = need("offlineimap", "offlineimap3")
    deliver(server, letter(server, "one"), letter(server, "two"))
    rc = tmp_path / "offlineimaprc"
    rc.write_text(
        "[general]\naccounts = us\nui = basic\n[Account us]\nlocalrepository = near\nremoterepository = far\n"
        f"[Repository near]\ntype = Maildir\nlocalfolders = {tmp_path}/Mail\n"
        f"[Repository far]\ntype = IMAP\nremotehost = localhost\nremoteport = {server.ports['imaps']}\n"
        f"remoteuser = {server.account}\nremotepass = {server.password}\nssl = yes\n"
        f"sslcacertfile = {server.certificate}\n"
    )

    run(offlineimap, "-o", "-c", str(rc), cwd=tmp_path, home=tmp_path)

    assert 2 == len(maildir_texts(tmp_path / "Mail" / "INBOX"))
    (tmp_path / "Mail" / "Sent" / "new" / "1.made.here").write_bytes(
        letter(server, "made here").replace(b"\r\n", b"\n")
    )
    run(offlineimap, "-o", "-c", str(rc), cwd=tmp_path, home=tmp_path)
    assert [True] == [b"Subject: made here" in one for one in bodies(imap, "Sent")]


@pytest.mark.parametrize("protocol", ["IMAP", "POP3"])
def test_fetchmail(server: Server, tmp_path: Path, imap: imaplib.IMAP4_SSL, protocol: str) -> None:
    fetchmail = need("fetchmail", "fetchmail")
    deliver(server, letter(server, "one"), letter(server, "two"))
    got = tmp_path / "got"
    rc = tmp_path / "fetchmailrc"
    rc.write_text(
        f"poll localhost protocol {protocol} port {server.ports[protocol.lower() + 's']}\n"
        f'  user "{server.account}" password "{server.password}" ssl sslcertfile "{server.certificate}" sslcertck\n'
        f"  mda \"sh -c 'cat >>{got}'\"\n"
    )
    rc.chmod(0o600)

    run(
        fetchmail,
        "-f",
        str(rc),
        "--nosyslog",
        "--pidfile",
        str(tmp_path / "pid"),
        "-i",
        str(tmp_path / "ids"),
        cwd=tmp_path,
    )

    text = got.read_bytes()
    assert 1 == text.count(b"Subject: one\n") and 1 == text.count(b"Subject: two\n")
    assert b"\n.dot at the start\n..two dots\n" in text
    assert [] == bodies(imap, "INBOX")  # fetchmail deletes what it has got


# ---------------------------------------------------------------- another host, with only the card


@pytest.fixture
def card(hosts: tuple[str, str], tmp_path: Path) -> Iterator[str]:
    """What the server prints at its first start on a host of its own, where it may bind the standard ports."""
    said = tmp_path / "said"
    program = [str(PROGRAM), "serve", "--data", str(tmp_path / "data"), "--ready-file", str(tmp_path / "ready")]
    with said.open("wb") as output:
        process = subprocess.Popen(["ip", "netns", "exec", hosts[0], *program], stdout=output, stderr=output)
    try:
        while not (tmp_path / "ready").exists() or "Ctrl-C" not in said.read_text():
            assert process.poll() is None, said.read_text()
            time.sleep(0.02)
        yield said.read_text()
    finally:
        process.terminate()
        process.wait(30)


def test_from_another_host_with_only_the_card(hosts: tuple[str, str], card: str, tmp_path: Path) -> None:
    """The certificate is believed by the fingerprint on the card, as a person would, and then verified."""
    curl, openssl = need("curl", "curl"), need("openssl", "openssl")

    def written(pattern: str) -> str:
        found = re.search(pattern, card)
        assert found, card
        return found[1]

    def there(*command: str, data: bytes = b"") -> str:
        return run("ip", "netns", "exec", hosts[1], *command, data=data)

    host, user, password = written(r"Server +(\S+)"), written(r"User name +(\S+)"), written(r"Password +(\S+)")
    imaps, smtps = written(r"IMAP .*port (\d+), SSL/TLS"), written(r"SMTP .*port (\d+), SSL/TLS")
    fingerprint = "".join(re.findall(r"(?:[0-9A-F]{2}:){15}[0-9A-F]{2}:?", card))
    shown = there(openssl, "s_client", "-connect", f"{host}:{imaps}")
    certificate = tmp_path / "certificate.pem"
    certificate.write_text(shown[shown.index("-----BEGIN") : shown.index("-----END CERTIFICATE-----") + 25] + "\n")
    assert fingerprint in run(openssl, "x509", "-noout", "-fingerprint", "-sha256", "-in", str(certificate))
    mail = tmp_path / "mail.eml"
    mail.write_text(f"From: {user}\r\nTo: {user}\r\nSubject: from there\r\n\r\nhello\r\n")
    login = [curl, "--silent", "--show-error", "--cacert", str(certificate), "--user", f"{user}:{password}"]

    there(*login, f"smtps://{host}:{smtps}", "--mail-from", user, "--mail-rcpt", user, "--upload-file", str(mail))

    assert HERE == host
    assert "993" == imaps
    assert "Subject: from there" in there(*login, f"imaps://{host}:{imaps}/INBOX;MAILINDEX=1")


def test_login_before_tls_from_another_host_is_refused_in_words(hosts: tuple[str, str], card: str) -> None:
    """curl would log in without TLS if it were let; the refusal names what to choose."""
    script = b"A LOGIN demo@demo.test x\r\nB CAPABILITY\r\nC LOGOUT\r\n"
    said = run("ip", "netns", "exec", hosts[1], need("curl", "curl"), "--silent", f"telnet://{HERE}:143", data=script)

    assert "LOGINDISABLED" in said
    assert "A NO [PRIVACYREQUIRED]" in said
    assert "port 993" in said
    assert "STARTTLS" in said
