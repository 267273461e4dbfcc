"""Passwords: what is believed, what it costs, and who goes first."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from dataclasses import replace

import argon2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postane.core.clock import TurnedClock
from postane.core.limits import LoginLimits
from postane.core.status import Condition, MailError
from postane.flow import passwords as module
from postane.flow.login_gate import LoginGate
from postane.flow.passwords import MAX_PASSWORD, Passwords, hash_password, prepare, random_password
from postane.store.api import Credential


class CountingHasher:
    """Compares at no cost, counts, and holds every comparison while `gate` is shut."""

    time_cost, memory_cost, parallelism, salt_len, hash_len = 1, 8, 1, 16, 32

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.running = 0
        self.most = 0
        self._lock = threading.Lock()

    def verify(self, verifier: str, password: bytes) -> bool:
        with self._lock:
            self.seen.append((verifier, password))
            self.running += 1
            self.most = max(self.most, self.running)
        self.gate.wait(10)
        with self._lock:
            self.running -= 1
        if verifier.encode() != password:
            raise argon2.exceptions.VerifyMismatchError
        return True


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> Iterator[CountingHasher]:
    counting = CountingHasher()
    monkeypatch.setattr(module, "_HASHER", counting)
    yield counting
    counting.gate.set()


def credential(verifier: str = "secret", account: int = 1, version: int = 1) -> Credential:
    return Credential(account, account, "password", verifier, version)


def passwords(clock: TurnedClock | None = None, **limits: float) -> Passwords:
    return Passwords(clock or TurnedClock(), replace(LoginLimits(), **limits))


async def until(condition: object) -> None:
    async with asyncio.timeout(10):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0)


async def test_a_verifier_is_argon2id_with_the_chosen_cost_and_verifies() -> None:
    verifier = await hash_password("doğru at pil zımba")

    assert verifier.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    checked = passwords()
    assert await checked.verify(credential(verifier), "doğru at pil zımba", "192.0.2.1")
    assert not await checked.verify(credential(verifier), "dogru at pil zimba", "192.0.2.1")
    checked.close()


@pytest.mark.parametrize(
    ("typed", "same"),
    [("o\u0308", "\u00f6"), ("a\u00a0b", "a b"), ("a\u3000b", "a b")],
)
def test_passwords_compare_as_opaque_strings(typed: str, same: str) -> None:
    assert prepare(typed) == prepare(same)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("", "empty"),
        ("a\x00b", "control"),
        ("a\n", "control"),
        ("\udc80", "control"),
        ("x" * (MAX_PASSWORD + 1), "longer"),
        ("ş" * (MAX_PASSWORD // 2 + 1), "longer"),
    ],
)
def test_refuses_what_no_password_is_without_repeating_it(bad: str, reason: str) -> None:
    with pytest.raises(MailError, match=reason) as failure:
        prepare(bad)
    assert failure.value.condition is Condition.BAD_ARGUMENT
    assert len(failure.value.text) < 100


@given(st.text(max_size=50))
def test_prepare_is_idempotent(text: str) -> None:
    try:
        once = prepare(text)
    except MailError:
        return
    assert prepare(once.decode()) == once


@pytest.mark.parametrize(("one", "other"), [("a", "A"), ("\uff21", "A"), ("a ", "a")])
def test_passwords_keep_case_width_and_spaces(one: str, other: str) -> None:
    assert prepare(one) != prepare(other)


def test_random_passwords_can_be_typed() -> None:
    made = {random_password() for _ in range(100)}

    assert len(made) == 100
    assert all(re.fullmatch(r"[a-z2-7]{5}(-[a-z2-7]{5}){3}", each) for each in made)


async def test_someone_unknown_costs_a_comparison_and_never_gets_in(hasher: CountingHasher) -> None:
    checked = passwords()

    assert not await checked.verify(None, "secret", "192.0.2.1")
    assert not await checked.verify(credential(), "bad\0", "192.0.2.1")
    assert [verifier[:10] for verifier, _ in hasher.seen] == ["$argon2id$"] * 2


async def test_an_unknown_user_costs_real_argon2_at_the_real_price() -> None:
    nobody = module._verifier_of_nobody()

    assert argon2.extract_parameters(nobody) == argon2.extract_parameters(await hash_password("x"))
    assert module._matches(nobody, b"x") is False


async def test_a_right_password_is_remembered_until_its_time_or_version_is_over(hasher: CountingHasher) -> None:
    clock = TurnedClock()
    checked = passwords(clock, cache_seconds=300)

    for _ in range(3):
        assert await checked.verify(credential(), "secret", "192.0.2.1")
    assert len(hasher.seen) == 1
    assert not await checked.verify(credential(), "guess", "192.0.2.1")
    assert len(hasher.seen) == 2

    clock.turn(299)
    assert await checked.verify(credential(), "secret", "192.0.2.1")
    assert len(hasher.seen) == 2
    clock.turn(1)
    assert await checked.verify(credential(), "secret", "192.0.2.1")
    assert len(hasher.seen) == 3

    assert not await checked.verify(credential("new", version=2), "secret", "192.0.2.1")
    assert len(hasher.seen) == 4


async def test_what_is_remembered_is_bounded(hasher: CountingHasher) -> None:
    checked = passwords(cache_entries=2)
    for account in (1, 2, 3):
        assert await checked.verify(credential(account=account), "secret", "192.0.2.1")

    for account in (3, 2, 1):
        assert await checked.verify(credential(account=account), "secret", "192.0.2.1")

    assert len(hasher.seen) == 4


async def test_only_so_many_run_at_once_and_only_so_many_wait(hasher: CountingHasher) -> None:
    checked = passwords(concurrent=2, waiting=3)
    hasher.gate.clear()
    tasks = [asyncio.create_task(checked.verify(credential("x"), f"guess{n}", "192.0.2.1")) for n in range(6)]
    await until(lambda: tasks[5].done())

    with pytest.raises(MailError) as failure:
        tasks[5].result()
    assert failure.value.condition is Condition.AUTH_TEMPORARY
    hasher.gate.set()
    assert await asyncio.gather(*tasks[:5]) == [False] * 5
    assert hasher.most == 2


async def test_known_pairs_go_before_strangers(hasher: CountingHasher) -> None:
    checked = passwords(concurrent=1, waiting=2, cache_seconds=0)
    assert await checked.verify(credential("mine"), "mine", "2001:db8::1")
    hasher.seen.clear()
    hasher.gate.clear()
    running = asyncio.create_task(checked.verify(credential("x"), "first", "192.0.2.9"))
    await until(lambda: hasher.running == 1)
    strangers = [asyncio.create_task(checked.verify(credential("x"), f"guess{n}", "192.0.2.9")) for n in range(2)]
    await asyncio.sleep(0)

    mine = asyncio.create_task(checked.verify(credential("mine"), "mine", "2001:db8::2"))
    await until(lambda: strangers[1].done())
    assert isinstance(strangers[1].exception(), MailError)
    hasher.gate.set()

    assert await mine
    await asyncio.gather(running, strangers[0])
    assert [password for _, password in hasher.seen] == [b"first", b"mine", b"guess0"]


async def test_who_hangs_up_keeps_the_turn_until_the_thread_is_done(hasher: CountingHasher) -> None:
    checked = passwords(concurrent=1, waiting=1)
    hasher.gate.clear()
    gone = asyncio.create_task(checked.verify(credential("x"), "first", "192.0.2.1"))
    await until(lambda: hasher.running == 1)
    gone.cancel()
    later = asyncio.create_task(checked.verify(credential("right"), "right", "192.0.2.1"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(hasher.seen) == 1

    hasher.gate.set()
    assert await later
    assert hasher.most == 1


async def test_a_cancelled_wait_frees_its_place() -> None:
    gate = LoginGate(concurrent=1, waiting=1)
    await gate.enter(False)
    waiting = asyncio.create_task(gate.enter(False))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    next_one = asyncio.create_task(gate.enter(False))
    await asyncio.sleep(0)
    assert not next_one.done()

    gate.leave()
    await next_one


async def test_a_turn_given_to_someone_cancelled_in_the_same_moment_goes_on() -> None:
    gate = LoginGate(concurrent=1, waiting=2)
    await gate.enter(False)
    first, second = (asyncio.create_task(gate.enter(False)) for _ in range(2))
    await asyncio.sleep(0)
    gate.leave()
    first.cancel()

    async with asyncio.timeout(5):
        await second
    assert first.cancelled()


async def test_a_broken_verifier_is_a_refusal() -> None:
    assert not await passwords().verify(credential("no phc string"), "x", "192.0.2.1")


async def test_a_stopping_server_says_so() -> None:
    checked = passwords()
    checked.close()

    with pytest.raises(MailError) as failure:
        await checked.verify(credential(), "secret", "192.0.2.1")
    assert failure.value.condition is Condition.SHUTTING_DOWN
