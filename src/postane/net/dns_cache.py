"""Answers of the DNS that are still good: bounded in octets, the longest unused leave first."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from postane.core.clock import Clock
from postane.core.dns import Answer, Mx, Tlsa

_ENTRY = 400
"""What an entry without records takes, about, in octets."""
_RECORD = 80

Question = tuple[str, int]
"""The name, lower-case without the final dot, and the record type's number."""


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: Answer[Any]
    until: float
    weight: int


class AnswerCache:
    """`octets` is a bound on about what its entries take."""

    def __init__(self, octets: int, clock: Clock) -> None:
        self._octets = octets
        self._clock = clock
        self._entries: OrderedDict[Question, _Entry] = OrderedDict()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, question: Question) -> Answer[Any] | None:
        entry = self._entries.get(question)
        if entry is None:
            return None
        if self._clock.monotonic() >= entry.until:
            self._drop(question)
            return None
        self._entries.move_to_end(question)
        return entry.answer

    def put(self, question: Question, answer: Answer[Any], seconds: float) -> None:
        """For so many seconds; not at all for none (RFC 1035 3.2.1: TTL 0)."""
        self._drop(question)
        if seconds <= 0:
            return
        entry = _Entry(answer, self._clock.monotonic() + seconds, _weigh(question, answer))
        self._entries[question] = entry
        self._weight += entry.weight
        while self._weight > self._octets:
            self._drop(next(iter(self._entries)))

    def _drop(self, question: Question) -> None:
        entry = self._entries.pop(question, None)
        if entry is not None:
            self._weight -= entry.weight


def _weigh(question: Question, answer: Answer[Any]) -> int:
    words = len(question[0]) + len(answer.canonical) + len(answer.reason)
    return _ENTRY + words + sum(_RECORD + _length(record) for record in answer.records)


def _length(record: object) -> int:
    match record:
        case Mx():
            return len(record.host)
        case Tlsa():
            return len(record.data)
        case str() | bytes():
            return len(record)
        case _:
            return 0
