"""What a server offers in its answer to EHLO or LHLO (RFC 5321 4.1.1.1).

Keywords compare without case; one that is said twice counts with all its words.
`AUTH=LOGIN` is read as `AUTH LOGIN`: old servers say only that (RFC 4954 has no "=").
What makes no sense (a SIZE that is no number, a limit of 0) is as if not said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_SIZE = re.compile(r"[0-9]{1,20}\Z")
_LIMIT = re.compile(r"([A-Za-z0-9\-]+)=([1-9][0-9]{0,5})\Z")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`name` is what the server calls itself; `keywords` in upper case, with their parameters as written."""

    name: str = ""
    keywords: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.keywords

    @property
    def size(self) -> int | None:
        """The largest message in octets (RFC 1870 4); None where no bound is told."""
        said = self.keywords.get("SIZE", ())
        return int(said[0]) or None if said and _SIZE.match(said[0]) else None

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """Of AUTH (RFC 4954 3), upper case, in the server's order."""
        return tuple(dict.fromkeys(word.upper() for word in self.keywords.get("AUTH", ())))

    def limit(self, name: str) -> int | None:
        """RFC 9422: the value of MAILMAX, RCPTMAX or RCPTDOMAINMAX."""
        for word in self.keywords.get("LIMITS", ()):
            found = _LIMIT.match(word)
            if found and found[1].upper() == name:
                return int(found[2])
        return None


def read_capabilities(lines: tuple[str, ...]) -> Capabilities:
    """From the lines of the reply, the first of which is no keyword."""
    keywords: dict[str, list[str]] = {}
    for line in lines[1:]:
        if line[:5].upper() == "AUTH=":
            line = "AUTH " + line[5:]
        keyword, *words = line.split() or [""]
        if keyword:
            keywords.setdefault(keyword.upper(), []).extend(words)
    name = (lines[0].split() or [""])[0]
    return Capabilities(name, {keyword: tuple(words) for keyword, words in keywords.items()})
