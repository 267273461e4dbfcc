"""Base subjects (RFC 5256 2.1), for SORT and THREAD.

The standard's procedure exactly, on a subject already decoded to text, of which
the first 1,000 characters count: its steps undo each other's blobs and would
take quadratic time.
"""

from __future__ import annotations

import re

_LONGEST = 1000
_BLANKS = re.compile(r"[ \t\r\n]+")
# RFC 5256 5: subj-blob, subj-refwd, subj-leader, subj-trailer
_BLOB = re.compile(r"\[[^\[\]]*\] *")
_LEADER = re.compile(r"(?:\[[^\[\]]*\] *)*(?:re|fwd?) *(?:\[[^\[\]]*\] *)?:| ", re.I)
_TRAILER = re.compile(r"(?:\(fwd\)| )+\Z", re.I)


def base_subject(subject: str) -> str:
    """What replies to and forwards of one subject have in common; its case is kept."""
    text = _BLANKS.sub(" ", subject[:_LONGEST])
    while True:
        text = _without_leaders(_without_trailers(text))
        # RFC 5256 2.1 (6)
        if not (text[:5].lower() == "[fwd:" and text.endswith("]")):
            return text
        text = text[5:-1]


def _without_trailers(text: str) -> str:
    found = _TRAILER.search(text)
    return text[: found.start()] if found else text


def _without_leaders(text: str) -> str:
    """RFC 5256 2.1 (3) to (5)."""
    at = 0
    while True:
        leader = _LEADER.match(text, at)
        if leader:
            at = leader.end()
            continue
        blob = _BLOB.match(text, at)
        if blob is None or blob.end() == len(text):
            return text[at:]
        at = blob.end()
