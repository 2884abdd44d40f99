# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config_export of a stand-in node: copies of the critical files, and a real encrypted secrets file."""

from __future__ import annotations

import base64
import json
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7EnvelopeBuilder, PKCS7Options

from . import standin_install, standin_inventory, standin_service
from .node import Node
from .standin_failure import NodeFailure
from .standin_files import files_below, utc_text, write_text
from .standin_window import run_staging

_PERMISSIONS = "O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
_FAILURE_WORDS = re.compile(r"\b(fail|failed|error|exception|unable|cannot|invalid)\b", re.IGNORECASE)


def config_export(node: Node, computer: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module config_export."""
    staging = arguments["staging_directory"]
    root, _, run = staging.rpartition("\\")
    writes = not arguments.get("_ansible_check_mode")
    if writes:
        run_staging(node, root, run)
        node.path(rf"{staging}\files").mkdir(exist_ok=True)
    listed = [_take(node, item, rf"{staging}\files" if writes else "") for item in arguments["files"]]
    metadata = _metadata(node, arguments.get("_metadata") or {}, rf"{staging}\files" if writes else "")
    secrets = list(arguments.get("secrets") or [])
    secrets_file = ""
    if secrets and writes:
        clear = {"schema": 1, "run_id": arguments["run_id"], "computer": computer, "created": utc_text(), **_secrets(node, secrets)}
        secrets_file = rf"{staging}\secrets.pem"
        write_text(node.path(secrets_file), envelope(json.dumps(clear), arguments["recipients"]))
    return {"changed": True, "files": listed, "metadata": metadata, "secrets": secrets, "secrets_file": secrets_file}


def envelope(text: str, recipients: list[str]) -> str:
    """CMS for these certificates (PEM), in the form of Protect-CmsMessage."""
    builder = PKCS7EnvelopeBuilder().set_data(text.encode()).set_content_encryption_algorithm(AES256)
    for pem in recipients:
        builder = builder.add_recipient(x509.load_pem_x509_certificate(pem.encode()))
    body = base64.b64encode(builder.encrypt(Encoding.DER, [PKCS7Options.Binary])).decode("ascii")
    return "\n".join(["-----BEGIN CMS-----", *textwrap.wrap(body, 64), "-----END CMS-----", ""])


def _take(node: Node, item: dict[str, Any], target: str) -> dict[str, Any]:
    """Copy one file or folder, or only count it where there is no target; returns its entry of the result."""
    source = node.path(item["source"])
    present = source.exists()
    if not present and item["required"]:
        raise NodeFailure("critical_file_missing", f"The critical file {item['source']} is absent")
    pairs: list[tuple[Path, str]] = []
    if source.is_dir():
        pairs = [(found.full_path, f"{item['archive_path']}/{found.path}") for found in files_below(source)]
    elif present:
        pairs = [(source, item["archive_path"])]
    if target:
        for file, path in pairs:
            copy = node.path(target) / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return {"id": item["id"], "source": item["source"], "present": present, "files": len(pairs), "bytes": sum(file.stat().st_size for file, _ in pairs),
            "permissions": _permissions(node, source, f"{target}\\{item['archive_path']}.sddl" if target else "") if present and item.get("permissions") else 0}


def _permissions(node: Node, source: Path, target: str) -> int:
    """Everything in a folder with its permissions, which a stand-in node does not have: all are the same."""
    paths = [".", *sorted(str(path.relative_to(source)).replace("/", "\\") for path in source.rglob("*"))]
    if target:
        write_text(node.path(target), "".join(f"{_PERMISSIONS}\t{path}\n" for path in paths))
    return len(paths)


def _metadata(node: Node, wanted: dict[str, Any], target: str) -> list[dict[str, str]]:
    """Write node.json; returns its items in short."""
    if not wanted:
        return []
    items = wanted["items"] | standin_inventory.inventory(node, wanted)
    if target:
        write_text(node.path(target) / wanted["archive_path"], json.dumps(wanted["head"] | {"collected": utc_text(), "items": items}) + "\n")
    return [{"id": name, "state": item["state"], "why": item["why"]} for name, item in items.items()]


def _secrets(node: Node, wanted: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "controller_token" in wanted:
        token = standin_install.secret(node, "ServerSecretEncrypted")
        fault = standin_service.behaviour(node).get("getserversecret")
        text = f"Error: the store is locked, the last value was {token}" if fault == "leak" else token
        if fault == "fail" or not token:
            text = "Failed to get the server secret"
        if _FAILURE_WORDS.search(text):
            raise NodeFailure("secret_unreadable", f"AlteryxService.exe getserversecret gave no usable answer (exit code 0, {len(text)} characters)")
        found["controller_token"] = text
    if "mongodb_passwords" in wanted:
        names = {"admin": "EmbeddedMongoDBAdminPasswordEncrypted", "non_admin": "EmbeddedMongoDBPasswordEncrypted"}
        passwords = {name: standin_install.secret(node, element) for name, element in names.items()}
        if not all(passwords.values()):
            raise NodeFailure("secret_unreadable", "AlteryxService.exe getemongopassword did not name an Admin and a Non-Admin password")
        found["mongodb_passwords"] = passwords
    return found
