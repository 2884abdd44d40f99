# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data of extensions/awx as Ansible reads it, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _values
from tests.awx import modules
from tests.checks import command_lines, sources

FOLDER = sources.ROOT / "extensions" / "awx"
PROJECT = FOLDER / "project"
PLAYBOOKS = sources.ROOT / "playbooks"
ROLES = sources.ROOT / "roles"
COLLECTION = "alteryx_ops.server_backup"

Data = Mapping[str, list[dict[str, Any]]]
"""Variable of infra.aap_configuration -> its items."""

BUILT_IN_TYPES = {"Machine", "Source Control", "Vault"}
QUESTION_TYPES = {"text", "textarea", "password", "integer", "float", "multiplechoice", "multiselect"}
# What awx/main/utils/ansible.py looks for in a file that may be chosen as the playbook of a template.
IS_PLAYBOOK = re.compile(
    r"(?m)^\s*-?\s*['\"]?(hosts|(ansible\.builtin\.)?include|(ansible\.builtin\.)?import_playbook)['\"]?:"
)


@cache
def read(**settings: str) -> dict[str, list[dict[str, Any]]]:
    """The data with the values of settings.yml in it, or with these in the place of some."""
    loader = DataLoader()
    found: dict[str, Any] = {}
    for file in sorted((FOLDER / "data").glob("*.yml")):
        found |= loader.load_from_file(str(file), cache="none", unsafe=False, trusted_as_template=True)
    found |= settings
    templar = Templar(loader=loader, variables=found)
    return {name: templar.template(found[name]) for name in modules.KINDS}


# --- what a module takes --------------------------------------------------------------------------------------------


def refused(data: Data, options: Mapping[str, dict[str, Any]]) -> list[str]:
    """What a module of awx.awx refuses, by the documentation of its options."""
    return [
        f"{name}: {item.get('name')}: {message}"
        for name, module in modules.KINDS.items()
        for item in data[name]
        for message in ArgumentSpecValidator(dict(options[module])).validate(dict(item)).error_messages
    ]


# --- names that lead to something -----------------------------------------------------------------------------------

_ONE = {
    "execution_environment": "controller_execution_environments",
    "default_environment": "controller_execution_environments",
    "project": "controller_projects",
    "source_project": "controller_projects",
    "inventory": "controller_inventories",
}
_MANY = {
    "credentials": "controller_credentials",
    "labels": "controller_labels",
    "notification_templates_started": "controller_notifications",
    "notification_templates_success": "controller_notifications",
    "notification_templates_error": "controller_notifications",
    "notification_templates_approvals": "controller_notifications",
}


def dead_names(data: Data) -> list[str]:
    """Names of what is not in the data, and what is there twice."""
    known = {kind: [item["name"] for item in items] for kind, items in data.items()}
    found = [f"{kind} has {name} twice" for kind, names in known.items() for name in names if names.count(name) > 1]
    for kind, items in data.items():
        for item in items:
            named = [(option, item[option], target) for option, target in _ONE.items() if option in item]
            named += [(option, name, target) for option, target in _MANY.items() for name in item.get(option, [])]
            found += [
                f"{kind}: {item['name']}: {option}: there is no {name}"
                for option, name, target in named
                if name not in known[target]
            ]
    types = {*known["controller_credential_types"], *BUILT_IN_TYPES}
    templates = {*known["controller_templates"], *known["controller_workflows"]}
    found += [
        f"controller_credentials: {item['name']}: there is no {item['credential_type']}"
        for item in data["controller_credentials"]
        if item["credential_type"] not in types
    ]
    found += [
        f"controller_schedules: {item['name']}: there is no {item['unified_job_template']}"
        for item in data["controller_schedules"]
        if item["unified_job_template"] not in templates
    ]
    for workflow in data["controller_workflows"]:
        identifiers = [node["identifier"] for node in workflow["workflow_nodes"]]
        for node in workflow["workflow_nodes"]:
            template = node["unified_job_template"]
            if template["type"] != "workflow_approval" and template["name"] not in templates:
                found.append(f"{workflow['name']}: {node['identifier']}: there is no {template['name']}")
            found += [
                f"{workflow['name']}: {node['identifier']}: there is no node {target}"
                for target in _targets(node)
                if target not in identifiers
            ]
    return found


def playbook_problems(project: Path, template: Mapping[str, Any]) -> list[str]:
    """Why AWX would not let a template have its playbook."""
    file = project / template["playbook"]
    if not file.is_file():
        return [f"{template['name']}: the project has no {template['playbook']}"]
    if not IS_PLAYBOOK.search(file.read_text(encoding="utf-8")):
        return [f"{template['name']}: AWX does not see that {template['playbook']} is a playbook"]
    return []


