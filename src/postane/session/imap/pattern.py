"""LIST patterns (RFC 3501 6.3.8): "*" for anything, "%" for anything within one level.

Matching runs all possibilities at once as the bits of one number, so its time
is the name's length whatever the pattern; no regular expression that could
backtrack is made from what a client sent.
"""

from __future__ import annotations

import re

from postane.store.api import DELIMITER

_WILDCARDS = re.compile(r"[*%]{2,}")


class Pattern:
    """Bit i of a state says: the first i characters of the pattern have been used up."""

    __slots__ = ("_any", "_level", "_places", "_prefix", "_wild", "text")

    def __init__(self, text: str) -> None:
        # Neighbouring wildcards are one: so a state never has to pass more than one without a character.
        self.text = _WILDCARDS.sub(lambda run: "*" if "*" in run[0] else "%", text)
        self._prefix = re.split(r"[*%]", self.text, maxsplit=1)[0]
        self._places: dict[str, int] = {}
        self._any = self._level = 0
        for place, character in enumerate(self.text):
            if character == "*":
                self._any |= 1 << place
            elif character == "%":
                self._level |= 1 << place
            else:
                self._places[character] = self._places.get(character, 0) | 1 << place
        self._wild = self._any | self._level

    @property
    def ends_in_level(self) -> bool:
        """RFC 3501 6.3.8: then levels of hierarchy are listed too, whether they are mailboxes or not."""
        return self.text.endswith("%")

    def matches(self, name: str) -> bool:
        if not name.startswith(self._prefix):
            return False
        state = 1 << len(self._prefix)
        state |= (state & self._wild) << 1
        for character in name[len(self._prefix) :]:
            stays = state & (self._any if character == DELIMITER else self._wild)
            state = (state & self._places.get(character, 0)) << 1 | stays
            state |= (state & self._wild) << 1
            if not state:
                return False
        return bool(state >> len(self.text))
