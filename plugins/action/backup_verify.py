# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from datetime import UTC, datetime

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._chosen import choose_backups
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._shares import enter_destination
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _archive_job
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._copy import _destinations
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import _names, paths
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed

_WORST_FIRST = ("archive_bad", "archive_incomplete")


class ActionModule(NodeAction):
    """Reads archives back and stores a verdict beside each."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_verify.yml."""
        if arguments["destination"] == _destinations.EVERYWHERE:
            arguments["destination"] = ""
        self._place = enter_destination(self, arguments, variables)
        if arguments["catalogue"]:
            return self._read_chosen(arguments, variables)
        if problem := _names.windows_name_problem(arguments["base_name"]):
            raise StepFailed("invalid_variable", f"{arguments['base_name']!r} is not the name of a backup: {problem}")
        if self.check_mode:
            return {"changed": True}
        return {"changed": True, **self._read_back(arguments, variables)}

    def _read_back(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        base_name = arguments["base_name"]
        directory, run_id = arguments["staging_directory"], arguments["run_id"]
        spec = _archive_job.build_verify_spec(
            arguments["folder"],
            base_name,
            _names.stamp(datetime.now(UTC)),
            run_id,
            paths.Staging(directory, run_id).folder if directory else "",
            arguments["keep_staging"],
            self._place,
        )
        job_id = _archive_job.verify_job_id(base_name)
        found = self.run_job(job_id, spec, arguments["timeout"], arguments, variables)
        show_progress(variables["inventory_hostname"], f"{base_name} is {found['verdict']}")
        return found

    def _read_chosen(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """Reads back one backup after the other, also if one of them fails. Then fails with the most severe failure."""
        host = variables["inventory_hostname"]
        names = [one["id"] for one in choose_backups(arguments, variables, "read back")]
        verb = "would be" if self.check_mode else "will be"
        if names:
            show_progress(host, f"{len(names)} of the backups {verb} read back: {', '.join(names)}")
        if self.check_mode:
            return {"changed": bool(names), "backups": []}
        backups: list[dict[str, str]] = []
        failures: list[tuple[str, StepFailed]] = []
        for name in names:
            failure = self._try_to_read_back({**arguments, "base_name": name}, variables)
            if failure is not None:
                show_progress(host, f"{name} is not good [{failure.reason.name}]")
                failures.append((name, failure))
            backups.append({"id": name, "verdict": failure.reason.name if failure else "good"})
            if failure is not None and failure.reason.name == "connection_lost":
                # The next backup is on the same node, and would only wait for the same time.
                break
        if failures:
            raise _worst(failures, names, backups)
        return {"changed": bool(names), "backups": backups}

    def _try_to_read_back(self, arguments: Result, variables: dict[str, t.Any]) -> StepFailed | None:
        try:
            self._read_back(arguments, variables)
        except Exception as error:
            failure = error if isinstance(error, StepFailed) else self.connection_failure(error)
            if failure is None:
                raise
            return failure
        return None


def _worst(failures: list[tuple[str, StepFailed]], names: list[str], backups: list[dict[str, str]]) -> StepFailed:
    worst = next(
        (failure for reason in _WORST_FIRST for _name, failure in failures if failure.reason.name == reason),
        failures[0][1],
    )
    if len(names) == 1:
        return worst
    all_of_them = "; ".join(f"{name}: {failure.message}" for name, failure in failures)
    unread = names[len(backups) :]
    rest = f"; not read back: {', '.join(unread)}" if unread else ""
    message = f"{len(failures)} of {len(names)} backups are not good: {all_of_them}{rest}"
    return StepFailed(worst.reason.name, message, {"backups": backups})
