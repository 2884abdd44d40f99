# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node's doubles of backup_prune and backup_pin: what deletes backups, and what keeps them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .node import Node
from .standin_catalogue import list_backup
from .standin_failure import NodeFailure
from .standin_files import utc_text, write_text
from .standin_jobs import Job, double
from .standin_shares import each_share, run_at_shares


def backup_prune(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module backup_prune: compares, makes incomplete, deletes."""
    if arguments.get("_operation"):
        return run_at_shares(node, arguments, _prune_job)
    state = arguments["state"]
    backups = json.loads(arguments["_backups"])["backups"]
    detail = {"run_id": arguments["run_id"]}
    predicts = bool(arguments.get("_ansible_check_mode"))
    answer = _prune(
        node.path(arguments["folder"]), arguments["_node"], state, backups, arguments["_who"], detail, predicts
    )
    return {"changed": state != "checked" and bool(backups), **answer}


@double
def _prune_job(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """The prune job: one destination after the other; it has no other names of folders to find."""

    def prune(place: dict[str, Any], answer: dict[str, Any]) -> None:
        root, archive = job.node.path(place["folder"]), job.node.path(spec["archive_directory"])
        for name in place["brings"] if spec["state"] == "begun" else ():
            write_text(root / name, (archive / name).read_text(encoding="utf-8"))
        detail = {"run_id": spec["run_id"], "destination": place["name"]}
        answer |= _prune(root, spec["node"], spec["state"], place["backups"], spec["who"], detail)

    return {"places": each_share(job, spec["places"], {"held": [], "did": [], "bytes": 0}, prune)}


def _prune(
    root: Path,
    name: str,
    state: str,
    backups: list[dict[str, Any]],
    who: str,
    detail: dict[str, Any],
    predicts: bool = False,
) -> dict[str, Any]:
    """One state in one folder."""
    folder = root / name
    answer: dict[str, Any] = {"held": [], "did": [], "bytes": 0}
    if state != "finished":
        for backup in backups:
            _compare(folder, backup)
    if state == "checked" or predicts or not backups:
        return answer
    if state == "begun":
        names = [{key: backup[key] for key in ("name", "rule", "archive_sha256")} for backup in backups]
        _note(folder, "prune", who, {**detail, "backups": names})
    for backup in backups:
        if state == "begun":
            begin_deletion(folder, backup)
        else:
            finish_deletion(root, folder, backup)
            answer["bytes"] += sum(file["bytes"] for file in (*backup["files"], *backup["others"]))
        answer["did"].append(backup["name"])
    return answer


def begin_deletion(folder: Path, backup: dict[str, Any], delete: Callable[[Path], None] = Path.unlink) -> None:
    """Record the deletion, then make the backup incomplete."""
    mark = folder / f"{backup['name']}.prune.json"
    if not mark.exists():
        keys = ("run_id", "fleet", "mode", "started", "node", "archive_sha256", "rule")
        write_text(mark, json.dumps({"schema": 1, **{key: backup[key] for key in keys}, "at": utc_text()}) + "\n")
    _delete(folder / f"{backup['name']}.sha256", delete)


def finish_deletion(
    root: Path, folder: Path, backup: dict[str, Any], delete: Callable[[Path], None] = Path.unlink
) -> None:
    """Delete all files, the manifest and the record last."""
    last = [f"{backup['name']}.{ending}" for ending in ("manifest.json", "prune.json")]
    for file in backup["files"]:
        if file["name"] not in last:
            _delete(folder / file["name"], delete)
    for file in backup["others"]:
        _delete(root / file["name"], delete)
    for name in last:
        _delete(folder / name, delete)


def _delete(file: Path, delete: Callable[[Path], None]) -> None:
    if file.exists():
        delete(file)


def _compare(folder: Path, backup: dict[str, Any]) -> None:
    found = list_backup(folder, backup["name"])
    planned = {file["name"]: file["bytes"] for file in backup["files"]}
    found |= {name: (folder / name).stat().st_size for name in planned if (folder / name).exists()}
    sidecar = folder / f"{backup['name']}.sha256"
    digest = hashlib.sha256(sidecar.read_bytes()).hexdigest() if sidecar.exists() else ""
    if found != planned or (backup["sidecar_sha256"] and digest != backup["sidecar_sha256"]):
        raise NodeFailure(
            "prune_changed", f"the files of {backup['name']} have changed since the plan was made. Nothing was deleted"
        )


def _note(folder: Path, verb: str, who: str, detail: dict[str, Any]) -> None:
    file = folder / "BackupAudit.log"
    line = json.dumps({"at": utc_text(), "verb": verb, "who": who, **dict(sorted(detail.items()))})
    with file.open("a", encoding="utf-8") as log:
        log.write(line + "\n")


def backup_pin(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module backup_pin: a small file beside the backup."""
    if arguments.get("_operation"):
        return run_at_shares(node, arguments, _pin_job)
    pin = {key: arguments[key] for key in ("who", "why", "until")} if arguments["state"] == "pinned" else None
    folder = node.path(arguments["folder"]) / arguments["_node"]
    return {"changed": _pin(folder, arguments["backup"], pin, arguments["_who"], {}, arguments)}


@double
def _pin_job(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """The pin job: one destination after the other."""

    def pin(place: dict[str, Any], answer: dict[str, Any]) -> None:
        folder, detail = job.node.path(place["folder"]) / spec["node"], {"destination": place["name"]}
        answer["changed"] = _pin(folder, spec["name"], spec["pin"], spec["who"], detail, {})

    return {"places": each_share(job, spec["places"], {"changed": False}, pin)}


def _pin(
    folder: Path, name: str, pin: dict[str, str] | None, who: str, detail: dict[str, Any], arguments: dict[str, Any]
) -> bool:
    """Writes or removes a pin. Does that change anything?"""
    if not folder.is_dir() or not list_backup(folder, name):
        raise NodeFailure("pin_refused", f"{folder} has no backup {name} any more")
    file = folder / f"{name}.pin.json"
    old = json.loads(file.read_bytes()) if file.exists() else None
    done = old is None if pin is None else old is not None and all(old[key] == pin[key] for key in pin)
    if not done and not arguments.get("_ansible_check_mode"):
        detail = {**detail, "backup": name, **{f"pin_{key}": value for key, value in (pin or {}).items()}}
        _note(folder, "unpin" if pin is None else "pin", who, detail)
        if pin is not None:
            write_text(file, json.dumps({"schema": 1, "at": utc_text(), **pin}) + "\n")
        else:
            file.unlink()
    return not done
