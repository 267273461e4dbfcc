"""Whether a server's certificate is good for a name, by the authorities that this machine trusts.

RFC 5280 6, RFC 6125 6, as the web's own rules have them, by the verifier of the
`cryptography` library.  Looked at after the handshake, so that mail may still go
where a flawed certificate is no reason to stop, and the report can say what the flaw was.

Refused beyond those RFCs: names in the subject alone, SHA-1, RSA keys under 2048
bits.  Of a long chain only the first `MAX_CHAIN` certificates are looked at.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from postane.core.clock import Clock, SystemClock
from postane.net.tls import names_of

MAX_CHAIN = 16
_NAMES_SHOWN = 5
# Where distributions keep the bundle if OpenSSL was built to look elsewhere.
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


class Trust:
    """`authorities` is a PEM bundle; None means the machine's own.  Read when first needed."""

    def __init__(self, authorities: Path | None = None, clock: Clock | None = None) -> None:
        self._authorities = authorities
        self._clock = clock or SystemClock()
        self._store: Store | None = None

    def problem(self, chain: tuple[bytes, ...], server_name: str) -> str:
        """ "" where the chain (DER, the server's own first) is good; else a result type of RFC 8460 4.3.2 and words."""
        try:
            leaf, *others = (x509.load_der_x509_certificate(each) for each in chain[:MAX_CHAIN])
            self._verify(leaf, others, server_name)
        except VerificationError as error:
            return self._classify(leaf, server_name, str(error))
        except (ValueError, x509.UnsupportedGeneralNameType) as error:
            return f"certificate-not-trusted: it cannot be judged ({error})"
        except OSError as error:
            return f"certificate-not-trusted: the known authorities cannot be read ({error})"
        return ""

    def _verify(self, leaf: x509.Certificate, others: list[x509.Certificate], server_name: str) -> None:
        if self._store is None:
            self._store = Store(x509.load_pem_x509_certificates((self._authorities or _bundle()).read_bytes()))
        builder = PolicyBuilder().store(self._store).time(self._now()).max_chain_depth(MAX_CHAIN)
        builder.build_server_verifier(_subject(server_name)).verify(leaf, others)

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self._clock.now(), datetime.UTC)

    def _classify(self, leaf: x509.Certificate, server_name: str, words: str) -> str:
        now = self._now()
        if now > leaf.not_valid_after_utc:
            return f"certificate-expired: it was good until {leaf.not_valid_after_utc:%Y-%m-%d}"
        if now < leaf.not_valid_before_utc:
            return f"certificate-expired: it is good only from {leaf.not_valid_before_utc:%Y-%m-%d} on"
        names = names_of(leaf)
        if server_name not in names and "*." + server_name.partition(".")[2] not in names:
            shown = ", ".join(names[:_NAMES_SHOWN]) or "no name at all"
            return f"certificate-host-mismatch: it is for {shown}"
        return f"certificate-not-trusted: no known authority vouches for it ({words})"


def _subject(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _bundle() -> Path:
    found = ssl.get_default_verify_paths()
    for path in (found.cafile, found.openssl_cafile, *_BUNDLES):
        if path is not None and Path(path).is_file():
            return Path(path)
    raise FileNotFoundError("this machine has no bundle of certificate authorities")
