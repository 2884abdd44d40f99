# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the operator: unknown names and values that no argument spec allows are refused."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.template import Templar

from .._core import paths
from .._core.reasons import StepFailed
from .._core.text import one_line
from . import _variables
from ._collection import ROOT

# ansible-playbook loads this file once; its workers, one for every task on every host, inherit the data.
_KNOWN_VARIABLES = _variables.read(ROOT / "roles")


def refuse_unknown_variables(variables: t.Mapping[str, t.Any], others: t.Iterable[t.Mapping[str, t.Any]] = ()) -> None:
    """Raises StepFailed for unknown variables with a prefix of this collection.

    Args:
        variables: what the task sees: inventory, play, -e and role call together.
        others: the variables of further hosts.
    """
    if wrong := _variables.unknown(_names([variables, *others]), _KNOWN_VARIABLES):
        raise StepFailed("unknown_variable", f"no such variable: {_with_nearest(wrong)}")


def refuse_strange_variables(given: t.Iterable[str], declared: t.Collection[str]) -> None:
    """Raises StepFailed for unknown names of the command line (-e) that have the prefix of this collection, because
    they are mistakes.

    Args:
        given: the names.
        declared: names that the operator uses for something else.
    """
    if wrong := _variables.strange(given, _KNOWN_VARIABLES, declared):
        message = (
            f"-e sets what no role of this collection reads: {_with_nearest(wrong)}. "
            "alteryx_preflight_other_variables lists names of your own"
        )
        raise StepFailed("unknown_variable", message)


def variable_warnings(of_hosts: t.Iterable[t.Mapping[str, t.Any]], declared: t.Collection[str]) -> list[str]:
    """Warnings, one sentence each: about unknown variables of hosts with the prefix of this collection, which may have
    another purpose, and about names of earlier versions.
    """
    names = _names(of_hosts)
    found = _variables.strange(names, _KNOWN_VARIABLES, declared)
    renamed = sorted(names & _variables.RENAMED.keys())
    return [
        *(f"no role of this collection reads the variable {_with_nearest([one])}" for one in found),
        *(
            f"the variable {name} has the new name {_variables.RENAMED[name]}; the old one is still read, but rename it"
            for name in renamed
        ),
    ]


def _names(of_hosts: t.Iterable[t.Mapping[str, t.Any]]) -> set[str]:
    return {str(name) for of_host in of_hosts for name in of_host}


def _with_nearest(names: t.Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{name} (did you mean {near}?)" for name, near in names)


def value_problems(values: t.Mapping[str, t.Any]) -> list[str]:
    """The problems of the values of public variables of the roles, a sentence each. Missing variables are not checked
    here."""
    spec = {
        name: {key: each for key, each in _KNOWN_VARIABLES.public[name].items() if key not in ("required", "default")}
        for name in values
    }
    validation = ArgumentSpecValidator(spec).validate(dict(values))
    found = [str(message) for message in remove_values(validation.error_messages, validation._no_log_values)]
    if not found:
        given = {
            name: validation.validated_parameters[name] for name in values if spec[name].get("type") in ("int", "float")
        }
        # Seconds, days, megabytes, ports and factors: none of them can be negative.
        found = [
            f"{name} is {value}; it must not be negative"
            for name, value in given.items()
            if value is not None and value < 0
        ]
    return found


_ALWAYS_DEFINED = {"alteryx_preflight_mode": "full"}
"""Variables of an inventory may depend on the mode, which only the playbooks of a backup and a restore define."""


def refuse_invalid_values(
    variables: t.Mapping[str, t.Any], of_hosts: t.Mapping[str, t.Mapping[str, t.Any]], loader: t.Any
) -> None:
    """Raises StepFailed for a variable of any role of this collection whose value no argument spec allows, before a
    variable is used.

    Args:
        variables: what the task sees.
        of_hosts: host -> its own variables (see raw_variables). Of the other hosts, only values that differ from those
            of the task's host are checked.
        loader: Ansible's, for templates.
    """
    own = variables["inventory_hostname"]
    of_own = of_hosts.get(own, {})
    for host, of_host in of_hosts.items():
        given = (
            variables if host == own else {name: value for name, value in of_host.items() if value != of_own.get(name)}
        )
        templar = Templar(loader=loader, variables={**_ALWAYS_DEFINED, **variables, **given})
        values, wrong = {}, []
        for name in sorted(_KNOWN_VARIABLES.public.keys() & given.keys()):
            try:
                values[name] = templar.template(given[name])
            except AnsibleError as error:
                wrong.append(f"{name} cannot be evaluated: {one_line(error)}")
        wrong += value_problems(values)
        if wrong:
            raise StepFailed("invalid_variable", "; ".join(wrong), {"node": host})


def read_node_paths(arguments: dict[str, t.Any]) -> None:
    """Converts the paths on a node among the arguments of a module to the form of Windows.

    Raises:
        StepFailed: invalid_variable; Ansible or YAML changed a path while reading it.
    """
    for given in (arguments, *(each for each in (arguments.get("mongodb_connections") or {}).values() if each)):
        for name in given.keys() & paths.NODE_PATHS.keys():
            value = given[name]
            try:
                if isinstance(value, str):
                    given[name] = paths.read_node_path(value)
                elif isinstance(value, list):
                    given[name] = [paths.read_node_path(each) for each in value]
            except ValueError as error:
                raise StepFailed("invalid_variable", f"{paths.NODE_PATHS[name] or name} {error}") from error


def registered_results(of_host: t.Mapping[str, t.Any]) -> dict[str, t.Mapping[str, t.Any]]:
    """The results that tasks of the roles have registered on a host: variable -> result.

    Args:
        of_host: the host's own variables (see raw_variables).
    """
    return {name: of_host[name] for name in _KNOWN_VARIABLES.results if isinstance(of_host.get(name), t.Mapping)}


def variable_default(name: str) -> t.Any:
    """The default of a role's variable, from its argument spec, because a role that is not in the play has not set the
    default."""
    return _KNOWN_VARIABLES.public[name]["default"]
