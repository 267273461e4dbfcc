"""Certificates: making one, reading them, choosing by the name that a client asks for.

TLS 1.2 and 1.3 with forward secrecy and authenticated encryption only (RFC 9325
3.1, 4.2).  Refused, with the file's name and the mend: a file that is missing or
no PEM, a key under a pass phrase, a key of another certificate.  A reload that
fails leaves what was loaded before.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from postane.net.records import ServerContext, ServerTls

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2; those of 1.3 are all fit."""
VALID_DAYS = 3650


class BadCertificate(Exception):
    """`path` is the file that is wrong, `problem` what is wrong with it, `mend` what to do."""

    def __init__(self, path: Path, problem: str, mend: str) -> None:
        super().__init__(f"{path}: {problem}; {mend}")
        self.path = path
        self.problem = problem
        self.mend = mend


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files: the certificate with its chain behind it, and its key."""

    certificate: Path
    key: Path


# ---------------------------------------------------------------- making


def make_self_signed(folder: Path, names: Sequence[str]) -> CertificateFiles:
    """The certificate in `folder`, made for `names` (host names and addresses, the first is its subject) if not there.

    What is there is kept, whatever its names: people have trusted its fingerprint.
    """
    files = CertificateFiles(folder / "certificate.pem", folder / "key.pem")
    if files.certificate.exists() and files.key.exists():
        return files
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(files.key, pem, 0o600)
    _write(files.certificate, _self_signed(key, names).public_bytes(serialization.Encoding.PEM), 0o644)
    return files


def cover_names(files: CertificateFiles, names: Sequence[str]) -> bool:
    """Makes a self-signed certificate anew where one of `names` is missing in it: the same key, the old names kept.

    Says whether it did.
    """
    known = names_of(read_certificate(files.certificate))
    if set(names) <= set(known):
        return False
    key = _read_key(files.key)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadCertificate(files.key, "it is no key of our own making", "remove both files to have new ones made")
    certificate = _self_signed(key, [*names, *known])
    _write(files.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return True


def _self_signed(key: ec.EllipticCurvePrivateKey, names: Sequence[str]) -> x509.Certificate:
    # The subject holds 64 characters at most; clients read the alternative names.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)]), False)
        # Not an authority: Mozilla's clients take no such certificate for a server's own.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


# ---------------------------------------------------------------- reading


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate of the file, the server's own."""
    return _read_chain(path)[0]


def fingerprint(path: Path) -> str:
    """SHA-256 of the certificate, as clients show it: AB:CD:..."""
    return read_certificate(path).fingerprint(hashes.SHA256()).hex(":").upper()


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Host names (lower-case, perhaps with a leading "*.") and addresses that it is good for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    hosts = [name.lower() for name in extension.get_values_for_type(x509.DNSName)]
    return (*hosts, *(str(address) for address in extension.get_values_for_type(x509.IPAddress)))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadCertificate(path, "there is no such file", "check the path in the settings") from None
    except OSError as error:
        mend = "make it readable for the user that runs the server"
        raise BadCertificate(path, f"it cannot be read ({error.strerror})", mend) from error


def _read_chain(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        mend = "give the PEM file with the server's certificate first and its chain behind it"
        raise BadCertificate(path, "it holds no readable certificate", mend) from error


def _read_key(path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(_read(path), None)
    except TypeError as error:
        mend = "store it without one, readable for the server's user only"
        raise BadCertificate(path, "the key is under a pass phrase", mend) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate(path, "it holds no readable private key", "give the PEM file of the key") from error


def _public_bytes(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _check_pair(files: CertificateFiles) -> x509.Certificate:
    chain = _read_chain(files.certificate)
    key = _public_bytes(_read_key(files.key).public_key())  # type: ignore[arg-type]
    matching = [number for number, each in enumerate(chain) if _public_bytes(each.public_key()) == key]
    if not matching:
        problem = f"the key does not belong to the certificate {files.certificate}"
        raise BadCertificate(files.key, problem, "give the key that the certificate was made for")
    if matching[0] != 0:
        problem = f"the certificate of the key {files.key} does not stand first"
        raise BadCertificate(files.certificate, problem, "put the server's own certificate first, then its chain")
    return chain[0]


def server_context(files: CertificateFiles) -> ServerContext:
    """A context for one certificate, checked against its key."""
    certificate = _check_pair(files)
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.end_point = _end_point(certificate)
    try:
        context.load_cert_chain(files.certificate, files.key)
    except ssl.SSLError as error:
        problem = f"OpenSSL refuses it ({error.reason or error})"
        raise BadCertificate(files.certificate, problem, "use a key of 2048 bits RSA or P-256, or better") from error
    return context


def _end_point(certificate: x509.Certificate) -> bytes:
    """RFC 5929 4.1: the certificate under the hash of its own signature, SHA-256 instead of what is weaker."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return b""
    if algorithm is None:
        return b""
    return certificate.fingerprint(hashes.SHA256() if algorithm.digest_size < 32 else algorithm)


# ---------------------------------------------------------------- choosing


class CertificateStore:
    """All certificates of the server.  The first is for clients that ask for no name, or for one that nobody has."""

    def __init__(self, first: CertificateFiles, *others: CertificateFiles) -> None:
        self._by_name: dict[str, ServerContext] = {}
        self.reload(first, *others)

    @property
    def context(self) -> ServerContext:
        """For the next connection."""
        return self._context

    def reload(self, first: CertificateFiles, *others: CertificateFiles) -> None:
        """Reads all files anew; connections that are up keep what they have.  BadCertificate changes nothing."""
        by_name: dict[str, ServerContext] = {}
        contexts = [server_context(files) for files in (first, *others)]
        for files, context in zip((first, *others), contexts, strict=True):
            for name in names_of(read_certificate(files.certificate)):
                by_name.setdefault(name, context)
        contexts[0].sni_callback = self._choose
        self._context = contexts[0]
        self._by_name = by_name

    def _choose(self, tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """RFC 6066 3.  A name nobody has gets the first certificate: the client says better what is wrong."""
        if name is None:
            return
        name = name.rstrip(".").lower()
        if isinstance(tls, ServerTls):
            tls.server_name = name
        chosen = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
        if chosen is not None:
            tls.context = chosen
