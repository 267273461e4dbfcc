"""Who may: addresses to accounts, and logins."""

from __future__ import annotations

import asyncio

import pytest
from fake_directory import FakeDirectory
from hypothesis import given
from hypothesis import strategies as st

from postane.core.address import parse
from postane.core.clock import TurnedClock
from postane.core.dialogue import Endpoint
from postane.core.limits import LoginLimits
from postane.core.listener import Listener, Service
from postane.core.status import Condition, MailError
from postane.flow.accounts import (
    MAX_EXPANSION,
    Accounts,
    Address,
    Attempt,
    Identity,
    Local,
    LoginPolicy,
    Remote,
)
from postane.flow.passwords import Passwords
from postane.store.api import AccountState, Credential

PORTS = {Service.IMAP: 143, Service.IMAPS: 993, Service.POP3: 2110, Service.SUBMISSION: 587, Service.SUBMISSIONS: 465}
FAR = Endpoint("192.0.2.7", 40000)
IMAPS = Listener(Service.IMAPS)
IMAP = Listener(Service.IMAP)


class KnowsPasswords(Passwords):
    """Compares in the clear and remembers whom it was asked about."""

    def __init__(self) -> None:
        super().__init__(TurnedClock(), LoginLimits())
        self.asked: list[Credential | None] = []
        self.meanwhile = lambda: None

    async def verify(self, credential: Credential | None, password: str, host: str) -> bool:
        self.asked.append(credential)
        self.meanwhile()
        return credential is not None and credential.verifier == password


class House:
    def __init__(self, policy: LoginPolicy | None = None) -> None:
        self.directory = FakeDirectory("example.com", "xn--rksmrgs-5wao1o.example")
        self.passwords = KnowsPasswords()
        self.accounts = Accounts(self.directory, self.passwords, policy or LoginPolicy(PORTS))

    async def resolved(self, address: str) -> list[str]:
        ends = await self.accounts.resolve(parse(address) if "@" in address else Address(address, ""))
        return [end.account.address if isinstance(end, Local) else f"-> {end.address}" for end in ends]

    async def refusal(self, address: str) -> MailError:
        with pytest.raises(MailError) as failure:
            await self.resolved(address)
        return failure.value

    async def log_in(self, user: str, password: str, **changes: object) -> Identity:
        settings = {"peer": FAR, "is_secured": True, "listener": IMAPS, "protocol": "imap", **changes}
        return await self.accounts.login(Attempt(user, password, **settings))  # type: ignore[arg-type]


@pytest.fixture
def house() -> House:
    house = House()
    house.directory.put("ayşe@example.com", "secret")
    house.directory.put("bob@example.com", "hunter2")
    house.directory.put("bob+real@example.com", "x")
    house.directory.put("eve@xn--rksmrgs-5wao1o.example", "y")
    return house


# ------------------------------------------------------------ recipients


@pytest.mark.parametrize(
    ("address", "ends"),
    [
        ("AYŞE@Example.COM", ["ayşe@example.com"]),
        ("bob+news@example.com", ["bob@example.com"]),
        ("bob+real@example.com", ["bob+real@example.com"]),
        ("eve@räksmörgås.example", ["eve@xn--rksmrgs-5wao1o.example"]),
        ("someone+tag@elsewhere.example", ["-> someone+tag@elsewhere.example"]),
        ("postmaster@elsewhere.example", ["-> postmaster@elsewhere.example"]),
    ],
)
async def test_finds_whom_an_address_means(house: House, address: str, ends: list[str]) -> None:
    assert await house.resolved(address) == ends


async def test_the_envelope_address_is_kept_beside_the_account(house: House) -> None:
    house.directory.lead("all", "example.com", "bob@example.com")

    (end,) = await house.accounts.resolve(parse("All+x@example.com"))
    assert isinstance(end, Local)
    assert str(end.address) == "All+x@example.com"


