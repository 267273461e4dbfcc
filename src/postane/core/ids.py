"""Ids the world sees: random, 120 bits, never reused (STORE.md rule 2).

Lower-case base32 without padding: safe in a file name, an IMAP object id
(RFC 8474 4), a UIDL (RFC 1939 7: 0x21 to 0x7E) and a Message-ID.
"""

from __future__ import annotations

import base64
import secrets

LENGTH = 24


def new_id() -> str:
    """24 characters of [a-z2-7], 120 random bits."""
    return base64.b32encode(secrets.token_bytes(15)).decode("ascii").lower()
