# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node's double of backup_info: looks at a destination folder as backup_info.ps1 does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from .node import Node
from .standin_failure import NodeFailure

_KNOWN = re.compile(r"(?P<base>.+?)\.(zip|zip\.partial|manifest\.json|secrets\.pem|sha256|set\.json|verify_[0-9]{8}_[0-9]{6}\.json)", re.IGNORECASE)
_LIST_OF_FILES = '\n  "files":'
_MAXIMUM_HEAD = 2 * 1024**2
_MAXIMUM_TEXT = 4 * 1024**2


def backup_info(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """Small facts about everything in a destination folder."""
    folder, wanted = arguments["folder"], {name.casefold() for name in arguments.get("nodes") or []}
    if not re.match(r"[A-Za-z]:\\|\\\\", folder):
        raise NodeFailure("folder_invalid", f"{folder} is no absolute path on this node")
    top = node.path(folder)
    if top.is_file():
        raise NodeFailure("folder_invalid", f"{folder} is a file, not a folder")
    if not top.is_dir():
        return {"exists": False, "folders": []}
    children = [child for child in top.iterdir() if child.is_dir() and (not wanted or child.name.casefold() in wanted)]
    return {"exists": True, "folders": [_folder(top, ""), *(_folder(child, child.name) for child in children)]}


def _folder(path: Path, name: str) -> dict[str, Any]:
    bases: dict[str, list[dict[str, Any]]] = {}
    sets, others = [], 0
    for file in path.iterdir():
        match = _KNOWN.fullmatch(file.name)
        if not file.is_file():
            continue
        if match is None:
            others += not re.fullmatch(r"BackupLog_.+\.log", file.name, re.IGNORECASE)
        elif file.name.lower().endswith(".set.json"):
            fact = {"base": match["base"], "error": "", "run_id": "", "verdict": ""}
            sets.append(_filled(fact, file, lambda read, fact: fact.update({key: str(read.get(key, "")) for key in ("run_id", "verdict")})))
        else:
            bases.setdefault(match["base"], []).append({"name": file.name, "bytes": file.stat().st_size})
    return {"name": name, "others": others, "sets": sets, "backups": [_backup(path, base, files) for base, files in bases.items()]}


def _backup(path: Path, base: str, files: list[dict[str, Any]]) -> dict[str, Any]:
    fact: dict[str, Any] = {"base": base, "files": files, "manifest": None, "sidecar": None, "verification": None}
    verifications = []
    for file in files:
        ending = file["name"][len(base) + 1 :].lower()
        if ending == "manifest.json":
            fact["manifest"] = _manifest(path / file["name"])
        elif ending == "sha256":
            fact["sidecar"] = _sidecar(path / file["name"])
        elif ending.startswith("verify_"):
            verifications.append(file["name"])
    if verifications:
        empty = {"error": "", "verified": "", "method": "", "verdict": "", "problems": 0, "problem": ""}
        fact["verification"] = _filled(empty, path / max(verifications, key=str.lower), _verification)
    return fact


def _filled(fact: dict[str, Any], file: Path, fill: Any) -> dict[str, Any]:
    try:
        fill(json.loads(_small_text(file)), fact)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        fact["error"] = str(error)
    return fact


def _small_text(file: Path) -> str:
    if file.stat().st_size > _MAXIMUM_TEXT:
        raise ValueError(f"it has {file.stat().st_size} bytes, more than the {_MAXIMUM_TEXT} that are read")
    return file.read_text(encoding="utf-8-sig")


def _verification(read: dict[str, Any], fact: dict[str, Any]) -> None:
    fact.update({key: str(read.get(key, "")) for key in ("verified", "method", "verdict")})
    problems = read.get("problems") or []
    fact.update(problems=read.get("problems_total", len(problems)), problem=str(problems[0]) if problems else "")


def _sidecar(file: Path) -> dict[str, Any]:
    fact: dict[str, Any] = {"error": "", "names": [], "archive_sha256": ""}
    try:
        for line in _small_text(file).splitlines():
            match = re.fullmatch(r"([0-9a-f]{64}) \*(.+)", line)
            if match is None:
                raise ValueError(f"it has a line that is none: {line}")
            fact["names"].append(match[2])
            if match[2].lower().endswith(".zip"):
                fact["archive_sha256"] = match[1]
    except (OSError, ValueError) as error:
        fact.update(error=str(error), names=[])
    return fact


def _manifest(file: Path) -> dict[str, Any]:
    fact: dict[str, Any] = {
        "error": "", "schema": 0, **dict.fromkeys(("tool", "run_id", "mode", "fleet", "node", "computer", "started", "alteryx_version"), ""),
        "databases": [], "documents": 0, "dumped": False, "downtime_seconds": 0.0, "file_count": 0, "file_bytes": 0, "secrets": False,
    }  # fmt: skip
    try:
        read = json.loads(_head(file))
        fact.update({key: read[key] for key in fact if key in read and key != "secrets"})
        fact["secrets"] = bool((read.get("secrets") or {}).get("included"))
        if database := read.get("database"):
            fact.update(dumped=True, databases=list(database["databases"]), downtime_seconds=float(database["downtime_seconds"]),
                        documents=sum(database["documents"].values()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        fact["error"] = str(error)
    return fact


def _head(file: Path) -> str:
    with file.open(encoding="utf-8", newline="") as stream:
        text = stream.read(_MAXIMUM_HEAD)
    head, found, _ = text.partition(_LIST_OF_FILES)
    if not found:
        raise ValueError("it has no list of files")
    return f"{head}{_LIST_OF_FILES} []}}"
