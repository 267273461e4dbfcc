"""Ids the world sees: random, 120 bits, never reused (STORE.md rule 2).

Lower-case base32 without padding: safe in a file name, an IMAP object id
(RFC 8474 4), a UIDL (RFC 1939 7: 0x21 to 0x7E) and a Message-ID.
"""

from __future__ import annotations

import os

LENGTH = 24
# 256 is a multiple of 32: every character is as likely as another.
_CHARACTERS = bytes(b"abcdefghijklmnopqrstuvwxyz234567"[octet % 32] for octet in range(256))


def new_id() -> str:
    """24 characters of [a-z2-7], 120 random bits."""
    return os.urandom(LENGTH).translate(_CHARACTERS).decode("ascii")
