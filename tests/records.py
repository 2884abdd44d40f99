# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records as a node writes them (plugins/module_utils/NodeRecord.psm1): JSON with a checksum, filled up with blanks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(file: Path, data: Mapping[str, Any], length: int = 1024) -> None:
    """Put a record in the place of the one that is there, or make it."""
    rest = json.dumps(
        {"sequence": 1, **{key: value for key, value in data.items() if key not in ("checksum", "sequence")}}
    )[1:]
    text = f'{{"checksum":"{hashlib.sha256(rest.encode()).hexdigest()}",{rest}'
    file.write_bytes(text.encode().ljust(length))
