"""Every setting with its default, as values (TOML tables are Structs, limits are `core.limits`).

Names on disk are the names here: `Settings.listen.imap.port` is `port` under
`[listen.imap]` in `postane.toml`, and `POSTANE_LISTEN__IMAP__PORT` in the
environment.  The descriptions become the comments of `postane config init`.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from msgspec import Meta, Struct, field

from postane.core.address import parse_domain
from postane.core.limits import Limits
from postane.core.listener import Service


class Plaintext(Enum):
    """Whether a password may come over a connection that is not encrypted (RFC 8314 4.1 says it should not)."""

    REFUSE = "refuse"
    ALLOW = "allow"


class PlaintextHere(Enum):
    """The same for one listener or domain; INHERIT is what `login.plaintext` says."""

    INHERIT = "inherit"
    REFUSE = "refuse"
    ALLOW = "allow"


class PlaintextDomain(Enum):
    """For a domain: what its listeners say, or allowed on all of them."""

    INHERIT = "inherit"
    ALLOW = "allow"


class Ports(Enum):
    """Which ports are taken where a listener names none.  AUTO: the standard ones, or the high ones if those fail."""

    AUTO = "auto"
    STANDARD = "standard"
    HIGH = "high"
    RANDOM = "random"


class LogLevel(Enum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(Enum):
    """AUTO: for people on a terminal, JSON elsewhere."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


Text = Annotated[str, Meta(max_length=4096)]
Addresses = tuple[str, ...]


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: Annotated[Text, Meta(description="The data folder. Empty: see `postane --help`.")] = ""
    host_name: Annotated[
        Text, Meta(description="Our name in greetings and trace fields. Empty: the machine's own name.")
    ] = ""
    workers: Annotated[int, Meta(ge=0, le=256, description="Worker processes. 0: one for each processor core.")] = 0
    undelete_days: Annotated[
        int, Meta(ge=1, le=36500, description="Days that deleted mail can still be brought back.")
    ] = 14


class LoginHere(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    plaintext: Annotated[
        PlaintextHere, Meta(description='"allow" lets passwords come unencrypted here; "inherit": as [login] says.')
    ] = PlaintextHere.INHERIT


class ListenerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    enabled: bool = True
    port: Annotated[int, Meta(ge=0, le=65535, description="0: as `listen.ports` says.")] = 0
    addresses: Annotated[Addresses, Meta(description="Empty: as `listen.addresses` says.")] = ()
    login: LoginHere = LoginHere()


class LmtpSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """LMTP asks for no password (RFC 2033), so it stays on this machine unless it is told otherwise."""

    enabled: bool = True
    port: Annotated[int, Meta(ge=0, le=65535, description="0: as `listen.ports` says.")] = 0
    addresses: Annotated[Addresses, Meta(description="LMTP asks for no password: keep it on this machine.")] = (
        "127.0.0.1",
        "::1",
    )
    socket: Annotated[Text, Meta(description="A Unix socket beside the port, for an MTA in front. Empty: none.")] = ""


class Listen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ports: Annotated[
        Ports, Meta(description='"standard", "high" (2525, 2143 ...), "random", or "auto": standard if possible.')
    ] = Ports.AUTO
    addresses: Annotated[Addresses, Meta(description="Numeric addresses to listen on.")] = ("0.0.0.0", "::")  # noqa: S104
    smtp: ListenerSettings = ListenerSettings()
    lmtp: LmtpSettings = LmtpSettings()
    submission: ListenerSettings = ListenerSettings()
    submissions: ListenerSettings = ListenerSettings()
    imap: ListenerSettings = ListenerSettings()
    imaps: ListenerSettings = ListenerSettings()
    pop3: ListenerSettings = ListenerSettings()
    pop3s: ListenerSettings = ListenerSettings()

    def of(self, service: Service) -> ListenerSettings | LmtpSettings:
        found: ListenerSettings | LmtpSettings = getattr(self, service.value)
        return found


class Login(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    plaintext: Annotated[
        Plaintext, Meta(description='"allow" lets passwords come unencrypted from anywhere. Prefer not to.')
    ] = Plaintext.REFUSE


class DomainLogin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    plaintext: PlaintextDomain = PlaintextDomain.INHERIT


class DomainSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    login: DomainLogin = DomainLogin()


class Tls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    certificate: Annotated[
        Text, Meta(description="PEM file: the certificate and its chain. Empty: a self-signed one is made and kept.")
    ] = ""
    key: Annotated[Text, Meta(description="PEM file: its private key.")] = ""


class SmarthostSecurity(Enum):
    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    OPPORTUNISTIC = "opportunistic"
    NONE = "none"


class Smarthost(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: Annotated[
        Text, Meta(description="A server that takes all mail for elsewhere. Empty: each domain's own servers.")
    ] = ""
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    security: Annotated[
        SmarthostSecurity, Meta(description='"starttls", "implicit" (465), "opportunistic", or "none".')
    ] = SmarthostSecurity.STARTTLS
    verify: Annotated[bool, Meta(description="Whether its certificate must be good for its name.")] = True
    user: Annotated[Text, Meta(description="Empty: no login.")] = ""
    password_file: Annotated[Text, Meta(description="A file whose first line is the password.")] = ""


class RelaySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Off until the limits on what an account may send are there: a stolen password would have no bound."""

    enabled: Annotated[
        bool, Meta(description="Whether mail for other servers is taken, from users and through aliases.")
    ] = False
    sources: Annotated[Addresses, Meta(description="Numeric addresses to send from, one a family. Empty: any.")] = ()
    port: Annotated[int, Meta(ge=1, le=65535, description="Where other servers listen.")] = 25
    nameservers: Annotated[
        Addresses, Meta(description="Numeric addresses of resolvers. Empty: as /etc/resolv.conf says.")
    ] = ()
    smarthost: Smarthost = Smarthost()


class LogSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    level: LogLevel = LogLevel.INFO
    format: Annotated[LogFormat, Meta(description='"console", "json", or "auto": console on a terminal.')] = (
        LogFormat.AUTO
    )


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    server: Server = Server()
    listen: Listen = Listen()
    login: Login = Login()
    domains: dict[str, DomainSettings] = field(default_factory=dict)
    tls: Tls = Tls()
    relay: RelaySettings = RelaySettings()
    limits: Limits = Limits()
    log: LogSettings = LogSettings()

    def plaintext_login(self, service: Service) -> bool:
        """Whether this listener takes passwords unencrypted; a listener that says nothing does as `login` says."""
        here = self.listen.of(service)
        if isinstance(here, LmtpSettings):
            return False
        return _allowed(here.login, self.login)

    def plaintext_domains(self) -> frozenset[str]:
        """A-labels of the domains whose people may log in unencrypted wherever they connect."""
        allowing = (name for name, one in self.domains.items() if one.login.plaintext is PlaintextDomain.ALLOW)
        return frozenset(parse_domain(name) for name in allowing)


def _allowed(here: LoginHere, everywhere: Login) -> bool:
    if here.plaintext is PlaintextHere.INHERIT:
        return everywhere.plaintext is Plaintext.ALLOW
    return here.plaintext is PlaintextHere.ALLOW
