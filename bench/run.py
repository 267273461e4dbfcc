"""Postane beside Dovecot, in one run on one machine: `make bench`, or

    .venv/bin/python bench/run.py [delivery] [sync] [pop3] [idle] [--messages N] [--quick] [--json FILE]

Both servers are started in folders of their own on one file system, get the
same bytes from the same client, and are measured in turn (Postane, Dovecot,
Postane, Dovecot ...), because the machine's speed drifts.  The figure of a
row is the median of its rounds; `ratio` is Dovecot's divided by ours, so above
1 is in our favour.  Wall time holds the client's own work too: on two cores
trust the processor time more.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from load import Line, deliver
from peers import Peer, account_names, start_dovecot, start_postane

THUNDERBIRD = (
    b"UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority X-Priority "
    b"References Newsgroups In-Reply-To Content-Type Reply-To)]"
)
FETCHES = {
    "ENVELOPE": b"FETCH 1:* (UID FLAGS ENVELOPE)",
    "BODYSTRUCTURE": b"FETCH 1:* (UID BODYSTRUCTURE)",
    "Thunderbird's header fields": b"FETCH 1:* (" + THUNDERBIRD + b")",
}
BIG = "big@bench.test"


@dataclass
class Row:
    """One line of the table; times in microseconds a unit, memory in KiB a connection."""

    work: str
    unit: str
    ours_wall: float
    theirs_wall: float
    ours_cpu: float
    theirs_cpu: float

    @property
    def wall_ratio(self) -> float:
        return self.theirs_wall / self.ours_wall if self.ours_wall else 0.0

    @property
    def cpu_ratio(self) -> float:
        return self.theirs_cpu / self.ours_cpu if self.ours_cpu else 0.0


def measured(peer: Peer, work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one piece of work."""
    cpu, began = peer.cpu(), time.perf_counter()
    work()
    wall = time.perf_counter() - began
    time.sleep(0.3)  # what is done after the acknowledgement (checkpoints, indexes) is counted too
    return wall, peer.cpu() - cpu


def pair(
    peers: tuple[Peer, Peer], rounds: int, units: int, work: Callable[[Peer, int], object], name: str, unit: str
) -> Row:
    walls: dict[str, list[float]] = {p.name: [] for p in peers}
    cpus: dict[str, list[float]] = {p.name: [] for p in peers}
    for turn in range(rounds):
        for peer in peers:
            wall, cpu = measured(peer, lambda p=peer, t=turn: work(p, t))
            walls[peer.name].append(wall / units * 1e6)
            cpus[peer.name].append(cpu / units * 1e6)
    ours, theirs = peers
    row = Row(
        name,
        unit,
        statistics.median(walls[ours.name]),
        statistics.median(walls[theirs.name]),
        statistics.median(cpus[ours.name]),
        statistics.median(cpus[theirs.name]),
    )
    show(row)
    return row


def show(row: Row) -> None:
    print(
        f"{row.work:58} wall {row.ours_wall:9.2f} / {row.theirs_wall:9.2f} = x{row.wall_ratio:5.2f}   "
        f"cpu {row.ours_cpu:9.2f} / {row.theirs_cpu:9.2f} = x{row.cpu_ratio:5.2f}   ({row.unit})",
        flush=True,
    )


def bench_delivery(peers: tuple[Peer, Peer], scale: float) -> list[Row]:
    rows = []
    for connections, accounts, count in ((1, 1, 1000), (16, 1, 3000), (16, 100, 3000), (64, 1, 3000), (64, 100, 3000)):
        users = account_names(accounts)
        total = max(connections * 4, int(count * scale))
        rows.append(
            pair(
                peers,
                3,
                total,
                lambda p, t, u=users, n=total, c=connections: deliver(p.ports["lmtp"], u, n, 4096, c, t * 1000),
                f"durable LMTP delivery of 4 KB, {connections} conn., {accounts} account{'s' * (accounts > 1)}",
                "us a message",
            )
        )
    return rows


def fill(peer: Peer, messages: int) -> None:
    deliver(peer.ports["lmtp"], [BIG], messages, 2500, 16)


def restarted(start: Callable[[], Peer], peer: Peer) -> Peer:
    peer.stop()
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        print("  (the page cache could not be dropped: cold means a new process only)")
    return start()


def fetch(peer: Peer, command: bytes) -> int:
    line = Line(peer.ports["imap"])
    line.login(BIG)
    line.imap(b"S", b"SELECT INBOX")
    total = line.imap(b"F", command)
    line.imap(b"Q", b"NOOP")
    line.socket.close()
    return total


def bench_sync(
    peers: tuple[Peer, Peer], starts: tuple[Callable[[], Peer], Callable[[], Peer]], messages: int, rounds: int
) -> tuple[list[Row], tuple[Peer, Peer]]:
    rows = []
    for name, command in FETCHES.items():
        peers = (restarted(starts[0], peers[0]), restarted(starts[1], peers[1]))
        rows.append(
            pair(
                peers,
                1,
                messages,
                lambda p, _t, c=command: fetch(p, c),
                f"first sync of {messages:,}: {name}, cold",
                "us a message",
            )
        )
        rows.append(
            pair(
                peers,
                rounds,
                messages,
                lambda p, _t, c=command: fetch(p, c),
                f"first sync of {messages:,}: {name}, warm",
                "us a message",
            )
        )
    return rows, peers


