"""Who is there: LOGIN, AUTHENTICATE, STARTTLS, CAPABILITY, ID, ENABLE, LOGOUT (RFC 3501 6.1, 6.2; RFC 2971; RFC 5161).

Refused by `flow.accounts`, which says why: a password before TLS, a wrong one,
an account that is disabled.  Nothing is ever decided by what a client says of
itself in ID (RFC 2971 3).
"""

from __future__ import annotations

from postane.core.dialogue import StartTls
from postane.core.status import Condition, MailError
from postane.flow.accounts import Attempt
from postane.proto import sasl
from postane.proto.imap import response
from postane.proto.imap.capability import capabilities
from postane.proto.imap.command import (
    Authenticate,
    Capability,
    Challenge,
    Enable,
    Ending,
    Id,
    Login,
    Logout,
    SaslResponse,
    StartTlsCommand,
    State,
    Tagged,
    Wire,
)
from postane.session.imap.connection import Answers, Connection, Exchange, farewell

PRODUCT = b"Postane"


def offered(connection: Connection) -> tuple[bytes, ...]:
    """What CAPABILITY says at this moment."""
    can_start_tls = connection.secured is None
    return capabilities(connection.state, can_start_tls=can_start_tls, may_login=_may_login(connection))


def _may_login(connection: Connection) -> bool:
    is_secured = connection.secured is not None
    return connection.services.accounts.may_offer_login(connection.listener, connection.peer, is_secured)


async def capability(connection: Connection, command: Capability) -> Answers:
    return Wire(response.capability(offered(connection))), Tagged(command.tag, Ending.OK, "CAPABILITY completed")


async def identify(connection: Connection, command: Id) -> Answers:
    if command.params:
        facts = {name[:30]: value[:200] for name, value in command.params[:30] if value is not None}
        connection.services.log.info("imap.client", client=facts)
    return Wire(b'* ID ("name" "%b")\r\n' % PRODUCT), Tagged(command.tag, Ending.OK, "ID completed")


async def enable(connection: Connection, command: Enable) -> Answers:
    """RFC 5161 3.1: what can't be enabled is passed over; none of what is offered has to be enabled."""
    return Wire(b"* ENABLED\r\n"), Tagged(command.tag, Ending.OK, "ENABLE completed")


async def start_tls(connection: Connection, command: StartTlsCommand) -> Answers:
    if connection.secured is not None:
        raise MailError(Condition.BAD_SEQUENCE, "TLS is up already")
    return Tagged(command.tag, Ending.OK, "Begin TLS now"), StartTls()


async def logout(connection: Connection, command: Logout) -> Answers:
    goodbye, hangup = farewell("Until next time")
    return goodbye, Tagged(command.tag, Ending.OK, "LOGOUT completed", state=State.LOGOUT), hangup


# ---------------------------------------------------------------- LOGIN and AUTHENTICATE


async def login(connection: Connection, command: Login) -> Answers:
    try:
        credentials = sasl.Credentials("", command.user.decode("utf-8"), command.password.decode("utf-8"))
    except UnicodeDecodeError:
        raise MailError(Condition.AUTH_FAILED, "The user name or the password is not UTF-8") from None
    return (await _admit(connection, command.tag, credentials),)


async def authenticate(connection: Connection, command: Authenticate) -> Answers:
    mechanism = sasl.mechanism(command.mechanism)
    if mechanism is None:
        names = ", ".join(sasl.NAMES)
        raise MailError(Condition.PARAMETER_NOT_IMPLEMENTED, f"There is no such mechanism here; there are {names}")
    if command.initial is None and not _may_login(connection):
        # No challenge, so no password is sent; `login` refuses before it looks, and says what to choose.
        return (await _admit(connection, command.tag, sasl.Credentials("", "", "")),)
    connection.exchange = Exchange(command.tag, mechanism)
    return (await _step(connection, connection.exchange, command.initial),)


async def sasl_response(connection: Connection, event: SaslResponse) -> Answers:
    exchange = connection.exchange
    if exchange is None:
        return ()
    if event.data is None:
        connection.exchange = None
        return (Tagged(exchange.tag, Ending.BAD, "AUTHENTICATE was cancelled, or its answer was no base64"),)
    return (await _step(connection, exchange, event.data),)


async def _step(connection: Connection, exchange: Exchange, data: bytes | None) -> Challenge | Tagged:
    connection.exchange = None
    said = exchange.mechanism.step(data)
    if isinstance(said, bytes):
        connection.exchange = exchange
        return Challenge(said)
    return await _admit(connection, exchange.tag, said)


async def _admit(connection: Connection, tag: bytes, credentials: sasl.Credentials) -> Tagged:
    services = connection.services
    identity = await services.accounts.login(
        Attempt(
            user=credentials.user,
            password=credentials.password,
            peer=connection.peer,
            is_secured=connection.secured is not None,
            listener=connection.listener,
            protocol="imap",
            authorization=credentials.authorization,
        )
    )
    account = identity.account.ref.id
    if not services.connections.enter(account):
        raise MailError(Condition.TOO_MANY_LOGINS, "This account has as many connections as it may; close some first")
    connection.identity = identity
    connection.stop_watching = services.hints.watch(account, connection.changed, connection.revoked)
    connection.state = State.AUTHENTICATED
    code = b"CAPABILITY " + b" ".join(offered(connection))
    return Tagged(tag, Ending.OK, "Logged in", code, State.AUTHENTICATED)
