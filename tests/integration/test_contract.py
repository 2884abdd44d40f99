# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract between the kinds of node: what every module answers has the same keys and types everywhere.

The contract is a file, contract.json, recorded from a Wine node, so that each kind is held to it alone, the stand-in
also where there is no Wine. ``ALTERYX_CONTRACT_RECORD=1 pytest tests/integration/test_contract.py -k wine`` writes it
anew; read the difference before you commit it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import reasons
from tests.checks import sources

from .kinds import on_standin_too
from .lab_of_tests import Lab
from .playbook_run import PlaybookRunner

# The whole contract on Wine is asked for the first test of each kind.
pytestmark = pytest.mark.timeout(2400)

HERE = Path(__file__).resolve().parent
CONTRACT = HERE / "contract.json"
FOLDER = r"D:\Contract"
PLAYBOOKS = ("contract_drain.yml", "contract.yml", "contract_restore.yml", "contract_removal.yml")

# Dictionaries whose keys are data: how many levels of them.
_MAPS = {"sections": 2, "documents": 1, "nodes": 1}
# Ansible's own and the stand-in's mark. Warnings may be of the environment (a deprecated option, a slow clock).
_NOT_OURS = ("simulated", "invocation", "exception", "warnings", "deprecations", "_ansible_no_log")
_TEXTS = {"time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "sha256": re.compile(r"[0-9a-f]{64}")}
_ENGINE_SECONDS = 300  # longer than two looks take; ended afterwards


def scenes(playbook: str) -> dict[str, dict[str, Any]]:
    """Name under which a task registers its answer -> what the task says of it; see the head of contract.yml."""
    tasks = sources.tasks(sources.load_yaml(HERE / playbook))
    return {task["register"]: task.get("vars", {}) for task in tasks if "register" in task}


SCENES = {name: said for playbook in PLAYBOOKS for name, said in scenes(playbook).items()}
REASONS = {name: said["contract_reason"] for name, said in SCENES.items() if "contract_reason" in said}


def shape(value: Any, path: str = "", maps: int = 0) -> set[str]:
    """The keys and types of a result, one line for each: ``service.state: text``, ``folders[].free_bytes: number``."""
    if isinstance(value, dict):
        lines: set[str] = set() if maps or not path else {f"{path}: dict"}
        for key, inner in value.items():
            if path or key not in _NOT_OURS:
                name = "{}" if maps else ("." if path else "") + key
                lines |= shape(inner, path + name, maps - 1 if maps else _MAPS.get(key, 0))
        return lines
    if isinstance(value, list):
        return {f"{path}: list"}.union(*(shape(inner, f"{path}[]") for inner in value))
    return {f"{path}: {_type(value)}"}


def _type(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "bool"
    if isinstance(value, int | float):
        return "number"  # PowerShell 5.1 writes a whole double without its point
    return next((name for name, form in _TEXTS.items() if form.fullmatch(value)), "text")


@pytest.fixture(scope="module")
def answers(
    lab: Lab, run_playbook: PlaybookRunner, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What every module has answered, by the name under which contract.yml registered it."""
    return ask_every_module(lab, run_playbook, tmp_path_factory.mktemp("contract"))


def ask_every_module(lab: Lab, run_playbook: PlaybookRunner, folder: Path) -> dict[str, dict[str, Any]]:
    """Run the playbooks of the contract; name under which an answer was registered -> answer."""
    lab.node.start_engine(_ENGINE_SECONDS)
    try:
        found = _run(run_playbook, PLAYBOOKS[0], folder)
    finally:
        lab.end_engines()
    for name in PLAYBOOKS[1:]:
        try:
            found |= _run(run_playbook, name, folder)
        finally:
            shutil.rmtree(lab.node.path(FOLDER), ignore_errors=True)
            lab.recover()
    return found


def _run(run_playbook: PlaybookRunner, name: str, folder: Path) -> dict[str, dict[str, Any]]:
    file = folder / f"{name}.json"
    run = run_playbook(
        HERE / name,
        timeout=1000,  # dozens of calls, beside another lane
        extra_vars={
            "contract_file": str(file),
            # What the import of the preflight registers, too.
            "contract_names": [*scenes(name), *(["alteryx_preflight_facts"] if name == "contract.yml" else [])],
            "alteryx_archive_directory": rf"{FOLDER}\Backups",
            "alteryx_preflight_staging_directory": rf"{FOLDER}\Staging",
        },
    )
    assert run.rc == 0, run.output[-6000:]
    content: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return content


@pytest.mark.long
@on_standin_too
def test_what_modules_answer_has_the_keys_and_types_of_the_contract(
    lab: Lab, answers: dict[str, dict[str, Any]]
) -> None:
    shapes = {name: sorted(shape(answer)) for name, answer in answers.items()}
    if os.environ.get("ALTERYX_CONTRACT_RECORD") and lab.kind == "wine":
        CONTRACT.write_text(json.dumps(shapes, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    contract = json.loads(CONTRACT.read_text(encoding="utf-8"))
    differences = {
        name: _difference(contract.get(name, []), shapes.get(name, [])) for name in contract.keys() | shapes.keys()
    }
    assert {name: lines for name, lines in differences.items() if lines} == {}


@pytest.mark.long
@on_standin_too
@pytest.mark.reaches(*REASONS.values())
def test_a_failure_has_the_reason_that_belongs_to_it(answers: dict[str, dict[str, Any]]) -> None:
    found = {name: answer["reason"] for name, answer in answers.items() if answer["failed"]}
    reasons.saw(*found.values())
    assert found == REASONS


@pytest.mark.long
@on_standin_too
def test_changed_is_true_where_something_was_changed_or_would_be(answers: dict[str, dict[str, Any]]) -> None:
    found = {name for name, answer in answers.items() if answer["changed"]}
    assert found == {name for name, said in SCENES.items() if said.get("contract_changes")}


def test_the_contract_asks_every_module() -> None:
    modules = {path.stem for path in (HERE.parents[1] / "plugins" / "modules").glob("*.ps1")}
    tasks = "".join(file.read_text(encoding="utf-8") for file in HERE.glob("contract*.yml"))
    assert {name for name in modules if f"alteryx_ops.server_backup.{name}:" not in tasks} == set()


def _difference(contract: list[str], found: list[str]) -> list[str]:
    return sorted(
        [f"lacks {line}" for line in set(contract) - set(found)]
        + [f"has besides {line}" for line in set(found) - set(contract)]
    )
