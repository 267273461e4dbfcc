"""What is made before the first worker starts: databases, the demo account, the certificate.

It is done in a process of its own, as the data folder's owner, which ends when
it is done: the supervisor itself opens no database.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from postane import privileges
from postane.app import Stores, open_stores, provision
from postane.config.settings import Settings
from postane.core.address import Address
from postane.core.status import MailError
from postane.flow.passwords import random_password
from postane.folder import DataFolder
from postane.net import tls
from postane.net.hints import tell
from postane.problem import Problem
from postane.reach import own_names
from postane.store.api import Directory

DEMO = Address("demo", "demo.test")


class Prepared(msgspec.Struct, frozen=True):
    """`account` is the first there is ("" for none); `password` is known only where it was made now."""

    account: str = ""
    password: str = ""
    problem: str = ""
    mend: str = ""


class PassingHints:
    """Fills `Hints` for a process that does its work and ends: it tells, and watches nothing."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def watch(self, account_id: int, changed: Callable[[], None], revoked: Callable[[], None]) -> Callable[[], None]:
        raise NotImplementedError("a passing process watches nothing")

    def changed(self, account_id: int, modseq: int) -> None:
        tell(self._run, account_id)

    def revoked(self, account_id: int) -> None:
        tell(self._run, account_id)


def prepare_as_owner(folder: DataFolder, settings: Settings) -> Prepared:
    """Blocks until it is done.  Problem says what stands in the way."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _answer(writing, folder, settings)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    if not said:
        raise Problem("The data folder could not be prepared.", "See what was said above.")
    prepared = msgspec.json.decode(said, type=Prepared)
    if prepared.problem:
        raise Problem(prepared.problem, prepared.mend)
    return prepared


def _answer(writing: int, folder: DataFolder, settings: Settings) -> None:
    """In the new process; never returns."""
    try:
        folder.become_owner()
        privileges.give_up_privileges()
        try:
            prepared = asyncio.run(_prepare(folder, settings))
        except Problem as problem:
            prepared = Prepared(problem=problem.what, mend=problem.mend)
        except MailError as error:
            prepared = Prepared(problem=f"{error.text}: {error.detail}" if error.detail else error.text)
        except tls.BadCertificate as error:
            prepared = Prepared(problem=f"{error.path}: {error.problem}.", mend=error.mend)
        os.write(writing, msgspec.json.encode(prepared))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(0)


async def _prepare(folder: DataFolder, settings: Settings) -> Prepared:
    stores = open_stores(folder.path, "prepare", PassingHints(folder.run), settings.limits)
    try:
        prepared = await _first_account(stores)
        await stores.queue.messages(limit=1)  # made now, by one process alone
        if not settings.tls.certificate:
            await have_certificate(folder, settings, stores.directory)
        return prepared
    finally:
        await stores.close()


async def _first_account(stores: Stores) -> Prepared:
    """A folder without any domain gets the demo account; after that nothing is ever added by itself."""
    async for account in stores.directory.accounts():
        return Prepared(account.address)
    if await stores.directory.domains():
        return Prepared()
    await stores.directory.add_domain(DEMO.domain)
    password = random_password()
    account = await provision(stores).add_account(DEMO, password, "Demo")
    return Prepared(account.address, password)


async def have_certificate(folder: DataFolder, settings: Settings, directory: Directory) -> bool:
    """Makes the self-signed certificate, or makes it cover what it does not; whether it did."""
    domains = tuple(domain.name for domain in await directory.domains())
    names = own_names(settings, domains)
    existed = (folder.tls / "certificate.pem").exists()
    files = tls.make_self_signed(folder.tls, names)
    return tls.cover_names(files, names) or not existed
