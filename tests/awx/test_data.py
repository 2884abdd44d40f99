# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data for AWX: awx.awx takes it, every name leads to something, and every variable is one of ours."""

from __future__ import annotations

import configparser
import copy
import json
import re
from typing import Any

import pytest
import yaml
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tests.awx import content, modules
from tests.checks import sources

DATA = content.read()
TEMPLATES = {template["name"]: template for template in DATA["controller_templates"]}
(WORKFLOW,) = DATA["controller_workflows"]
SEQUENCE = ["backup", "verification", "approval", "upgrade", "smoke", "rehearsal"]
WAY_BACK = ["approval_of_the_way_back", "reinstallation", "restore"]


def changed(kind: str, name: str, changes: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The data with something else in one item."""
    data = copy.deepcopy(DATA)
    (item,) = [item for item in data[kind] if item["name"] == name]
    item |= changes
    return data


# --- modules and names ----------------------------------------------------------------------------------------------


def test_the_modules_of_awx_take_every_item() -> None:
    assert content.refused(DATA, modules.recorded()) == []


@pytest.mark.parametrize(
    ("kind", "name", "changes", "problem"),
    [
        ("controller_templates", "Alteryx: recover", {"playbok": "x"}, "playbok. Supported parameters include"),
        ("controller_templates", "Alteryx: recover", {"job_type": "walk"}, "value of job_type must be one of"),
        ("controller_templates", "Alteryx: recover", {"timeout": "soon"}, "timeout"),
        ("controller_workflows", WORKFLOW["name"], {"workflow_nodes": [{"identifer": "a"}]}, "identif"),
        ("controller_schedules", "Alteryx: full backup every night", {"rule": "x"}, "rule. Supported"),
    ],
)
def test_planted_items_that_a_module_refuses_are_found(
    kind: str, name: str, changes: dict[str, Any], problem: str
) -> None:
    found = content.refused(changed(kind, name, changes), modules.recorded())
    assert found
    assert problem in found[0]


def test_every_kind_of_item_is_loaded_by_its_module() -> None:
    tasks = sources.load_yaml(content.FOLDER / "tasks" / "load.yml")
    loaded = {
        task["loop"].strip("{} "): name.removeprefix("awx.awx.")
        for task in tasks
        for name in task
        if name.startswith("awx.awx.") and "args" in task
    }
    assert loaded == modules.KINDS


def test_every_name_leads_to_something() -> None:
    assert content.dead_names(DATA) == []
    for template in TEMPLATES.values():
        assert content.playbook_problems(content.PROJECT, template) == []


@pytest.mark.parametrize(
    ("kind", "name", "changes", "problem"),
    [
        ("controller_templates", "Alteryx: recover", {"labels": ["x"]}, "labels: there is no x"),
        ("controller_templates", "Alteryx: recover", {"project": "x"}, "project: there is no x"),
        ("controller_templates", "Alteryx: recover", {"name": "Alteryx: smoke"}, "has Alteryx: smoke twice"),
        ("controller_schedules", "Alteryx: full backup every night", {"unified_job_template": "x"}, "there is no x"),
        ("controller_credentials", "Alteryx: nodes", {"credential_type": "x"}, "there is no x"),
    ],
)
def test_planted_dead_names_are_found(kind: str, name: str, changes: dict[str, Any], problem: str) -> None:
    assert problem in content.dead_names(changed(kind, name, changes))[0]
    assert content.playbook_problems(content.PROJECT, {"name": "a", "playbook": "ansible.cfg"})
    assert content.playbook_problems(content.PROJECT, {"name": "a", "playbook": "x.yml"})


def test_the_project_has_a_wrapper_of_one_import_for_every_playbook() -> None:
    for playbook in sorted(content.PLAYBOOKS.glob("*.yml")):
        (play,) = sources.load_yaml(content.PROJECT / playbook.name)
        assert set(play) == {"name", "ansible.builtin.import_playbook"}
        assert play["ansible.builtin.import_playbook"] == f"{content.COLLECTION}.{playbook.stem}"
        assert playbook.name in {template["playbook"] for template in TEMPLATES.values()}


def test_the_project_sets_what_the_playbooks_set() -> None:
    found = []
    for file in (content.PLAYBOOKS / "ansible.cfg", content.PROJECT / "ansible.cfg"):
        parser = configparser.ConfigParser()
        parser.read(file, encoding="utf-8")
        found.append(dict(parser["defaults"]))
    # AWX decides where inventory and collection are, and has a stdout callback of its own.
    of_awx = ("inventory", "collections_path", "stdout_callback")
    assert {key: value for key, value in found[0].items() if key not in of_awx} == found[1]


# --- variables ------------------------------------------------------------------------------------------------------


def test_every_variable_and_question_is_one_that_its_playbook_reads() -> None:
    assert content.variable_problems(DATA) == []
    assert sum(len((template.get("survey_spec") or {}).get("spec", [])) for template in TEMPLATES.values()) > 10


MODE = next(
    question
    for question in TEMPLATES["Alteryx: verify backups"]["survey_spec"]["spec"]
    if question["variable"] == "alteryx_catalogue_mode"
)
DESTINATION = next(
    question
    for question in TEMPLATES["Alteryx: restore a backup"]["survey_spec"]["spec"]
    if question["variable"] == "alteryx_catalogue_destination"
)
AGE = next(
    question
    for question in TEMPLATES["Alteryx: list backups"]["survey_spec"]["spec"]
    if question["variable"] == "alteryx_catalogue_max_age"
)


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        ({**MODE, "variable": "alteryx_catalogue_mod"}, "did you mean alteryx_catalogue_mode?"),
        ({**MODE, "choices": ["full", "everything"]}, "the answer 'everything': value of alteryx_catalogue_mode"),
        ({**MODE, "default": "all"}, "AWX does not take the answer 'all'"),
        ({**MODE, "type": "choice"}, "AWX knows no question of the type choice"),
        ({**DESTINATION, "variable": "alteryx_catalogue_destinaton"}, "did you mean alteryx_catalogue_destination?"),
        ({**DESTINATION, "default": "n" * 41}, "AWX does not take the answer"),
        ({**AGE, "min": -1}, "must not be negative"),
        ({**AGE, "default": "1"}, "AWX does not take the answer '1'"),
        ({**AGE, "type": "text", "default": "a day", "min": 0, "max": 9}, "the answer 'a day'"),
        (
            {**AGE, "variable": "alteryx_window_drain_timeout"},
            "the playbook does not read alteryx_window_drain_timeout",
        ),
    ],
)
def test_planted_wrong_questions_are_found(question: dict[str, Any], problem: str) -> None:
    spec = {"name": "", "description": "", "spec": [question]}
    found = content.variable_problems(changed("controller_templates", "Alteryx: list backups", {"survey_spec": spec}))
    assert [one for one in found if problem in one], found


def test_every_playbook_that_takes_a_destination_asks_for_it_unless_the_workflow_decides() -> None:
    asking = {
        name
        for name, template in TEMPLATES.items()
        for question in (template.get("survey_spec") or {}).get("spec", [])
        if question["variable"] == "alteryx_catalogue_destination"
    }
    assert asking == {
        "Alteryx: list backups",
        "Alteryx: verify backups",
        "Alteryx: rehearsal of a restore",
        "Alteryx: restore a backup",
    }
    # A planted question where the playbook would not use the answer.
    spec = {"name": "", "description": "", "spec": [DESTINATION]}
    for name in ("Alteryx: copy backups", "Alteryx: pin a backup"):
        (found,) = content.variable_problems(changed("controller_templates", name, {"survey_spec": spec}))
        assert "the playbook does not read alteryx_catalogue_destination" in found


@pytest.mark.parametrize(
    ("kind", "name", "changes", "problem"),
    [
        ("controller_templates", "Alteryx: list backups", {"extra_vars": {"alteryx_catalogue_alrm": True}}, "did you"),
        ("controller_templates", "Alteryx: list backups", {"extra_vars": {"alteryx_catalogue_alarm": "x"}}, "type str"),
        ("controller_templates", "Alteryx: recover", {"extra_vars": {"alteryx_catalogue_alarm": True}}, "not read"),
        (
            "controller_schedules",
            "Alteryx: verification every week",
            {"extra_data": {"alteryx_archive_timeout": 5}},
            "does not ask for alteryx_archive_timeout",
        ),
        (
            "controller_schedules",
            "Alteryx: verification every week",
            {"extra_data": {"alteryx_catalogue_verify_all": True}},
            "AWX does not take the answer True",
        ),
    ],
)
def test_planted_wrong_variables_are_found(kind: str, name: str, changes: dict[str, Any], problem: str) -> None:
    (found,) = content.variable_problems(changed(kind, name, changes))
    assert problem in found


INVENTORY = (sources.ROOT / "inventory" / "example.yml").read_text(encoding="utf-8")
SHARE_TYPE = next(one for one in DATA["controller_credential_types"] if one["name"] == "Alteryx: account of a share")


def test_what_credentials_give_is_what_the_example_inventory_looks_up_in_the_templates_that_need_it() -> None:
    assert content.credential_problems(DATA, INVENTORY) == []


@pytest.mark.parametrize(
    ("kind", "name", "changes", "problem"),
    [
        (
            "controller_credential_types",
            SHARE_TYPE["name"],
            {"injectors": {"env": {**SHARE_TYPE["injectors"]["env"], "ALTERYX_SHARE_DOMAIN": "x"}}},
            "the inventory does not look up ALTERYX_SHARE_DOMAIN",
        ),
        (
            "controller_credential_types",
            SHARE_TYPE["name"],
            {"injectors": {"env": {"ALTERYX_SHARE_USER": "x"}}},
            "no credential gives ALTERYX_SHARE_PASSWORD, which the inventory uses",
        ),
        (
            "controller_credential_types",
            SHARE_TYPE["name"],
            {"injectors": {**SHARE_TYPE["injectors"], "extra_vars": {"ANSIBLE_SHARE": "x"}}},
            "AWX does not set ANSIBLE_SHARE",
        ),
        (
            "controller_templates",
            "Alteryx: copy backups",
            {"credentials": ["Alteryx: nodes"]},
            "copy_backup.yml works at destinations, and no credential has the account of a share",
        ),
        (
            "controller_templates",
            "Alteryx: topology",
            {"credentials": ["Alteryx: nodes", "Alteryx: share"]},
            "topology.yml works at no destination, and gets the account of a share",
        ),
        (
            "controller_templates",
            "Alteryx: topology",
            {"credentials": ["Alteryx: nodes", "Alteryx: nodes"]},
            "two credentials of the type Alteryx: node login (WinRM)",
        ),
    ],
)
def test_planted_values_that_do_not_arrive_are_found(
    kind: str, name: str, changes: dict[str, Any], problem: str
) -> None:
    found = content.credential_problems(changed(kind, name, changes), INVENTORY)
    assert [one for one in found if problem in one], found


def test_a_credential_that_nobody_has_filled_in_keeps_no_job_from_its_start() -> None:
    # AWX does not start a job whose credential lacks a required field. Not every site has a share.
    assert "required" not in SHARE_TYPE["inputs"]
    found = content.injected_environment(DATA, TEMPLATES["Alteryx: copy backups"], {})
    assert {name: value for name, value in found.items() if "SHARE" in name} == {
        "ALTERYX_SHARE_USER": "",
        "ALTERYX_SHARE_PASSWORD": "",
    }


def test_injectors_use_the_fields_of_their_type_and_hide_secrets() -> None:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    for kind in DATA["controller_credential_types"]:
        fields = {field["id"]: field for field in kind["inputs"]["fields"]}
        assert set(kind["inputs"].get("required", [])) <= fields.keys()
        used = " ".join(value for injected in kind["injectors"].values() for value in injected.values())
        assert all(re.search(rf"\b{name}\b", used) for name in fields), kind["name"]
        assert [
            name for name, field in fields.items() if re.search("pass|secret|key", name) and not field.get("secret")
        ] == []
        for injected in kind["injectors"].values():
            for template in injected.values():
                assert environment.from_string(template).render(dict.fromkeys(fields, "value")) == "value"


# --- schedules and notifications ------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", DATA["controller_schedules"], ids=lambda schedule: schedule["name"])
def test_awx_takes_the_rule_of_a_schedule(schedule: dict[str, Any]) -> None:
    assert content.rule_problems(schedule["rrule"]) == []


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("DTSTART:20260101T020000 RRULE:FREQ=DAILY;INTERVAL=1", "zone"),
        ("DTSTART:20260101T020000Z RRULE:FREQ=DAILY", "INTERVAL"),
        ("DTSTART;TZID=Europe/Berlin:20260101T020000 RRULE:FREQ=SECONDLY;INTERVAL=1", "SECONDLY"),
        ("DTSTART:20260101T020000Z RRULE:FREQ=MONTHLY;INTERVAL=1;BYDAY=1SA", "BYDAY"),
        ("DTSTART:20260101T020000Z RRULE:FREQ=DAILY;INTERVAL=1 RRULE:FREQ=DAILY;INTERVAL=2", "one RRULE"),
    ],
)
def test_planted_wrong_rules_are_found(rule: str, problem: str) -> None:
    (found,) = content.rule_problems(rule)
    assert problem in found


def messages(notification: dict[str, Any]) -> list[str]:
    found: list[str] = []
    left: list[Any] = [notification["messages"]]
    while left:
        for value in left.pop().values():
            (found if isinstance(value, str) else left).append(value)
    return found


# What AWX has for a job that has set nothing, and for one that has.
ARTIFACTS: list[dict[str, Any]] = [
    {},
    {
        "server_backup_code": 7,
        "server_backup_reason": "service_not_restored",
        "server_backup_run_id": "Full_20260901_020000_7f3a",
        "server_backup_downtime": 41.2,
    },
]


@pytest.mark.parametrize("artifacts", ARTIFACTS)
@pytest.mark.parametrize("notification", DATA["controller_notifications"], ids=lambda one: one["name"])
def test_awx_can_render_every_message(notification: dict[str, Any], artifacts: dict[str, Any]) -> None:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    known = {
        "job": {"id": 5, "name": "a job", "status": "failed", "limit": "alteryx_prod", "artifacts": artifacts},
        "url": "https://awx.example.com/5",
        "workflow_url": "https://awx.example.com/6",
        "approval_node_name": "an approval",
    }
    rendered = [environment.from_string(text).render(known) for text in messages(notification)]
    if notification["notification_type"] == "webhook":
        bodies = [json.loads(text) for text in rendered]
        assert {body["exit_code"] for body in bodies} == {artifacts.get("server_backup_code", -1)}
        assert {body["reason"] for body in bodies} == {artifacts.get("server_backup_reason", "unknown")}


# --- the workflow ---------------------------------------------------------------------------------------------------


def test_the_workflow_goes_on_only_after_success() -> None:
    assert content.walk(WORKFLOW, set()) == (SEQUENCE, "successful")
    for number, name in enumerate(SEQUENCE[: SEQUENCE.index("upgrade")]):
        # A denied or timed-out approval has failed.
        assert content.walk(WORKFLOW, {name}) == (SEQUENCE[: number + 1], "failed")


@pytest.mark.parametrize("failed", ["upgrade", "smoke", "rehearsal"])
def test_what_fails_after_the_approval_leads_to_the_way_back_and_only_another_approval_opens_it(failed: str) -> None:
    before = SEQUENCE[: SEQUENCE.index(failed) + 1]
    # AWX calls a workflow successful whose every failure has led somewhere.
    assert content.walk(WORKFLOW, {failed}) == ([*before, *WAY_BACK], "successful")
    for number, name in enumerate(WAY_BACK):
        assert content.walk(WORKFLOW, {failed, name}) == ([*before, *WAY_BACK[: number + 1]], "failed")


def test_the_way_back_reinstalls_with_your_playbook_and_restores_the_backup_of_the_workflow() -> None:
    nodes = {node["identifier"]: node["unified_job_template"] for node in WORKFLOW["workflow_nodes"]}
    assert nodes[WAY_BACK[0]]["type"] == "workflow_approval"
    assert nodes[WAY_BACK[0]]["timeout"] > 0
    reinstallation, restore = (TEMPLATES[nodes[name]["name"]] for name in WAY_BACK[1:])
    assert reinstallation["playbook"] == "reinstall.yml"
    assert (restore["playbook"], restore["job_type"]) == ("restore.yml", "run")
    given = restore["extra_vars"]
    assert (given["alteryx_restore_backup"], given["alteryx_restore_scope"]) == ("{{ server_backup_run_id }}", "full")
    # A link from a success never leads there.
    assert not set(WAY_BACK) & set(content.walk(WORKFLOW, set())[0])


def test_nothing_before_the_approval_touches_more_than_a_backup_does() -> None:
    nodes = {node["identifier"]: node["unified_job_template"] for node in WORKFLOW["workflow_nodes"]}
    before = SEQUENCE[: SEQUENCE.index("approval")]
    assert [TEMPLATES[nodes[name]["name"]]["playbook"] for name in before] == ["full_backup.yml", "verify_backup.yml"]
    assert nodes["approval"]["type"] == "workflow_approval"
    assert nodes["approval"]["timeout"] > 0
    assert TEMPLATES[nodes["rehearsal"]["name"]]["job_type"] == "check"


def test_a_planted_way_past_the_approval_is_found() -> None:
    workflow = copy.deepcopy(WORKFLOW)
    (approval,) = [node for node in workflow["workflow_nodes"] if node["identifier"] == "approval"]
    approval["related"]["always_nodes"] = approval["related"].pop("success_nodes")
    assert content.walk(workflow, {"approval"}) == (SEQUENCE, "successful")


def test_the_limit_of_the_workflow_reaches_each_of_its_jobs() -> None:
    assert WORKFLOW["limit"]
    for node in WORKFLOW["workflow_nodes"]:
        template = node["unified_job_template"]
        assert template["type"] == "workflow_approval" or TEMPLATES[template["name"]]["ask_limit_on_launch"]


def test_a_person_types_the_fleet_or_approves_what_names_it() -> None:
    assert content.confirmation_problems(DATA) == []
    stopping = {"restore.yml", "roll_back_restore.yml", "accept_restore.yml"}
    for template in TEMPLATES.values():
        if template["playbook"] not in stopping or template["job_type"] == "check":
            continue
        (question,) = [
            question for question in template["survey_spec"]["spec"] if question["variable"] == content.CONFIRMATION
        ]
        # AWX does not use a default that is shorter than min, and takes no empty answer.
        assert (question["type"], question["required"], question["default"]) == ("text", True, "")
        assert question["min"] > 0
        assert content.CONFIRMATION not in template.get("extra_vars", {})


def planted(data: dict[str, list[dict[str, Any]]], identifier: str) -> dict[str, Any]:
    (workflow,) = data["controller_workflows"]
    (node,) = [node for node in workflow["workflow_nodes"] if node["identifier"] == identifier]
    found: dict[str, Any] = node
    return found


@pytest.mark.parametrize("option", ["ask_limit_on_launch", "ask_variables_on_launch", "survey_enabled"])
def test_a_planted_confirmation_at_the_launch_of_the_workflow_is_found(option: str) -> None:
    (found,) = content.confirmation_problems(changed("controller_workflows", WORKFLOW["name"], {option: True}))
    assert option in found
    given = {"extra_vars": {content.CONFIRMATION: WORKFLOW["limit"]}}
    (found,) = content.confirmation_problems(changed("controller_workflows", WORKFLOW["name"], given))
    assert "is given to every job" in found


def test_a_planted_confirmation_of_another_fleet_is_found() -> None:
    data = copy.deepcopy(DATA)
    planted(data, "restore")["extra_data"][content.CONFIRMATION] = "alteryx_test"
    (found,) = content.confirmation_problems(data)
    assert "confirms alteryx_test" in found
    found, other = content.confirmation_problems(
        changed("controller_workflows", WORKFLOW["name"], {"limit": "alteryx_test"})
    )
    assert "the workflow runs for alteryx_test" in found
    assert "no approval before it names alteryx_test" in other


def test_a_planted_way_to_the_restore_past_its_approval_is_found() -> None:
    data = copy.deepcopy(DATA)
    planted(data, "smoke")["related"]["failure_nodes"] = [{"identifier": "restore"}]
    (found,) = content.confirmation_problems(data)
    assert "no approval before it names" in found
    data = copy.deepcopy(DATA)
    approval = planted(data, WAY_BACK[0])
    approval["related"] = {"always_nodes": approval["related"]["success_nodes"]}
    (found,) = content.confirmation_problems(data)
    assert "no approval before it names" in found


def test_a_planted_question_that_nobody_answers_is_found() -> None:
    data = copy.deepcopy(DATA)
    del planted(data, "restore")["extra_data"]
    (found,) = content.variable_problems(data)
    assert "nobody is there to answer" in found


def test_no_template_is_ended_by_a_limit_of_awx() -> None:
    assert {template["timeout"] for template in TEMPLATES.values()} == {0}


def test_secrets_are_in_no_data() -> None:
    for file in sorted((content.FOLDER / "data").glob("*.yml")):
        for line in file.read_text(encoding="utf-8").splitlines():
            assert not re.search(r"^\s*(password|secret|token):(?! (''|true|!unsafe)?\s*$)", line), (
                f"{file.name}: {line}"
            )
    assert yaml.safe_load((content.PROJECT / "collections" / "requirements.yml").read_text(encoding="utf-8"))
