"""Mailboxes as a client manages and sees them (RFC 3501 6.3.1 to 6.3.10).

With CREATE-SPECIAL-USE (RFC 6154), CHILDREN (RFC 3348), NAMESPACE (RFC 2342),
STATUS=SIZE (RFC 8438) and UNSELECT (in `change`).  Special use is told in LIST
and in LSUB without being asked for: iPhones read it in the one, Outlook in the other.

Refused: names that the store refuses; a second mailbox for a special use.
"""

from __future__ import annotations

from asyncio import sleep
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace

from postane.core.status import Condition, MailError
from postane.proto.imap import response
from postane.proto.imap.command import (
    Create,
    Delete,
    Ending,
    List,
    Namespace,
    Rename,
    Select,
    State,
    Status,
    StatusItem,
    SubscribeCommand,
    Tagged,
    Wire,
)
from postane.session.imap.connection import Answers, Connection, Stream, farewell
from postane.session.imap.pattern import Pattern
from postane.session.imap.view import Access, View
from postane.store.api import (
    DELIMITER,
    INBOX,
    CreateMailbox,
    DeleteMailbox,
    Mailbox,
    RenameMailbox,
    Role,
    Subscribe,
)

NAMES = 256
"""How many names are matched before others have their turn."""

_ATTRIBUTES = {
    Role.ARCHIVE: b"\\Archive",
    Role.DRAFTS: b"\\Drafts",
    Role.JUNK: b"\\Junk",
    Role.SENT: b"\\Sent",
    Role.TRASH: b"\\Trash",
}
_ROLES = {attribute.decode("ascii").lower(): role for role, attribute in _ATTRIBUTES.items()}


# ---------------------------------------------------------------- SELECT and EXAMINE


async def select(connection: Connection, command: Select) -> Answers:
    """RFC 3501 6.3.1: what was selected is left first, so a failure leaves nothing selected."""
    connection.view = None
    mail, account = connection.services.mail, connection.account
    mailbox = await mail.mailbox(account, command.mailbox)
    if not mailbox.selectable:
        raise MailError(Condition.MAILBOX_NONEXISTENT, "This is only a level of the hierarchy and holds no messages")
    access = Access.READ_ONLY if command.read_only else Access.READ_WRITE
    view = View(mail, account, mailbox, access, connection.services.limits.imap.keywords)
    await view.open()
    connection.view = view
    text = "EXAMINE completed" if command.read_only else "SELECT completed"
    code = access.value.upper().encode("ascii")
    return Wire(_opening(view)), Tagged(command.tag, Ending.OK, text, code, State.SELECTED)


def _opening(view: View) -> bytes:
    said = [view.flag_lines(), b"* %d EXISTS\r\n* %d RECENT\r\n" % (view.exists, view.recent)]
    if view.first_unseen:
        number = bisect_left(view.uids, view.first_unseen) + 1
        said.append(b"* OK [UNSEEN %d] The first unseen message\r\n" % number)
    mailbox = view.mailbox
    said.append(b"* OK [UIDVALIDITY %d] UIDs are valid\r\n" % mailbox.uidvalidity)
    said.append(b"* OK [UIDNEXT %d] The next UID\r\n" % mailbox.uidnext)
    return b"".join(said)


# ---------------------------------------------------------------- CREATE, DELETE, RENAME, SUBSCRIBE


async def create(connection: Connection, command: Create) -> Answers:
    role = _role(command.special_use)
    if role is not Role.NONE:
        held = [each.name for each in await connection.services.mail.mailboxes(connection.account) if each.role is role]
        if held:
            raise MailError(Condition.SPECIAL_USE, f"{held[0]} has this special use already")
    await connection.services.mail.write(connection.account, CreateMailbox(command.mailbox, role))
    return (Tagged(command.tag, Ending.OK, "CREATE completed"),)


def _role(special_use: tuple[str, ...]) -> Role:
    """RFC 6154 3: what can't be had is refused as a whole."""
    if not special_use:
        return Role.NONE
    role = _ROLES.get(special_use[0].lower())
    if role is None or len(special_use) > 1:
        uses = ", ".join(attribute.decode("ascii") for attribute in _ATTRIBUTES.values())
        raise MailError(Condition.SPECIAL_USE, f"A mailbox has one special use, and those here are {uses}")
    return role


async def delete(connection: Connection, command: Delete) -> Answers:
    mail, account = connection.services.mail, connection.account
    mailbox = await mail.mailbox(account, command.mailbox)
    await mail.write(account, DeleteMailbox(command.mailbox))
    done = Tagged(command.tag, Ending.OK, "DELETE completed")
    if connection.view is None or connection.view.mailbox.id != mailbox.id:
        return (done,)
    connection.view = None
    closed = Wire(b"* OK [CLOSED] The selected mailbox was deleted\r\n")
    return closed, replace(done, state=State.AUTHENTICATED)


async def rename(connection: Connection, command: Rename) -> Answers:
    await connection.services.mail.write(connection.account, RenameMailbox(command.mailbox, command.new_name))
    return (Tagged(command.tag, Ending.OK, "RENAME completed"),)


async def subscribe(connection: Connection, command: SubscribeCommand) -> Answers:
    """RFC 3501 6.3.6: a name may be subscribed to whether or not there is such a mailbox."""
    await connection.services.mail.write(connection.account, Subscribe(command.mailbox, command.subscribed))
    verb = "SUBSCRIBE" if command.subscribed else "UNSUBSCRIBE"
    return (Tagged(command.tag, Ending.OK, f"{verb} completed"),)


# ---------------------------------------------------------------- LIST and LSUB