# --- variables ------------------------------------------------------------------------------------------------------


@cache
def read_variables(playbook: Path) -> set[str]:
    """The variables of ours that a playbook of the project can read: those that its roles and tasks name."""
    names: set[str] = set()
    seen: set[Path] = set()
    left = [playbook]
    while left:
        file = left.pop()
        if file in seen:
            continue
        seen.add(file)
        text = file.read_text(encoding="utf-8")
        names |= set(re.findall(r"\balteryx_\w+", text))
        left += [
            PLAYBOOKS / f"{name}.yml" for name in re.findall(rf"import_playbook: {re.escape(COLLECTION)}\.(\w+)", text)
        ]
        if file.is_relative_to(PLAYBOOKS):
            left += [PLAYBOOKS / "tasks" / Path(name).name for name in re.findall(r"import_tasks: (\S+\.yml)", text)]
            if "tasks/backup.yml" in text:
                # What it reads further is decided while it is read.
                left += sorted((PLAYBOOKS / "tasks").glob("*.yml"))
        for role, tasks in _roles(file):
            left += sorted((ROLES / role / "tasks").glob(f"{tasks}.yml" if _is_alone(role) else "*.yml"))
    return names


def _roles(file: Path) -> Iterator[tuple[str, str]]:
    for entry in sources.tasks(sources.load_yaml(file)):
        for key in ("ansible.builtin.import_role", "ansible.builtin.include_role"):
            if key in entry:
                yield entry[key]["name"].removeprefix(f"{COLLECTION}."), entry[key].get("tasks_from", "main")


def _is_alone(role: str) -> bool:
    # A role with several entry points: what one reads is nothing to the other.
    return role == "alteryx_catalogue"


def variable_problems(data: Data, project: Path = PROJECT) -> list[str]:
    """Variables and questions that do not exist, have a value that is not allowed, or are not used."""
    found: list[str] = []
    of_template = {template["name"]: template for template in data["controller_templates"]}
    for template in data["controller_templates"]:
        read_by = read_variables(project / template["playbook"])
        for name, value in (template.get("extra_vars") or {}).items():
            found += [f"{template['name']}: {problem}" for problem in _judge(name, value, read_by)]
        for question in (template.get("survey_spec") or {}).get("spec", []):
            found += [f"{template['name']}: {problem}" for problem in question_problems(question, read_by)]
        if bool(template.get("survey_enabled")) != bool(template.get("survey_spec")):
            found.append(f"{template['name']}: a survey that is not enabled, or none that is")
    launches = [(item["name"], item["unified_job_template"], item.get("extra_data")) for item in _schedules(data)]
    launches += [
        (node["identifier"], node["unified_job_template"]["name"], node.get("extra_data"))
        for workflow in data["controller_workflows"]
        for node in workflow["workflow_nodes"]
    ]
    for who, target, given in launches:
        asked = {
            question["variable"]: question
            for question in (of_template.get(target, {}).get("survey_spec") or {}).get("spec", [])
        }
        for name, value in (given or {}).items():
            if name not in asked:
                found.append(f"{who}: {target} does not ask for {name}, so AWX ignores it")
            else:
                found += [f"{who}: {problem}" for problem in answer_problems(asked[name], value)]
        found += [
            f"{who}: {target} asks for {name}, and nobody is there to answer"
            for name, question in asked.items()
            if question["required"] and question["default"] == "" and name not in (given or {})
        ]
    return found


def _schedules(data: Data) -> list[dict[str, Any]]:
    return data["controller_schedules"]


def _judge(name: str, value: Any, read_by: set[str]) -> list[str]:
    # Without the sentences of the other variables: AWX hands the values to -e as they are.
    problems = command_lines.judge_variable(name, value)
    if not problems and name not in read_by:
        problems = [f"the playbook does not read {name}"]
    if not problems and "{{" not in str(value):
        problems = _values.value_problems({name: value})
    return problems


def question_problems(question: Mapping[str, Any], read_by: set[str]) -> list[str]:
    """What is wrong with a question of a survey: AWX, or the variable, does not take every answer that it lets pass."""
    name = question["variable"]
    if question["type"] not in QUESTION_TYPES:
        return [f"{name}: AWX knows no question of the type {question['type']}"]
    if not question["question_name"] or not isinstance(question["required"], bool):
        return [f"{name}: a question needs a question_name and required"]
    has_default = question["default"] != "" or not question["required"]
    found = [f"{name}: {problem}" for problem in answer_problems(question, question["default"]) if has_default]
    answers = [question["default"]] if has_default else []
    if question["type"] in ("multiplechoice", "multiselect"):
        choices = list(question["choices"])
        answers += choices if question["type"] == "multiplechoice" else [choices]
        known = command_lines.variables().get(name, {}).get("choices")
        if known is not None and question["required"] and question["default"] not in known:
            found.append(f"{name}: the default {question['default']} is none of {known}")
    if question["type"] in ("integer", "float"):
        answers += [question["min"], question["max"]]
    for answer in answers:
        found += [f"{name}: the answer {answer!r}: {problem}" for problem in _judge(name, answer, read_by)]
    return found


