# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of a running lab."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import layout
from .certificates import LabCertificates
from .node import Node
from .v3_api import Access

# A second lab (its own ALTERYX_LAB_DIR) must not write over the inventory of the first.
FILE = (layout.ROOT if layout.LAB == layout.ROOT / ".lab" else layout.LAB) / "inventory" / "lab.yml"


def write(
    nodes: Sequence[Node], certificates: LabCertificates, file: Path = FILE, *, api: Access | None = None
) -> Path:
    """Write inventory/lab.yml for these nodes and return its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.touch(mode=0o600)  # it holds the lab's password
    # JSON is YAML: no YAML library needed to be exact about quoting. One key per line keeps it readable.
    head = "# Written by `python -m tests.lab up`, removed by `down`: do not edit, do not commit.\n"
    draft.write_text(head + json.dumps(content(nodes, certificates, api), indent=2) + "\n", encoding="utf-8")
    draft.replace(file)
    return file


def content(nodes: Sequence[Node], certificates: LabCertificates, api: Access | None = None) -> dict[str, Any]:
    """The inventory as data: group ``alteryx``, in it the fleet ``alteryx_lab``."""
    hosts = {
        node.name: {
            "ansible_host": node.host,
            "ansible_port": node.port,
            "ansible_user": node.user,
            "ansible_password": node.password,
        }
        for node in nodes
    }
    variables = {
        "ansible_connection": "winrm",
        "ansible_winrm_transport": "basic",
        "ansible_winrm_scheme": "https",
        "ansible_winrm_ca_trust_path": str(certificates.authority),
        "ansible_winrm_proxy": None,  # a proxy in the caller's environment must not see loopback traffic
        "alteryx_configuration_recipients": [
            str(certificates.operator.certificate),
            str(certificates.deputy.certificate),
        ],
        "alteryx_archive_directory": r"D:\AlteryxBackups",
        "alteryx_preflight_staging_directory": r"D:\AlteryxStaging",
        "alteryx_report_directory": str(layout.RUNS),
        # As in the example inventory: each playbook must take a variable that depends on the mode of a backup.
        "alteryx_window_drain_timeout": "{{ 900 if alteryx_preflight_mode == 'database' else 3600 }}",
        # Wine keeps only a part of the permissions that are set, so their exact form cannot be judged here.
        "alteryx_preflight_folder_trust": "warn",
    }
    if len(nodes) > 1 and nodes[0].kind == "wine":
        # All nodes share the loopback address, and the names of the lab cannot be resolved.
        variables["alteryx_window_controller_address"] = nodes[0].host
    if api:
        variables["alteryx_window_schedules_api"] = {**asdict(api), "ca_file": str(certificates.authority)}
    return {"alteryx": {"children": {"alteryx_lab": {"hosts": hosts, "vars": variables}}}}


def remove(file: Path = FILE) -> None:
    """Remove the inventory, so that no playbook tries to reach nodes that do not exist any more."""
    file.unlink(missing_ok=True)
