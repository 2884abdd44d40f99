# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _reports
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import (
    direct_child_groups,
    raw_variables,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._process import describe_holder
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress, warn
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import _names
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _files

# Below WinRM's operation time-out, so that each call on the node is short.
_WAIT_SECONDS = 12.0


class ActionModule(NodeAction):
    """Takes or releases the lock of a run on a node, and cleans up after interrupted runs."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/run_lock.yml."""
        if arguments["judged"]:
            arguments["window_over"] = _window_over(arguments["judged"], variables)
        asked = {**arguments, "holder": describe_holder()}
        host = variables["inventory_hostname"]
        inspects = arguments["state"] == "inspected"
        deadline = time.monotonic() + arguments["wait_timeout"]
        nothing: Result = {"did": [], "left_behind": [], "logs": [], "unarchived": []}
        result: Result = {"changed": False, "adopted": "", "inherited": "", **nothing}
        refused = ""
        _say_untried(host, arguments["try_folders"] if self.check_mode else [])
        while True:
            answer = self.call_node({**asked, "_wait_seconds": _WAIT_SECONDS}, variables)
            result["changed"] = result["changed"] or answer["changed"]
            for key in ("adopted", "inherited", "unarchived"):
                result[key] = answer[key] or result[key]
            for line in _add_new(answer["did"], result["did"]):
                if not inspects:
                    show_progress(host, line)
            for line in _add_new(answer["left_behind"], result["left_behind"]):
                warn(f"{host}: {line}")
            result["logs"] += [_fetch(log, arguments["log_directory"], host) for log in answer["logs"]]
            refused = answer.get("problem") or refused
            if not answer["pending"] or self.check_mode or inspects:
                if refused:
                    self.note_warning(host, f"a start request was refused: {refused}")
                return {**result, "pending": answer["pending"]}
            pending = "; ".join(answer["pending"])
            if answer.get("logon_failed") or answer.get("gave_up"):
                raise StepFailed(answer["pending_reason"], f"not waited for: {pending}", result)
            if time.monotonic() > deadline:
                raise StepFailed(
                    answer["pending_reason"], f"still waiting after {arguments['wait_timeout']} s for {pending}", result
                )
            show_progress(host, f"waiting for {pending}")
            time.sleep(1)


def _add_new(lines: list[str], known: list[str]) -> list[str]:
    """Adds the lines to the known ones, and returns those that are new."""
    new = [line for line in lines if line not in known]
    known += new
    return new


def _say_untried(host: str, folders: list[str]) -> None:
    if folders:
        show_progress(host, f"only a run can try whether files can be written in {' and '.join(folders)}")


def _fetch(log: Result, directory: str, host: str) -> Result:
    """Writes the log of a job to the control node, if there is a folder for it.

    The node keeps its own copy.
    """
    if not directory:
        return {"node_path": log["path"], "path": ""}
    # The answer of a node must not be used as a path without a check.
    run = log["run_id"] if re.fullmatch(_names.RUN_ID, log["run_id"]) else "unknown_run"
    name = _names.replace_odd_characters(f"{host}_{log['id']}.log")
    file = _reports.resolve_directory(directory) / run / name
    try:
        _files.write_private_text(file, log["text"])
    except OSError as error:
        warn(
            f"{host}: a log of the run {run} cannot be written to {file}: {error}."
            f" It stays on the node as {log['path']}"
        )
        return {"node_path": log["path"], "path": ""}
    show_progress(host, f"fetched a log of the run {run} to {file}")
    return {"node_path": log["path"], "path": str(file)}


def _window_over(judged: str, variables: dict[str, t.Any]) -> bool:
    """Has every node of the fleet answered, and do all of them report that no run is active? Raises StepFailed for the
    first one with an active run."""
    own = variables["inventory_hostname"]
    answers = {host: raw_variables(variables, host).get(judged) or {} for host in variables["ansible_play_hosts_all"]}
    for host, answer in answers.items():
        if host != own and answer.get("reason") in ("run_locked", "foreign_job_alive"):
            raise StepFailed(answer["reason"], f"{host}: {answer['message']}; so this node is left as it is")
    fleet = next((members for members in direct_child_groups(variables, "alteryx").values() if own in members), {own})
    return all(host in answers and answers[host].get("reason", "window_open") == "window_open" for host in fleet)
