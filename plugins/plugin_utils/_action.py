# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one file that adapts Ansible: what every action plugin of this collection has in common."""

from __future__ import annotations

import functools
import importlib
import re
import time
import typing as t
from datetime import UTC, datetime
from pathlib import Path

from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase
from ansible.template import Templar
from ansible.utils.display import Display

from . import _node_code, _node_job, _variables
from ._log import one_line
from ._outcome import StepFailed
from ._variables import load_yaml

COLLECTION = "alteryx_ops.server_backup"
ROOT = Path(__file__).resolve().parent.parent.parent

# ansible-playbook loads this file once; its workers, one for every task on every host, inherit what it has read.
_KNOWN_VARIABLES = _variables.read(ROOT / "roles")
_display = Display()
Result = dict[str, t.Any]


class NodeAction(ActionBase):  # type: ignore[misc]
    """Validates the arguments against the module's documentation, performs, and turns failures into results with reason, hint and node."""

    _supports_async = False
    _supports_check_mode = True
    refuses_unknown_variables = True

    def __init_subclass__(cls) -> None:
        """Reads the argument spec where the plugin is loaded, for the same reason as the variables above."""
        super().__init_subclass__()
        if cls.__module__.startswith("ansible_collections."):
            argument_spec(cls.__module__.rpartition(".")[2])

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
        try:
            if self.refuses_unknown_variables:
                refuse_unknown_variables(variables)
            result.update(self.perform(self._arguments(secrets), variables))
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
        result.update(node=node, started=started, finished=utc_text(), seconds=round(time.monotonic() - begun, 3))
        return t.cast(Result, remove_values(result, list(secrets)))

    def connection_failure(self, error: Exception) -> StepFailed | None:
        """A node that does not answer as a failure of the step: Ansible's "unreachable" would take the host out of the play and so past always."""
        if not _is_connection_failure(error):
            return None
        return StepFailed("unreachable" if self.is_first_contact() else "connection_lost", one_line(error))

    def is_first_contact(self) -> bool:
        """Is this what a playbook asks a node first, so that nothing has been touched there when it does not answer?"""
        return self.module_name in ("node_info", "backup_info") or (self.module_name == "run_lock" and self._task.args.get("state") == "recovered")

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

    def _arguments(self, secrets: set[str]) -> Result:
        validation = ArgumentSpecValidator(argument_spec(self.module_name)).validate(dict(self._task.args))
        secrets.update(validation._no_log_values)
        if validation.error_messages:
            raise StepFailed("invalid_variable", f"{self.module_name}: {'; '.join(validation.error_messages)}")
        return t.cast(Result, validation.validated_parameters)

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
                if isinstance(error, AnsibleAuthenticationFailure) or not _is_connection_failure(error) or time.monotonic() + pause > deadline:
                    raise
                _display.display(f"{utc_text()} {variables.get('inventory_hostname', '')}: no answer, asking again in {pause:.0f} s")
                time.sleep(pause)
                pause = min(pause * 2, 15.0)

    def _call_once(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        result: Result = self._execute_module(module_name=f"{COLLECTION}.{self.module_name}", module_args=arguments, task_vars=variables)
        if result.get("failed"):
            raise StepFailed(result.get("reason", "unexpected"), str(result.get("msg", "the module failed without a message")), result.get("detail"))
        return {key: value for key, value in result.items() if key not in ("invocation", "_ansible_parsed", "ansible_facts")}

    def run_job(self, job_id: str, spec: Result, total_seconds: float, arguments: Result, variables: dict[str, t.Any], attach: bool = False) -> Result:
        """Runs the node job of this module to its end; see _node_job."""
        node = variables.get("inventory_hostname", "")
        # Names of jobs are names of folders and tasks; the node takes only these characters.
        job_id = re.sub(r"[^A-Za-z0-9._-]", "_", job_id)

        def call(operation: str, parameters: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
            module_args = {**arguments, "_operation": operation, **parameters}
            try:
                return self.call_node(module_args, variables)
            except StepFailed as failure:
                # A failure without a reason of ours while polling is the transport's (a module that could not even begin).
                if operation != "cancel" and failure.reason.name == "unexpected":
                    raise _node_job.ConnectionTrouble(failure.message) from failure
                raise _node_job.JobFailed(failure.reason.name, failure.message, failure.detail) from failure
            except Exception as error:
                if operation == "cancel" or not _is_connection_failure(error):
                    raise
                raise _node_job.ConnectionTrouble(one_line(error)) from error

        def say(line: str) -> None:
            _display.display(f"{utc_text()} {node}: {line}")

        limits = _node_job.Limits(total=total_seconds)
        try:
            return _node_job.run(call, job_id, spec, _node_code.scripts(), limits, say, time.monotonic, time.sleep, attach)
        except _node_job.JobFailed as failure:
            raise StepFailed(failure.reason, failure.message, failure.detail) from failure


def _is_connection_failure(error: BaseException | None) -> bool:
    """Is it the transport that failed? winrm lets some exceptions of its libraries through as they are; they are known by their package.

    It says with an error of the most general kind that the shell of a command has ended before it could read its input.
    """
    while error is not None:
        if isinstance(error, AnsibleError) and "winrm send_input failed" in str(error):
            return True
        if isinstance(error, AnsibleConnectionFailure) or type(error).__module__.partition(".")[0] in ("requests", "urllib3", "winrm", "pypsrp", "httpx"):
            return True
        error = error.__cause__
    return False


@functools.cache
def argument_spec(module: str) -> dict[str, t.Any]:
    """The argument spec of a module, read from its documentation (plugins/modules/NAME.yml): one source for both."""
    documentation = load_yaml((ROOT / "plugins" / "modules" / f"{module}.yml").read_text(encoding="utf-8"))["DOCUMENTATION"]
    options = dict(documentation.get("options", {}))
    for name in documentation.get("extends_documentation_fragment", []):
        if name.startswith(f"{COLLECTION}."):
            fragment = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.doc_fragments.{name.removeprefix(f'{COLLECTION}.')}")
            options |= load_yaml(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
    return _variables.argument_options(options)


def refuse_unknown_variables(variables: t.Mapping[str, t.Any], others: t.Iterable[t.Mapping[str, t.Any]] = ()) -> None:
    """Raises StepFailed for variables that look like ours and are none.

    Args:
        variables: what the task sees: inventory, play, -e and role call together.
        others: the variables of further hosts.
    """
    names: set[str] = set(variables)
    for other in others:
        names.update(other)
    wrong = _variables.unknown((str(name) for name in names), _KNOWN_VARIABLES)
    if wrong:
        listed = "; ".join(f"{name} (did you mean {near}?)" for name, near in wrong)
        raise StepFailed("unknown_variable", f"no such variable: {listed}")


def value_problems(values: t.Mapping[str, t.Any]) -> list[str]:
    """What is wrong with the values of public variables of our roles, a sentence each. Whether one is missing is no matter here."""
    spec = {name: {key: each for key, each in _KNOWN_VARIABLES.public[name].items() if key not in ("required", "default")} for name in values}
    validation = ArgumentSpecValidator(spec).validate(dict(values))
    found = [str(message) for message in remove_values(validation.error_messages, validation._no_log_values)]
    if not found:
        given = {name: validation.validated_parameters[name] for name in values if spec[name].get("type") in ("int", "float")}
        # Seconds, days, megabytes, ports and factors: none of them can be less than nothing.
        found = [f"{name} is {value}; it must not be negative" for name, value in given.items() if value is not None and value < 0]
    return found


def refuse_invalid_values(variables: t.Mapping[str, t.Any], of_hosts: t.Mapping[str, t.Mapping[str, t.Any]], loader: t.Any) -> None:
    """Raises StepFailed for a variable of any of our roles whose value no argument spec allows, before the first of them is used.

    Args:
        variables: what the task sees.
        of_hosts: host -> its own variables (see raw_variables). Of all hosts but the task's, only what differs from it is judged.
        loader: Ansible's, for templates.
    """
    own = variables["inventory_hostname"]
    of_own = of_hosts.get(own, {})
    for host, of_host in of_hosts.items():
        given = variables if host == own else {name: value for name, value in of_host.items() if value != of_own.get(name)}
        templar = Templar(loader=loader, variables={**variables, **given})
        values, wrong = {}, []
        for name in sorted(_KNOWN_VARIABLES.public.keys() & given.keys()):
            try:
                values[name] = templar.template(given[name])
            except AnsibleError as error:
                wrong.append(f"{name} cannot be evaluated: {one_line(error)}")
        wrong += value_problems(values)
        if wrong:
            raise StepFailed("invalid_variable", "; ".join(wrong), {"node": host})


def raw_variables(variables: t.Mapping[str, t.Any], host: str) -> t.Mapping[str, t.Any]:
    """The variables of a host as they are, registered results among them.

    hostvars[host] would template what is read. Results of modules are no templates, and looking for some in those of 100 hosts takes longer than a backup.
    """
    return t.cast(t.Mapping[str, t.Any], variables["hostvars"].raw_get(host))


def direct_child_groups(variables: t.Mapping[str, t.Any], parent: str) -> dict[str, set[str]]:
    """Name -> hosts of the groups directly below a group of the inventory."""
    # The inventory's tree is in no variable; HostVars carries it.
    inventory = variables["hostvars"]._inventory
    group = inventory.groups.get(parent)
    if group is None:
        return {}
    return {child.name: {host.name for host in child.get_hosts()} for child in group.child_groups}


def variable_default(name: str) -> t.Any:
    """The default of a role's variable, from its argument spec: a role that is not in the play has set none."""
    return _KNOWN_VARIABLES.public[name]["default"]


def utc_text() -> str:
    """Now in UTC as ISO 8601 with milliseconds and zone."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def warn(message: str) -> None:
    """A warning on the operator's screen."""
    _display.warning(message)


def version() -> str:
    """The version of this collection."""
    # Installed collections have MANIFEST.json, a checkout has galaxy.yml.
    manifest = ROOT / "MANIFEST.json"
    if manifest.exists():
        return str(load_yaml(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    return str(load_yaml((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"])
