# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config_export of a stand-in node: copies of the critical files, node.json, and a real encrypted secrets file."""

from __future__ import annotations

import base64
import json
import shutil
import textwrap
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7EnvelopeBuilder, PKCS7Options

from .node import Node
from .standin_failure import NodeFailure
from .standin_files import files_below, utc_text, write_text
from .standin_install import secret

# What NodeMetadata.psm1 finds on a node.
_METADATA = (
    "odbc_drivers",
    "odbc_data_sources",
    "connectors",
    "python_packages",
    "ad_groups",
    "tls_bindings",
    "alteryx_config",
    "places",
)
_ABSENT = {"state": "absent", "value": None, "why": "SIMULATED: nobody looks for it on a stand-in node"}


def config_export(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module config_export."""
    staging, secrets = rf"{arguments['staging_directory']}\{arguments['run_id']}", list(arguments["secrets"])
    writes = not arguments.get("_ansible_check_mode")
    target = rf"{staging}\files" if writes else ""
    files = [_take(node, item, target) for item in arguments["files"]]
    metadata = _metadata(node, arguments["_metadata"], target) if arguments.get("_metadata") else []
    secrets_file = ""
    if secrets and writes:
        secrets_file = rf"{staging}\secrets.pem"
        clear = {
            "schema": 1,
            "run_id": arguments["run_id"],
            "computer": node.name.upper()[:15],
            "created": utc_text(),
            **{name: value for name, value in _clear_text(node).items() if name in secrets},
        }
        write_text(node.path(secrets_file), _envelope(json.dumps(clear, indent=2), arguments["recipients"]))
    return {"changed": True, "files": files, "metadata": metadata, "secrets": secrets, "secrets_file": secrets_file}


def _take(node: Node, item: dict[str, Any], target: str) -> dict[str, Any]:
    """Copy one file or folder, or only count it where there is no target; returns its entry of the result."""
    source = node.path(item["source"])
    if item["required"] and not source.exists():
        raise NodeFailure("critical_file_missing", f"The critical file {item['source']} does not exist")
    files = {f"{item['archive_path']}/{path}": file for path, file in files_below(source).items()}
    if source.is_file():
        files = {item["archive_path"]: source}
    for path, file in files.items() if target else ():
        copy = node.path(target) / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return {
        "id": item["id"],
        "source": item["source"],
        "present": source.exists(),
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files.values()),
        "left_out": [],
        "permissions": 0,
    }


def _metadata(node: Node, wanted: dict[str, Any], target: str) -> list[dict[str, str]]:
    """Write node.json; returns its items in short."""
    items = {"licence": _ABSENT, **wanted["items"], **dict.fromkeys(_METADATA, _ABSENT)}
    if target:
        content = wanted["head"] | {"collected": utc_text(), "items": dict(sorted(items.items()))}
        write_text(node.path(target) / wanted["archive_path"], json.dumps(content, indent=2) + "\n")
    return [{"id": name, "state": item["state"], "why": item["why"]} for name, item in items.items()]


def _clear_text(node: Node) -> dict[str, Any]:
    """The secrets of a controller."""
    passwords = {"admin": "EmbeddedMongoDBAdminPasswordEncrypted", "non_admin": "EmbeddedMongoDBPasswordEncrypted"}
    return {
        "controller_token": secret(node, "ServerSecretEncrypted"),
        "mongodb_passwords": {name: secret(node, element) for name, element in passwords.items()},
    }


def _envelope(text: str, recipients: list[str]) -> str:
    """CMS for these certificates (PEM), in the form of Protect-CmsMessage."""
    builder = PKCS7EnvelopeBuilder().set_data(text.encode()).set_content_encryption_algorithm(AES256)
    for pem in recipients:
        builder = builder.add_recipient(x509.load_pem_x509_certificate(pem.encode()))
    body = base64.b64encode(builder.encrypt(Encoding.DER, [PKCS7Options.Binary])).decode("ascii")
    return "\n".join(["-----BEGIN CMS-----", *textwrap.wrap(body, 64), "-----END CMS-----", ""])
