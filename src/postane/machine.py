"""What this machine is called and where it is reached, without asking the network (a slow DNS must not delay us)."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from contextlib import suppress
from pathlib import Path

from postane.core.address import BadAddress, parse_domain

_SIOCGIFADDR = 0x8915
_TEMPORARY = 0x01
"""Linux IFA_F_TEMPORARY: an address that is another one tomorrow (RFC 8981)."""


def host_name() -> str:
    """The machine's name, with its domain where /etc/hosts or the name itself has one."""
    name = socket.gethostname()
    if "." not in name:
        name = _full_name(name) or name
    try:
        return parse_domain(name)
    except BadAddress:
        return "localhost"


def _full_name(short: str) -> str:
    """Debian writes `127.0.1.1 name.domain name`."""
    with suppress(OSError):
        for line in Path("/etc/hosts").read_text("utf-8", "replace").splitlines():
            names = line.partition("#")[0].split()[1:]
            if short in names:
                return next((one for one in names if one.startswith(short + ".")), "")
    return ""


def addresses() -> tuple[str, ...]:
    """Where other machines may reach this one, the default route's interface first; neither loopback nor link-local."""
    first = _default_interface()
    names = sorted((name for _, name in socket.if_nameindex()), key=lambda name: (name != first, name))
    found = [address for name in names for address in (*_ipv4(name), *_ipv6(name))]
    return tuple(dict.fromkeys(one for one in found if not ipaddress.ip_address(one).is_loopback))


def _default_interface() -> str:
    with suppress(OSError):
        for line in Path("/proc/net/route").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1] == "00000000":
                return fields[0]
    return ""


def _ipv4(interface: str) -> tuple[str, ...]:
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("256s", interface.encode()[:15])
        return (socket.inet_ntoa(fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)[20:24]),)
    return ()


def _ipv6(interface: str) -> tuple[str, ...]:
    found = []
    with suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            digits, _, _, _, flags, name = line.split()
            address = ipaddress.IPv6Address(int(digits, 16))
            if name == interface and not address.is_link_local and not int(flags, 16) & _TEMPORARY:
                found.append(str(address))
    return tuple(found)
