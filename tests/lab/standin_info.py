# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""node_info of a stand-in node: the same facts, of its files and its simulated service."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree
from typing import Any

from . import alteryx_install, layout, standin_lease, standin_lock, standin_schedules, standin_secret, standin_service
from .node import SERVICE, Node
from .standin_files import STATE_FOLDER, bytes_below, utc_text

_CODE_FOLDER = r"C:\Program Files\AlteryxOps"
_MAXIMUM_SETTINGS_BYTES = 10 * 1024 * 1024


def computer(node: Node) -> str:
    """The name of the machine."""
    return node.name.upper()[:15]


def node_info(node: Node, user: str, arguments: dict[str, Any], *, administrator: bool) -> dict[str, Any]:
    """The module node_info."""
    service = standin_service.facts(node, arguments.get("service_name") or SERVICE)
    executable = rf"{alteryx_install.BIN}\AlteryxService.exe"
    overrides = settings(node, rf"{alteryx_install.PROGRAM_DATA}\RuntimeSettings.xml")
    defaults = settings(node, rf"{alteryx_install.BIN}\RuntimeData\RuntimeSettings.xml")
    folders = [found["sections"].get("Controller", {}).get("EmbeddedMongoDBRootPath", "") for found in (overrides, defaults)]
    folder = next((path for path in folders if path), "")
    lease = standin_lease.read(node)
    return {
        "system": {"computer": computer(node), "utc": utc_text(), "os_version": "10.0.20348", "powershell_version": "5.1.20348.1",
                   "program_data": r"C:\ProgramData", "state_folder": STATE_FOLDER, "user": rf"{computer(node)}\{user}", "is_administrator": administrator},
        "alteryx": {"bin_folder": alteryx_install.BIN, "executable": executable, "executable_exists": node.path(executable).is_file(),
                    "version": alteryx_install.VERSION, "processes": processes(node)},
        "service": service,
        "settings": {"overrides": overrides, "defaults": defaults},
        "database": {"folder": folder, "exists": bool(folder) and node.path(folder).is_dir(), "bytes": bytes_below(node.path(folder)) if folder else 0},
        "mongodump": _mongodump(node, overrides["sections"].get("Controller", {}), arguments.get("mongodump") or ""),
        "folders": [folder_fact(node, path) for path in arguments.get("folders") or []],
        "lock": standin_lock.read(node),
        "hold": standin_lease.held_by_person(node),
        "schedules_left": standin_schedules.read(node),
        "cluster_resource": "",
        "reboot_pending": [],
        "trust": [{"path": path, "link": "", "access": ""} for path in (STATE_FOLDER, _CODE_FOLDER)],
        "health": {"url": arguments.get("health_url") or "", "answer": "200" if arguments.get("health_url") else ""},
        "lease": {key: lease[key] for key in ("run_id", "prior_state", "deadline")} if lease else None}


def _mongodump(node: Node, controller: dict[str, str], path: str) -> dict[str, str]:
    answer = {"path": "", "version": "", "problem": ""}
    if not path and (controller.get("ControllerEnabled", "").lower() == "false" or controller.get("EmbeddedMongoDBEnabled", "").lower() == "true"):
        return answer
    path = path or rf"{alteryx_install.BIN}\mongodump.exe"
    if not node.path(path).is_file():
        return answer | {"problem": f"There is no mongodump.exe at {path}"}
    version = standin_service.behaviour(node).get("mongodump_version", "100.3.1")
    return answer | {"path": path, "version": f"mongodump version: {version}\ngit version: SIMULATED\n"}


def processes(node: Node, name: str = "") -> list[dict[str, Any]]:
    """Processes of the installation, or those of one name."""
    return [{"name": process.name, "process_id": process.pid, "parent_id": process.parent, "started": utc_text(process.started)}
            for process in node.processes() if name in ("", process.name)]


def settings(node: Node, path: str) -> dict[str, Any]:
    """One settings file: section, element, text; secrets redacted."""
    file = node.path(path)
    answer: dict[str, Any] = {"path": path, "exists": file.is_file(), "error": "", "sections": {}}
    if not answer["exists"]:
        return answer
    content = file.read_bytes()
    if len(content) > _MAXIMUM_SETTINGS_BYTES:
        return answer | {"error": f"it has {len(content)} bytes, more than the {_MAXIMUM_SETTINGS_BYTES} that are read"}
    if b"<!DOCTYPE" in content:
        return answer | {"error": "For security reasons DTD is prohibited in this XML document."}
    try:
        root = xml.etree.ElementTree.fromstring(content)  # noqa: S314  # written by the lab or its tests
    except (xml.etree.ElementTree.ParseError, ValueError) as error:
        return answer | {"error": str(error)}
    if root.tag != "SystemSettings":
        return answer | {"error": f"its root element is {root.tag}, not SystemSettings"}
    for section in root:
        elements = answer["sections"].setdefault(section.tag, {})
        elements |= {element.tag: _redacted(element.tag, "".join(element.itertext())) for element in section}
    return answer


def folder_fact(node: Node, path: str) -> dict[str, Any]:
    """What is true of a folder somebody wants to write to."""
    fact: dict[str, Any] = {"path": path, "absolute": re.match(r"[A-Za-z]:\\", path) is not None, "drive_exists": False, "exists": False,
                            "is_file": False, "free_bytes": 0}
    drive = layout.drive(node.folder, path[:1]) if fact["absolute"] else None
    if drive and drive.is_dir():
        fact |= {"drive_exists": True, "free_bytes": shutil.disk_usage(drive).free, "exists": node.path(path).is_dir(), "is_file": node.path(path).is_file()}
    return fact


def _redacted(name: str, value: str) -> str:
    return "(redacted)" if value and re.search("Encrypted$|Password|Secret", name, re.IGNORECASE) else standin_secret.hide(value)
