# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of the scripts that run on a node without Ansible."""

from __future__ import annotations

import json
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[2] / "module_utils"
# Only used inside an Ansible module.
_MODULE_ONLY = {
    "NodeDrive.psm1",
    "NodeExport.psm1",
    "NodeJob.psm1",
    "NodeMetadata.psm1",
    "NodeModule.psm1",
    "NodeRemoval.psm1",
}


def scripts() -> str:
    """JSON text: file name -> text of all scripts that jobs and guard need. They are one set, so that a node has one
    folder for each version of the collection."""
    paths = sorted(
        path for path in _FOLDER.iterdir() if path.suffix in (".cs", ".ps1", ".psm1") and path.name not in _MODULE_ONLY
    )
    return json.dumps({path.name: path.read_text(encoding="utf-8") for path in paths})
