"""A certificate authority of the tests' own, and what it signs."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from postane.net.tls import CertificateFiles, server_context

DAY = datetime.timedelta(days=1)
_SIGNS = x509.KeyUsage(False, False, False, False, False, True, True, False, False)


class Authority:
    """Signs through an intermediate of its own, as the known ones do.  `bundle` is what to trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = self._certify("Test Root", None)
        self._intermediate = self._certify("Test Intermediate", self._root)
        self.bundle = folder / "authorities.pem"
        self.bundle.write_bytes(_pem(self._root[0]))

    def issue(self, *names: str, days: int = 90) -> CertificateFiles:
        """Good from yesterday on for so many days; negative for one that has run out."""
        certificate, key = self._certify(names[0], self._intermediate, names, days)
        files = CertificateFiles(self._folder / f"{names[0]}{days}.pem", self._folder / f"{names[0]}{days}.key")
        files.certificate.write_bytes(_pem(certificate) + _pem(self._intermediate[0]))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    def context(self, *names: str, days: int = 90) -> ssl.SSLContext:
        return server_context(self.issue(*names, days=days))

    def _certify(
        self,
        name: str,
        signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
        hosts: tuple[str, ...] = (),
        days: int = 3650,
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key = ec.generate_private_key(ec.SECP256R1())
        start = datetime.datetime.now(datetime.UTC) - DAY - max(-days, 0) * 2 * DAY
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signed_by = signer[1] if signer else key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(signer[0].subject if signer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + DAY + abs(days) * DAY)
            .add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key()), critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            builder = builder.add_extension(names, critical=False).add_extension(usage, critical=False)
        else:
            builder = builder.add_extension(_SIGNS, critical=True)
        return builder.sign(signed_by, hashes.SHA256()), key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