def bench_pop3(peers: tuple[Peer, Peer], messages: int, rounds: int) -> list[Row]:
    def download(peer: Peer, _turn: int) -> None:
        line = Line(peer.ports["pop3"])
        count = line.pop3_login(BIG)
        assert count == messages, (count, messages)
        line.pop3_all(count)
        line.socket.sendall(b"QUIT\r\n")
        line.line()

    def stat(peer: Peer, _turn: int) -> None:
        line = Line(peer.ports["pop3"])
        line.pop3_login(BIG)
        line.socket.sendall(b"QUIT\r\n")
        line.line()

    for peer in peers:
        for _ in range(8):  # every worker has verified the password once
            stat(peer, 0)
    return [
        pair(peers, 3 * rounds, 1, stat, f"POP3 login and STAT, {messages:,} messages", "us"),
        pair(peers, rounds, messages, download, f"POP3 RETR of all {messages:,}", "us a message"),
    ]


def bench_idle(peers: tuple[Peer, Peer], connections: int) -> list[Row]:
    """KiB a connection that has selected the big mailbox and sits in IDLE; `wall` and `cpu` columns both hold it."""
    rows = []
    for tls in (False, True):
        grown = {}
        for peer in peers:
            first = Line(peer.ports["imap"])
            first.login(BIG)
            first.imap(b"S", b"SELECT INBOX")
            before = peer.pss()
            lines = []
            for _ in range(connections):
                line = Line(peer.ports["imaps" if tls else "imap"], tls)
                line.login(BIG)
                line.imap(b"S", b"SELECT INBOX")
                line.socket.sendall(b"I IDLE\r\n")
                line.line()
                lines.append(line)
            time.sleep(1)
            grown[peer.name] = (peer.pss() - before) / connections
            for line in lines:
                line.socket.close()
            first.socket.close()
            time.sleep(1)
        ours, theirs = grown[peers[0].name], grown[peers[1].name]
        row = Row(
            f"idle connection, {'TLS' if tls else 'plain'}, {connections:,} at once",
            "KiB each",
            ours,
            theirs,
            ours,
            theirs,
        )
        show(row)
        rows.append(row)
    return rows


def table(rows: list[Row]) -> str:
    lines = ["| work | wall, ours | Dovecot | ratio | CPU, ours | Dovecot | ratio |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        lines.append(
            f"| {r.work} ({r.unit}) | {r.ours_wall:.1f} | {r.theirs_wall:.1f} | {r.wall_ratio:.2f} | "
            f"{r.ours_cpu:.1f} | {r.theirs_cpu:.1f} | {r.cpu_ratio:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=[], help="delivery, sync, pop3, idle; all where none is named")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=1000, help="idle connections")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to see that it runs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    what = arguments.what or ["delivery", "sync", "pop3", "idle"]
    scale = 0.1 if arguments.quick else 1.0
    messages = int(arguments.messages * scale)
    folder = Path(tempfile.mkdtemp(prefix="postane-bench-"))
    folder.chmod(0o755)
    (folder / "ours").mkdir()
    (folder / "theirs").mkdir()
    version = subprocess.run(["dovecot", "--version"], capture_output=True, text=True).stdout.strip()
    print(f"Dovecot {version} (mdbox), {os.cpu_count()} cores, {folder}")

    def ours() -> Peer:
        return start_postane(folder / "ours", 100)

    def theirs() -> Peer:
        return start_dovecot(folder / "theirs")

    peers = (ours(), theirs())
    rows: list[Row] = []
    try:
        if "delivery" in what:
            rows += bench_delivery(peers, scale)
        if {"sync", "pop3", "idle"} & set(what):
            add_big(peers[0])
            for peer in peers:
                print(f"  filling {BIG} of {peer.name} with {messages:,} messages", flush=True)
                fill(peer, messages)
        if "sync" in what:
            more, peers = bench_sync(peers, (ours, theirs), messages, arguments.rounds)
            rows += more
        if "pop3" in what:
            rows += bench_pop3(peers, messages, arguments.rounds)
        if "idle" in what:
            rows += bench_idle(peers, int(arguments.connections * scale))
    finally:
        for peer in peers:
            peer.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print()
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(r) for r in rows], indent=1))


def add_big(peer: Peer) -> None:
    from peers import PASSWORD, ROOT

    subprocess.run(
        [
            str(ROOT / ".venv/bin/postane"),
            "account",
            "add",
            BIG,
            "--password-stdin",
            "--data",
            str(peer.folder / "data"),
        ],
        input=PASSWORD.encode(),
        capture_output=True,
        check=True,
    )


if __name__ == "__main__":
    main()
