"""Where mail goes: MX, null MX, literals, ourselves, hostile zones, smarthosts."""

from __future__ import annotations

import random
from textwrap import dedent

import pytest

from postane.core.limits import RelayLimits
from postane.flow.relay.route import Ourselves, Place, Route, Router, Smarthost, Smarthosts
from postane.flow.relay.verdict import Fate, Verdict
from zone import Zone

OURSELVES = Ourselves(frozenset({"mail.home.example"}), frozenset({"192.0.2.250", "2001:db8::250"}))


def router(zone: str | Zone, ourselves: Ourselves = OURSELVES, limits: RelayLimits | None = None) -> Router:
    resolver = Zone(zone) if isinstance(zone, str) else zone
    return Router(resolver, ourselves, limits or RelayLimits(), dice=random.Random(3))


async def found(router: Router, domain: str = "far.example") -> list[str]:
    """ "host address" of every place, and the status of every host that has none."""
    route = await router.route("ann@home.example", domain)
    if isinstance(route, Verdict):
        return [said(route)]
    return [said(one) async for one in router.places(route)]


def said(one: Place | Verdict) -> str:
    return f"{one.host} {one.address}" if isinstance(one, Place) else f"{one.code} {one.enhanced}"


async def test_hosts_come_by_preference_with_all_their_addresses() -> None:
    zone = dedent("""
        far.example. MX 20 second.example.
        far.example. MX 10 first.example.
        first.example. A 192.0.2.1
        first.example. A 192.0.2.2
        first.example. AAAA 2001:db8::1
        second.example. A 192.0.2.3
    """)
    assert await found(router(zone)) == [
        "first.example 2001:db8::1",
        "first.example 192.0.2.1",
        "first.example 192.0.2.2",
        "second.example 192.0.2.3",
    ]


async def test_equals_come_in_any_order() -> None:
    zone = Zone("\n".join(f"far.example. MX 10 m{number}.example." for number in range(4)))
    one = router(zone)
    orders = set()
    for _ in range(200):
        route = await one.route("", "far.example")
        assert isinstance(route, Route)
        orders.add(route.hosts)

    assert len(orders) == 24


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("far.example. MX 0 .", ["556 5.1.10"]),
        ("far.example. A 192.0.2.1", ["far.example 192.0.2.1"]),
        ("far.example. TXT nothing", ["550 5.4.4"]),
        ("other.example. A 192.0.2.1", ["550 5.1.2"]),
        ("far.example. MX 1 gone.example.", ["550 5.4.4"]),
        ("far.example. MX 1 m.example.\nm.example. TXT nothing", ["550 5.4.4"]),
        ("far.example. MX 1 m.example.\nm.example. CNAME n.example.\nn.example. A 192.0.2.9", ["m.example 192.0.2.9"]),
        ("far.example. CNAME n.example.\nn.example. MX 1 m.example.\nm.example. A 192.0.2.9", ["m.example 192.0.2.9"]),
        ("far.example. CNAME b.example.\nb.example. CNAME far.example.", ["451 4.4.3"]),
        ("far.example. MX 1 m.example.\nm.example. CNAME n.example.\nn.example. CNAME m.example.", ["451 4.4.3"]),
    ],
)
async def test_what_the_zone_says_is_done(zone: str, expected: list[str]) -> None:
    assert await found(router(zone)) == expected


async def test_the_dns_may_be_out_of_reach() -> None:
    zone = "far.example. MX 1 m.example.\nfar.example. MX 2 n.example.\nm.example. A 192.0.2.1\nn.example. A 192.0.2.2"

    assert await found(router(Zone(zone, failing={"far.example"}))) == ["451 4.4.3"]
    assert await found(router(Zone(zone, failing={"m.example"}))) == ["451 4.4.3", "n.example 192.0.2.2"]


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.9.9.9",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
    ],
)
async def test_an_address_that_cannot_be_another_server_is_none(address: str) -> None:
    kind = "AAAA" if ":" in address else "A"
    assert await found(router(f"far.example. MX 1 m.example.\nm.example. {kind} {address}")) == ["550 5.4.4"]
    literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    assert await found(router(""), literal) == ["550 5.4.4"]