async def test_refuses_the_unknown(house: House) -> None:
    failure = await house.refusal("carol@example.com")

    assert failure.condition is Condition.UNKNOWN_RECIPIENT
    assert failure.text == "<carol@example.com> is not an address here"
    assert (await house.refusal("carol")).condition is Condition.UNKNOWN_RECIPIENT


async def test_aliases_nest_and_each_end_is_reached_once(house: House) -> None:
    lead = house.directory.lead
    lead("all", "example.com", "staff@example.com", "bob@example.com", "out@elsewhere.example")
    lead("staff", "example.com", "ayşe@example.com", "bob+work@example.com", "all@example.com")

    ends = ["ayşe@example.com", "bob@example.com", "-> out@elsewhere.example"]
    assert await house.resolved("all@example.com") == ends
    assert await house.resolved("ALL+tag@example.com") == ends


async def test_a_loop_that_leads_nowhere_is_refused(house: House) -> None:
    house.directory.lead("a", "example.com", "b@example.com")
    house.directory.lead("b", "example.com", "a@example.com")

    assert (await house.refusal("a@example.com")).condition is Condition.UNKNOWN_RECIPIENT


async def test_catch_all_takes_what_nothing_else_does(house: House) -> None:
    house.directory.lead("", "example.com", "bob@example.com")

    assert await house.resolved("anything@example.com") == ["bob@example.com"]
    assert await house.resolved("ayşe+tag@example.com") == ["ayşe@example.com"]
    assert await house.resolved("postmaster@example.com") == ["bob@example.com"]


async def test_an_alias_reaches_its_good_targets_and_names_no_bad_one(house: House) -> None:
    house.directory.lead("team", "example.com", "gone@example.com", "bob@example.com")
    house.directory.lead("empty", "example.com", "gone@example.com")

    assert await house.resolved("team@example.com") == ["bob@example.com"]
    assert "gone" not in (await house.refusal("empty@example.com")).text


async def test_a_disabled_account_takes_nothing_and_a_moving_one_is_waited_for(house: House) -> None:
    house.directory.lead("team", "example.com", "ayşe@example.com", "bob@example.com")
    house.directory.change("bob@example.com", state=AccountState.DISABLED)
    assert (await house.refusal("bob@example.com")).condition is Condition.MAILBOX_DISABLED
    assert await house.resolved("team@example.com") == ["ayşe@example.com"]

    house.directory.change("bob@example.com", state=AccountState.MOVING)
    assert (await house.refusal("bob@example.com")).is_temporary
    assert (await house.refusal("team@example.com")).is_temporary


async def test_an_alias_bomb_is_cut(house: House) -> None:
    for level in range(12):
        house.directory.lead(f"l{level}", "example.com", *(f"l{level + 1}+{n}@example.com" for n in range(200)))

    assert (await house.refusal("l0@example.com")).condition is Condition.TOO_MANY_RECIPIENTS


async def test_an_alias_may_have_as_many_targets_as_an_expansion_may_hold(house: House) -> None:
    house.directory.lead("list", "example.com", *(f"u{n}@elsewhere.example" for n in range(MAX_EXPANSION - 1)))

    assert len(await house.resolved("list@example.com")) == MAX_EXPANSION - 1


@pytest.mark.parametrize("address", ["postmaster", "Postmaster", "PostMaster@example.com", "postmaster+x@example.com"])
async def test_postmaster_reaches_the_oldest_account(house: House, address: str) -> None:
    assert await house.resolved(address) == ["ayşe@example.com"]


async def test_postmaster_of_each_domain(house: House) -> None:
    assert await house.resolved("postmaster@räksmörgås.example") == ["eve@xn--rksmrgs-5wao1o.example"]
    house.directory.change("eve@xn--rksmrgs-5wao1o.example", state=AccountState.DISABLED)
    assert await house.resolved("postmaster@räksmörgås.example") == ["ayşe@example.com"]
    house.directory.lead("postmaster", "example.com", "bob@example.com")
    assert await house.resolved("postmaster@example.com") == ["bob@example.com"]


