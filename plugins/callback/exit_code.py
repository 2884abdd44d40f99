# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives the caller of ansible-playbook the exit code of the run instead of Ansible's own."""

from __future__ import annotations

DOCUMENTATION = r"""
name: exit_code
type: aggregate
short_description: Ends ansible-playbook with the exit code of the backup
version_added: 0.1.0
author:
  - alteryx_ops.server_backup contributors (@alteryx-ops)
description:
  - Watches the modules of alteryx_ops.server_backup and ends C(ansible-playbook) with the exit code of the run, as the
    table of exit codes says.
  - A play that matched no host ends with 3 instead of 0.
  - A playbook without a report names at its end the nodes that failed, the reasons, and what to do next.
  - Runs without a failure of this collection keep Ansible's own exit code.
  - A backup that is interrupted before its report (Ctrl-C, SIGTERM) ends with 9. It prints, for each node, what
    continues there and until when, and what to do next. It also writes C(outcome.json).
  - Any other playbook of this collection that is interrupted ends with 9 too. It prints the task that was interrupted,
    and what to do next.
  - A backup that ends without its report for another reason, such as C(--step), ends with 1. So does a playbook of this
    collection of which no task ran, for example because of C(--start-at-task) with a name that is not found.
requirements:
  - Enabled by name in C(callbacks_enabled); the C(playbooks/ansible.cfg) of this collection does it.
"""

import atexit
import contextlib
import os
import re
import signal
import sys
import time
import typing as t
from pathlib import Path

