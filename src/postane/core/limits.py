"""Every bound the house sets on what the network may ask, with its default.

`postane.config` fills these from the settings file.  Sizes are octets, times
are seconds.  No parser or session has a bound of its own that is not here.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class MimeLimits:
    """Bounds of one scan.  Beyond them the scan stops looking deeper; it never fails."""

    depth: int = 50
    parts: int = 1000
    header_bytes: int = 256 * KIB
    header_fields: int = 2000
    params: int = 100
    addresses: int = 2000


@dataclass(frozen=True, slots=True)
class SmtpLimits:
    """RFC 5321 4.5.3.1 gives the least; ours are above."""

    command_line: int = 4096
    text_line: int = 64 * KIB
    message_bytes: int = 50 * MIB
    header_bytes: int = 256 * KIB
    recipients: int = 1000
    received_fields: int = 50
    auth_line: int = 12288
    errors: int = 20
    commands: int = 10_000
    idle: float = 300.0
    body_idle: float = 600.0
    session: float = 3600.0


@dataclass(frozen=True, slots=True)
class SmtpClientLimits:
    """How long another server may be silent (RFC 5321 4.5.3.2), and how much it may say in one reply."""

    greeting: float = 300.0
    command: float = 300.0
    data: float = 120.0
    text: float = 180.0
    end: float = 600.0
    quit: float = 10.0
    reply_bytes: int = 256 * KIB


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Sending to other servers; counts are those of one worker."""

    hosts: int = 10
    """MX hosts of a domain that are looked at (RFC 5321 5.1: at least two addresses are tried)."""
    attempts: int = 10
    """Addresses that one delivery tries."""
    connect: float = 30.0
    opening: float = 600.0
    """From the greeting to the end of the login."""
    transaction: float = 3600.0
    """From MAIL to the answer to the message's end."""
    recipients: int = 100
    """Of one transaction (RFC 5321 4.5.3.1.8: every server takes a hundred)."""
    connections: int = 20
    """To one destination."""
    messages: int = 100
    """Over one connection."""
    idle: float = 5.0
    """How long a connection waits for another message."""
    in_flight: int = 1000
    """Recipients being tried."""


@dataclass(frozen=True, slots=True)
class ImapLimits:
    line: int = 64 * KIB
    literal: int = 64 * KIB
    command: int = 256 * KIB
    depth: int = 50
    set_ranges: int = 20_000
    fetch_items: int = 1000
    """Items of one FETCH, and header names in one of them."""
    search_keys: int = 1000
    append_bytes: int = 50 * MIB
    drained: int = 64 * MIB
    """What is read past of a command that was refused; beyond it the connection ends (RFC 7888 4)."""
    mailbox_name: int = 1000
    mailbox_depth: int = 30
    keywords: int = 500
    mailboxes: int = 10_000
    errors: int = 20
    login: float = 60.0
    idle: float = 1800.0
    heartbeat: float = 120.0
    body_idle: float = 300.0


@dataclass(frozen=True, slots=True)
class Pop3Limits:
    """RFC 2449 4: a command line is at most 255 octets; AUTH needs more."""

    command_line: int = 512
    auth_line: int = 12288
    errors: int = 20
    login: float = 60.0
    idle: float = 600.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    total: int = 20_000
    per_address: int = 2000
    per_account: int = 2000
    output_buffer: int = 256 * KIB
    input_buffer: int = 128 * KIB
    handshake: float = 30.0
    write_stall: float = 300.0


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """Argon2id runs off the loop; `concurrent` bounds its memory (19 MiB each)."""

    concurrent: int = 4
    waiting: int = 200
    cache_seconds: float = 300.0
    cache_entries: int = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    mime: MimeLimits = MimeLimits()
    smtp: SmtpLimits = SmtpLimits()
    smtp_client: SmtpClientLimits = SmtpClientLimits()
    relay: RelayLimits = RelayLimits()
    imap: ImapLimits = ImapLimits()
    pop3: Pop3Limits = Pop3Limits()
    connections: ConnectionLimits = ConnectionLimits()
    login: LoginLimits = LoginLimits()
