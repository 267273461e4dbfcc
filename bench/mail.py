"""Messages for the benchmarks: the same bytes for every server, about as varied as a real mailbox."""

from __future__ import annotations

import random

_WORDS = [
    "report",
    "invoice",
    "meeting",
    "tomorrow",
    "server",
    "quarterly",
    "summary",
    "question",
    "attached",
    "please",
    "review",
    "the",
    "project",
    "budget",
    "holiday",
    "schedule",
    "update",
    "customer",
    "delivery",
    "contract",
    "regards",
    "thanks",
    "toplantı",
    "rapor",
    "fatura",
    "müşteri",
]


def message(number: int, size: int, sender: str = "alice@example.org", recipient: str = "user000@bench.test") -> bytes:
    """One message of about `size` octets, CRLF line ends; every fourth is multipart with an attachment."""
    rng = random.Random(number)
    subject = " ".join(rng.choice(_WORDS) for _ in range(6)).encode("ascii", "replace").decode()
    head = (
        f"Received: from mx{number % 7}.example.org (mx{number % 7}.example.org [192.0.2.{number % 250}])\r\n"
        f"\tby relay.example.net (Postfix) with ESMTPS id {rng.getrandbits(40):010X}\r\n"
        f"\tfor <{recipient}>; Mon, 16 Nov 2026 10:{number % 60:02d}:00 +0000 (UTC)\r\n"
        f"Date: Mon, 16 Nov 2026 {number % 24:02d}:{number % 60:02d}:07 +0300\r\n"
        f"From: Alice Example <{sender}>\r\n"
        f'To: "Bench User" <{recipient}>, team{number % 11}@example.com\r\n'
        f"Cc: Robert <bob{number % 13}@example.com>\r\n"
        f"Subject: {subject} {number}\r\n"
        f"Message-ID: <{number}.{rng.getrandbits(64):x}@example.org>\r\n"
        f"In-Reply-To: <{number - 1}.parent@example.org>\r\n"
        f"References: <{number - 2}.root@example.org> <{number - 1}.parent@example.org>\r\n"
        "MIME-Version: 1.0\r\n"
        "X-Mailer: Example Mailer 12.3\r\n"
    )
    if number % 4:
        head += "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        return head.encode() + _text(rng, max(100, size - len(head)))
    mark = f"=-bench-{number}"
    head += f'Content-Type: multipart/mixed; boundary="{mark}"\r\n\r\n'
    half = max(100, (size - len(head)) // 2)
    return b"".join(
        (
            head.encode(),
            f"--{mark}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n".encode(),
            _text(rng, half),
            f'--{mark}\r\nContent-Type: application/pdf; name="r.pdf"\r\n'
            'Content-Disposition: attachment; filename="r.pdf"\r\n'
            "Content-Transfer-Encoding: base64\r\n\r\n".encode(),
            _base64(rng, half),
            f"--{mark}--\r\n".encode(),
        )
    )


def _text(rng: random.Random, size: int) -> bytes:
    out, length = [], 0
    while length < size:
        line = " ".join(rng.choice(_WORDS) for _ in range(10)).encode() + b"\r\n"
        out.append(line)
        length += len(line)
    return b"".join(out)


def _base64(rng: random.Random, size: int) -> bytes:
    line = (
        bytes(rng.choice(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") for _ in range(76))
        + b"\r\n"
    )
    return line * max(1, size // len(line))
