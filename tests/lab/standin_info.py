# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""node_info and workflow_drain of a stand-in node: the facts of its files, its service and its processes."""

from __future__ import annotations

import re
import shutil
import uuid
import xml.etree.ElementTree
from typing import Any

from . import alteryx_install, layout, standin_service, standin_state
from .node import Node
from .standin_files import STATE_FOLDER, files_below, utc_text
from .standin_install import BIN, SETTINGS

_SECRET = re.compile("Encrypted$|Password|Secret")


def node_info(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module node_info."""
    overrides, defaults = _settings(node, SETTINGS), _settings(node, rf"{BIN}\RuntimeData\RuntimeSettings.xml")
    folder = overrides["sections"].get("Controller", {}).get("EmbeddedMongoDBRootPath", "")
    sizes = [file.stat().st_size for file in files_below(node.path(folder)).values()] if folder else []
    computer = node.name.upper()[:15]
    lease, health = standin_state.lease(node), arguments["health_url"]
    return {
        "system": {
            "computer": computer,
            "machine_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, node.name)),
            "utc": utc_text(),
            "os_version": "10.0.20348",
            "powershell_version": "5.1.20348.1",
            "program_data": r"C:\ProgramData",
            "state_folder": STATE_FOLDER,
            "user": rf"{computer}\{node.user}",
            "is_administrator": True,
        },
        "alteryx": {
            "bin_folder": BIN,
            "executable": rf"{BIN}\AlteryxService.exe",
            "executable_exists": True,
            "version": alteryx_install.VERSION,
            "processes": _processes(node),
        },
        "service": standin_service.facts(node, arguments["service_name"]),
        "settings": {"overrides": overrides, "defaults": defaults},
        "database": {
            "folder": folder,
            "exists": bool(sizes),
            "bytes": sum(sizes),
            "skipped": [],
            "skipped_count": 0,
            "rename_problem": "",
        },
        "mongodump": {"path": "", "version": "", "problem": ""},
        "folders": [_folder(node, path) for path in arguments["folders"]],
        "lock": standin_state.lock_fact(node),
        "hold": node.path(rf"{STATE_FOLDER}\HOLD").exists(),
        "schedules_left": standin_state.schedules_left(node),
        "cluster_resource": "",
        "reboot_pending": [],
        "recorded_by": [],
        "trust": [{"path": STATE_FOLDER, "link": "", "access": ""}],
        "health": {"url": health, "answer": "200" if health else ""},
        "lease": {key: lease[key] for key in ("run_id", "prior_state", "deadline")} if lease else None,
    }


def workflow_drain(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module workflow_drain: one look at the node's engine processes."""
    return {"running": [process for process in _processes(node) if process["name"] == "AlteryxEngineCmd.exe"]}


def _processes(node: Node) -> list[dict[str, Any]]:
    return [
        {
            "name": process.name,
            "process_id": process.pid,
            "parent_id": process.parent,
            "started": utc_text(process.started),
        }
        for process in node.processes()
    ]


def _settings(node: Node, path: str) -> dict[str, Any]:
    """One settings file: section, element, text; secrets redacted."""
    root = xml.etree.ElementTree.parse(node.path(path)).getroot()  # noqa: S314  # written by the lab
    sections = {
        section.tag: {element.tag: _shown(element.tag, element.text or "") for element in section} for section in root
    }
    return {"path": path, "exists": True, "error": "", "sections": sections}


def _shown(name: str, value: str) -> str:
    return "(redacted)" if value and _SECRET.search(name) else value


def _folder(node: Node, path: str) -> dict[str, Any]:
    """The facts about a folder for writing."""
    absolute = re.match(r"[A-Za-z]:\\", path) is not None
    fact = {
        "path": path,
        "absolute": absolute,
        "drive_exists": False,
        "exists": False,
        "is_file": False,
        "free_bytes": 0,
        "volume": "",
        "link": "",
    }
    drive = layout.drive(node.folder, path[0]) if absolute else None
    if drive and drive.is_dir():
        folder = node.path(path)
        fact |= {
            "drive_exists": True,
            "exists": folder.is_dir(),
            "is_file": folder.is_file(),
            "free_bytes": shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free,
            "volume": path[:3],
        }
    return fact
