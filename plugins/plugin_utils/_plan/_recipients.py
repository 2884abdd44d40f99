# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates that the secrets of a backup are encrypted for."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding
except ImportError as error:
    _import_error: ImportError | None = error
else:
    _import_error = None

# Protect-CmsMessage accepts only certificates with this extended key usage (Microsoft, "Protect-CmsMessage"). It does
# not look at their dates.
DOCUMENT_ENCRYPTION = "1.3.6.1.4.1.311.80.1"
PIP_LINE = "pip install 'cryptography>=42.0.0'"
"""42.0.0 is the first version whose certificates have not_valid_after_utc."""

_SUCCESSOR = (
    "Make its successor and put it into alteryx_configuration_recipients; keep the old key as long as its backups"
)


class RecipientError(ValueError):
    """A recipient that cannot be used; the message names it and the reason."""


@dataclass(frozen=True)
class Recipient:
    """One certificate: pem (exactly one certificate), sha256 of the certificate, subject, warning ("" for none)."""

    pem: str
    sha256: str
    subject: str
    warning: str


def read(name: str, content: bytes, now: datetime, warning_days: int) -> Recipient:
    """Reads one recipient.

    Args:
        name: the operator's name for it, for messages.
        content: exactly one certificate: PEM text, or DER as Windows exports it.
        now: with zone.
        warning_days: a certificate that expires within this number of days causes a warning.

    Raises:
        RecipientError: no certificate, several, a private key beside it, no RSA, the usage is missing, or the Python
            library to read it is missing.
    """
    if _import_error is not None:
        raise RecipientError(
            f"the recipient {name} cannot be read, because the Python of ansible-playbook ({sys.executable}) "
            f"cannot import cryptography ({_import_error}); install it there: {PIP_LINE}"
        )
    der = content.startswith(b"\x30")
    if b"PRIVATE KEY" in content:
        raise RecipientError(
            f"the recipient {name} holds a private key; give the certificate alone, the key stays with you"
        )
    blocks = (
        [content]
        if der
        else re.findall(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", content, re.DOTALL)
    )
    if len(blocks) != 1:
        raise RecipientError(f"the recipient {name} holds {len(blocks)} certificates in PEM form, expected one")
    try:
        certificate = x509.load_der_x509_certificate(content) if der else x509.load_pem_x509_certificate(blocks[0])
        key = certificate.public_key()
        # cryptography reads these parts only at their first use, and fails then.
        extensions, subject, end = (
            certificate.extensions,
            certificate.subject.rfc4514_string(),
            certificate.not_valid_after_utc,
        )
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise RecipientError(f"the recipient {name} is not a certificate: {error}") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise RecipientError(f"the recipient {name} has no RSA key")
    _check_usage(name, extensions)
    warning = ""
    if end < now:
        warning = (
            f"the recipient {name} has expired on {end:%Y-%m-%d}; "
            f"the secrets are encrypted for it all the same. {_SUCCESSOR}"
        )
    elif end < now + timedelta(days=warning_days):
        warning = f"the recipient {name} expires on {end:%Y-%m-%d}, in {(end - now).days} days. {_SUCCESSOR}"
    return Recipient(
        pem=certificate.public_bytes(Encoding.PEM).decode(),
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        subject=subject,
        warning=warning,
    )


def _check_usage(name: str, extensions: x509.Extensions) -> None:
    try:
        extended = [usage.dotted_string for usage in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value]
    except x509.ExtensionNotFound:
        extended = []
    if DOCUMENT_ENCRYPTION not in extended:
        raise RecipientError(
            f"the recipient {name} lacks the extended key usage Document Encryption ({DOCUMENT_ENCRYPTION})"
        )
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise RecipientError(f"the recipient {name} lacks a key usage extension") from error
    if not (usage.key_encipherment or usage.data_encipherment):
        raise RecipientError(f"the recipient {name} lacks the key usage for encryption")