async def test_a_server_without_accounts_has_no_postmaster() -> None:
    assert (await House().refusal("postmaster@example.com")).condition is Condition.UNKNOWN_RECIPIENT


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.lists(st.sampled_from(["a", "b", "c", "d", "bob", "ann", "gone"]), min_size=1, max_size=4),
        max_size=4,
    ),
    st.sampled_from("abcd"),
)
def test_the_ends_are_what_can_be_reached(graph: dict[str, list[str]], start: str) -> None:
    asyncio.run(_check_ends(graph, start))


async def _check_ends(graph: dict[str, list[str]], start: str) -> None:
    house = House()
    people = {"bob", "ann"}
    for person in sorted(people):
        house.directory.put(f"{person}@example.com")
    for local, targets in graph.items():
        house.directory.lead(local, "example.com", *(f"{target}@example.com" for target in targets))
    reached, frontier = set(), {start}
    while frontier:
        reached |= frontier
        frontier = {target for local in frontier for target in graph.get(local, [])} - reached
    wanted = sorted(f"{person}@example.com" for person in reached & people)

    if wanted:
        assert sorted(await house.resolved(f"{start}@example.com")) == wanted
    else:
        assert (await house.refusal(f"{start}@example.com")).condition is Condition.UNKNOWN_RECIPIENT


# ----------------------------------------------------------------- login


@pytest.mark.parametrize(
    "user", ["eve@xn--rksmrgs-5wao1o.example", "EVE@Räksmörgås.Example", " eve@räksmörgås.example "]
)
async def test_the_user_name_is_the_full_address_in_any_spelling(house: House, user: str) -> None:
    identity = await house.log_in(user, "y")

    assert identity.account.address == "eve@xn--rksmrgs-5wao1o.example"
    assert await house.accounts.still_valid(identity)


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("bob@example.com", "wrong"),
        ("carol@example.com", "hunter2"),
        ("bob", "hunter2"),
        ("bob+x@example.com", "hunter2"),
    ],
)
async def test_every_wrong_login_gets_the_same_words_and_the_same_work(house: House, user: str, password: str) -> None:
    with pytest.raises(MailError) as failure:
        await house.log_in(user, password)

    assert failure.value.condition is Condition.AUTH_FAILED
    assert failure.value.text == "the user name or the password is wrong; the user name is the full address"
    assert len(house.passwords.asked) == 1


async def test_the_authorization_identity_must_be_the_user(house: House) -> None:
    await house.log_in("bob@example.com", "hunter2", authorization="BOB@example.com")

    for other in ("ayşe@example.com", "bob"):
        with pytest.raises(MailError) as failure:
            await house.log_in("bob@example.com", "hunter2", authorization=other)
        assert failure.value.condition is Condition.AUTH_FAILED


async def test_only_the_right_password_learns_that_an_account_is_disabled(house: House) -> None:
    house.directory.change("bob@example.com", state=AccountState.DISABLED)

    with pytest.raises(MailError) as wrong:
        await house.log_in("bob@example.com", "wrong")
    with pytest.raises(MailError) as right:
        await house.log_in("bob@example.com", "hunter2")
    assert wrong.value.condition is Condition.AUTH_FAILED
    assert right.value.condition is Condition.ACCOUNT_DISABLED
    assert right.value.text == "the account bob@example.com is disabled; ask the administrator of this server"


async def test_an_identity_ends_with_a_new_password_a_new_state_or_removal(house: House) -> None:
    identity = await house.log_in("bob@example.com", "hunter2")
    house.directory.change("bob@example.com", verifier="new")
    assert not await house.accounts.still_valid(identity)

    identity = await house.log_in("bob@example.com", "new")
    del house.directory.people["bob@example.com"]
    assert not await house.accounts.still_valid(identity)


