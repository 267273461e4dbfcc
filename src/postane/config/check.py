"""What can be used but is unwise, or will fail when the server starts."""

from __future__ import annotations

from pathlib import Path

from postane.config.settings import Plaintext, PlaintextDomain, PlaintextHere, Settings
from postane.core.listener import IMPLICIT_TLS, Service
from postane.net import tls
from postane.problem import Problem

_EXPOSED = "passwords can be read on the way (RFC 8314 4.1)"


def warnings(settings: Settings) -> list[str]:
    """For people.  Problem where a certificate cannot be used at all."""
    found = [*_plaintext(settings)]
    if settings.tls.certificate:
        files = tls.CertificateFiles(Path(settings.tls.certificate), Path(settings.tls.key))
        try:
            tls.server_context(files)
        except tls.BadCertificate as error:
            raise Problem(
                f"tls: {error.path}: {error.problem}.", f"{error.mend[:1].upper()}{error.mend[1:]}."
            ) from error
    if not any(settings.listen.of(service).enabled for service in Service):
        found.append("no listener is enabled, so nobody can connect")
    return found


def _plaintext(settings: Settings) -> list[str]:
    found = []
    if settings.login.plaintext is Plaintext.ALLOW:
        found.append(f'login.plaintext = "allow": {_EXPOSED}')
    for service in (Service.SUBMISSION, Service.IMAP, Service.POP3):
        here = settings.listen.of(service)
        if here.enabled and getattr(here, "login").plaintext is PlaintextHere.ALLOW:  # noqa: B009 - LMTP has none
            found.append(f'listen.{service.value}.login.plaintext = "allow": {_EXPOSED}')
    for service in IMPLICIT_TLS:
        if getattr(settings.listen.of(service), "login").plaintext is PlaintextHere.ALLOW:  # noqa: B009
            found.append(f'listen.{service.value}.login.plaintext = "allow" has no effect: TLS comes first there')
    for name, domain in settings.domains.items():
        if domain.login.plaintext is PlaintextDomain.ALLOW:
            found.append(f'domains."{name}".login.plaintext = "allow": {_EXPOSED}')
    return found
