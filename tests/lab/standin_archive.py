# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive jobs of a stand-in node: writes and reads back real archives, laid out as ArchiveJob.ps1 and VerifyJob.ps1 do."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import re
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import bson

from .standin_failure import NodeFailure
from .standin_files import FoundFile, files_below, sha256, utc_text, write_text
from .standin_jobs import Job

MANIFEST = "BackupManifest.json"
_LEVELS = {"Optimal": 6, "Fastest": 1}


def archive_job(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """Write zip, manifest, secrets file and, last, the .sha256 file."""
    begun = time.monotonic()
    base = rf"{spec['folder']}\{spec['base_name']}"
    archive = job.node.path(f"{base}.zip")
    for ending in ("zip", "manifest.json", "secrets.pem", "sha256"):
        if archive.with_suffix(f".{ending}").exists():
            raise NodeFailure("archive_exists", f"{base}.{ending} exists already; nothing is overwritten")
    if not job.node.path(spec["source"]).is_dir():
        raise NodeFailure("folder_invalid", f"{spec['source']} is no folder")
    files = files_below(job.node.path(spec["source"]))
    total = sum(found.size for found in files)
    job.status("archive", total_bytes=total)
    job.log(f"archiving {len(files)} files, {total} bytes")
    made = [archive.with_name(f"{archive.name}.partial")]
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        collections = _walked(files, spec)
        manifest = _write_zip(made[0], files, collections, spec)
        job.status("finish", total_bytes=total)
        sums = [(sha256(made[0]), "zip")]
        sums.append((_publish(archive, "manifest.json", manifest, made), "manifest.json"))
        if spec["secrets_file"]:
            text = job.node.path(spec["secrets_file"]).read_text(encoding="utf-8")
            sums.append((_publish(archive, "secrets.pem", text, made), "secrets.pem"))
        made[0].rename(archive)
        made.append(archive)
        _publish(archive, "sha256", "".join(f"{digest} *{spec['base_name']}.{ending}\n" for digest, ending in sums), made)
    except (OSError, NodeFailure) as error:
        for file in made:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
        raise error if isinstance(error, NodeFailure) else NodeFailure("archive_failed", f"{base}.zip cannot be written: {error}") from error
    job.log(f"published {base}.zip")
    if not spec["keep_staging"]:
        shutil.rmtree(job.node.path(spec["staging"]), ignore_errors=True)
    return {"archive": f"{base}.zip", "archive_bytes": archive.stat().st_size, "archive_sha256": sums[0][0], "manifest_sha256": sums[1][0],
            "file_count": len(files), "file_bytes": total, "collections": collections,
            "secrets": bool(spec["secrets_file"]), "seconds": time.monotonic() - begun}


def verify_job(job: Job, spec: dict[str, Any]) -> dict[str, Any]:
    """Read an archive back; the verdict lies beside it."""
    begun = time.monotonic()
    folder, name = job.node.path(spec["folder"]), spec["base_name"]
    if not (folder / f"{name}.sha256").exists():
        raise NodeFailure("archive_incomplete", rf"{spec['folder']}\{name}.sha256 is absent, so this archive is not complete")
    job.status("read back")
    problems = _sidecar_problems(folder, name)
    entries, size, collections, documents = 0, 0, 0, 0
    try:
        entries, size, collections, documents = _read_back(folder, name, problems)
    except NodeFailure as failure:
        problems.append(f"it cannot be read: {failure.message}")
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        problems.append(f"it cannot be read: {error}")
    verdict = {"schema": 1, "archive": f"{name}.zip", "verified": utc_text(),
               "method": "every byte against the .sha256 file, every entry against the manifest inside, every document of the dump walked and counted",
               "verdict": "bad" if problems else "good", "entries": entries, "bytes": size, "collections": collections, "documents": documents,
               "problems": problems, "problems_total": len(problems), "seconds": round(time.monotonic() - begun, 3)}
    write_text(folder / f"{name}.verify_{spec['stamp']}.json", json.dumps(verdict))
    if problems:
        raise NodeFailure("archive_bad", f"{name}.zip is not good: {'; '.join(problems)}", verdict)
    job.log(f"{name}.zip read back: {entries} entries, {size} bytes, {documents} documents, all as the manifest says")
    return verdict


def _documents(path: str, content: bytes) -> list[dict[str, Any]]:
    return bson.decode_all(gzip.decompress(content) if path.endswith(".gz") else content)


def _walked(files: list[FoundFile], spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The collections of the dump, every document of them read."""
    reported = {entry["namespace"]: entry["documents"] for entry in spec["reported"]}
    collections: list[dict[str, Any]] = []
    for found in files:
        if not (found.path.startswith(spec["dump_prefix"]) and found.path.endswith((".bson", ".bson.gz"))):
            continue
        namespace = unquote(found.path[len(spec["dump_prefix"]):].removesuffix(".gz").removesuffix(".bson").replace("/", ".", 1))
        said = reported.pop(namespace, None)
        try:
            documents = len(_documents(found.path, found.full_path.read_bytes()))
        except bson.errors.InvalidBSON as error:
            raise NodeFailure("dump_incomplete", f"{namespace}: {found.path} is broken, {error}") from error
        if said is not None and said != documents:
            raise NodeFailure("dump_incomplete", f"{namespace}: the dump tool reported {said} documents, {found.path} holds {documents}")
        collections.append({"namespace": namespace, "documents": documents, "bytes": found.size, "reported": said})
    for namespace, documents in reported.items():
        if documents:
            raise NodeFailure("dump_incomplete", f"{namespace}: the dump tool reported {documents} documents, and there is no file of it")
    return collections


def _write_zip(target: Path, files: list[FoundFile], collections: list[dict[str, Any]], spec: dict[str, Any]) -> str:
    """The archive under its temporary name; returns its manifest."""
    listed = []
    with zipfile.ZipFile(target, "x") as archive:
        for found in files:
            content = found.full_path.read_bytes()
            stored = Path(found.path).suffix.lower() in spec["stored_extensions"]
            _add(archive, found.path, content, found.modified, spec["compression"], stored=stored)
            listed.append(f'{{"path": {json.dumps(found.path, ensure_ascii=False)}, "bytes": {len(content)}, '
                          f'"sha256": "{hashlib.sha256(content).hexdigest()}", "modified": "{utc_text(found.modified)}"}}')
        manifest: str = spec["manifest"].replace('"@@files@@"', "[\n    " + ",\n    ".join(listed) + "\n  ]")
        manifest = manifest.replace('"@@file_count@@"', str(len(files)))
        manifest = manifest.replace('"@@file_bytes@@"', str(sum(found.size for found in files))).replace('"@@collections@@"', json.dumps(collections))
        _add(archive, MANIFEST, manifest.encode(), time.time(), spec["compression"], stored=False)
    return manifest


def _add(archive: zipfile.ZipFile, name: str, content: bytes, modified: float, compression: str, *, stored: bool) -> None:
    moment = time.localtime(modified)
    entry = zipfile.ZipInfo(name, (moment.tm_year, moment.tm_mon, moment.tm_mday, moment.tm_hour, moment.tm_min, moment.tm_sec))
    level = None if stored else _LEVELS.get(compression)
    archive.writestr(entry, content, zipfile.ZIP_STORED if level is None else zipfile.ZIP_DEFLATED, level)


def _publish(archive: Path, ending: str, text: str, made: list[Path]) -> str:
    """Write a text beside the archive; returns its SHA-256."""
    file = archive.with_suffix(f".{ending}")
    if file.exists():
        raise NodeFailure("archive_exists", f"{file.name} exists already; nothing is overwritten")
    made.append(file)
    write_text(file, text)
    return sha256(file)


def _sidecar_problems(folder: Path, name: str) -> list[str]:
    problems, names = [], []
    for line in (folder / f"{name}.sha256").read_text(encoding="utf-8").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64}) \*(.+)", line)
        if not match:
            problems.append(f"the .sha256 file has a line that is none: {line}")
            continue
        names.append(match[2])
        if not (folder / match[2]).is_file():
            problems.append(f"{match[2]} is absent")
        elif sha256(folder / match[2]) != match[1]:
            problems.append(f"{match[2]} does not have the SHA-256 of the .sha256 file")
    if f"{name}.zip" not in names:
        problems.append("the .sha256 file does not name the archive")
    return problems


def _read_back(folder: Path, name: str, problems: list[str]) -> tuple[int, int, int, int]:
    """Every entry against the manifest; returns entries, bytes, collections and documents."""
    seen: dict[str, int] = {}
    walked: list[int] = []
    with zipfile.ZipFile(folder / f"{name}.zip") as archive:
        if archive.namelist()[-1:] != [MANIFEST]:
            raise NodeFailure("archive_bad", f"its last entry is not {MANIFEST}")
        text = archive.read(MANIFEST)
        beside = folder / f"{name}.manifest.json"
        if not beside.exists() or beside.read_bytes() != text:
            problems.append("the manifest beside the archive is not the one inside")
        wanted = {file["path"]: file for file in json.loads(text)["files"]}
        for path in archive.namelist():
            if path == MANIFEST:
                continue
            if path in seen:
                problems.append(f"{path} is in it twice")
            content = archive.read(path)
            seen[path] = len(content)
            if path.startswith("database/") and path.endswith((".bson", ".bson.gz")):
                walked.append(len(_documents(path, content)))
            if path not in wanted:
                problems.append(f"{path} is not in the manifest")
            elif (hashlib.sha256(content).hexdigest(), len(content)) != (wanted[path]["sha256"], wanted[path]["bytes"]):
                problems.append(f"{path} does not have the bytes and SHA-256 of the manifest")
    problems += [f"{path} of the manifest is not in it" for path in wanted if path not in seen]
    return len(seen), sum(seen.values()), len(walked), sum(walked)
