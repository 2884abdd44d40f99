# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common base of the action plugins of this collection: arguments, calls of the node, failures with a reason."""

from __future__ import annotations

import contextlib
import copy
import time
import typing as t

from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

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
    # Only the first task of a playbook checks names of variables, because that check must not prevent the start of a
    # service.
    refuses_unknown_variables = False

    def __init_subclass__(cls) -> None:
        """Reads the argument spec when the plugin is loaded, because ansible-playbook loads a plugin once for all of
        its workers."""
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
            # NodeTrust.psm1 reads this. Every module that uses a folder of this collection uses NodeTrust.psm1.
            self._task.environment = [*(self._task.environment or []), {"ALTERYX_OPS_FOLDER_TRUST": "warn"}]
        secrets: set[str] = set()
        self._noted: list[dict[str, str]] = []
        try:
            if self.refuses_unknown_variables:
                declared = variables.get("alteryx_preflight_other_variables") or ()
                _values.refuse_unknown_variables(variables)
                _values.refuse_strange_variables(load_extra_vars(self._loader), declared)
                for words in _values.variable_warnings([variables], declared):
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
        result.update(node=node, started=started, ended=utc_text(), seconds=round(time.monotonic() - begun, 3))
        return t.cast(Result, remove_values(result, list(secrets)))

    def note_warning(self, host: str, text: str) -> None:
        """Prints a warning, and adds it to the events of the result for the log, outcome.json and the summary."""
        self._noted.append({"at": utc_text(), "level": "WARNING", "text": text})
        show_progress(host, f"WARNING {text}")

    def keep_warnings(self, result: t.Mapping[str, t.Any]) -> None:
        """Keeps the warnings of a job whose result is not returned. They are already printed."""
        self._noted += [event for event in result.get("events", ()) if event["level"] == "WARNING"]

    def connection_failure(self, error: Exception) -> StepFailed | None:
        """Reports a node that does not answer as a failure of the step. Ansible's "unreachable" would remove the host
        from the play, so that the always section would not run for it."""
        if not _is_connection_failure(error):
            return None
        return StepFailed("unreachable" if self.is_first_contact() else "connection_lost", one_line(error))

    def is_first_contact(self) -> bool:
        """Is this the first call of a node in a playbook, so that nothing was changed on a node that does not
        answer?"""
        if self._task.args.get("run_id") and self.module_name == "backup_info":
            # The run has called this node before.
            return False
        states = {"run_lock": ("recovered", "inspected"), "node_removal": ("inspected",)}
        return self.module_name in ("node_info", "backup_info") or (
            self._task.args.get("state") in states.get(self.module_name, ())
        )

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """The part of each action plugin. Returns the result; raises StepFailed."""
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
        # Names of accounts can be shown, and no_log would hide them, too.
        secrets.update(_destinations.list_passwords(validation.validated_parameters.get("credentials")))
        if validation.error_messages:
            # In the roles of this collection, each option comes from a variable, and the operator knows the name of the
            # variable.
            _values.refuse_invalid_values(variables, {variables.get("inventory_hostname", ""): {}}, self._loader)
            raise StepFailed("invalid_variable", f"module {self.module_name}: {'; '.join(validation.error_messages)}")
        arguments = t.cast(Result, validation.validated_parameters)
        _values.read_node_paths(arguments)
        return arguments

    def call_node(self, arguments: Result, variables: dict[str, t.Any], patience: float = 0.0) -> Result:
        """Runs the module's PowerShell on the node once; a failure with a reason becomes StepFailed.

        Args:
            patience: seconds for which a lost connection is tried again. Only for calls that can safely be repeated.
        """
        deadline, pause = time.monotonic() + patience, 1.0
        while True:
            try:
                return self._call_once(arguments, variables)
            except Exception as error:
                # A refused log-in is not tried again, because that may lock the account.
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
        """Opens a new connection for the next call, because a node that was restarted does not know the old shell."""
        # If the node does not answer yet, the next call reports it.
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
        """Runs the node job of this module to its end or until a phase; see _node_job."""
        node = variables.get("inventory_hostname", "")
        # Names of jobs are names of folders and tasks; the node takes only these characters.
        job_id = _names.replace_odd_characters(job_id)

        def call(operation: str, parameters: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
            module_args = {**arguments, "_operation": operation, **parameters}
            try:
                return self.call_node(module_args, variables)
            except StepFailed as failure:
                # While a job is polled, a failure without a reason of this collection is one of the connection: the
                # module could not begin.
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
    """Is this a failure of the connection?

    The plugin winrm does not wrap some exceptions of its libraries; they are recognized by their package. If a shell
    has ended before its command could read its input, winrm raises a general error.
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
