"""The servers that a benchmark drives: Postane, and Debian's Dovecot (mdbox) beside it.

Each gives ports, accounts and its processor time.  A server's time is that of
its whole process tree: what the first process and its dead children used, and
what each living descendant used (read from /proc, in clock ticks of 10 ms).
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PASSWORD = "bench-Pa55word"
ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Peer:
    name: str
    pid: int
    ports: dict[str, int]
    certificate: Path
    folder: Path
    process: subprocess.Popen[bytes]
    notes: list[str] = field(default_factory=list)

    def cpu(self) -> float:
        """Seconds of processor time that the whole tree has used so far."""
        return tree_cpu(self.pid)

    def pss(self) -> int:
        """Proportional set size of the tree in KiB."""
        return sum(pss_of(pid) for pid in descendants(self.pid))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def children_of() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(entry))
    return found


def descendants(pid: int) -> list[int]:
    tree, out, todo = children_of(), [], [pid]
    while todo:
        one = todo.pop()
        out.append(one)
        todo.extend(tree.get(one, []))
    return out


def tree_cpu(pid: int) -> float:
    ticks = 0
    for one in descendants(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # utime, stime, cutime, cstime are fields 14 to 17 of proc(5); the list begins at field 3.
        ticks += sum(int(x) for x in fields[11:15])
    return ticks / TICK


def pss_of(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_port(port: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port} after {seconds:g} s")


def account_names(count: int) -> list[str]:
    return [f"user{i:03d}@bench.test" for i in range(count)]


def start_postane(folder: Path, accounts: int, workers: int | None = None) -> Peer:
    """A Postane on random ports with `accounts` accounts, through its own command line."""
    program = str(ROOT / ".venv/bin/postane")
    data, ready = folder / "data", folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [program, "serve", "--data", str(data), "--ports", "random", "--ready-file", str(ready)]
    if workers is not None:
        command += ["--workers", str(workers)]
    with (folder / "postane.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    end = time.monotonic() + 60
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"Postane did not start; see {folder}/postane.log")
        time.sleep(0.05)
    info = json.loads(ready.read_text())
    known = json.loads(
        subprocess.run(
            [program, "account", "list", "--json", "--data", str(data)], capture_output=True, check=True
        ).stdout
        or b"[]"
    )
    have = {a["address"] for a in known}
    missing = [name for name in account_names(accounts) if name not in have]
    if missing:
        subprocess.run([program, "domain", "add", "bench.test", "--data", str(data)], capture_output=True)
        for name in missing:
            subprocess.run(
                [program, "account", "add", name, "--password-stdin", "--data", str(data)],
                input=PASSWORD.encode(),
                capture_output=True,
                check=True,
            )
    return Peer("postane", info["pid"], info["ports"], Path(info["certificate"]), folder, process)


DOVECOT = """
base_dir = {run}
log_path = {folder}/dovecot.log
instance_name = postane-bench
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = mdbox:{mail}/%u
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
first_valid_gid = 1
mail_max_userip_connections = 20000
default_process_limit = 4000
default_client_limit = 20000
default_vsz_limit = 0
namespace inbox {{
  inbox = yes
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={mail}/%u allow_all_users=yes
}}
service imap-login {{
  service_count = 0
  process_min_avail = 2
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  service_count = 0
  process_min_avail = 2
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 4000
}}
service lmtp {{
  process_min_avail = 2
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
"""


def start_dovecot(folder: Path) -> Peer:
    """Debian's Dovecot with its fastest format, in a folder of its own."""
    if not shutil.which("dovecot"):
        raise SystemExit("Dovecot is not installed: apt-get install dovecot-imapd dovecot-pop3d dovecot-lmtpd")
    owner = pwd.getpwnam("nobody")
    run, mail = folder / "run", folder / "mail"
    for one in (run, mail):
        one.mkdir(parents=True, exist_ok=True)
    for one in (folder, *folder.parents):
        if one.stat().st_uid == os.getuid() and one != Path("/"):
            one.chmod(one.stat().st_mode | 0o011)
    os.chown(mail, owner.pw_uid, owner.pw_gid)
    cert, key = folder / "cert.pem", folder / "key.pem"
    if not cert.exists():
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/CN=localhost",
                "-keyout",
                str(key),
                "-out",
                str(cert),
            ],
            check=True,
            capture_output=True,
        )
    ports = {name: free_port() for name in ("imap", "imaps", "pop3", "pop3s", "lmtp")}
    config = folder / "dovecot.conf"
    config.write_text(
        DOVECOT.format(
            run=run,
            folder=folder,
            cert=cert,
            key=key,
            mail=mail,
            uid=owner.pw_uid,
            gid=owner.pw_gid,
            password=PASSWORD,
            **ports,
        )
    )
    process = subprocess.Popen(
        ["dovecot", "-F", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for port in ports.values():
        wait_port(port)
    return Peer("dovecot", process.pid, ports, cert, folder, process)
