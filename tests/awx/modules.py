# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection awx.awx: where `make test-awx` puts it, and what its modules document of their options.

It is not on every machine: it comes in a wheel of 54 MB. options.json has what the tests of each run need of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import yaml

from tests.lab import layout

REQUIREMENTS = layout.ROOT / "requirements-awx.txt"
FOLDER = layout.LAB / "awx"
COLLECTIONS = FOLDER / "collections"
PART = "ansible_collections/awx/awx/"
RECORD = Path(__file__).with_name("options.json")

KINDS = {
    "controller_labels": "label",
    "controller_credential_types": "credential_type",
    "controller_credentials": "credential",
    "controller_notifications": "notification_template",
    "controller_execution_environments": "execution_environment",
    "controller_projects": "project",
    "controller_inventories": "inventory",
    "controller_inventory_sources": "inventory_source",
    "controller_templates": "job_template",
    "controller_workflows": "workflow_job_template",
    "controller_schedules": "schedule",
}
"""Variable of infra.aap_configuration -> the module that takes its items."""


def fetch() -> None:
    """Download the wheel that requirements-awx.txt names, and unpack awx.awx of it."""
    stamp = FOLDER / "fetched"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(FOLDER)]
    subprocess.run([*command, "-r", str(REQUIREMENTS)], check=True)
    for wheel in FOLDER.glob("*.whl"):
        with zipfile.ZipFile(wheel) as content:
            content.extractall(COLLECTIONS, [name for name in content.namelist() if name.startswith(PART)])
        wheel.unlink()
    stamp.write_text(wanted, encoding="utf-8")


def documented() -> dict[str, dict[str, Any]]:
    """Module -> option -> what its documentation says of it, of the collection that was fetched."""
    modules = sorted({*KINDS.values(), "inventory_source_update"})
    return {module: _options(_documentation(module).get("options", {})) for module in modules}


def recorded() -> dict[str, dict[str, Any]]:
    """The same, from options.json."""
    content: dict[str, dict[str, Any]] = json.loads(RECORD.read_text(encoding="utf-8"))
    return content


def record() -> None:
    """Write options.json."""
    RECORD.write_text(json.dumps(documented(), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _documentation(module: str) -> dict[str, Any]:
    text = (COLLECTIONS / PART / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8")
    _before, quotes, rest = text.partition("DOCUMENTATION = ")
    assert quotes, module
    delimiter = rest.lstrip("r")[:3]
    content: dict[str, Any] = yaml.safe_load(rest.lstrip("r")[3:].partition(delimiter)[0])
    return content


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """Options of documentation as an argument spec."""
    kept = ("type", "required", "choices", "elements", "aliases")
    spec: dict[str, Any] = {}
    for name, option in options.items():
        spec[name] = {key: option[key] for key in kept if key in option}
        if "suboptions" in option:
            spec[name]["options"] = _options(option["suboptions"])
    return spec
