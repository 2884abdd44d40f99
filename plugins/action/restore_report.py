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
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._command import name_command
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import raw_variables
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show, utc_text
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _files
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore import _outcome


class ActionModule(NodeAction):
    """Composes the outcome of a restore and publishes it on the control node."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/restore_report.yml."""
        hosts = list(variables["ansible_play_hosts_all"])
        results = {host: _outcome.read_steps(raw_variables(variables, host)) for host in hosts}
        outcome = _outcome.compose(results, self.check_mode, utc_text(), time.monotonic(), f"{COLLECTION} {version()}")
        result: Result = {"changed": False, "outcome": outcome, "exit_code": outcome["exit_code"]}
        folder = _reports.resolve_directory(arguments["directory"]) / outcome["name"]
        try:
            result["directory"] = str(_files.write_report(folder, outcome, _outcome.write_log(outcome, results)))
        except StepFailed as failure:
            # The operator sees the outcome even if the report cannot be written.
            show(_outcome.summarize(outcome, f"not written: {failure.message}", name_command))
            raise
        show(_outcome.summarize(outcome, result["directory"], name_command))
        if outcome["exit_code"] and not _outcome.ended_by_a_step(results):
            # Without this the play would end as successful, and only the report would show the failure.
            raise StepFailed(
                outcome["reason"],
                outcome["message"],
                {"node": outcome["node"] or variables.get("inventory_hostname", "")},
            )
        return result
