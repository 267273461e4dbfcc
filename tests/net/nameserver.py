"""A tiny authoritative server on loopback, UDP and TCP on one port, that answers from a zone file and can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zone

SOA = "test. 600 IN SOA ns.test. post.test. 1 3600 900 86400 60"


@dataclass
class NameServer:
    """`failing`: names answered SERVFAIL; `silent`: names never answered; `short`: names whose UDP answers are cut.

    `follows`: whether a CNAME is followed to its end in one answer, as a recursing resolver does.
    """

    text: str
    validates: bool = False
    follows: bool = True
    has_soa: bool = True
    failing: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    short: set[str] = field(default_factory=set)
    forged: list[bytes] = field(default_factory=list)
    """Said before the true answer, by UDP."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """(name, type, "udp" or "tcp")"""
    questions: list[dns.message.Message] = field(default_factory=list)

    async def __aenter__(self) -> NameServer:
        self.load(self.text)
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), ("127.0.0.1", self.port))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._udp.close()
        self._tcp.close()

    def load(self, text: str) -> None:
        self._zone = dns.zone.from_text(f"$TTL 300\n{text}\n", ".", relativize=False, check_origin=False)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                wire = self.answer(await reader.readexactly(length), "tcp")
                if wire is not None:
                    writer.write(len(wire).to_bytes(2, "big") + wire)
        writer.close()

    def answer(self, wire: bytes, how: str) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.questions.append(query)
        self.asked.append((name, dns.rdatatype.to_text(question.rdtype), how))
        if name in self.silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name in self.short and how == "udp":
            response.flags |= dns.flags.TC
        else:
            self._fill(response, question.name, question.rdtype)
        return response.to_wire(max_size=65_535)

    def _fill(self, response: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> None:
        if self.validates:
            response.flags |= dns.flags.AD
        seen = set()
        while True:
            node = self._zone.nodes.get(name)
            if node is None:
                if not any(each.is_subdomain(name) for each in self._zone.nodes):
                    response.set_rcode(dns.rcode.NXDOMAIN)
                break
            if self._add(response, name, kind):
                return
            if name in seen or not self._add(response, name, dns.rdatatype.CNAME):
                break
            seen.add(name)
            if not self.follows:
                return
            name = node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.CNAME)[0].target
        if self.has_soa:
            response.authority.append(dns.rrset.from_text(*SOA.split(maxsplit=4)))

    def _add(self, response: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> bool:
        found = self._zone.nodes[name].get_rdataset(dns.rdataclass.IN, kind)
        if found is None:
            return False
        rrset = dns.rrset.from_rdata_list(name, found.ttl, list(found))
        if rrset not in response.answer:
            response.answer.append(rrset)
        return True


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        for forged in self._server.forged:
            self._transport.sendto(forged, address)
        if (wire := self._server.answer(data, "udp")) is not None:
            self._transport.sendto(wire, address)