async def list_(connection: Connection, command: List) -> Stream:
    """A failure is said with BYE, not NO: Outlook drops all it has kept when LIST or LSUB answers NO."""
    verb = "LSUB" if command.subscribed_only else "LIST"
    try:
        found = await _find(connection, command)
    except MailError as error:
        connection.services.log.warning("imap.list_failed", detail=error.detail or error.text)
        for answer in farewell(f"Try again later: {error.text}", b"UNAVAILABLE"):
            yield answer
        return
    lines: list[bytes] = []
    for number, line in enumerate(found, 1):
        lines.append(line)
        if number % NAMES == 0:
            yield Wire(b"".join(lines))
            lines.clear()
            await sleep(0)
    yield Wire(b"".join(lines))
    yield Tagged(command.tag, Ending.OK, f"{verb} completed")


async def _find(connection: Connection, command: List) -> Iterator[bytes]:
    if not command.pattern:  # RFC 3501 6.3.8: asks for the delimiter; iOS begins with it
        verb = b"LSUB" if command.subscribed_only else b"LIST"
        return iter((response.list_response("", (b"\\Noselect",), command=verb),))
    mailboxes = await connection.services.mail.mailboxes(connection.account)
    if command.subscribed_only:
        subscribed = await connection.services.mail.subscriptions(connection.account)
        return _subscribed(_interpret(command), subscribed, mailboxes)
    return _existing(_interpret(command), mailboxes, command.special_use_only)


def _interpret(command: List) -> Pattern:
    """RFC 3501 6.3.8: the reference, then the pattern; INBOX in any case."""
    text = command.reference + command.pattern
    if text[: len(INBOX)].upper() == INBOX and text[len(INBOX) : len(INBOX) + 1] in ("", DELIMITER):
        text = INBOX + text[len(INBOX) :]
    return Pattern(text)


def _existing(pattern: Pattern, mailboxes: tuple[Mailbox, ...], special_use_only: bool) -> Iterator[bytes]:
    """One line or b"" for each mailbox."""
    parents = {level for each in mailboxes for level in _levels(each.name)}
    upper = Pattern(pattern.text.upper())
    for each in mailboxes:
        is_wanted = (not special_use_only or each.role in _ATTRIBUTES) and (
            pattern.matches(each.name) or (each.name == INBOX and upper.matches(INBOX))
        )
        yield response.list_response(each.name, _attributes(each, parents)) if is_wanted else b""


def _subscribed(pattern: Pattern, names: tuple[str, ...], mailboxes: tuple[Mailbox, ...]) -> Iterator[bytes]:
    """RFC 3501 6.3.9: a level above what is subscribed stands for it where the pattern ends in "%"."""
    existing = {each.name: each for each in mailboxes}
    parents = {level for each in mailboxes for level in _levels(each.name)}
    upper = Pattern(pattern.text.upper())
    shown: set[str] = set(names)
    for name in names:
        if pattern.matches(name) or (name == INBOX and upper.matches(INBOX)):
            mailbox = existing.get(name)
            attributes = _attributes(mailbox, parents) if mailbox else (b"\\HasNoChildren",)
            yield response.list_response(name, attributes, command=b"LSUB")
        else:
            yield b""
        for level in _levels(name) if pattern.ends_in_level else ():
            if level not in shown and pattern.matches(level):
                shown.add(level)
                yield response.list_response(level, (b"\\Noselect", b"\\HasChildren"), command=b"LSUB")


def _levels(name: str) -> Iterator[str]:
    """a/b/c -> a, a/b."""
    at = name.find(DELIMITER)
    while at >= 0:
        yield name[:at]
        at = name.find(DELIMITER, at + 1)


def _attributes(mailbox: Mailbox, parents: set[str]) -> Iterable[bytes]:
    if not mailbox.selectable:
        yield b"\\Noselect"
    yield b"\\HasChildren" if mailbox.name in parents else b"\\HasNoChildren"
    if mailbox.role in _ATTRIBUTES:
        yield _ATTRIBUTES[mailbox.role]


# ---------------------------------------------------------------- STATUS and NAMESPACE


async def status(connection: Connection, command: Status) -> Answers:
    mailbox = await connection.services.mail.mailbox(connection.account, command.mailbox)
    if not mailbox.selectable:
        raise MailError(Condition.MAILBOX_NONEXISTENT, "This is only a level of the hierarchy and holds no messages")
    values = {
        StatusItem.MESSAGES: mailbox.messages,
        StatusItem.UIDNEXT: mailbox.uidnext,
        StatusItem.UIDVALIDITY: mailbox.uidvalidity,
        StatusItem.UNSEEN: mailbox.unseen,
        StatusItem.SIZE: mailbox.bytes,
    }
    if StatusItem.RECENT in command.items:
        values[StatusItem.RECENT] = await _recent(connection, mailbox)
    said = response.status_response(mailbox.name, [(item, values[item]) for item in command.items])
    return Wire(said), Tagged(command.tag, Ending.OK, "STATUS completed")


async def _recent(connection: Connection, mailbox: Mailbox) -> int:
    """No counter: the UIDs are looked through, but only where some may be recent."""
    if mailbox.recent_from >= mailbox.uidnext:
        return 0
    uids = (await connection.services.mail.snapshot(connection.account, mailbox.id)).uids
    return len(uids) - bisect_left(uids, mailbox.recent_from)


async def namespace(connection: Connection, command: Namespace) -> Answers:
    """RFC 2342 5: one's own; no other users' and no shared mailboxes."""
    said = b'* NAMESPACE (("" "/")) NIL NIL\r\n'
    return Wire(said), Tagged(command.tag, Ending.OK, "NAMESPACE completed")
