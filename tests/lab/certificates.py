# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's certificates: TLS of the endpoints, and the operator's certificate for the secrets file."""

from __future__ import annotations

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DOCUMENT_ENCRYPTION = x509.ObjectIdentifier("1.3.6.1.4.1.311.80.1")

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_RENEW_BEFORE = datetime.timedelta(days=30)


@dataclass(frozen=True)
class KeyPair:
    """Files of a certificate and its private key, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class LabCertificates:
    """Everything a running lab needs of certificates."""

    authority: Path  # what a client trusts
    endpoint: KeyPair
    operator: KeyPair  # recipient of the secrets file; the key stays with the operator, here: with the tests
    deputy: KeyPair  # a second recipient, who opens it without the first


def ensure(folder: Path) -> LabCertificates:
    """The lab's certificates in this folder; made when absent or about to expire, else left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    found = LabCertificates(
        folder / "authority.pem",
        KeyPair(folder / "endpoint.pem", folder / "endpoint.key"),
        KeyPair(folder / "operator.pem", folder / "operator.key"),
        KeyPair(folder / "deputy.pem", folder / "deputy.key"),
    )
    if not (_usable(found.authority) and _usable(found.endpoint.certificate) and found.endpoint.key.exists()):
        _write_endpoint(found)
    for name, recipient in (("operator", found.operator), ("deputy", found.deputy)):
        if not (_usable(recipient.certificate) and recipient.key.exists()):
            write_operator(folder, name)
    return found


def write_operator(
    folder: Path,
    name: str,
    *,
    valid_from: float = -1.0,
    valid_days: float = 825.0,
    algorithm: str = "rsa",
    document_encryption: bool = True,
    key_usage: bool = True,
) -> KeyPair:
    """A recipient certificate and its key as NAME.pem and NAME.key.

    Args:
        folder: where the two files go.
        name: their name without ending, also the certificate's common name.
        valid_from: begin of validity in days from now; negative is in the past.
        valid_days: length of validity in days from ``valid_from``: (-30, 29) has expired, (-1, 6) soon will.
        algorithm: ``rsa``, or ``ec`` for one that ``Protect-CmsMessage`` must refuse.
        document_encryption: whether it has the document-encryption usage.
        key_usage: whether it has key and data encipherment.
    """
    key: PrivateKey = (
        rsa.generate_private_key(65537, 2048) if algorithm == "rsa" else ec.generate_private_key(ec.SECP256R1())
    )
    builder = _builder(_name(f"alteryx_ops lab {name}"), key, valid_from=valid_from, valid_days=valid_days)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if key_usage:
        builder = builder.add_extension(_usage(key_encipherment=True, data_encipherment=True), critical=True)
    usages = [DOCUMENT_ENCRYPTION] if document_encryption else [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    files = KeyPair(folder / f"{name}.pem", folder / f"{name}.key")
    _write(files.key, _key_pem(key), 0o600)
    _write(files.certificate, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), 0o644)
    return files


def write_client(folder: Path, name: str) -> KeyPair:
    """A certificate with which a client shows who it is, its own authority."""
    key = rsa.generate_private_key(65537, 2048)
    certificate = (
        _builder(_name(name), key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = KeyPair(folder / f"{name}.pem", folder / f"{name}.key")
    _write(files.key, _key_pem(key), 0o600)
    _write(files.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return files


def _write_endpoint(files: LabCertificates) -> None:
    """An authority and one certificate of it. The authority's key is never stored, so that it cannot sign further
    certificates."""
    # EC: a handshake costs a tenth of RSA's, and 100 nodes share two cores.
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("alteryx_ops lab authority")
    authority_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _builder(authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .add_extension(authority_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        _builder(_name("localhost"), key, issuer=authority_name)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write(files.endpoint.key, _key_pem(key), 0o600)
    _write(files.endpoint.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(files.authority, authority.public_bytes(serialization.Encoding.PEM), 0o644)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, key: PrivateKey, issuer: x509.Name | None = None, valid_from: int = -1, valid_days: int = 397
) -> x509.CertificateBuilder:
    """A certificate without extensions: its own issuer unless one is given; valid from so many days
    from now, for so many."""
    begin = _now() + datetime.timedelta(days=valid_from)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=valid_days))
    )


def _usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    data_encipherment: bool = False,
    key_cert_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=data_encipherment,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _usable(file: Path) -> bool:
    if not file.exists():
        return False
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    return certificate.not_valid_after_utc - _RENEW_BEFORE > _now()


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, content: bytes, mode: int) -> None:
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.touch(mode=mode)
    draft.write_bytes(content)
    draft.replace(file)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