from ansible.plugins.callback import CallbackBase

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _collection, _variables
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import utc_text
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import (
    EXIT_CODES,
    REASONS,
    StepFailed,
    overall_exit_code,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.text import name_some
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import (
    _files,
    _interruption,
    _log,
    _report,
    _steps,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore import _outcome

_VARIABLES = {step.variable: step.name for step in _steps.STEPS.values()}
_PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
_REQUEST = _steps.STEPS["request"].variable
_RESTORE = f"{_outcome.PREFIX}plan"
_REPORTS = {f"{_collection.NAME}.{name}" for name in ("backup_report", "restore_report")}
_KEPT = {*_VARIABLES, *(f"{_outcome.PREFIX}{step}" for step in ("plan", "lease", "job"))}


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "alteryx_ops.server_backup.exit_code"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._codes: list[tuple[str, int, str]] = []  # node, code and reason, in the order of the failures
        self._reported: int | None = None
        self._reason = ""  # of the report
        self._is_published = False  # the operator has the report; the exit code is known some tasks before
        self._summarized: set[str] = set()  # the reasons that the summary of the run names with their hints
        self._has_summary = False
        self._results: dict[str, dict[str, t.Any]] = {}  # host -> registered variable -> result
        self._unanswered: dict[str, t.Any] = {}  # host -> the task that was sent to it and has not answered
        self._process = os.getpid()
        self._is_interrupted = False
        self._has_ended = False
        self._check_mode = False
        self._playbook = ""  # the name of the playbook of this collection
        self._has_begun = False

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        """After an interruption, tells the operator what continues on the nodes."""
        atexit.register(self._end_without_report)
        # Only the main thread may set signal handlers. In another thread, Ansible's own handling of the signal applies.
        with contextlib.suppress(ValueError):
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: t.Any) -> None:
        if os.getpid() != self._process:
            # This is a worker process, which inherits the handler.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._is_interrupted = True
        raise KeyboardInterrupt

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """Raises an interruption that arrived at a moment when Python could not raise it."""
        # Ansible's own check of the arguments of a role does not count, because it runs in spite of --tags.
        self._has_begun = self._has_begun or str(task.action).startswith(f"{_collection.NAME}.")
        if self._is_interrupted:
            raise KeyboardInterrupt

    def v2_runner_on_start(self, host: t.Any, task: t.Any) -> None:
        """Records the task that a host begins. Until the host has answered, it is not known whether it took effect."""
        self._unanswered[host.get_name()] = task

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        """A run is a prediction only if a whole play is in check mode. Only plays of this collection must reach their
        report."""
        self._check_mode = bool(getattr(play, "check_mode", False))
        file = Path(str(play.get_path()).rpartition(":")[0])
        if file.resolve().parent == _PLAYBOOKS:
            self._playbook = file.name

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        """Records a failed task. The tasks of this collection have their exit code in the result. Ansible's check of a
        role's arguments counts as validation."""
        self._keep(result)
        if ignore_errors:
            return
        fields = self._fields(result)
        self._has_summary = self._has_summary or getattr(self._part(result, "task"), "action", "") in _REPORTS
        if "argument_errors" in fields:
            self._add_reason("invalid_variable", self._host(result))
            self._name_the_nearest(" ".join(map(str, fields["argument_errors"])))
        else:
            self._codes.append(
                (
                    str(fields.get("node", "")),
                    int(fields.get("exit_code", 1)),
                    str(fields.get("reason", "")),
                )
            )

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        """A skipped task has changed nothing."""
        self._unanswered.pop(self._host(result), None)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        """Records a node that cannot be reached. The report says whether the run changed it before. The task has not
        answered."""
        self._add_reason("unreachable", self._host(result))

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """The report has judged the whole run, so its exit code is used."""
        self._keep(result)
        fields = self._fields(result)
        outcome = fields.get("outcome")
        if isinstance(outcome, t.Mapping) and "exit_code" in outcome:
            self._is_published = self._is_published or "directory" in fields
            self._reported, self._reason = int(outcome["exit_code"]), str(outcome.get("reason", ""))
            self._summarized = {str(failure["reason"]) for failure in outcome.get("failures", [])}
            late = REASONS["service_restored_late"]
            back = {failure["node"] for failure in outcome.get("failures", []) if failure["reason"] == late.name}
            # The window failed before the service was started after all. If the service was lost again, the report
            # itself has that failure.
            self._codes = [
                (node, late.exit_code, late.name) if code == 7 and node in back else (node, code, reason)
                for node, code, reason in self._codes
            ]

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """A --limit that leaves a play without hosts must not end as a success. A play on localhost would have no hosts
        either, so only a callback can detect this."""
        self._add_reason("no_hosts")
        self._display.error(f"no host of the inventory matches this play and --limit. {REASONS['no_hosts'].hint}")

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """Ends the run. Only the code of a SystemExit is passed on by ansible-playbook."""
        self._has_ended = True
        if self._playbook and not self._is_published and not self._codes:
            incomplete = REASONS["run_incomplete"]
            what = (
                "the backup ended without its report" if self._request() else "" if self._has_begun else "no task ran"
            )
            if what:
                self._add_reason(incomplete.name)
                self._display.error(f"{what}. {incomplete.hint}")
        # A failure after the report, or one that the report could not see, still counts.
        failures = [(self._reported, self._reason)] if self._reported else []
        failures += [(code, reason) for _unused, code, reason in self._codes]
        code = overall_exit_code([code for code, _unused in failures])
        if code:
            sys.stdout.flush()
            reason = next((reason for each, reason in failures if each == code and reason), "")
            if not self._has_summary:
                self._name_failures(reason)
            self._display.display(_describe_end(code, reason), stderr=True)
            raise SystemExit(code)

    def _name_failures(self, reason: str) -> None:
        """Where and why a playbook has failed, as far as no summary says it, below all that it printed, and what to do
        next: first about the reason of the exit code."""
        nodes: dict[str, list[str]] = {}
        for node, _unused, name in self._codes:
            if node and name and name not in self._summarized and node not in nodes.setdefault(name, []):
                nodes[name].append(node)
        for name, hosts in nodes.items():
            self._display.display(f" failed   {name_some(hosts)} [{name}]", stderr=True)
        hints = [REASONS[name].hint for name in sorted(nodes, key=lambda name: name != reason) if name in REASONS]
        for hint in dict.fromkeys(hints):
            self._display.display(f" next     {hint}", stderr=True)

    def _add_reason(self, name: str, node: str = "") -> None:
        self._codes.append((node, REASONS[name].exit_code, name))

    def _keep(self, result: t.Any) -> None:
        """Stores the result of a step, in case the run ends before its report."""
        task, host = self._part(result, "task"), self._part(result, "host")
        if task is None or host is None:
            return
        self._unanswered.pop(host.get_name(), None)
        for name in _KEPT.intersection(self._registers(task)):
            self._results.setdefault(host.get_name(), {})[name] = self._fields(result)

    def _request(self) -> t.Mapping[str, t.Any]:
        """The result of the first step of a backup; empty in other plays, and if that step has refused the run."""
        found = (results.get(_REQUEST, {}) for results in self._results.values())
        return next((result for result in found if "request" in result), {})

    def _end_without_report(self) -> None:
        """Prints what was interrupted and ends with the exit code for it. Also stores the outcome of a backup."""
        if os.getpid() != self._process or self._has_ended or self._is_published or not self._is_interrupted:
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        text = self._describe_backup() or self._describe_restore() or self._describe_playbook()
        if not text:
            return
        sys.stdout.flush()
        reason = REASONS["run_interrupted"]
        sys.stderr.write(f"\n{text}\n{_describe_end(reason.exit_code, reason.name)}\n")
        sys.stderr.flush()
        # At this point, only this call can set the exit code.
        os._exit(reason.exit_code)

    def _describe_backup(self) -> str:
        """Stores the outcome of a backup; "" for other plays and for a backup without a request."""
        request = self._request()
        if not request:
            return ""
        results = {host: _steps.read_results(registered) for host, registered in self._results.items()}
        step = _interruption.last_step(results)
        unanswered = {
            host: (_VARIABLES[name], task.name)
            for host, task in self._unanswered.items()
            for name in self._registers(task)
            if name in _VARIABLES
        }
        lines = _interruption.describe_nodes(results, self._check_mode, unanswered)
        outcome = _report.compose(
            request["request"]["mode"],
            results,
            self._check_mode,
            utc_text(),
            time.monotonic(),
            f"{_collection.NAME} {_collection.version()}",
            interruption=f"the run was interrupted after the step {step}",
            continues=lines,
        )
        return _report.summary(outcome, self._write(request, outcome, results, self._check_mode))

    def _describe_restore(self) -> str:
        """ "" for other plays and for a restore without a plan."""
        plans = [found[_RESTORE]["plan"] for found in self._results.values() if "plan" in found.get(_RESTORE, {})]
        if not plans:
            return ""
        results = {host: _outcome.read_steps(found) for host, found in self._results.items()}
        return str(_outcome.describe_interruption(plans[0], results))

    def _describe_playbook(self) -> str:
        """ "" for a playbook that is not of this collection."""
        tasks: dict[str, list[str]] = {}
        for host, task in self._unanswered.items():
            tasks.setdefault(task.name, []).append(host)
        named = [f'"{task}" ({name_some(hosts)})' for task, hosts in tasks.items()]
        return self._playbook and _interruption.describe_playbook(self._playbook, named)

    @staticmethod
    def _write(
        request: t.Mapping[str, t.Any], outcome: dict[str, t.Any], results: _steps.Results, check_mode: bool
    ) -> str:
        if not request.get("report_directory"):
            return "not written: no folder for reports is known"
        folder = Path(request["report_directory"]) / outcome["name"]
        try:
            return str(_files.write_report(folder, outcome, _log.text(outcome, results, check_mode=check_mode)))
        except StepFailed as failure:
            return f"not written: {failure.message}"

    def _name_the_nearest(self, text: str) -> None:
        known = _variables.read(Path(__file__).resolve().parent.parent.parent / "roles")
        for name, near in _variables.unknown(re.findall(r"\b\w+\b", text), known):
            self._display.error(f"no such variable: {name} (did you mean {near}?)")

    @staticmethod
    def _registers(task: t.Any) -> t.Collection[str]:
        """The variables that a task registers. Since ansible-core 2.21, there may be several: a mapping of names."""
        return (task.register,) if isinstance(task.register, str) else task.register or ()

    def _host(self, result: t.Any) -> str:
        host = self._part(result, "host")
        return str(host.get_name()) if host is not None else ""

    @staticmethod
    def _part(result: t.Any, name: str) -> t.Any:
        """Task or host of a result; ansible-core 2.20 renames them, as it does the fields."""
        return getattr(result, name, None) or getattr(result, f"_{name}", None)

    @staticmethod
    def _fields(result: t.Any) -> t.Mapping[str, t.Any]:
        # ansible-core 2.20 renames _result and deprecates the old name.
        fields = getattr(result, "result", None)
        return fields if isinstance(fields, t.Mapping) else result._result


def _describe_end(code: int, reason: str) -> str:
    """The last line on the screen, e.g. exit code 3 (space_short): validation."""
    named = f" ({reason})" if reason else ""
    return f"exit code {code}{named}: {EXIT_CODES[code].meaning if code in EXIT_CODES else 'failure'}"
