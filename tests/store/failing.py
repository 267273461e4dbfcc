"""A store that fails on command: files that refuse, and a mail store that raises what it was told."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from postane.core.status import Condition, MailError
from postane.store.api import AccountRef, Command, Finding, MailStore
from postane.store.files import SystemFiles


class FailingMailStore:
    """Hands everything to `store`, but what `fail` names raises: a method ("entries") or a command ("Append").

    A failure is raised `times` times, before anything is done, or `after` the deed (the answer is lost, as in a crash
    between commit and reply).
    """

    def __init__(self, store: MailStore) -> None:
        self._store = store
        self._failures: dict[str, list[tuple[Exception, bool]]] = {}

    def fail(
        self, name: str, error: Exception | Condition = Condition.TEMPORARY, *, times: int = 1, after: bool = False
    ) -> None:
        raised = MailError(error, "told to fail") if isinstance(error, Condition) else error
        self._failures.setdefault(name, []).extend([(raised, after)] * times)

    async def write(self, account: AccountRef, command: Command[Any]) -> Any:
        return await self._run(type(command).__name__, lambda: self._store.write(account, command))

    def check(self, account: AccountRef, repair: bool) -> AsyncIterator[Finding]:
        return self._store.check(account, repair)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        async def call(*arguments: Any) -> Any:
            return await self._run(name, lambda: method(*arguments))

        return call

    async def _run(self, name: str, deed: Callable[[], Any]) -> Any:
        told = self._failures.get(name)
        if not told:
            return await deed()
        error, after = told.pop(0)
        if after:
            await deed()
        raise error


@dataclass
class FailingFiles(SystemFiles):
    """Raises `errno` at each step that `steps` names ("write", "sync", "link", ...), as often as it is named."""

    steps: list[str] = field(default_factory=list)
    errno: int = errno.ENOSPC
    done: list[str] = field(default_factory=list)

    def _step(self, name: str) -> None:
        self.done.append(name)
        if name in self.steps:
            self.steps.remove(name)
            raise OSError(self.errno, "told to fail")

    def create(self, path: Path) -> int:
        self._step("create")
        return super().create(path)

    def open(self, path: Path) -> int:
        self._step("open")
        return super().open(path)

    def write(self, file: int, data: bytes | memoryview) -> None:
        try:
            self._step("write")
        except OSError:
            super().write(file, data[: len(data) // 2])  # a full disk takes the first half
            raise
        super().write(file, data)

    def sync(self, file: int) -> None:
        self._step("sync")
        super().sync(file)

    def link(self, source: Path, target: Path) -> None:
        self._step("link")
        super().link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename")
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._step("unlink")
        super().unlink(path)

    def make_folder(self, path: Path) -> None:
        self._step("make_folder")
        super().make_folder(path)

    def sync_folder(self, path: Path) -> None:
        self._step("sync_folder")
        super().sync_folder(path)


def files_below(root: Path, *parts: str) -> Sequence[Path]:
    """Every file below a folder of the data folder."""
    return sorted(path for path in root.joinpath(*parts).rglob("*") if path.is_file())
