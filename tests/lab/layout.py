# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps its things: one place, so that no other file joins such paths itself."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# An own folder lets a second lab (a developer's experiment, a parallel CI job) run beside the first.
LAB = Path(os.environ.get("ALTERYX_LAB_DIR") or ROOT / ".lab").absolute()

CACHE = LAB / "cache"
COMPILED = CACHE / "compiled"
CERTIFICATES = LAB / "certificates"
STATE_FILE = LAB / "lab.json"
NODES = LAB / "nodes"
RUNS = LAB / "runs"

# The packed lab PowerShell is not part of the repository. It is beside it, or is built from these sources (engine.py).
PWSH_BESIDE = ROOT.parent / "shared" / "pwsh"
PWSH_SOURCES = Path(__file__).resolve().parent / "pwsh"
PWSH_BUILD_LOG = LAB / "engine.log"

NATIVE_SOURCES = Path(__file__).resolve().parent / "native"


def shown(path: Path) -> str:
    """The path as people name it: from the repository's root."""
    return os.path.relpath(path, ROOT)


def node_folder(name: str) -> Path:
    """Folder of one node."""
    return NODES / name


def drive(folder: Path, letter: str) -> Path:
    """Host folder of a node's drive, the same for every kind of node."""
    return folder / letter.lower()


def share(folder: Path, path: str) -> Path:
    r"""Host folder of a path on a share, \\SERVER\SHARE\FOLDER: Wine has no client of SMB, but such folders."""
    return prefix(folder) / "dosdevices" / "unc" / Path(*path.lstrip("\\").split("\\"))


def prefix(folder: Path) -> Path:
    """WINEPREFIX of a Wine node."""
    return folder / "prefix"


def winrm_log(folder: Path) -> Path:
    """JSON lines, one per WS-Man request of the node."""
    return folder / "winrm.jsonl"


def transcript(folder: Path) -> Path:
    """Folder of a node for what goes over its WinRM connections in clear text; the user of the folder creates it."""
    return folder / "transcript"


def behaviour_file(folder: Path) -> Path:
    r"""C:\AlteryxLab\behaviour.ini of a node: the faults that its doubles simulate."""
    return drive(folder, "c") / "AlteryxLab" / "behaviour.ini"