async def test_a_password_changed_while_it_waited_is_not_believed(house: House) -> None:
    house.passwords.meanwhile = lambda: house.directory.change("bob@example.com", verifier="new")

    with pytest.raises(MailError) as failure:
        await house.log_in("bob@example.com", "hunter2")
    assert failure.value.condition is Condition.AUTH_TEMPORARY


@pytest.mark.parametrize(
    ("service", "protocol", "words"),
    [
        (Service.IMAP, "imap", "choose SSL/TLS on port 993, or STARTTLS on this port in your mail program"),
        (Service.SUBMISSION, "smtp", "choose SSL/TLS on port 465, or STARTTLS on this port in your mail program"),
        (Service.POP3, "pop3", "choose STARTTLS on this port in your mail program"),
    ],
)
async def test_a_plain_login_is_told_what_to_choose(house: House, service: Service, protocol: str, words: str) -> None:
    with pytest.raises(MailError) as failure:
        await house.log_in(
            "bob@example.com", "hunter2", is_secured=False, listener=Listener(service), protocol=protocol
        )

    assert failure.value.condition is Condition.TLS_REQUIRED
    assert failure.value.text == f"the password would travel unprotected: {words}"
    assert house.passwords.asked == []


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
    ],
)
async def test_loopback_needs_no_tls(house: House, host: str, is_local: bool) -> None:
    peer = Endpoint(host, 1)

    assert house.accounts.may_offer_login(IMAP, peer, is_secured=False) is is_local
    assert house.accounts.may_offer_login(IMAP, peer, is_secured=True)
    if is_local:
        assert await house.log_in("bob@example.com", "hunter2", peer=peer, is_secured=False, listener=IMAP)


def test_mail_ports_between_servers_never_offer_login(house: House) -> None:
    for service in (Service.SMTP, Service.LMTP):
        assert not house.accounts.may_offer_login(Listener(service, plaintext_login=True), FAR, is_secured=True)


async def test_plain_logins_where_the_listener_allows_them(house: House) -> None:
    plain = Listener(Service.IMAP, plaintext_login=True)

    assert house.accounts.may_offer_login(plain, FAR, is_secured=False)
    assert await house.log_in("bob@example.com", "hunter2", is_secured=False, listener=plain)


async def test_plain_logins_where_the_domain_allows_them() -> None:
    house = House(LoginPolicy(PORTS, frozenset({"example.com"})))
    house.directory.put("bob@example.com", "hunter2")
    house.directory.put("eve@xn--rksmrgs-5wao1o.example", "y")

    assert house.accounts.may_offer_login(IMAP, FAR, is_secured=False)
    assert await house.log_in("bob@example.com", "hunter2", is_secured=False, listener=IMAP)
    with pytest.raises(MailError) as failure:
        await house.log_in("eve@xn--rksmrgs-5wao1o.example", "y", is_secured=False, listener=IMAP)
    assert failure.value.condition is Condition.TLS_REQUIRED


# ----------------------------------------------------------------- senders


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("Bob@Example.com", True),
        ("bob+shop@example.com", True),
        ("team@example.com", True),
        ("team+x@example.com", True),
        ("bob+real@example.com", False),
        ("ayşe@example.com", False),
        ("other@example.com", False),
        ("unknown@example.com", False),
        ("bob@elsewhere.example", False),
        ("loop@example.com", False),
    ],
)
async def test_one_sends_as_oneself_or_as_an_alias_that_leads_here(house: House, address: str, may: bool) -> None:
    house.directory.lead("team", "example.com", "ayşe@example.com", "bob@example.com")
    house.directory.lead("other", "example.com", "ayşe@example.com")
    house.directory.lead("loop", "example.com", "loop@example.com")
    identity = await house.log_in("bob@example.com", "hunter2")

    assert await house.accounts.may_send_as(identity, parse(address)) is may


async def test_remote_ends_compare_by_value() -> None:
    assert await House().accounts.resolve(parse("a@elsewhere.example")) == (Remote(parse("a@elsewhere.example")),)
