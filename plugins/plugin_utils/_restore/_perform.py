# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common part of database_restore and config_import: the job that exchanges files on a node."""

from __future__ import annotations

import typing as t

from .._core.reasons import StepFailed
from . import _job

Result = dict[str, t.Any]


class NodeWork(t.Protocol):
    """The methods of an action plugin (_ansible/_action.py) that are needed here."""

    @property
    def check_mode(self) -> bool:
        """Is this a prediction?"""

    def call_node(self, arguments: Result, variables: Result, patience: float = 0.0) -> Result:
        """Runs the node's part of the module."""

    def run_job(self, job_id: str, spec: Result, total_seconds: float, arguments: Result, variables: Result) -> Result:
        """Runs a job on the node to its end."""

    def note_warning(self, host: str, text: str) -> None:
        """Prints a line for the operator."""


def perform(action: NodeWork, arguments: Result, variables: Result) -> Result:
    """Runs the restore job of a node, or ends it. See plugins/modules/database_restore.yml and config_import.yml."""
    job_id = f"{arguments['run_id']}-restore"
    own = {key: arguments[key] for key in ("run_id", "state")}
    if arguments["state"] == "cancelled":
        if not action.check_mode:
            action.call_node({**own, "_operation": "cancel", "_job_id": job_id}, variables)
        return {"changed": not action.check_mode}
    rolls_back = arguments["state"] == "rolled_back"
    spec = _job.build_rollback_spec(arguments) if rolls_back else _job.build_restore_spec(arguments)
    if arguments["state"] == "checked":
        _check_room(action, own, spec, variables)
        return {"changed": False, **_job.read_result({}, spec)}
    if action.check_mode:
        return {"changed": True, **_job.read_result({}, spec)}
    # The job itself ends at its limits. The control node also waits for the undo and the start after that.
    limit = arguments["max_downtime"] + arguments["start_timeout"] + 600
    try:
        report = action.run_job(job_id, spec, limit, own, variables)
    except StepFailed as failure:
        # A job that has ended reports whether it has committed. For a lost job, it is not known what it has done or
        # undone.
        if "committed" not in failure.detail:
            raise
        detail = {**failure.detail, **_job.read_result(failure.detail, spec)}
        raise StepFailed(failure.reason.name, failure.message, detail) from failure
    result = _job.read_result(report, spec)
    for text in result["remarks"]:
        action.note_warning(variables["inventory_hostname"], text)
    return {"changed": True, **result}


def _check_room(action: NodeWork, own: Result, spec: Result, variables: Result) -> None:
    """Looks on the node whether there is room for a second data folder. Raises StepFailed: space_short."""
    database = spec["database"]
    if database is not None:
        needs = {"_bytes": str(database["bytes"]), "_reserve": str(spec["space_reserve"])}
        action.call_node({**own, "_data_folder": database["data_folder"], **needs}, variables, patience=60.0)