async def test_of_several_addresses_the_good_ones_are_tried() -> None:
    zone = "far.example. MX 1 m.example.\nm.example. A 127.0.0.1\nm.example. A 192.0.2.1"

    assert await found(router(zone)) == ["m.example 192.0.2.1"]
    assert await found(router(zone, Ourselves(allows_loopback=True))) == ["m.example 127.0.0.1", "m.example 192.0.2.1"]


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("far.example. MX 10 mail.home.example.", ["550 5.4.6"]),
        ("far.example. MX 10 other.example.\nother.example. A 192.0.2.250", ["550 5.4.6"]),
        ("far.example. MX 10 other.example.\nother.example. AAAA 2001:db8::250", ["550 5.4.6"]),
        ("far.example. A 192.0.2.250", ["550 5.4.6"]),
        (
            "far.example. MX 5 near.example.\nfar.example. MX 10 mail.home.example.\n"
            "far.example. MX 10 equal.example.\nfar.example. MX 20 behind.example.\n"
            "near.example. A 192.0.2.1\nequal.example. A 192.0.2.2",
            ["near.example 192.0.2.1"],
        ),
        (
            "far.example. MX 5 near.example.\nfar.example. MX 10 us.example.\nfar.example. MX 20 behind.example.\n"
            "near.example. A 192.0.2.1\nus.example. A 192.0.2.250\nbehind.example. A 192.0.2.3",
            ["near.example 192.0.2.1", "550 5.4.6"],
        ),
    ],
)
async def test_mail_that_would_come_back_to_us_stops_here(zone: str, expected: list[str]) -> None:
    assert await found(router(zone)) == expected


async def test_a_hundred_hosts_with_a_hundred_addresses_are_bounded() -> None:
    lines = [f"far.example. MX {number} m{number}.example." for number in range(100)]
    lines += [f"m{host}.example. A 192.0.{host}.{number}" for host in range(5) for number in range(100)]
    lines += [f"m{host}.example. AAAA 2001:db8::{host}:{number}" for host in range(5) for number in range(100)]
    zone = Zone("\n".join(lines))
    places = await found(router(zone, limits=RelayLimits(hosts=3, attempts=7)))

    assert len(places) == 7
    assert [":" in place for place in places] == [True, False, True, False, True, False, True]
    assert len(zone.asked) == 3, "one question for the MX, two for the first host"


async def test_hosts_without_an_address_are_bounded_too() -> None:
    zone = Zone("\n".join(f"far.example. MX {number} m{number}.example." for number in range(100)))

    assert await found(router(zone, limits=RelayLimits(hosts=5))) == ["550 5.4.4"] * 5


async def test_an_address_literal_is_its_own_host() -> None:
    assert await found(router(""), "[192.0.2.1]") == ["192.0.2.1 192.0.2.1"]
    assert await found(router(""), "[IPv6:2001:db8::1]") == ["2001:db8::1 2001:db8::1"]
    assert await found(router(""), "[x400:whatever]") == ["550 5.1.2"]


async def test_smarthosts_are_chosen_by_recipient_then_sender_then_for_all() -> None:
    hosts = Smarthosts(
        by_recipient={"far.example": Smarthost("r.example")},
        by_sender={"ann@home.example": Smarthost("ann.example"), "home.example": Smarthost("h.example")},
        for_all=Smarthost("all.example"),
    )
    one = Router(Zone(), OURSELVES, RelayLimits(), hosts)

    async def host(sender: str, domain: str) -> str:
        route = await one.route(sender, domain)
        assert isinstance(route, Route)
        return route.hosts[0]

    assert await host("ann@home.example", "far.example") == "r.example"
    assert await host("ann@home.example", "x.example") == "ann.example"
    assert await host("bob@home.example", "x.example") == "h.example"
    assert await host("", "x.example") == "all.example"


async def test_what_no_host_can_do_is_told_for_now_or_for_ever() -> None:
    route = await router("far.example. MX 0 .").route("", "far.example")
    assert isinstance(route, Verdict)
    assert (route.fate, route.words) == (Fate.REFUSED, "556 5.1.10 far.example takes no mail at all (RFC 7505)")
