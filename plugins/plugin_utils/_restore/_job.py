# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The spec of the restore job of a node (restore_job.ps1), and the meaning of its result."""

from __future__ import annotations

import ntpath
import typing as t

from .._core.reasons import StepFailed
from .._plan import _critical_files
from . import _gates

_LIMITS = ("stop_timeout", "leftover_timeout", "start_timeout", "max_downtime")


def build_restore_spec(arguments: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The specification of a job that restores a backup.

    Args:
        arguments: of database_restore or config_import. Those of config_import have no limits for a database.

    Raises:
        StepFailed: the backup was not extracted on this node, or the data folder is not known.
    """
    node, extracted = arguments["node"], arguments["extracted"]
    if not extracted.get("target"):
        raise StepFailed("unexpected", "the backup was not extracted on this node")
    spec = _build_spec(arguments, "restore")
    if arguments["scope"] != "database":
        spec["files"] = _list_files(extracted, arguments["run_id"])
    spec["work_folder"] = extracted["target"]
    if node["restores_database"]:
        spec["database"] = _build_database(arguments)
        spec["space_reserve"] = arguments["space_reserve"]
    return spec


def build_rollback_spec(arguments: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The specification of a job that puts back the old files of a restore. Nothing is deleted: the files of the
    restore are renamed in turn."""
    spec = _build_spec(arguments, "roll_back")
    spec["of"] = arguments["node"]["rolls_back"]["run_id"]
    for entry in arguments["node"]["rolls_back"]["entries"]:
        spec["files"].append(
            {
                "path": entry["path"],
                "away": f"{entry['path']}.rolled_back_{arguments['run_id']}",
                # A path that did not exist before the restore does not exist afterwards.
                "new": entry["away"] if entry["existed"] else "",
                "source": "",
                "permissions": "",
            }
        )
    return spec


def _build_spec(arguments: t.Mapping[str, t.Any], verb: str) -> dict[str, t.Any]:
    return {
        "run_id": arguments["run_id"],
        "verb": verb,
        "of": "",
        "archive": arguments["node"]["archive"] if verb == "restore" else "",
        "who": arguments["node"].get("who", ""),
        "service_name": arguments["service_name"],
        "executable": arguments["node"]["executable"],
        "files": [],
        "database": None,
        "work_folder": "",
        "space_reserve": 0,
        **{name: arguments[name] for name in _LIMITS},
    }


def _list_files(extracted: t.Mapping[str, t.Any], run_id: str) -> list[dict[str, str]]:
    """The target of each critical file of the backup. An item that was absent at the time of the backup stays as it is,
    because the backup does not contain it."""
    folder = extracted["configuration_folder"]
    files = []
    for item in extracted["configuration"] or ():
        if not item["present"] or item["id"] not in _critical_files.ARCHIVE_PATHS:
            continue
        source = ntpath.normpath(ntpath.join(folder, _critical_files.ARCHIVE_PATHS[item["id"]]))
        has_permissions = item["id"] in _critical_files.WITH_PERMISSIONS
        files.append(
            {
                "path": item["source"],
                "source": source,
                "away": f"{item['source']}.before_{run_id}",
                "new": "",
                "permissions": f"{source}{_critical_files.PERMISSIONS_ENDING}" if has_permissions else "",
            }
        )
    return files


def _build_database(arguments: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    extracted, run_id = arguments["extracted"], arguments["run_id"]
    folder = find_data_folder(arguments["node"], extracted)
    new = f"{folder}.new_{run_id}" if _gates.needs_sibling(folder) else ""
    return {
        "data_folder": folder,
        "away": f"{folder}.before_{run_id}",
        "new": new,
        "target": new or folder,
        "source": extracted["database_folder"],
        "counts": extracted["collection_file"],
        "bytes": extracted["bytes"],
        "timeout": arguments["restore_timeout"],
        "batch_size": arguments["batch_size"],
    }


def find_data_folder(node: t.Mapping[str, t.Any], extracted: t.Mapping[str, t.Any]) -> str:
    """The data folder of the embedded MongoDB: from the present settings, else from the backup, else from the operator.

    Raises:
        StepFailed: it is not known.
    """
    folder = node["data_folder"] or (extracted.get("database") or {}).get("data_folder") or node["data_folder_wanted"]
    if not folder:
        raise StepFailed(
            "restore_folder_unknown",
            "neither the settings of this node nor the backup name the data folder of the embedded MongoDB",
        )
    return str(folder).rstrip("\\")


def read_result(report: t.Mapping[str, t.Any], spec: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The text about the result of a job for the operator, also if the job failed."""
    marks = report.get("marks") or {}
    kept = [entry["away"] for entry in spec["files"]]
    if spec["database"] is not None:
        kept.append(spec["database"]["away"])
    return {
        "committed": bool(report.get("committed")),
        "restored": bool(report.get("restored")),
        "prior_state": str(report.get("prior_state", "")),
        "kept": kept if report.get("committed") else [],
        "undone": list(report.get("undone") or ()),
        "states": list(report.get("states") or ()),
        "downtime": _read_downtime(marks),
        "collections": int(report.get("collections", 0)),
        "documents": int(report.get("documents", 0)),
        "remarks": list(report.get("remarks") or ()),
        "output": str(report.get("output") or ""),
        "events": list(report.get("events") or ()),
    }


def _read_downtime(marks: t.Mapping[str, float]) -> dict[str, float]:
    """Seconds by part; 0 for a part that was not reached."""

    def between(first: str, last: str) -> float:
        return round(marks[last] - marks[first], 3) if first in marks and last in marks else 0.0

    database = between("database_began", "database_ended")
    parts = {
        "stop": between("stop_requested", "stopped"),
        "files": round(max(0.0, between("stopped", "committed") - database), 3),
        "database": database,
        "start": between("start_requested", "running"),
    }
    total = between("stop_requested", "running")
    # For a restore that was undone: the part that it had done, and the undo.
    return {"total": total, **parts, "rest": round(max(0.0, total - sum(parts.values())), 3)}
