# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a report on the control node."""

from __future__ import annotations

import contextlib
import json
import typing as t
from pathlib import Path

from .._core import _names
from .._core.reasons import StepFailed
from ._report import json_text


def make_private_folder(folder: Path) -> None:
    """Creates a folder and its missing parents for this user only. An existing folder stays as it is.

    Raises:
        OSError: it cannot be created.
    """
    for part in (*reversed(folder.parents), folder):
        # Not mkdir(parents=True), which creates the parents with access for all users.
        if not part.exists():
            part.mkdir(mode=0o700, exist_ok=True)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")


def write_private_text(file: Path, text: str) -> None:
    """Writes a complete file in one step, into a folder for this user only.

    It contains host names, paths and accounts, which other users must not read.

    Raises:
        OSError: it cannot be written.
    """
    make_private_folder(file.parent)
    file.parent.chmod(0o700)
    temporary = file.with_name(f".{file.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600, exist_ok=False)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


def write_report(folder: Path, outcome: dict[str, t.Any], log: str) -> Path:
    """Writes log and outcome.json into a folder of their own and returns it.

    Raises:
        StepFailed: report_failed.
    """
    try:
        for name, text in ((outcome["log_name"], log), ("outcome.json", json_text(outcome))):
            write_private_text(folder / name, text)
    except OSError as error:
        raise StepFailed("report_failed", f"the report cannot be written to {folder}: {error}") from error
    return folder


def read_outcomes(directory: Path, fleet: str, mode: str) -> t.Iterator[dict[str, t.Any]]:
    """Outcomes of successful runs of a fleet in a mode, the newest first. Each file is read only when its outcome is
    used.

    Args:
        directory: of the reports of all runs. Files that cannot be read are left out.
    """
    # Folders are named after mode and start of their run.
    for file in sorted(directory.glob(f"{_names.MODES[mode]}_*/outcome.json"), reverse=True):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            outcome = json.loads(file.read_text(encoding="utf-8"))
            if (outcome["verdict"], outcome["fleet"], outcome["mode"]) == ("OK", fleet, mode):
                yield outcome


def read_last_run(directory: Path, fleet: str, mode: str) -> dict[str, dict[str, t.Any]]:
    """What the dumps of the last successful run needed: host -> seconds (of the phases stop, dump, start) and bytes."""
    outcome = next(read_outcomes(directory, fleet, mode), None)
    if outcome is None:
        return {}
    found = {}
    for host, node in outcome["nodes"].items():
        with contextlib.suppress(KeyError, TypeError):
            down, window = node["downtime"], node["steps"].get("window", {})
            seconds = {phase: down[phase] for phase in ("stop", "dump", "start")}
            # Without a stop, the dump is the only part of the step.
            seconds["dump"] = seconds["dump"] or window.get("seconds", 0.0)
            if node["dump_bytes"]:
                found[host] = {"seconds": seconds, "bytes": node["dump_bytes"]}
    return found
