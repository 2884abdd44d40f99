# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node's doubles of backup_set and backup_info: the files beside archives, and what they say about the
archives."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from .node import Node
from .standin_failure import NodeFailure
from .standin_files import utc_text, write_text
from .standin_jobs import Job, double
from .standin_shares import each_share, run_at_shares

_KNOWN = re.compile(
    r"(?P<base>.+?)\.(zip|manifest\.json|secrets\.pem|sha256|set\.json|pin\.json|prune\.json|"
    r"verify_[0-9]{8}_[0-9]{6}\.json)"
)


def backup_set(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module backup_set: writes small text files beside the archives."""
    written = []
    for name, text in json.loads(arguments["_texts"]).items():
        path = rf"{arguments['folder']}\{name}"
        file = node.path(path)
        if file.exists() and file.read_bytes() != text.encode():
            raise NodeFailure("archive_exists", f"{path} exists already with other content and is not overwritten")
        if not file.exists():
            written.append(path)
            if not arguments.get("_ansible_check_mode"):
                write_text(file, text)
    return {"changed": bool(written), "written": written}


def backup_info(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module backup_info: small facts about everything in a destination folder."""
    if arguments.get("_operation"):
        return run_at_shares(node, arguments, _list_job)
    return _list(node, arguments["folder"], arguments["nodes"])


@double
def _list_job(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """The list job: one destination after the other."""

    def look(place: dict[str, Any], answer: dict[str, Any]) -> None:
        answer |= _list(job.node, place["folder"], spec["nodes"])

    nothing = {"exists": False, "folders": [], "utc": utc_text()}
    places = each_share(job, spec["places"], nothing, look)
    return {"places": [{**one, "folder": place["folder"]} for one, place in zip(places, spec["places"], strict=True)]}


def _list(node: Node, folder: str, nodes: list[str]) -> dict[str, Any]:
    wanted = {name.casefold() for name in nodes}
    if not re.match(r"[A-Za-z]:\\|\\\\", folder):
        raise NodeFailure("folder_invalid", f"{folder} is not an absolute path on this node")
    top = node.path(folder)
    if not top.is_dir():
        return {"exists": False, "utc": utc_text(), "folders": []}
    children = [child for child in top.iterdir() if child.is_dir() and (not wanted or child.name.casefold() in wanted)]
    return {
        "exists": True,
        "utc": utc_text(),
        "folders": [_folder(top, ""), *(_folder(child, child.name) for child in children)],
    }


def _folder(path: Path, name: str) -> dict[str, Any]:
    bases: dict[str, list[Path]] = {}
    sets, logs, others = [], [], 0
    for file in (file for file in path.iterdir() if file.is_file()):
        match = _KNOWN.fullmatch(file.name)
        if match is None and re.fullmatch(r"BackupLog_.+\.log", file.name):
            logs.append(describe_file(file))
        elif match is None:
            others += not re.fullmatch(r"BackupAudit\.log|README\.txt", file.name)
        elif file.name.endswith(".set.json"):
            sets.append(_set(file, match["base"]))
        else:
            bases.setdefault(match["base"], []).append(file)
    return {
        "name": name,
        "others": others,
        "logs": logs,
        "sets": sets,
        "backups": [_backup(base, sorted(files)) for base, files in bases.items()],
    }


def describe_file(file: Path) -> dict[str, Any]:
    """Name and size, as listings have them."""
    return {"name": file.name, "bytes": file.stat().st_size}


def list_backup(folder: Path, base: str) -> dict[str, int]:
    """Name -> size of everything that belongs to one backup."""
    files = [file for file in folder.iterdir() if (match := _KNOWN.fullmatch(file.name)) and match["base"] == base]
    return {file.name: file.stat().st_size for file in files if not file.name.endswith(".set.json")}


def _set(file: Path, base: str) -> dict[str, Any]:
    read = json.loads(file.read_bytes())
    nodes = read.get("nodes", {})
    return {
        "base": base,
        "error": "",
        **{key: read.get(key, "") for key in ("run_id", "fleet", "mode", "started", "verdict")},
        "nodes": [name for name, node in nodes.items() if node["archive"]],
        "bytes": file.stat().st_size,
    }


def _backup(base: str, files: list[Path]) -> dict[str, Any]:
    fact: dict[str, Any] = {
        "base": base,
        "manifest": None,
        "sidecar": None,
        "verification": None,
        "pin": None,
        "prune": None,
        "files": [describe_file(file) for file in files],
    }
    for file in files:
        ending = file.name.removeprefix(f"{base}.")
        if ending == "manifest.json":
            fact["manifest"] = _manifest(json.loads(file.read_bytes()))
        elif ending == "sha256":
            fact["sidecar"] = _sidecar(file.read_text(encoding="utf-8"))
        elif ending == "pin.json":
            fact["pin"] = _texts(file, "at", "who", "why", "until")
        elif ending == "prune.json":
            fact["prune"] = _texts(file, "run_id", "fleet", "mode", "started", "node")
        elif ending.startswith("verify_"):  # the last one is the newest
            fact["verification"] = _verification(json.loads(file.read_bytes()))
    return fact


def _manifest(read: dict[str, Any]) -> dict[str, Any]:
    head = (
        "schema",
        "tool",
        "run_id",
        "mode",
        "fleet",
        "node",
        "computer",
        "started",
        "alteryx_version",
        "file_count",
        "file_bytes",
    )
    database = read["database"] or {"databases": [], "documents": {}, "downtime_seconds": 0.0}
    return {
        "error": "",
        **{key: read[key] for key in head},
        "status": read.get("status", ""),
        "machine_id": read.get("machine_id", ""),
        "secrets": read["secrets"]["included"],
        "dumped": read["database"] is not None,
        "roles": read["roles"],
        "database_kind": database.get("kind", ""),
        "data_folder": database.get("data_folder", ""),
        "databases": database["databases"],
        "documents": sum(database["documents"].values()),
        "downtime_seconds": database["downtime_seconds"],
    }


def _sidecar(text: str) -> dict[str, Any]:
    sums = dict(reversed(line.split(" *", 1)) for line in text.splitlines())
    digest = next((digest for name, digest in sums.items() if name.endswith(".zip")), "")
    own = hashlib.sha256(text.encode()).hexdigest()
    return {"error": "", "names": list(sums), "archive_sha256": digest, "sha256": own}


def _texts(file: Path, *names: str) -> dict[str, str]:
    read = json.loads(file.read_bytes())
    return {"error": "", **{name: str(read.get(name, "")) for name in names}}


def _verification(read: dict[str, Any]) -> dict[str, Any]:
    return {
        "error": "",
        **{key: read[key] for key in ("verified", "method", "verdict")},
        "problems": read.get("problems_total", len(read["problems"])),
        "problem": next(iter(read["problems"]), ""),
    }
