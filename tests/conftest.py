"""Shared by all tests: where the published vectors are, how an async test runs, and a real server to talk to.

The project keeps no copy of the vectors; where the folder is absent the tests that need it are named as skipped.
With POSTANE_NO_SKIP=1 nothing may skip: what would is a failure that says what is missing.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from serving import Server

VECTORS = Path(__file__).resolve().parents[2] / "shared" / "vectors"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """An `async def` test runs in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("POSTANE_NO_SKIP") == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"nothing may skip here: {reason}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of its own, just started for the first time."""
    one = Server(tmp_path / "data", tmp_path / "server.log")
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="session")
def vectors() -> Path:
    if not VECTORS.is_dir():
        pytest.skip("the published vectors (../shared/vectors) are not here")
    return VECTORS
