# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node's double of backup_copy: copies files and reads them back; has no network that could fail."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

from .node import Node
from .standin_failure import NodeFailure
from .standin_jobs import Job, double
from .standin_shares import run_at_shares

_ENDINGS = ("manifest.json", "secrets.pem", "zip", "sha256")


@double
def _run_job(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """The copy job: one destination after the other."""
    if spec["only_try"]:
        return {"copies": [_try(job, spec, one) for one in spec["destinations"]]}
    folder, name = job.node.path(spec["folder"]), spec["base_name"]
    files = [folder / f"{name}.{ending}" for ending in _ENDINGS if (folder / f"{name}.{ending}").exists()]
    if not files:
        raise NodeFailure("backup_unknown", f"{spec['folder']} has no backup {name}")
    copies = [_copy(job, spec, one, files) for one in spec["destinations"]]
    failed = [copy for copy in copies if copy["state"] == "failed"]
    if failed:
        texts = "; ".join(f"{copy['destination']}: {copy['message']}" for copy in failed)
        raise NodeFailure(
            failed[0]["reason"],
            f"{len(failed)} of {len(copies)} destinations have no copy of {name}: {texts}",
            {"copies": copies},
        )
    return {"copies": copies}


def backup_copy(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module backup_copy: its job, and what letters of drives stand for (no share, on this node)."""
    return run_at_shares(node, arguments, _run_job)


def _begin(spec: dict[str, Any], destination: dict[str, Any]) -> dict[str, Any]:
    return {
        "destination": destination["name"],
        "folder": rf"{destination['path']}\{spec['below']}",
        "state": "failed",
        "reason": "",
        "message": "",
        "seconds": 0.0,
    }


def _find(job: Job, destination: dict[str, Any], copy: dict[str, Any]) -> Path | None:
    folder = job.node.path(destination["path"])
    if folder.is_dir():
        return job.node.path(copy["folder"])
    copy["reason"] = "destination_unreachable"
    copy["message"] = f"{destination['path']} cannot be reached: Path not found (error 3)"
    return None


def _try(job: Job, spec: dict[str, Any], destination: dict[str, Any]) -> dict[str, Any]:
    copy = {**_begin(spec, destination), "free_bytes": -1}
    if _find(job, destination, copy):
        copy |= {"state": "usable", "free_bytes": shutil.disk_usage(job.node.path(destination["path"])).free}
    return copy


def _copy(job: Job, spec: dict[str, Any], destination: dict[str, Any], files: list[Path]) -> dict[str, Any]:
    began = time.monotonic()
    count = sum(file.stat().st_size for file in files)
    numbers = ("sent_bytes", "resumed_bytes", "again_bytes", "read_bytes")
    copy = {
        **_begin(spec, destination),
        "attempts": 1,
        "bytes": count,
        **dict.fromkeys(numbers, 0),
        "send_seconds": 0.0,
        "rate": 0.0,
        "readback": "none",
    }
    target = _find(job, destination, copy)
    if target is None:
        return copy
    target.mkdir(parents=True, exist_ok=True)
    todo = [file for file in files if not (target / file.name).exists()]
    for file in files:
        if file not in todo and _digest(file) != _digest(target / file.name):
            copy["reason"] = "copy_exists"
            copy["message"] = f"{file.name} exists already, is another file and is not overwritten"
            return copy
    for file in todo:
        shutil.copyfile(file, target / f"{file.name}.partial")
        (target / f"{file.name}.partial").rename(target / file.name)
    name = spec["base_name"]
    for verdict in sorted(files[0].parent.glob(f"{name}.verify_*.json"))[-1:]:
        # A node writes it anew.
        shutil.copyfile(verdict, target / f"{name}.verify_{spec['stamp']}.json")
    sent = sum(file.stat().st_size for file in todo)
    copy |= {"state": "copied" if todo else "present", "sent_bytes": sent, "read_bytes": count, "readback": "uncached"}
    copy["seconds"] = round(time.monotonic() - began, 3)
    copy["send_seconds"] = copy["seconds"]
    return copy


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
