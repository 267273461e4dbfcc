"""What a delivery report says to people, in English: who, why, what the other server said, and what to do.

`english` is one function of one value; another language is another function.
"""

from __future__ import annotations

from textwrap import wrap

from postane.mime.compose import rfc5322_date
from postane.mime.report import MAX_WORDS, Action, DeliveryReport, RecipientStatus, Words

_WIDTH = 72

_SUBJECTS = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is delayed",
    Action.DELIVERED: "Your message was delivered",
    Action.RELAYED: "Your message was passed on",
}
_OPENINGS = {
    Action.FAILED: "{message} could not be delivered to everyone. It did not reach these recipients, and will not be "
    "tried again for them:",
    Action.DELAYED: "{message} could not be delivered yet. You need not do anything: it is tried again, and if that "
    "does not help, you will be told. These recipients are still waiting for it:",
    Action.DELIVERED: "{message} was put into the mailbox of these recipients, as you asked to be told:",
    Action.RELAYED: "{message} was passed on to the next server for these recipients. That server does not tell of "
    "what happens from there on, so this is the last report you get, unless it fails:",
}
_DOUBLE = (
    "This is for the postmaster. A message without a return address, most likely a report itself, could not be "
    "delivered, so there is nobody else to tell. No further report on it will follow. It was on its way to:"
)
# By enhanced code, the longest beginning first; its class does not matter (RFC 3463 3).
_REASONS = (
    ("1.10", "The domain takes no mail at all.", "Check the part behind the @, or ask the person for another address."),
    ("1.1", "There is no such mailbox.", "Check the spelling of the part before the @."),
    ("1.2", "There is no such mail domain.", "Check the spelling of the part behind the @."),
    ("1.", "The address is not accepted.", "Check its spelling, or ask the person for it by another way."),
    ("2.1", "The mailbox is switched off.", "Ask the person for another address."),
    ("2.2", "The mailbox is full.", "Tell the person by another way, and send it again later."),
    ("2.3", "The message is too large for this mailbox.", "Send less at once, or a link to the files."),
    ("3.4", "The message is too large for that server.", "Send less at once, or a link to the files."),
    ("4.6", "The message went round in a circle.", "Tell the administrator of the address: it is forwarded to itself."),
    ("4.7", "It took too long.", "Send it again later, or reach the person by another way."),
    (
        "4.",
        "The other server could not be reached.",
        "Check the part behind the @; if it is right, send it again later.",
    ),
    ("6.", "The other server cannot take this kind of message.", "Send it in a simpler form, or with a plain address."),
    ("7.", "The other server refused it by its rules.", "Read what it said; ask its administrator, by another way."),
)
_UNKNOWN = ("The other server did not take it.", "Read what it said; if that does not help, ask its administrator.")


def english(report: DeliveryReport) -> Words:
    subject = "A report could not be delivered" if report.is_double else _SUBJECTS[report.action]
    named = f'Your message "{_line(report.subject)[:200]}"' if report.subject.strip() else "Your message"
    message = f"{named} of {rfc5322_date(report.arrived_at)}"
    opening = _DOUBLE if report.is_double else _OPENINGS[report.action].format(message=message)
    paragraphs = ["\n".join(wrap(opening, _WIDTH)), *(_recipient(report, each) for each in report.recipients)]
    closing = f"This report was written by the mail server {report.host}. For its administrator: {report.log_id}"
    paragraphs.append("\n".join(wrap(closing, _WIDTH)))
    return Words(subject, "\n\n".join(paragraphs) + "\n")


def _recipient(report: DeliveryReport, each: RecipientStatus) -> str:
    lines = [f"  <{each.address}>"]
    is_good = report.action in (Action.DELIVERED, Action.RELAYED)
    why, what_to_do = _reason(each.status)
    if not is_good:
        lines += _indented(why)
    if each.words:
        said = f"The server {_line(each.host)} said:" if each.host else "This server says:"
        lines += [*_indented(said), *_indented(_line(each.words)[:MAX_WORDS], "        ")]
    if report.action is Action.FAILED and not report.is_double:
        lines += _indented(f"What you can do: {what_to_do}")
    if each.retry_until:
        lines += _indented(f"It is tried until {rfc5322_date(each.retry_until)}.")
    return "\n".join(lines)


def _reason(status: str) -> tuple[str, str]:
    detail = status.partition(".")[2] + "."
    for beginning, why, what_to_do in _REASONS:
        if detail.startswith(beginning if beginning.endswith(".") else f"{beginning}."):
            return why, what_to_do
    return _UNKNOWN


def _indented(text: str, indent: str = "    ") -> list[str]:
    return wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _line(text: str) -> str:
    """On one line, without what a terminal would obey."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
