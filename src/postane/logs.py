"""The log: `core.log` filled by structlog.  JSON for machines, words for a terminal; to standard error.

Facts whose name says secret are struck out, whoever passed them.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

from postane.config.settings import LogFormat, LogLevel, LogSettings
from postane.core.log import Log

_LEVELS = {LogLevel.DEBUG: 10, LogLevel.INFO: 20, LogLevel.WARNING: 30, LogLevel.ERROR: 40}
_SECRET = frozenset({"password", "secret", "verifier", "token", "key", "authorization", "initial_response"})


def make_log(settings: LogSettings, process: str) -> Log:
    """`process` names the writer in each line: "worker 1", "timed"."""
    is_terminal = sys.stderr.isatty()
    for_people = settings.format is LogFormat.CONSOLE or (settings.format is LogFormat.AUTO and is_terminal)
    last: Any
    shown: list[Any]
    if for_people:
        shown = [structlog.processors.TimeStamper("%H:%M:%S", utc=False)]
        last = structlog.dev.ConsoleRenderer(colors=is_terminal, exception_formatter=structlog.dev.plain_traceback)
    else:
        shown = [structlog.processors.TimeStamper("iso", utc=True), structlog.processors.format_exc_info]
        last = structlog.processors.JSONRenderer()
    logger = structlog.wrap_logger(
        structlog.WriteLogger(cast(TextIO, _StandardError())),
        processors=[structlog.processors.add_log_level, _strike_secrets, *shown, last],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        context_class=dict,
    )
    return cast(Log, logger.bind(process=process))


def _strike_secrets(_logger: object, _method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in _SECRET & facts.keys():
        facts[name] = "***"
    return facts


class _StandardError:
    """A log that cannot be written (its terminal is gone, its disk is full) stops no mail."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
