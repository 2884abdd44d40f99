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


def backup_prune(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module backup_prune: compares, makes incomplete, deletes."""
    root, state = node.path(arguments["folder"]), arguments["state"]
    folder = root / arguments["_node"]
    backups = json.loads(arguments["_backups"])["backups"]
    answer: dict[str, Any] = {"changed": False, "held": [], "did": [], "bytes": 0}
    if state != "finished":
        for backup in backups:
            _compare(folder, backup)
    if state == "checked":
        return answer
    answer["changed"] = bool(backups)
    if arguments.get("_ansible_check_mode") or not backups:
        return answer
    if state == "begun":
        names = [{key: backup[key] for key in ("name", "rule", "archive_sha256")} for backup in backups]
        _note(folder, "prune", arguments["_who"], {"run_id": arguments["run_id"], "backups": names})
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
    folder, name = node.path(arguments["folder"]) / arguments["_node"], arguments["backup"]
    if not folder.is_dir() or not list_backup(folder, name):
        raise NodeFailure("pin_refused", f"{folder} has no backup {name} any more")
    file, pins = folder / f"{name}.pin.json", arguments["state"] == "pinned"
    pin = {key: arguments[key] for key in ("who", "why", "until")}
    old = json.loads(file.read_bytes()) if file.exists() else None
    done = old is not None and all(old[key] == pin[key] for key in pin) if pins else old is None
    if not done and not arguments.get("_ansible_check_mode"):
        detail = {f"pin_{key}": value for key, value in pin.items()} if pins else {}
        _note(folder, "pin" if pins else "unpin", arguments["_who"], {"backup": name, **detail})
        if pins:
            write_text(file, json.dumps({"schema": 1, "at": utc_text(), **pin}) + "\n")
        else:
            file.unlink()
    return {"changed": not done}
