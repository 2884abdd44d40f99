# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in node's doubles of a restore: real files change places, as restore_job.ps1 does it. The database is what
the backup has of it: no MongoDB opens it."""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from . import standin_service, standin_state
from .node import Node
from .standin_failure import NodeFailure
from .standin_files import files_below, write_text
from .standin_jobs import Job, double


def database_restore(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module database_restore: the look for room, and its job."""
    if arguments["state"] != "checked":
        return _exchange(node, arguments)
    wanted = int(arguments["_bytes"]) + int(arguments["_reserve"])
    if shutil.disk_usage(node.folder).free < wanted:
        raise NodeFailure("space_short", f"The drive of {arguments['_data_folder']} has not {wanted} bytes")
    return {}


def config_import(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module config_import: the same job, without a database."""
    return _exchange(node, arguments)


def restore_record(node: Node, arguments: dict[str, Any]) -> dict[str, Any]:
    """The module restore_record."""
    records = _records(node)
    if arguments["state"] == "inspected":
        return {"records": records, "did": []}
    wanted = arguments["restore_id"]
    names = {wanted, *(record["of"] for record in records if record["run_id"] == wanted)} - {""}
    chosen = [record for record in records if names & {record["run_id"], record["of"]}]
    kept = [path for record in chosen for path in _kept(node, record)]
    if not arguments.get("_ansible_check_mode"):
        for path in kept:
            _remove(node.path(path))
        for record in chosen:
            file = node.path(record["path"])
            file.rename(file.with_name(f"{record['run_id']}.accepted.json"))
    return {"changed": bool(chosen), "records": records, "did": kept}


@double
def _exchange(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """Stop, exchange files and data folder, commit, start."""
    node = job.node
    lease = standin_state.own_lease(node, spec["run_id"])
    database = spec["database"]
    states = job.stop(spec["service_name"])
    entries = [_put(node, item, item["path"]) for item in spec["files"]]
    counted: list[dict[str, Any]] = []
    if database:
        job.mark("database_began")
        entries.append(_put(node, {**database, "new": ""}, database["data_folder"]))
        counted = json.loads(node.path(database["counts"]).read_text(encoding="utf-8"))["collections"]
        job.mark("database_ended")
    for entry in entries:
        job.log(f"restored {entry['path']}")
    record = {key: spec[key] for key in ("run_id", "verb", "of")}
    # PowerShell reads a time in JSON as a date, and writes it as a text of another form.
    began = f"{datetime.datetime.now(datetime.UTC):%m/%d/%Y %H:%M:%S}"
    record |= {"service": spec["service_name"], "began": began, "entries": entries}
    write_text(node.path(rf"{standin_state.RESTORES}\{spec['run_id']}.committed.json"), json.dumps(record))
    job.mark("committed")
    job.mark("start_requested")
    states += standin_service.change(node, "Running")
    job.mark("running")
    job.log(f"{spec['service_name']} is Running")
    return {
        "prior_state": lease["prior_state"],
        "restored": True,
        "committed": True,
        "undone": [],
        "states": states,
        "marks": job.marks,
        "collections": len(counted),
        "documents": sum(collection["documents"] for collection in counted),
        "remarks": [],
        "output": "",
    }


def _put(node: Node, item: dict[str, Any], path: str) -> dict[str, Any]:
    """Rename what is at a path, and put the new there, if there is any; returns the entry of the record."""
    place = node.path(path)
    entry = {"path": path, "away": item["away"], "new": item["new"], "existed": place.exists(), "fingerprint": ""}
    if place.exists():
        sizes = [(name, file.stat().st_size) for name, file in files_below(place).items()] or place.stat().st_size
        entry["fingerprint"] = hashlib.sha256(json.dumps(sizes).encode()).hexdigest()
        place.rename(node.path(item["away"]))
    place.parent.mkdir(parents=True, exist_ok=True)
    if item["new"]:
        node.path(item["new"]).rename(place)
    elif item["source"] and node.path(item["source"]).is_dir():
        shutil.copytree(node.path(item["source"]), place)
    elif item["source"]:
        shutil.copy2(node.path(item["source"]), place)
    return entry


def _records(node: Node) -> list[dict[str, Any]]:
    folder = node.path(standin_state.RESTORES)
    return [
        {**json.loads(file.read_text(encoding="utf-8")), "word": "committed", "problem": "", "path": path}
        for file in sorted(folder.glob("*.committed.json"))
        for path in [rf"{standin_state.RESTORES}\{file.name}"]
    ]


def _kept(node: Node, record: dict[str, Any]) -> list[str]:
    return [entry["away"] for entry in record["entries"] if node.path(entry["away"]).exists()]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
