# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t
from pathlib import Path

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _log, _report
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._action import (
    COLLECTION,
    NodeAction,
    Result,
    _display,
    raw_variables,
    utc_text,
    version,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import StepFailed


class ActionModule(NodeAction):
    """Composes the outcome of a run from the results of its steps; publishes it on the control node."""

    # It tells of the refusal; the steps have refused.
    refuses_unknown_variables = False

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_report.yml."""
        hosts = list(variables["ansible_play_hosts_all"])
        results = {host: self._results(arguments["steps"], raw_variables(variables, host)) for host in hosts}
        outcome = _report.compose(arguments["mode"], results, self.check_mode, utc_text(), time.monotonic(), f"{COLLECTION} {version()}")
        result: Result = {"changed": False, "outcome": outcome, "exit_code": outcome["exit_code"], "publish": {}}
        if arguments["state"] == "composed":
            result["publish"] = _report.published(results, outcome, self.check_mode)
        else:
            log = _log.text(outcome, results)
            result["directory"] = str(self._write(Path(arguments["directory"]).expanduser() / outcome["name"], outcome, log))
            _display.display(_report.summary(outcome, result["directory"]))
            if outcome["exit_code"] and not _report.ended_by_a_step(results):
                # Without this the play would end green for everybody who does not read the report.
                raise StepFailed(outcome["reason"], outcome["message"], {"node": outcome["node"] or variables.get("inventory_hostname", "")})
        return result

    @staticmethod
    def _results(steps: t.Mapping[str, str], results: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
        found = {step: results[name] for step, name in steps.items() if name in results}
        # A skipped step did not happen.
        return {step: result for step, result in found.items() if not result.get("skipped")}

    @staticmethod
    def _write(folder: Path, outcome: dict[str, t.Any], log: str) -> Path:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in ((outcome["log_name"], log), ("outcome.json", _report.json_text(outcome))):
                temporary = folder / f".{name}.new"
                temporary.write_text(text, encoding="utf-8")
                temporary.replace(folder / name)
        except OSError as error:
            raise StepFailed("report_failed", f"the report cannot be written to {folder}: {error}") from error
        return folder
