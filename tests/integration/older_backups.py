# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of earlier days, made of one that was just made: the same bytes under other names, dates and run ids.

The manifest inside of the archive keeps its date; nothing of retention opens an archive.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_STAMP = "%Y%m%d_%H%M%S"


def copy_to_days(roots: Iterable[Path], base: str, days: Iterable[float]) -> list[str]:
    """Copies a backup set to so many days before it. Returns the names of the copies.

    Args:
        roots: the archive directories of all nodes of the fleet.
        base: name of the set.
        days: before the set.
    """
    stamp = base[-15:]
    started = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    names = []
    for day in days:
        moment = started - timedelta(days=day)
        old = moment.strftime(_STAMP)
        for root in roots:
            for file in [*root.glob(f"*{stamp}*"), *root.glob(f"*/*{stamp}*")]:
                shutil.copyfile(file, file.with_name(file.name.replace(stamp, old)))
            for file in [*root.glob(f"*{old}.set.json"), *root.glob(f"*/*{old}.manifest.json")]:
                text = file.read_text(encoding="utf-8").replace(stamp, old)
                when = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
                file.write_text(re.sub(r'"started": "[^"]*"', f'"started": "{when}"', text, count=1), encoding="utf-8")
            for file in root.glob(f"*/*{old}.sha256"):
                _write_sums(file)
        names.append(base.replace(stamp, old))
    return names


def _write_sums(sidecar: Path) -> None:
    """Sums of the copies; the lines are those of the original, whose names differ in the stamp."""
    lines = []
    for line in sidecar.read_text(encoding="utf-8").splitlines():
        ending = line.partition(" *")[2][len(sidecar.stem) :]
        name = f"{sidecar.stem}{ending}"
        lines.append(f"{hashlib.sha256((sidecar.parent / name).read_bytes()).hexdigest()} *{name}\n")
    sidecar.write_text("".join(lines), encoding="utf-8", newline="")


def read_audit(root: Path) -> list[dict[str, Any]]:
    """The lines of the audit log of a node."""
    (file,) = root.glob("*/BackupAudit.log")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
