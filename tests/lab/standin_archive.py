# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive jobs of a stand-in node: write real archives, laid out as archive_job.ps1 does, and read them back."""

from __future__ import annotations

import json
import re
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import bson

from .cache import sha256
from .standin_failure import NodeFailure
from .standin_files import files_below, utc_text, write_text
from .standin_jobs import Job, double

_MANIFEST = "BackupManifest.json"
_DUMP = "database/"


@double
def backup_archive(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """Write zip, manifest, secrets file and, last, the .sha256 file."""
    begun = time.monotonic()
    node, name = job.node, spec["base_name"]
    folder, files = node.path(spec["folder"]), files_below(node.path(spec["source"]))
    collections = _walked(files, {entry["namespace"]: entry["documents"] for entry in spec["reported"]})
    listed = [
        {"path": path, "bytes": file.stat().st_size, "sha256": sha256(file), "modified": utc_text(file.stat().st_mtime)}
        for path, file in files.items()
    ]
    total = sum(entry["bytes"] for entry in listed)
    manifest: str = spec["manifest"]
    read = {
        "files": listed, "file_count": len(files), "file_bytes": total, "collections": collections,
        "ended": utc_text(), "mongodb_version": "SIMULATED", "tool_version": "SIMULATED",
    }  # fmt: skip
    for mark, value in read.items():
        manifest = manifest.replace(f'"@@{mark}@@"', json.dumps(value, ensure_ascii=False))
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}.zip", "x", zipfile.ZIP_DEFLATED) as archive:
        for path, file in files.items():
            archive.write(file, path)
        archive.writestr(_MANIFEST, manifest)
    write_text(folder / f"{name}.manifest.json", manifest)
    if spec["secrets_file"]:
        shutil.copyfile(node.path(spec["secrets_file"]), folder / f"{name}.secrets.pem")
    endings = ["zip", "manifest.json", *(["secrets.pem"] if spec["secrets_file"] else [])]
    sums = {ending: sha256(folder / f"{name}.{ending}") for ending in endings}
    write_text(folder / f"{name}.sha256", "".join(f"{digest} *{name}.{ending}\n" for ending, digest in sums.items()))
    job.log(rf"published {spec['folder']}\{name}.zip")
    if not (folder / "README.txt").exists():
        write_text(folder / "README.txt", spec["readme"])
    return {
        "archive": rf"{spec['folder']}\{name}.zip",
        "archive_bytes": (folder / f"{name}.zip").stat().st_size,
        "archive_sha256": sums["zip"],
        "manifest_sha256": sums["manifest.json"],
        "file_count": len(files),
        "file_bytes": total,
        "collections": collections,
        "secrets": bool(spec["secrets_file"]),
        "seconds": time.monotonic() - begun,
    }


@double
def backup_verify(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """Compare an archive and the files beside it with the .sha256 file. The verdict is also beside the archive."""
    begun = time.monotonic()
    folder, name = job.node.path(spec["folder"]), spec["base_name"]
    sidecar, archive, manifest = (folder / f"{name}.{ending}" for ending in ("sha256", "zip", "manifest.json"))
    if not sidecar.exists() and not archive.exists():
        raise NodeFailure("backup_unknown", f"{spec['folder']} has no backup {name}")
    if not sidecar.exists():
        message = rf"{spec['folder']}\{sidecar.name} is missing, so the archive is not complete"
        raise NodeFailure("archive_incomplete", message)
    said = dict(reversed(line.split(" *", 1)) for line in sidecar.read_text(encoding="utf-8").splitlines())
    problems = [
        f"{file} is missing or does not match its SHA-256 in the .sha256 file"
        for file, digest in said.items()
        if not (folder / file).exists() or sha256(folder / file) != digest
    ]
    found = dict.fromkeys(("entries", "bytes", "collections", "documents"), 0)
    if not problems:
        found = _counts(archive)
    verdict = {
        "schema": 1,
        "archive": f"{name}.zip",
        "archive_sha256": sha256(archive) if archive.exists() else "",
        "run_id": json.loads(manifest.read_text(encoding="utf-8"))["run_id"] if manifest.exists() else "",
        "started": re.sub(r"(....)(..)(..)_(..)(..)(..)", r"\1-\2-\3T\4:\5:\6.000Z", spec["stamp"]),
        "verified": utc_text(),
        "method": "SIMULATED: every file against the .sha256 file",
        **found,
        "verdict": "bad" if problems else "good",
        "problems": problems,
        "problems_total": len(problems),
        "seconds": round(time.monotonic() - begun, 3),
    }
    write_text(folder / f"{name}.verify_{spec['stamp']}.json", json.dumps(verdict, indent=2) + "\n")
    if problems:
        raise NodeFailure("archive_bad", f"{name}.zip is not good: {'; '.join(problems)}", verdict)
    if spec["staging"] and not spec["keep_staging"]:
        shutil.rmtree(job.node.path(spec["staging"]), ignore_errors=True)
    job.log(f"{name}.zip read back: {found['entries']} entries, {found['bytes']} bytes, {found['documents']} documents")
    return verdict


def _walked(files: dict[str, Path], reported: dict[str, int]) -> list[dict[str, Any]]:
    """The collections of the dump, with the documents that were read and those that the tool has reported."""
    collections = []
    for path, file in files.items():
        if path.startswith(_DUMP) and path.endswith(".bson"):
            namespace = path.removeprefix(_DUMP).removesuffix(".bson").replace("/", ".", 1)
            content = file.read_bytes()
            collections.append(
                {
                    "namespace": namespace,
                    "documents": len(bson.decode_all(content)),
                    "bytes": len(content),
                    "reported": reported[namespace],
                }
            )
    return collections


def _counts(file: Path) -> dict[str, int]:
    """What is in an archive: entries, bytes, collections and documents."""
    with zipfile.ZipFile(file) as archive:
        content = {path: archive.read(path) for path in archive.namelist() if path != _MANIFEST}
    dumped = [data for path, data in content.items() if path.startswith(_DUMP) and path.endswith(".bson")]
    return {
        "entries": len(content),
        "bytes": sum(len(data) for data in content.values()),
        "collections": len(dumped),
        "documents": sum(len(bson.decode_all(data)) for data in dumped),
    }
