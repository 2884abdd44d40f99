# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every action plugin of this collection has in common: arguments, calls of the node, failures with a name."""

from __future__ import annotations

import contextlib
import copy
import time
import typing as t

from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase

from .._copy import _destinations
from .._core import _names
from .._core.reasons import StepFailed
from .._core.text import one_line
from .._node import _node_code, _node_job
from . import _collection, _values
from ._screen import show_progress, utc_text, warn

Result = dict[str, t.Any]


class NodeAction(ActionBase):  # type: ignore[misc]
    """Validates the arguments against the module's documentation, performs, and turns failures into results with
    reason, hint and node."""

    _supports_async = False
    _supports_check_mode = True
    # Names are judged where a playbook begins, and never by what brings a service back.
    refuses_unknown_variables = False

    def __init_subclass__(cls) -> None:
        """Reads the argument spec where the plugin is loaded, because ansible-playbook does that once
        for all of its workers."""
        super().__init_subclass__()
        if cls.__module__.startswith("ansible_collections."):
            _collection.argument_spec(cls.__module__.rpartition(".")[2])

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        """Runs the action; see perform for the part of each module."""
        result: Result = super().run(tmp, task_vars)
        variables = task_vars or {}
        node = variables.get("inventory_hostname", "")
        begun, started = time.monotonic(), utc_text()
        if variables.get("alteryx_preflight_folder_trust") == "warn":
            # Read by NodeTrust.psm1, which every module uses that touches a folder of ours.
            self._task.environment = [*(self._task.environment or []), {"ALTERYX_OPS_FOLDER_TRUST": "warn"}]
        secrets: set[str] = set()
        self._noted: list[dict[str, str]] = []
        try:
            if self.refuses_unknown_variables:
                _values.refuse_unknown_variables(variables)
                for words in _values.variable_warnings(
                    [variables], variables.get("alteryx_preflight_other_variables") or ()
                ):
                    warn(words)
            result.update(self.perform(self._arguments(secrets, variables), variables))
        except Exception as error:
            failure = error if isinstance(error, StepFailed) else self.connection_failure(error)
            if failure is None:
                raise
            result.update(
                failed=True,
                msg=f"{failure.detail.get('node', node)}: {failure.message}. {failure.reason.hint}",
                reason=failure.reason.name,
                exit_code=failure.reason.exit_code,
                message=failure.message,
                hint=failure.reason.hint,
                detail=failure.detail,
            )
            node = failure.detail.get("node", node)
        if self._noted:
            told = result["detail"] if result.get("failed") else result
            told["events"] = [*told.get("events", ()), *self._noted]
        result.update(node=node, started=started, finished=utc_text(), seconds=round(time.monotonic() - begun, 3))
        return t.cast(Result, remove_values(result, list(secrets)))

    def note_warning(self, host: str, text: str) -> None:
        """Tells a warning on the screen, and for the log, outcome.json and summary among the events of the result."""
        self._noted.append({"at": utc_text(), "level": "WARNING", "text": text})
        show_progress(host, f"WARNING {text}")

    def keep_warnings(self, result: t.Mapping[str, t.Any]) -> None:
        """Keeps the warnings of a job whose result is not passed on. The screen has them."""
        self._noted += [event for event in result.get("events", ()) if event["level"] == "WARNING"]

    def connection_failure(self, error: Exception) -> StepFailed | None:
        """A node that does not answer as a failure of the step: Ansible's "unreachable" would take the host out of the
        play and so past always."""
        if not _is_connection_failure(error):
            return None
        return StepFailed("unreachable" if self.is_first_contact() else "connection_lost", one_line(error))

    def is_first_contact(self) -> bool:
        """Is this what a playbook asks a node first, so that nothing has been touched there when it does not answer?"""
        if self._task.args.get("run_id") and self.module_name == "backup_info":
            # A run has asked this node before.
            return False
        states = {"run_lock": ("recovered", "inspected"), "node_removal": ("inspected",)}
        return self.module_name in ("node_info", "backup_info") or (
            self._task.args.get("state") in states.get(self.module_name, ())
        )

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """The action's own part. Returns the result; raises StepFailed."""
        raise NotImplementedError

    @property
    def module_name(self) -> str:
        """The module this action belongs to, e.g. node_info."""
        return str(self._task.action).rsplit(".", maxsplit=1)[-1]

    @property
    def check_mode(self) -> bool:
        """Predict only?"""
        return bool(self._task.check_mode)

    def _arguments(self, secrets: set[str], variables: dict[str, t.Any]) -> Result:
        # A copy: the validator writes the defaults of suboptions into the default of their option.
        spec = copy.deepcopy(_collection.argument_spec(self.module_name))
        validation = ArgumentSpecValidator(spec).validate(dict(self._task.args))
        secrets.update(validation._no_log_values)
        # The names of accounts may be told, and no_log would hide those, too.
        secrets.update(_destinations.list_passwords(validation.validated_parameters.get("credentials")))
        if validation.error_messages:
            # In our roles, each option comes from a variable, and that is what the operator knows.
            _values.refuse_invalid_values(variables, {variables.get("inventory_hostname", ""): {}}, self._loader)
            raise StepFailed("invalid_variable", f"module {self.module_name}: {'; '.join(validation.error_messages)}")
        arguments = t.cast(Result, validation.validated_parameters)
        _values.read_node_paths(arguments)
        return arguments

    def call_node(self, arguments: Result, variables: dict[str, t.Any], patience: float = 0.0) -> Result:
        """Runs the module's PowerShell on the node once; a failure it names becomes StepFailed.

        Args:
            patience: seconds for which a lost connection is tried again. Only for calls that may safely happen twice.
        """
        deadline, pause = time.monotonic() + patience, 1.0
        while True:
            try:
                return self._call_once(arguments, variables)
            except Exception as error:
                # A log-in that was refused is not tried again: that locks accounts.
                if (
                    isinstance(error, AnsibleAuthenticationFailure)
                    or not _is_connection_failure(error)
                    or time.monotonic() + pause > deadline
                ):
                    raise
                show_progress(variables.get("inventory_hostname", ""), f"no answer, asking again in {pause:.0f} s")
                time.sleep(pause)
                pause = min(pause * 2, 15.0)
                self._forget_shell()

    def _forget_shell(self) -> None:
        """Connects anew before the next call: a node that has booted meanwhile does not know the shell of before."""
        # One that does not answer yet is found out by that call.
        with contextlib.suppress(Exception):
            self._connection.reset()

    def _call_once(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        result: Result = self._execute_module(
            module_name=f"{_collection.NAME}.{self.module_name}", module_args=arguments, task_vars=variables
        )
        if result.get("failed"):
            raise StepFailed(
                result.get("reason", "unexpected"),
                str(result.get("msg", "the module failed without a message")),
                result.get("detail"),
            )
        return {
            key: value for key, value in result.items() if key not in ("invocation", "_ansible_parsed", "ansible_facts")
        }

    def run_job(
        self,
        job_id: str,
        spec: Result,
        total_seconds: float,
        arguments: Result,
        variables: dict[str, t.Any],
        attach: bool = False,
        last: _node_job.LastRun | None = None,
        until: str = "",
    ) -> Result:
        """Runs the node job of this module to its end, or until it is in a phase; see _node_job."""
        node = variables.get("inventory_hostname", "")
        # Names of jobs are names of folders and tasks; the node takes only these characters.
        job_id = _names.replace_odd_characters(job_id)

        def call(operation: str, parameters: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
            module_args = {**arguments, "_operation": operation, **parameters}
            try:
                return self.call_node(module_args, variables)
            except StepFailed as failure:
                # A failure without a reason of ours while polling is the transport's (a module
                # that could not even begin).
                if operation != "cancel" and failure.reason.name == "unexpected":
                    self._forget_shell()
                    raise _node_job.ConnectionTrouble(failure.message) from failure
                raise _node_job.JobFailed(failure.reason.name, failure.message, failure.detail) from failure
            except Exception as error:
                if operation == "cancel" or not _is_connection_failure(error):
                    raise
                self._forget_shell()
                raise _node_job.ConnectionTrouble(one_line(error)) from error

        def say(line: str, at: str) -> None:
            show_progress(node, line, at)

        def warn_of(text: str) -> None:
            self.note_warning(node, text)

        limits = _node_job.Limits(total=total_seconds)
        operator = _node_job.Operator(say, warn_of)
        try:
            return _node_job.run(
                call,
                job_id,
                spec,
                _node_code.scripts(),
                limits,
                operator,
                time.monotonic,
                time.sleep,
                attach,
                last,
                until,
            )
        except _node_job.JobFailed as failure:
            raise StepFailed(failure.reason, failure.message, failure.detail) from failure


def _is_connection_failure(error: BaseException | None) -> bool:
    """Is it the transport that failed? winrm lets some exceptions of its libraries through as they are; they
    are known by their package.

    It says with an error of the most general kind that the shell of a command has ended before it could read its input.
    """
    while error is not None:
        if isinstance(error, AnsibleError) and "winrm send_input failed" in str(error):
            return True
        if isinstance(error, AnsibleConnectionFailure) or type(error).__module__.partition(".")[0] in (
            "requests",
            "urllib3",
            "winrm",
            "pypsrp",
            "httpx",
        ):
            return True
        error = error.__cause__
    return False
