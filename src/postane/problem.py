"""What the operator has to mend: a sentence that names the object and its value, and one that says what to do."""

from __future__ import annotations


class Problem(Exception):
    """`what` went wrong, with the setting or object and its value; `mend` is the next thing to type or change."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(f"{what}\n{mend}" if mend else what)
        self.what = what
        self.mend = mend
