"""Logging as a port: events with named facts, never sentences with values inside, never a secret.

Filled by structlog in `postane.app`; by a list in tests.
"""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    def bind(self, **facts: Any) -> Log: ...

    def debug(self, event: str, **facts: Any) -> None: ...

    def info(self, event: str, **facts: Any) -> None: ...

    def warning(self, event: str, **facts: Any) -> None: ...

    def error(self, event: str, **facts: Any) -> None: ...

    def exception(self, event: str, **facts: Any) -> None: ...


class NullLog:
    """Says nothing."""

    def bind(self, **facts: Any) -> Log:
        return self

    def debug(self, event: str, **facts: Any) -> None: ...

    def info(self, event: str, **facts: Any) -> None: ...

    def warning(self, event: str, **facts: Any) -> None: ...

    def error(self, event: str, **facts: Any) -> None: ...

    def exception(self, event: str, **facts: Any) -> None: ...
