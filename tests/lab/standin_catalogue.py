# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node's doubles of backup_set and backup_info: what lies beside archives, and what it says of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .node import Node
from .standin_failure import NodeFailure
from .standin_files import write_text

_KNOWN = re.compile(r"(?P<base>.+?)\.(zip|manifest\.json|secrets\.pem|sha256|set\.json|verify_[0-9]{8}_[0-9]{6}\.json)")


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
    folder, wanted = arguments["folder"], {name.casefold() for name in arguments["nodes"]}
    if not re.match(r"[A-Za-z]:\\", folder):
        raise NodeFailure("folder_invalid", f"{folder} is not an absolute path on this node")
    top = node.path(folder)
    if not top.is_dir():
        return {"exists": False, "folders": []}
    children = [child for child in top.iterdir() if child.is_dir() and (not wanted or child.name.casefold() in wanted)]
    return {"exists": True, "folders": [_folder(top, ""), *(_folder(child, child.name) for child in children)]}


def _folder(path: Path, name: str) -> dict[str, Any]:
    bases: dict[str, list[Path]] = {}
    sets, others = [], 0
    for file in (file for file in path.iterdir() if file.is_file()):
        match = _KNOWN.fullmatch(file.name)
        if match is None:
            others += not re.fullmatch(r"BackupLog_.+\.log|README\.txt", file.name)
        elif file.name.endswith(".set.json"):
            read = json.loads(file.read_bytes())
            sets.append({"base": match["base"], "error": "", "run_id": read["run_id"], "verdict": read["verdict"]})
        else:
            bases.setdefault(match["base"], []).append(file)
    return {
        "name": name,
        "others": others,
        "sets": sets,
        "backups": [_backup(base, sorted(files)) for base, files in bases.items()],
    }


def _backup(base: str, files: list[Path]) -> dict[str, Any]:
    fact: dict[str, Any] = {
        "base": base,
        "manifest": None,
        "sidecar": None,
        "verification": None,
        "files": [{"name": file.name, "bytes": file.stat().st_size} for file in files],
    }
    for file in files:
        ending = file.name.removeprefix(f"{base}.")
        if ending == "manifest.json":
            fact["manifest"] = _manifest(json.loads(file.read_bytes()))
        elif ending == "sha256":
            fact["sidecar"] = _sidecar(file.read_text(encoding="utf-8"))
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
        "secrets": read["secrets"]["included"],
        "dumped": read["database"] is not None,
        "databases": database["databases"],
        "documents": sum(database["documents"].values()),
        "downtime_seconds": database["downtime_seconds"],
    }


def _sidecar(text: str) -> dict[str, Any]:
    sums = dict(reversed(line.split(" *", 1)) for line in text.splitlines())
    digest = next((digest for name, digest in sums.items() if name.endswith(".zip")), "")
    return {"error": "", "names": list(sums), "archive_sha256": digest}


def _verification(read: dict[str, Any]) -> dict[str, Any]:
    return {
        "error": "",
        **{key: read[key] for key in ("verified", "method", "verdict")},
        "problems": read.get("problems_total", len(read["problems"])),
        "problem": next(iter(read["problems"]), ""),
    }
