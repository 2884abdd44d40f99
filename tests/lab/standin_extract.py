# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node's double of backup_extract: unpacks real archives, laid out as extract_job.ps1 does."""

from __future__ import annotations

import json
import ntpath
import shutil
import time
import zipfile
from typing import Any

import bson

from .cache import sha256
from .node import Node
from .standin_failure import NodeFailure
from .standin_jobs import Job, double

_MANIFEST = "BackupManifest.json"
_DUMP = "database/"


def backup_extract(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module backup_extract: look, remove, and the operations of its job."""
    if arguments["_operation"] == "look":
        _check(node, arguments)
        manifest = node.path(rf"{arguments['folder']}\{arguments['base_name']}.manifest.json")
        needed = json.loads(manifest.read_text(encoding="utf-8"))["file_bytes"]
        return {"needed_bytes": needed, "free_bytes": shutil.disk_usage(node.folder).free}
    if arguments["_operation"] == "remove":
        target = node.path(arguments["target"])
        if target.is_dir() and not (target / "extraction.json").exists():
            raise NodeFailure("folder_invalid", f"{arguments['target']} has files and no extraction.json")
        changed = target.is_dir()
        if changed and not arguments.get("_ansible_check_mode"):
            shutil.rmtree(target)
        return {"changed": changed}
    return _job(node, arguments)


def _check(node: Node, where: dict[str, Any]) -> None:
    base = rf"{where['folder']}\{where['base_name']}"
    if node.path(f"{base}.sha256").exists():
        return
    if not node.path(f"{base}.zip").exists():
        raise NodeFailure("backup_unknown", f"{where['folder']} has no backup {where['base_name']}")
    raise NodeFailure("archive_incomplete", f"{base}.sha256 is missing, so the archive is not complete")


@double
def _job(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    begun = time.monotonic()
    _check(job.node, spec)
    base = rf"{spec['folder']}\{spec['base_name']}"
    archive, target = job.node.path(f"{base}.zip"), spec["target"]
    said = job.node.path(f"{base}.sha256").read_text(encoding="utf-8")
    if f"{sha256(archive)} *{archive.name}" not in said:
        raise NodeFailure("archive_bad", f"{archive.name} is not good", {"problems": ["its hash"], "problems_total": 1})
    place = job.node.path(target)
    shutil.rmtree(place, ignore_errors=True)
    (place / "files").mkdir(parents=True)
    (place / "extraction.json").write_text(json.dumps({"tool": "alteryx_ops.server_backup"}), encoding="utf-8")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(place / "files")
        names = [name for name in opened.namelist() if name != _MANIFEST]
    (place / "files" / _MANIFEST).rename(place / _MANIFEST)
    counts = {
        name.removeprefix(_DUMP).removesuffix(".bson").replace("/", ".", 1): len(
            bson.decode_all((place / "files" / name).read_bytes())
        )
        for name in names
        if name.startswith(_DUMP) and name.endswith(".bson")
    }
    collections = [{"namespace": name, "documents": count} for name, count in sorted(counts.items())]
    told = {"schema": 1, "collections": collections}
    (place / "collections.json").write_text(json.dumps(told), encoding="utf-8")
    manifest = json.loads((place / _MANIFEST).read_text(encoding="utf-8"))
    database = manifest["database"]
    kept = ("kind", "mongodb_version", "tool_version", "method", "data_folder", "bin_folder")
    parts = {
        f"{part}_folder": ntpath.join(target, "files", part) if (place / "files" / part).is_dir() else ""
        for part in ("database", "configuration")
    }
    job.log(f"{archive.name} extracted into {target}")
    return {
        **{key: manifest[key] for key in ("run_id", "fleet", "mode", "alteryx_version", "computer")},
        "backup_node": manifest["node"],
        "backup_started": manifest["started"],
        "database": {key: database.get(key, "") for key in kept} if database else None,
        "configuration": [
            {key: item[key] for key in ("id", "source", "present")} for item in manifest["configuration"] or ()
        ],
        "target": target,
        **parts,
        "manifest_file": ntpath.join(target, _MANIFEST),
        "collection_file": ntpath.join(target, "collections.json"),
        "archive_sha256": sha256(archive),
        "entries": len(names),
        "bytes": sum((place / "files" / name).stat().st_size for name in names),
        "collections": len(counts),
        "documents": sum(counts.values()),
        "seconds": round(time.monotonic() - begun, 3),
    }
