# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab PowerShell: where its archives are taken from, and how they are built from the sources in pwsh/."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from . import cache, layout

# Names the folder of the archives; nothing else is taken then.
ARCHIVES_VARIABLE = "ALTERYX_LAB_PWSH_ARCHIVES"
# Names another Windows pwsh.exe for the nodes; the static checks still use the archives.
PROGRAM_VARIABLE = "ALTERYX_LAB_PWSH"
UNPACK = "unpack"
SUMS = "SHA256SUMS"
ARCHIVES = ("pwsh-linux-x64.tar.xz", "pwsh-win-x64.tar.xz")

_BUILD_TOOLS = {"x86_64-w64-mingw32-gcc": "gcc-mingw-w64-x86-64", "xz": "xz-utils"}
_INSTALL_SDK = "install the .NET 10 SDK (https://dotnet.microsoft.com/download/dotnet/10.0)"
# Read by dotnet in its working directory: a newer SDK beside version 10 would find no reference assemblies for ref/.
_GLOBAL_JSON = {"sdk": {"version": "10.0.100", "rollForward": "latestFeature"}}
# The compiler's and MSBuild's servers would outlive the build.
_NO_SERVERS = {"MSBUILDDISABLENODEREUSE": "1", "UseSharedCompilation": "false"}

Say = Callable[[str], None]


class EngineError(RuntimeError):
    """There is no lab PowerShell, or it cannot be built or unpacked; the text says what to do."""


def windows_pwsh() -> Path:
    """Folder with the pwsh.exe for Wine."""
    source = windows_source()
    return source.parent if source.is_file() else _unpacked(source, "win-x64")


def linux_pwsh() -> Path:
    """The pwsh program for this machine."""
    return _unpacked(archives(), "linux-x64") / "pwsh"


def windows_source() -> Path:
    """Where Wine nodes have their PowerShell from: a pwsh.exe that is named, or the folder of the archives."""
    named = os.environ.get(PROGRAM_VARIABLE)
    if not named:
        return archives()
    program = Path(named).absolute()
    if program.name.lower() != "pwsh.exe" or not program.is_file():
        raise EngineError(f"{PROGRAM_VARIABLE} names no pwsh.exe: {named}; correct it or unset it")
    return program


def archives() -> Path:
    """The folder of the archives: the one that is named, else the one beside the checkout, else the one built here."""
    named = os.environ.get(ARCHIVES_VARIABLE)
    if named:
        folder = Path(named).absolute()
        if lacking := _lacking(folder):
            raise EngineError(
                f"{ARCHIVES_VARIABLE} names {named}, which lacks {', '.join(lacking)}; correct it or unset it"
            )
        return folder
    if found := _at_hand():
        return found
    raise EngineError(
        f"no lab PowerShell in {layout.shown(layout.PWSH_BESIDE)}, and none is built; build it with "
        f"`make lab-engine` (needs the .NET 10 SDK), or name a folder in {ARCHIVES_VARIABLE}"
    )


def built_folder() -> Path:
    """The present or future place of the archives that are built from the present sources."""
    sources = sorted(file for file in layout.PWSH_SOURCES.rglob("*") if file.is_file())
    return layout.CACHE / f"engine-{cache.digest(*sources)}"


def build(say: Say) -> Path:
    """Build the archives from the sources, unless that is done; returns their folder."""
    folder = built_folder()
    if folder.is_dir():
        return folder
    if problems := lacks_to_build():
        raise EngineError(f"the lab PowerShell cannot be built here: {'; '.join(problems)}")
    say(
        f"building the lab PowerShell from {layout.shown(layout.PWSH_SOURCES)}, which takes minutes; "
        f"see {layout.shown(layout.PWSH_BUILD_LOG)}"
    )
    return cache.folder(folder.name, _build)


def build_if_wanted(say: Say) -> None:
    """Build where no archives are named or at hand and it can be done; a build that failed has left its log and is not
    tried again, for it takes minutes."""
    if os.environ.get(ARCHIVES_VARIABLE) or _at_hand() or layout.PWSH_BUILD_LOG.exists() or lacks_to_build():
        return
    build(say)


def lacks_to_build() -> list[str]:
    """What a build would lack here, each with what to do; empty where it can be tried."""
    problems = [
        f"{program} is missing: apt-get install -y {package}"
        for program, package in _BUILD_TOOLS.items()
        if not shutil.which(program)
    ]
    if not shutil.which("dotnet"):
        return [f"dotnet is missing: {_INSTALL_SDK}", *problems]
    listed = subprocess.run(["dotnet", "--list-sdks"], capture_output=True, text=True, timeout=60, check=False)
    versions = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]
    if not any(version.startswith("10.") for version in versions):
        problems.insert(0, f"dotnet has no SDK of version 10 (only: {', '.join(versions) or 'none'}): {_INSTALL_SDK}")
    return problems


def _build(draft: Path) -> None:
    """Run build.sh and make its archives a folder as the one beside the checkout."""
    with (
        tempfile.TemporaryDirectory(dir=layout.CACHE, prefix=".engine-build-") as work,
        layout.PWSH_BUILD_LOG.open("wb") as log,
    ):
        (Path(work) / "global.json").write_text(json.dumps(_GLOBAL_JSON), encoding="utf-8")
        done = subprocess.run(
            ["sh", layout.PWSH_SOURCES / "build.sh", work, draft],
            cwd=work,
            env={**os.environ, **_NO_SERVERS},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
    lacking = [name for name in ARCHIVES if not (draft / name).is_file()]
    if done.returncode or lacking:
        last = layout.PWSH_BUILD_LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        raise EngineError(
            f"the lab PowerShell could not be built (exit code {done.returncode}); mend what "
            f"{layout.shown(layout.PWSH_BUILD_LOG)} says, then `make lab-engine`; its last lines:\n" + "\n".join(last)
        )
    (draft / SUMS).write_text("".join(f"{cache.sha256(draft / name)}  {name}\n" for name in ARCHIVES), encoding="ascii")
    shutil.copy2(layout.PWSH_SOURCES / UNPACK, draft)
    layout.PWSH_BUILD_LOG.unlink()


def _at_hand() -> Path | None:
    return next((folder for folder in (layout.PWSH_BESIDE, built_folder()) if not _lacking(folder)), None)


def _lacking(folder: Path) -> list[str]:
    return [name for name in (*ARCHIVES, SUMS, UNPACK) if not (folder / name).is_file()]


def _unpacked(folder: Path, platform: str) -> Path:
    with cache.lock(f"pwsh-{platform}"):
        done = subprocess.run(
            ["bash", folder / UNPACK, platform, layout.CACHE], capture_output=True, text=True, timeout=600, check=False
        )
    if done.returncode:
        raise EngineError(f"the lab PowerShell in {layout.shown(folder)} cannot be unpacked: {done.stderr.strip()}")
    return Path(done.stdout.strip())
