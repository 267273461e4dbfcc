"""Two hosts on one machine: network namespaces joined by a wire, with addresses of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

HERE, THERE = "10.213.77.1", "10.213.77.2"


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces joined by a wire, HERE for the server and THERE for the client; gives their names."""
    ip = shutil.which("ip") or pytest.skip("ip is not installed: apt-get install iproute2")
    server, client = f"pn{os.getpid()}s", f"pn{os.getpid()}c"

    def do(*words: str) -> int:
        return subprocess.run([ip, *words], capture_output=True).returncode

    if do("netns", "add", server):
        pytest.skip("a network namespace can't be made here: run as root")
    try:
        for words in (
            ("netns", "add", client),
            ("-n", server, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", client),
            ("-n", server, "addr", "add", f"{HERE}/30", "dev", "wire"),
            ("-n", client, "addr", "add", f"{THERE}/30", "dev", "wire"),
            *(("-n", ns, "link", "set", link, "up") for ns in (server, client) for link in ("lo", "wire")),
        ):
            assert do(*words) == 0, words
        yield server, client
    finally:
        do("netns", "del", server)
        do("netns", "del", client)
