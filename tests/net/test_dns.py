"""The caching resolver against a small authoritative server over UDP and TCP, on both loops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import dns.flags
import dns.message
import dns.rrset
import pytest
from conversing import on_both_loops
from nameserver import NameServer

from postane.core.clock import TurnedClock
from postane.core.dns import Answer, Mx, Outcome, Resolver, Tlsa
from postane.net.dns import MAX_CNAMES, Believe, CachingResolver, DnsSettings, join_addresses
from zone import Zone

RECORDS = """
far.test. 300 MX 20 Backup.far.test.
far.test. 300 MX 10 mx.far.test.
null.test. MX 0 .
mx.far.test. 100 A 192.0.2.1
mx.far.test. 200 AAAA 2001:db8::1
four.test. A 192.0.2.4
alias.test. 50 CNAME second.test.
second.test. 300 CNAME mx.far.test.
dead.test. CNAME nowhere.test.
bare.test. CNAME text.test.
text.test. TXT "v=spf1 " "-all"
text.test. TXT "g\\252n"
_25._tcp.mx.far.test. TLSA 3 1 0 00ff
1.2.0.192.in-addr.arpa. PTR MX.far.test.
loop.test. CNAME pool.test.
pool.test. CNAME loop.test.
brief.test. 0 A 192.0.2.9
odd.test. MX 10 a\\032b.test.
"""
SETTINGS = DnsSettings(nameservers=("127.0.0.1",), timeout=0.2, budget=0.3)


@contextlib.asynccontextmanager
async def resolving(
    server: NameServer | None = None, settings: DnsSettings = SETTINGS
) -> AsyncIterator[tuple[NameServer, CachingResolver, TurnedClock]]:
    clock = TurnedClock()
    async with server or NameServer(RECORDS) as running:
        resolver = CachingResolver(replace(settings, port=running.port), clock)
        yield running, resolver, clock
        await resolver.aclose()


async def _everything(resolver: Resolver) -> list[Answer]:
    """What a resolver says to each question that both the real one and the zone file are asked."""
    return [
        await resolver.mx("far.test"),
        await resolver.mx("FAR.test."),
        await resolver.mx("null.test"),
        await resolver.mx("odd.test"),
        await resolver.mx("mx.far.test"),
        await resolver.mx("nowhere.test"),
        await resolver.addresses("mx.far.test"),
        await resolver.addresses("four.test"),
        await resolver.addresses("alias.test"),
        await resolver.addresses("dead.test"),
        await resolver.addresses("far.test"),
        await resolver.addresses("_tcp.mx.far.test"),
        await resolver.addresses("loop.test"),
        await resolver.txt("text.test"),
        await resolver.txt("bare.test"),
        await resolver.tlsa("_25._tcp.mx.far.test"),
        await resolver.ptr("192.0.2.1"),
        await resolver.ptr("2001:db8::1"),
    ]


TWO = ("2001:db8::1", "192.0.2.1")
SAID = [
    (Outcome.FOUND, (Mx(10, "mx.far.test"), Mx(20, "backup.far.test")), "far.test"),
    (Outcome.FOUND, (Mx(10, "mx.far.test"), Mx(20, "backup.far.test")), "far.test"),
    (Outcome.FOUND, (Mx(0, ""),), "null.test"),
    (Outcome.FOUND, (Mx(10, "a\\032b.test"),), "odd.test"),
    (Outcome.NO_DATA, (), "mx.far.test"),
    (Outcome.NO_NAME, (), "nowhere.test"),
    (Outcome.FOUND, TWO, "mx.far.test"),
    (Outcome.FOUND, ("192.0.2.4",), "four.test"),
    (Outcome.FOUND, TWO, "mx.far.test"),
    (Outcome.NO_NAME, (), "nowhere.test"),
    (Outcome.NO_DATA, (), "far.test"),
    (Outcome.NO_DATA, (), "_tcp.mx.far.test"),
    (Outcome.FAILED, (), ""),
    (Outcome.FOUND, (b"g\xfcn", b"v=spf1 -all"), "text.test"),
    (Outcome.FOUND, (b"g\xfcn", b"v=spf1 -all"), "text.test"),
    (Outcome.FOUND, (Tlsa(3, 1, 0, b"\x00\xff"),), "_25._tcp.mx.far.test"),
    (Outcome.FOUND, ("mx.far.test",), "1.2.0.192.in-addr.arpa"),
    (Outcome.NO_NAME, (), "1.0.0.0" + ".0" * 20 + ".8.b.d.0.1.0.0.2.ip6.arpa"),
]


def _told(answers: list[Answer]) -> list[tuple[Outcome, frozenset, str]]:
    """TXT records have no order."""
    return [(each.outcome, frozenset(each.records), each.canonical) for each in answers]


@on_both_loops
async def test_every_kind_of_record_however_cnames_are_followed():
    wanted = [(outcome, frozenset(records), canonical) for outcome, records, canonical in SAID]
    for follows in (True, False):
        async with resolving(NameServer(RECORDS, follows=follows)) as (_, resolver, _clock):
            assert _told(await _everything(resolver)) == wanted
            assert (await resolver.mx("far.test")).records == SAID[0][1]
            assert (await resolver.addresses("mx.far.test")).records == TWO


async def test_the_zone_file_says_the_same():
    zone = Zone(RECORDS, failing={"four.test"}, secure={"far.test", "second.test"})

    wanted = [(outcome, frozenset(records), canonical) for outcome, records, canonical in SAID]
    wanted[7] = (Outcome.FAILED, frozenset(), "")
    assert _told(await _everything(zone)) == wanted
    assert (await zone.mx("far.test")).is_secure
    assert not (await zone.addresses("alias.test")).is_secure
    assert zone.asked[0] == ("far.test", "MX")


async def test_names_that_are_none_are_never_asked_for():
    async with resolving() as (server, resolver, _):
        for name in ("x" * 64 + ".test", "a..test", ".test", "y." * 200 + "test", "\ud800.test", "ß" * 70):
            answer = await resolver.mx(name)
            assert answer.outcome is Outcome.NO_NAME
            assert answer.reason
        assert (await resolver.ptr("no address")).outcome is Outcome.NO_NAME
        assert server.asked == []


# ---------------------------------------------------------------- the cache


@on_both_loops
async def test_an_answer_is_good_as_long_as_its_shortest_ttl():
    async with resolving() as (server, resolver, clock):
        for turn, times in ((0, 2), (49.9, 2), (0.2, 4), (49.9, 4), (0.2, 6)):
            clock.turn(turn)
            assert (await resolver.addresses("alias.test")).records == TWO
            assert len(server.asked) == times
        server.load("alias.test. A 192.0.2.7")
        assert (await resolver.addresses("alias.test")).records == TWO
        clock.turn(50)
        assert (await resolver.addresses("alias.test")).records == ("192.0.2.7",)


async def test_what_is_not_there_is_known_for_a_while():
    async with resolving() as (server, resolver, clock):
        for name, outcome in (("nowhere.test", Outcome.NO_NAME), ("four.test", Outcome.NO_DATA)):
            before = len(server.asked)
            for turn, times in ((0, 1), (59, 1), (1.1, 2)):  # the SOA's minimum is 60
                clock.turn(turn)
                assert (await resolver.mx(name)).outcome is outcome
                assert len(server.asked) - before == times


async def test_a_ttl_of_nothing_and_one_of_years():
    years = "long.test. 2000000000 A 192.0.2.1\nbrief.test. 0 A 192.0.2.9"
    async with resolving(NameServer(years)) as (server, resolver, clock):
        for _ in range(2):
            assert (await resolver.addresses("brief.test")).records == ("192.0.2.9",)
        assert [asked[1] for asked in server.asked].count("A") == 2
        server.asked.clear()
        await resolver.addresses("long.test")
        clock.turn(86_401)
        await resolver.addresses("long.test")
        assert [asked[1] for asked in server.asked].count("A") == 2


async def test_the_cache_is_bounded_and_keeps_what_is_used():
    records = "\n".join(f'n{number}.test. TXT "{"x" * 200}"' for number in range(20))
    async with resolving(NameServer(records), replace(SETTINGS, cache_octets=5000)) as (server, resolver, _):
        for number in range(20):
            await resolver.txt(f"n{number}.test")
            await resolver.txt("n0.test")
        assert 3 <= len(resolver._cache) <= 7
        assert [asked[0] for asked in server.asked].count("n0.test") == 1
        await resolver.txt("n1.test")
        assert [asked[0] for asked in server.asked].count("n1.test") == 2


@on_both_loops
async def test_one_question_is_asked_once_and_patience_is_each_askers_own():
    async with resolving() as (server, resolver, _):
        hasty, *patient = [asyncio.create_task(resolver.mx("far.test")) for _ in range(5)]
        await asyncio.sleep(0)
        hasty.cancel()
        assert {(await task).records for task in patient} == {SAID[0][1]}
        assert len(server.asked) == 1
        assert hasty.cancelled()


# ---------------------------------------------------------------- failures


@on_both_loops
async def test_servfail_is_a_failure_for_a_moment():
    async with resolving(NameServer(RECORDS, failing={"far.test", "mx.far.test"})) as (server, resolver, clock):
        for _ in range(2):
            answer = await resolver.mx("far.test")
            assert (answer.outcome, answer.is_secure) == (Outcome.FAILED, False)
            assert "SERVFAIL" in answer.reason
        assert len(server.asked) == 1
        server.failing.clear()
        clock.turn(5)
        assert (await resolver.mx("far.test")).outcome is Outcome.FOUND


async def test_half_of_the_addresses_is_enough_but_no_half_is_nothing():
    found, absent = Answer(Outcome.FOUND, ("192.0.2.1",), True, "x"), Answer(Outcome.NO_DATA, (), True, "x")
    failed = Answer(Outcome.FAILED, reason="broken")
    none = Answer(Outcome.NO_NAME, (), True, "x")
    assert join_addresses(failed, found) == join_addresses(absent, found) == found
    assert join_addresses(found, failed) == found
    assert join_addresses(absent, failed) == join_addresses(failed, absent) == join_addresses(failed, failed) == failed
    assert join_addresses(absent, absent) == absent
    assert join_addresses(none, failed) == join_addresses(none, none) == none
    assert not join_addresses(replace(found, is_secure=False), found).is_secure


@on_both_loops
async def test_silence_ends_with_the_budget():
    async with resolving(NameServer(RECORDS, silent={"far.test"})) as (_, resolver, _clock):
        started = asyncio.get_running_loop().time()
        answer = await resolver.mx("far.test")
        assert answer.outcome is Outcome.FAILED
        assert asyncio.get_running_loop().time() - started < 1
        assert (await resolver.addresses("mx.far.test")).outcome is Outcome.FOUND


async def test_waiting_for_a_turn_counts_in_the_budget():
    async with resolving(NameServer(RECORDS, silent={"far.test"}), replace(SETTINGS, at_once=1)) as (
        _,
        resolver,
        _clock,
    ):
        answers = await asyncio.gather(resolver.mx("far.test"), resolver.txt("text.test"))
        assert [answer.outcome for answer in answers] == [Outcome.FAILED, Outcome.FAILED]
        assert answers[1].reason == "no answer within 0.3 seconds"


async def test_nobody_listens():
    async with resolving() as (server, resolver, _):
        await server.__aexit__()
        answer = await resolver.mx("far.test")
        assert answer.outcome is Outcome.FAILED
        assert answer.reason


@on_both_loops
async def test_a_long_answer_comes_by_tcp():
    records = "\n".join(f"big.test. MX 10 a-rather-long-host-name-{number}.test." for number in range(100))
    async with resolving(NameServer(records, short={"big.test"})) as (server, resolver, _):
        assert len((await resolver.mx("big.test")).records) == 100
        assert [asked[2] for asked in server.asked] == ["udp", "tcp"]


async def test_chains_of_cnames_are_bounded():
    def chain(length: int) -> str:
        links = [f"c{number}.test. CNAME c{number + 1}.test." for number in range(length)]
        return "\n".join([*links, f"c{length}.test. A 192.0.2.1"])

    for follows in (True, False):
        for length, outcome in ((MAX_CNAMES, Outcome.FOUND), (MAX_CNAMES + 1, Outcome.FAILED), (40, Outcome.FAILED)):
            async with resolving(NameServer(chain(length), follows=follows)) as (server, resolver, _):
                assert (await resolver.addresses("c0.test")).outcome is outcome
                assert len(server.asked) <= 2 * (MAX_CNAMES + 2)
        zone = Zone(chain(MAX_CNAMES))
        assert (await zone.addresses("c0.test")).outcome is Outcome.FOUND


@on_both_loops
async def test_forged_and_broken_datagrams_are_passed_over():
    query = dns.message.make_query("far.test", "MX")
    wrong_id = dns.message.make_response(query)
    wrong_id.answer.append(dns.rrset.from_text("far.test.", 300, "IN", "MX", "10 evil.test."))
    server = NameServer(RECORDS, forged=[b"", b"\xff" * 40, wrong_id.to_wire()])
    async with resolving(server) as (_, resolver, _clock):
        assert (await resolver.mx("far.test")).records == SAID[0][1]


# ---------------------------------------------------------------- DNSSEC


async def test_the_ad_bit_is_asked_for_and_believed_from_loopback_only():
    for validates, believe, is_secure in (
        (True, Believe.LOOPBACK, True),
        (True, Believe.ALWAYS, True),
        (True, Believe.NEVER, False),
        (False, Believe.LOOPBACK, False),
        (False, Believe.ALWAYS, False),
    ):
        settings = replace(SETTINGS, believe=believe)
        upstream = NameServer(RECORDS, validates=validates, follows=False)
        async with resolving(upstream, settings) as (server, resolver, _):
            for answer in (
                await resolver.tlsa("_25._tcp.mx.far.test"),
                await resolver.addresses("alias.test"),
                await resolver.tlsa("nowhere.test"),
                await resolver.tlsa("far.test"),
            ):
                assert answer.is_secure is is_secure
            assert all(question.flags & dns.flags.AD for question in server.questions)


@pytest.mark.parametrize(
    ("nameservers", "is_believed"),
    [
        (("127.0.0.1", "::1"), True),
        (("127.0.0.53",), True),
        (("127.0.0.1", "192.0.2.1"), False),
        (("192.0.2.1",), False),
    ],
)
def test_one_resolver_elsewhere_spoils_the_trust_in_all(nameservers, is_believed):
    assert CachingResolver(DnsSettings(nameservers=nameservers))._is_believed is is_believed
