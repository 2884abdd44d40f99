# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates may open the secrets of a backup."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _recipients
from tests.lab import certificates

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipients")


@pytest.fixture(scope="module")
def good(folder: Path) -> str:
    return certificates.write_operator(folder, "operator").certificate.read_text()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def made(key: rsa.RSAPrivateKey, *extensions: x509.ExtensionType) -> str:
    """A certificate with exactly these extensions."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "made")])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    )
    builder = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=365))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def read(name: str, content: str | bytes, now: datetime, days: int = 30) -> _recipients.Recipient:
    """What the operator has put into a file."""
    return _recipients.read(name, content.encode() if isinstance(content, str) else content, now, days)


def usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: on.get(name, False) for name in names})


ENCRYPTS = x509.ExtendedKeyUsage([x509.ObjectIdentifier(_recipients.DOCUMENT_ENCRYPTION)])


def test_a_good_certificate_is_taken_with_its_fingerprint_and_without_a_word(good: str) -> None:
    recipient = read("ops.pem", good, NOW)
    certificate = x509.load_pem_x509_certificate(good.encode())
    assert recipient.sha256 == certificate.fingerprint(hashes.SHA256()).hex()
    assert recipient.subject == "CN=alteryx_ops lab operator"
    assert recipient.warning == ""
    assert x509.load_pem_x509_certificate(recipient.pem.encode()) == certificate


def test_text_around_the_certificate_does_not_matter(good: str) -> None:
    recipient = read("ops.pem", f"Certificate:\n  Subject: CN=x\n{good}\ntrailing", NOW)
    assert recipient == read("ops.pem", good, NOW)
    assert recipient.pem.startswith("-----BEGIN CERTIFICATE-----")
    assert "Subject" not in recipient.pem


@given(days=st.integers(-2000, 2000))
def test_expiry_is_a_warning_and_never_a_refusal(good: str, days: int) -> None:
    end = x509.load_pem_x509_certificate(good.encode()).not_valid_after_utc
    warning = read("ops.pem", good, end - timedelta(days=days, hours=1)).warning
    expected = "has expired" if days < 0 else "expires on" if days < 30 else ""
    assert (expected in warning) if expected else warning == ""
    if expected:
        assert "ops.pem" in warning
        assert f"{end:%Y-%m-%d}" in warning


@given(days=st.integers(0, 400), warning_days=st.integers(0, 400))
def test_how_early_it_warns_is_the_operators_choice(good: str, days: int, warning_days: int) -> None:
    end = x509.load_pem_x509_certificate(good.encode()).not_valid_after_utc
    warning = read("ops.pem", good, end - timedelta(days=days, hours=1), warning_days).warning
    assert bool(warning) is (days < warning_days)
    if warning:
        assert f"in {days} days" in warning
        assert "alteryx_configuration_recipients" in warning


def test_the_binary_form_in_which_windows_exports_is_the_same_recipient(good: str) -> None:
    der = x509.load_pem_x509_certificate(good.encode()).public_bytes(serialization.Encoding.DER)
    assert read("ops.cer", der, NOW) == read("ops.cer", good, NOW)


def test_a_pfx_file_is_no_recipient(folder: Path, key: rsa.RSAPrivateKey) -> None:
    certificate = x509.load_pem_x509_certificate(made(key, ENCRYPTS, usage(key_encipherment=True)).encode())
    pfx = pkcs12.serialize_key_and_certificates(b"ops", key, certificate, None, serialization.NoEncryption())
    with pytest.raises(_recipients.RecipientError, match=r"ops\.pfx is not a certificate"):
        read("ops.pfx", pfx, NOW)


@pytest.mark.parametrize(("begin", "length", "word"), [(-30, 29, "has expired"), (-1, 6, "expires on")])
def test_lab_certificates_near_their_end_are_warned_of(folder: Path, begin: float, length: float, word: str) -> None:
    pem = certificates.write_operator(
        folder, f"ending{length}", valid_from=begin, valid_days=length
    ).certificate.read_text()
    assert word in read("ops.pem", pem, NOW).warning


def test_a_certificate_without_rsa_is_refused(folder: Path) -> None:
    pem = certificates.write_operator(folder, "ec", algorithm="ec").certificate.read_text()
    with pytest.raises(_recipients.RecipientError, match=r"ops\.pem has no RSA key"):
        read("ops.pem", pem, NOW)


def test_a_certificate_for_another_purpose_is_refused(folder: Path) -> None:
    pem = certificates.write_operator(folder, "mail", document_encryption=False).certificate.read_text()
    with pytest.raises(_recipients.RecipientError, match="Document Encryption"):
        read("ops.pem", pem, NOW)


def test_a_certificate_without_any_extended_usage_is_refused(key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(_recipients.RecipientError, match="Document Encryption"):
        read("ops.pem", made(key, usage(key_encipherment=True)), NOW)


def test_a_certificate_without_key_usage_is_refused(folder: Path) -> None:
    pem = certificates.write_operator(folder, "nousage", key_usage=False).certificate.read_text()
    with pytest.raises(_recipients.RecipientError, match="key usage"):
        read("ops.pem", pem, NOW)


def test_a_certificate_that_only_signs_is_refused(key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(_recipients.RecipientError, match="usage for encryption"):
        read("ops.pem", made(key, ENCRYPTS, usage(digital_signature=True)), NOW)


@pytest.mark.parametrize("way", ["key_encipherment", "data_encipherment"])
def test_either_encipherment_is_enough(key: rsa.RSAPrivateKey, way: str) -> None:
    assert read("ops.pem", made(key, ENCRYPTS, usage(**{way: True})), NOW).warning == ""


def test_a_private_key_beside_the_certificate_is_refused_and_not_repeated(folder: Path, good: str) -> None:
    key = (folder / "operator.key").read_text()
    with pytest.raises(_recipients.RecipientError, match="private key") as refusal:
        read("ops.pem", good + key, NOW)
    assert key.splitlines()[1] not in str(refusal.value)


@pytest.mark.parametrize("copies", [0, 2])
def test_exactly_one_certificate_is_expected(good: str, copies: int) -> None:
    with pytest.raises(_recipients.RecipientError, match=f"holds {copies} certificates"):
        read("ops.pem", good * copies, NOW)


def test_extensions_that_cannot_be_read_are_a_refusal(key: rsa.RSAPrivateKey) -> None:
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"\x04\x02no")
    with pytest.raises(_recipients.RecipientError, match=r"ops\.pem"):
        read("ops.pem", made(key, ENCRYPTS, broken), NOW)


@given(st.text(max_size=200))
def test_garbage_is_refused_by_name_and_never_a_crash(garbage: str) -> None:
    with pytest.raises(_recipients.RecipientError, match=r"ops\.pem"):
        read("ops.pem", f"-----BEGIN CERTIFICATE-----\n{garbage}\n-----END CERTIFICATE-----", NOW)


@given(data=st.data())
def test_a_damaged_certificate_is_refused_or_shows_another_fingerprint(good: str, data: st.DataObject) -> None:
    lines = good.splitlines()
    row = data.draw(st.integers(1, len(lines) - 2))
    column = data.draw(st.integers(0, len(lines[row]) - 1))
    letter = data.draw(st.sampled_from("ABCDabcd0123"))
    damaged = "\n".join([*lines[:row], lines[row][:column] + letter + lines[row][column + 1 :], *lines[row + 1 :]])
    try:
        recipient = read("ops.pem", damaged, NOW)
    except _recipients.RecipientError:
        return
    assert (recipient.sha256 == read("ops.pem", good, NOW).sha256) is (lines[row][column] == letter)


def test_without_cryptography_the_message_says_how_to_install_it(good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recipients, "_import_error", ImportError("No module named 'cryptography'"))
    with pytest.raises(
        _recipients.RecipientError,
        match=re.escape(f"No module named 'cryptography'); install it there: {_recipients.PIP_LINE}"),
    ):
        read("operator.pem", good, NOW)


def test_the_module_can_be_imported_without_cryptography() -> None:
    # A module of the name that cannot be imported stands for one that is absent.
    script = (
        "import sys; sys.modules['cryptography'] = None; sys.path.insert(0, sys.argv[1]); "
        "import _recipients; print(_recipients._import_error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, Path(_recipients.__file__).parent],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "cryptography" in done.stdout
