"""Certificates: made once, checked against their keys, chosen by name, replaced while connections are up."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from conversing import Serving, client_context
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from postane.net.tls import (
    BadCertificate,
    CertificateFiles,
    CertificateStore,
    fingerprint,
    make_self_signed,
    names_of,
    read_certificate,
    server_context,
)

NAMES = ("mail.example.org", "mail.xn--rnek-5qa.example", "host", "192.0.2.1", "2001:db8::1")


def test_a_self_signed_certificate_is_made_once_and_kept(tmp_path):
    files = make_self_signed(tmp_path / "new" / "folder", NAMES)
    made = files.certificate.read_bytes()
    certificate = read_certificate(files.certificate)

    assert names_of(certificate) == NAMES
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 3650
    assert files.key.stat().st_mode & 0o777 == 0o600
    assert files == make_self_signed(tmp_path / "new" / "folder", ("other.example",))
    assert made == files.certificate.read_bytes()
    assert fingerprint(files.certificate) == ":".join(
        f"{octet:02X}" for octet in certificate.fingerprint(hashes.SHA256())
    )


def test_half_a_pair_is_made_anew(tmp_path):
    files = make_self_signed(tmp_path, NAMES)
    files.certificate.unlink()
    server_context(make_self_signed(tmp_path, NAMES))


def _encrypted(files: CertificateFiles) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


def test_what_is_wrong_is_said_with_the_file_and_the_mend(tmp_path):
    one = make_self_signed(tmp_path / "one", NAMES)
    two = make_self_signed(tmp_path / "two", NAMES)
    secret = tmp_path / "secret.pem"
    secret.write_bytes(_encrypted(one))
    chain = tmp_path / "chain.pem"
    chain.write_bytes(two.certificate.read_bytes() + one.certificate.read_bytes())
    missing = tmp_path / "missing.pem"
    for files, wrong, words in (
        (CertificateFiles(one.certificate, two.key), two.key, "does not belong"),
        (CertificateFiles(missing, one.key), missing, "no such file"),
        (CertificateFiles(one.certificate, missing), missing, "no such file"),
        (CertificateFiles(one.key, one.key), one.key, "no readable certificate"),
        (CertificateFiles(one.certificate, one.certificate), one.certificate, "no readable private key"),
        (CertificateFiles(one.certificate, secret), secret, "pass phrase"),
        (CertificateFiles(chain, one.key), chain, "does not stand first"),
        (CertificateFiles(tmp_path, one.key), tmp_path, "cannot be read"),
    ):
        with pytest.raises(BadCertificate, match=words) as caught:
            server_context(files)
        assert caught.value.path == wrong
        assert caught.value.mend


async def test_names_choose_the_certificate_and_reload_replaces_it(tmp_path):
    one = make_self_signed(tmp_path / "one", ("mail.one.example", "localhost"))
    two = make_self_signed(tmp_path / "two", ("*.two.example",))
    store = CertificateStore(one, two)
    async with Serving(tls=store.context, implicit_tls=True) as serving:
        for name, files in (("mail.one.example", one), ("MAIL.two.example", two), ("mail.one.example", one)):
            reader, writer = await serving.connect(ssl=client_context(files.certificate), server_hostname=name)
            assert await reader.readline() == b"hello\r\n"
            assert serving.sessions[-1].opened.secured.server_name == name.lower()
            writer.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await serving.connect(ssl=client_context(two.certificate), server_hostname="nobody.example")

        three = make_self_signed(tmp_path / "three", ("mail.one.example",))
        with pytest.raises(BadCertificate):
            store.reload(CertificateFiles(three.certificate, one.key))
        serving.tls = store.context
        reader, writer = await serving.connect(ssl=client_context(one.certificate), server_hostname="mail.one.example")
        store.reload(three)
        serving.tls = store.context
        second_reader, second = await serving.connect(
            ssl=client_context(three.certificate), server_hostname="mail.one.example"
        )
        for each, writer_of_each in ((reader, writer), (second_reader, second)):
            writer_of_each.write(b"quit\r\n")
            assert b"hello\r\nbye\r\n" == await asyncio.wait_for(each.read(), 5)
            writer_of_each.close()