def answer_problems(question: Mapping[str, Any], answer: Any) -> list[str]:
    """What AWX itself would say to an answer (awx/main/models/mixins.py)."""
    if answer == "" and not question["required"]:
        return []
    kind = question["type"]
    if kind == "integer":
        good = isinstance(answer, int) and not isinstance(answer, bool) and question["min"] <= answer <= question["max"]
    elif kind == "float":
        good = isinstance(answer, (int, float)) and question["min"] <= answer <= question["max"]
    elif kind == "multiplechoice":
        good = isinstance(answer, str) and answer in question["choices"]
    elif kind == "multiselect":
        good = isinstance(answer, list) and set(answer) <= set(question["choices"])
    else:
        good = isinstance(answer, str) and question.get("min", 0) <= len(answer) <= question.get("max", 1024)
    return [] if good else [f"AWX does not take the answer {answer!r} to a question of the type {kind}"]


# --- credentials ----------------------------------------------------------------------------------------------------

_SHARE = {"ALTERYX_SHARE_USER", "ALTERYX_SHARE_PASSWORD"}
# They share files of tasks with a playbook that works at destinations, and do not do so themselves.
_AT_NO_DESTINATION = {"topology.yml", "smoke.yml", "roll_back_restore.yml", "accept_restore.yml"}


def credential_problems(data: Data, inventory: str, project: Path = PROJECT) -> list[str]:
    """Where a value of a credential does not arrive: nothing gives it, nothing reads it, or a template lacks it.

    Args:
        data: of AWX.
        inventory: the text of an inventory.
        project: that the templates use.
    """
    types = {one["name"]: one["injectors"] for one in data["controller_credential_types"]}
    looked_up = set(re.findall(r"(?<=env', ')\w+", inventory))
    in_environment = {name for injectors in types.values() for name in injectors.get("env", {})}
    given = in_environment.union(*(injectors.get("extra_vars", {}) for injectors in types.values()))
    wanted = looked_up.union(re.findall(r"\bvault_\w+", inventory))
    found = [f"no credential gives {name}, which the inventory uses" for name in sorted(wanted - given)]
    found += [f"the inventory does not look up {name}" for name in sorted(in_environment - looked_up)]
    # AWX refuses to set these.
    found += [f"AWX does not set {name}" for name in given if name.startswith(("ANSIBLE_", "AWX_", "TOWER_"))]
    type_of = {one["name"]: one["credential_type"] for one in data["controller_credentials"]}
    for template in data["controller_templates"]:
        name, playbook = template["name"], template["playbook"]
        used = [type_of[credential] for credential in template["credentials"]]
        found += [f"{name}: two credentials of the type {one}" for one in set(used) if used.count(one) > 1]
        gets = {variable for one in used for variable in types[one].get("env", {})}
        is_there = "alteryx_distribution_credentials" in read_variables(project / playbook)
        if is_there and playbook not in _AT_NO_DESTINATION and not gets >= _SHARE:
            found.append(f"{name}: {playbook} works at destinations, and no credential has the account of a share")
        if _SHARE & gets and (not is_there or playbook in _AT_NO_DESTINATION):
            found.append(f"{name}: {playbook} works at no destination, and gets the account of a share")
    return found


def injected_environment(data: Data, template: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, str]:
    """The environment that AWX makes of what was entered into the credentials of a template.

    Args:
        data: of AWX.
        template: that is launched.
        inputs: field -> value; the same for every credential. AWX leaves out a field that is empty.
    """
    types = {one["name"]: one["injectors"] for one in data["controller_credential_types"]}
    type_of = {one["name"]: one["credential_type"] for one in data["controller_credentials"]}
    environment = ImmutableSandboxedEnvironment()
    return {
        name: environment.from_string(text).render({key: value for key, value in inputs.items() if value})
        for credential in template["credentials"]
        for name, text in types[type_of[credential]].get("env", {}).items()
    }


# --- times ----------------------------------------------------------------------------------------------------------


