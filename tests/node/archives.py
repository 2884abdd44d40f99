# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive job on an engine: what it is told, and what other people's tools say of what it has written."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.node.engine import Engine, JobEnd

MANIFEST = "BackupManifest.json"
TEMPLATE = (
    '{"schema": 1, "database": {"collections": "@@collections@@"}, "file_count": "@@file_count@@", '
    '"file_bytes": "@@file_bytes@@", '
    '"files": "@@files@@"}\n'
)
README = "Backups of Alteryx Server (alteryx_ops.server_backup, text version 7)\r\nand so on\r\n"
_numbers = itertools.count()


@dataclass(frozen=True)
class Staged:
    """A staging folder of its own and the archive that is made of it."""

    engine: Engine
    name: str = field(default_factory=lambda: f"case{next(_numbers)}")

    @property
    def files(self) -> Path:
        """The folder that is archived."""
        return self.engine.path(rf"D:\{self.name}\staging\files")

    @property
    def folder(self) -> Path:
        """Where the archive is published."""
        return self.engine.path(rf"D:\{self.name}\archives")

    @property
    def archive(self) -> Path:
        """The zip."""
        return self.folder / "Backup.zip"

    def put(self, path: str, content: bytes) -> Path:
        """Stage a file."""
        file = self.files / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def put_sparse(self, path: str, size: int) -> Path:
        """Stage a file of so many zero bytes, which take no space."""
        file = self.put(path, b"")
        os.truncate(file, size)
        return file

    def write(
        self,
        *,
        reported: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 120,
        under: Sequence[str] = (),
        **changes: Any,
    ) -> JobEnd:
        """Run the archive job."""
        spec = {**self.spec(reported), **changes}
        return self.engine.run_job(
            "archive_job", spec, environment=environment, timeout=timeout, under=under, name=self.name
        )

    def spec(self, reported: Mapping[str, int] | None = None) -> dict[str, Any]:
        """What the archive job is told."""
        return {
            "run_id": "r",
            "source": rf"D:\{self.name}\staging\files",
            "staging": rf"D:\{self.name}\staging",
            "folder": rf"D:\{self.name}\archives",
            "base_name": "Backup",
            "manifest": TEMPLATE,
            "secrets_file": "",
            "readme": README,
            "mongodb_folder": "",
            "compression": "Optimal",
            "stored_extensions": [".gz", ".zip"],
            "again": False,
            "set_aside": False,
            "only_dump": False,
            "on_change": "fail",
            "dump_prefix": "database/",
            "reported": [{"namespace": name, "documents": count} for name, count in (reported or {}).items()],
        }

    def verify(self, **changes: Any) -> JobEnd:
        """Run the verification."""
        return self.engine.run_job(
            "verify_job",
            {
                "run_id": "r",
                "folder": rf"D:\{self.name}\archives",
                "base_name": "Backup",
                "stamp": "1",
                "staging": "",
                "keep_staging": False,
                "place": None,
                **changes,
            },
        )

    @property
    def extracted(self) -> Path:
        """The folder into which the archive is extracted."""
        return self.engine.path(rf"C:\{self.name}.r\run")

    def extract(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        timeout: float = 120,
        under: Sequence[str] = (),
        job: str = "",
        **changes: Any,
    ) -> JobEnd:
        """Run the extraction. Wine keeps access lists only in part, so they are accepted as they are."""
        spec = {
            "run_id": "r",
            "folder": rf"D:\{self.name}\archives",
            "base_name": "Backup",
            "target": rf"C:\{self.name}.r\run",
            "free_reserve": 0,
            "accept_access": True,
            "place": None,
            **changes,
        }
        return self.engine.run_job("extract_job", spec, environment=environment, timeout=timeout, under=under, name=job)

    def status(self) -> dict[str, Any]:
        """The job's status just now; nothing before it has begun."""
        file = self.engine.path(rf"C:\jobs\{self.name}\status.json")
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return content

    @property
    def readme(self) -> Path:
        """What is in the archive folder for people, and belongs to no archive."""
        return self.folder / "README.txt"

    def published(self) -> list[str]:
        """Names of everything else in the archive folder."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(file.name for file in found if file != self.readme)

    def manifest(self) -> dict[str, Any]:
        """The manifest beside the archive."""
        content: dict[str, Any] = json.loads((self.folder / "Backup.manifest.json").read_text(encoding="utf-8"))
        return content


def readers_complaints(archive: Path, timeout: float = 600) -> dict[str, str]:
    """What each reader has against an archive: Python, unzip, 7z and bsdtar, which also gets it through a pipe, where
    it cannot look at the directory first."""
    shown = f"'{archive}'"
    commands = {
        "unzip": f"unzip -tq {shown}",
        "7z": f"7z t -bd {shown}",
        "bsdtar": f"bsdtar -xOf {shown} >/dev/null",
        "bsdtar, piped": f"cat {shown} | bsdtar -xOf - >/dev/null",
    }
    complaints = {}
    for name, command in commands.items():
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            capture_output=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        output = done.stdout + done.stderr
        if done.returncode or done.stderr or b"warning" in output.lower():
            complaints[name] = f"exit code {done.returncode}: {output.decode('utf-8', 'replace')[-500:]}"
    with zipfile.ZipFile(archive) as opened:
        if broken := opened.testzip():
            complaints["Python"] = f"{broken} is broken"
    return complaints


def python_contents(archive: Path) -> dict[str, tuple[int, str]]:
    """Name -> size and SHA-256 of every entry but the manifest, as Python's zipfile reads them (it checks the CRC)."""
    found = {}
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            if entry.filename != MANIFEST:
                with opened.open(entry) as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
                found[entry.filename] = (entry.file_size, digest)
    return found
