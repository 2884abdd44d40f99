# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _reports
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._collection import NAME as COLLECTION
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._collection import version
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import raw_variables
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show, utc_text
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _files, _log, _report, _steps


class ActionModule(NodeAction):
    """Composes the outcome of a run from the results of its steps; publishes it on the control node."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_report.yml."""
        hosts = list(variables["ansible_play_hosts_all"])
        results = {host: _steps.read_results(raw_variables(variables, host)) for host in hosts}
        reports = _reports.resolve_directory(arguments["directory"])
        plan = _report.plan_of(results)
        outcome = _report.compose(
            arguments["mode"],
            results,
            self.check_mode,
            utc_text(),
            time.monotonic(),
            f"{COLLECTION} {version()}",
            earlier=list(_files.read_outcomes(reports, plan["fleet"], plan["mode"]))
            if plan and self.check_mode
            else (),
        )
        result: Result = {"changed": False, "outcome": outcome, "exit_code": outcome["exit_code"], "publish": {}}
        if arguments["state"] == "composed":
            result["publish"] = _report.list_publications(results, outcome, self.check_mode)
        else:
            log = _log.text(outcome, results, check_mode=self.check_mode)
            folder = reports / outcome["name"]
            try:
                result["directory"] = str(_files.write_report(folder, outcome, log))
            except StepFailed as failure:
                # The operator sees the outcome even if the report cannot be written.
                show(_report.summary(outcome, f"not written: {failure.message}"))
                raise
            show(_report.summary(outcome, result["directory"]))
            if outcome["exit_code"] and not _report.ended_by_a_step(results):
                # Without this the play would end as successful, and only the report would show the failure.
                raise StepFailed(
                    outcome["reason"],
                    outcome["message"],
                    {"node": outcome["node"] or variables.get("inventory_hostname", "")},
                )
        return result