def rule_problems(rule: str) -> list[str]:
    """Why AWX refuses the rule of a schedule (SchedulePreviewSerializer)."""
    found = []
    starts = re.findall(r"DTSTART(;TZID=[\w/+-]+)?:\d{8}T\d{6}(Z?)(?= |$)", rule)
    rules = re.findall(r"\bRRULE:(\S+)", rule)
    if len(starts) != 1 or all(not part for part in starts[0]):
        found.append("it needs one DTSTART with a zone")
    if len(rules) != 1:
        found.append("it needs one RRULE")
    for parts in (dict(part.partition("=")[::2] for part in each.split(";")) for each in rules):
        if not parts.get("INTERVAL", "").isdigit():
            found.append("it needs an INTERVAL")
        if parts.get("FREQ") not in ("MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"):
            found.append(f"AWX does not support FREQ={parts.get('FREQ')}")
        if re.search(r"\d", parts.get("BYDAY", "")):
            found.append("AWX supports no number in BYDAY")
        if {"COUNT", "UNTIL"} <= parts.keys():
            found.append("it has COUNT and UNTIL")
    return found


# --- the workflow ---------------------------------------------------------------------------------------------------


def _targets(node: Mapping[str, Any]) -> Iterator[str]:
    for links in ("success_nodes", "failure_nodes", "always_nodes"):
        yield from (link["identifier"] for link in (node.get("related") or {}).get(links, []))


def walk(workflow: Mapping[str, Any], failing: set[str]) -> tuple[list[str], str]:
    """The nodes that run, in their order, and the status of the workflow.

    As AWX does it: an approval that is denied or times out has failed; a workflow has failed if a node has failed that
    has no link for this.

    Args:
        workflow: its data.
        failing: identifiers of nodes that fail.
    """
    nodes = {node["identifier"]: node for node in workflow["workflow_nodes"]}
    led_to = {target for node in nodes.values() for target in _targets(node)}
    ready = [name for name in nodes if name not in led_to]
    ran: list[str] = []
    status = "successful"
    while ready:
        name = ready.pop(0)
        ran.append(name)
        related = nodes[name].get("related") or {}
        kind = "failure_nodes" if name in failing else "success_nodes"
        following = [link["identifier"] for key in (kind, "always_nodes") for link in related.get(key, [])]
        ready += [one for one in following if one not in ran and one not in ready]
        if name in failing and not following:
            status = "failed"
    return ran, status


CONFIRMATION = "alteryx_restore_confirm"


def confirmation_problems(data: Data) -> list[str]:
    """Where a workflow could confirm a restore without a person who has approved it for exactly this fleet.

    An approval of AWX takes no answer. So its name says the fleet, and what it says must be what the restore is given
    and what the workflow runs for.
    """
    asking = {
        template["name"]
        for template in data["controller_templates"]
        if any(question["variable"] == CONFIRMATION for question in (template.get("survey_spec") or {}).get("spec", []))
    }
    found = []
    for workflow in data["controller_workflows"]:
        confirming = [node for node in workflow["workflow_nodes"] if node["unified_job_template"].get("name") in asking]
        if not confirming:
            continue
        # Answers at launch are given before the failure, and AWX hands them to every job.
        found += [
            f"{workflow['name']}: {option} lets the launch decide what is confirmed later"
            for option in ("ask_limit_on_launch", "ask_variables_on_launch", "survey_enabled")
            if workflow.get(option)
        ]
        fleet = workflow.get("limit") or ""
        if CONFIRMATION in (workflow.get("extra_vars") or {}):
            found.append(f"{workflow['name']}: {CONFIRMATION} is given to every job")
        unapproved = _reached_without_approval(workflow, fleet)
        for node in confirming:
            answer = (node.get("extra_data") or {}).get(CONFIRMATION)
            if not fleet or answer != fleet:
                found.append(f"{node['identifier']}: confirms {answer}, and the workflow runs for {fleet}")
            if node["identifier"] in unapproved:
                found.append(f"{node['identifier']}: no approval before it names {fleet}")
    return found


def _reached_without_approval(workflow: Mapping[str, Any], fleet: str) -> set[str]:
    """The nodes that can be reached without an approval that has the name of the fleet in its name."""
    nodes = {node["identifier"]: node for node in workflow["workflow_nodes"]}
    led_to = {target for node in nodes.values() for target in _targets(node)}
    left = [name for name in nodes if name not in led_to]
    reached: set[str] = set()
    while left:
        name = left.pop()
        if name in reached:
            continue
        reached.add(name)
        template, related = nodes[name]["unified_job_template"], nodes[name].get("related") or {}
        names_it = template["type"] == "workflow_approval" and fleet in template["name"].split()
        followed = ("failure_nodes", "always_nodes") if names_it else ("success_nodes", "failure_nodes", "always_nodes")
        left += [link["identifier"] for links in followed for link in related.get(links, [])]
    return reached
