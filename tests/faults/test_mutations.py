# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutations: with a safety switched off, the behaviour its test asserts is gone. So the tests see
what they say they see."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.lab_of_tests import Lab

from .collection_copy import CollectionCopy
from .conftest import Start
from .scenes import DEAD_LIMIT, in_dump
from .watch import DUMP, WINDOW_JOB, Watch, guard_log, host_processes, read_state, signal_processes, state_file

on_wine = [pytest.mark.wine, pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture
def copy(tmp_path: Path) -> CollectionCopy:
    return CollectionCopy.make(tmp_path)


def dead_run(lab: Lab, start: Start, **options: Any) -> float:
    """A run that is killed during the dump together with its job; when that was."""
    lab.node.behave(emongodump_delay_ms="120000")
    run = start("database_backup.yml", **options)
    in_dump(lab, run)
    run.kill_everything()
    assert signal_processes(lab.node, WINDOW_JOB, signal.SIGKILL) > 0
    return time.monotonic()


@pytest.mark.parametrize("guard", [pytest.param("on", marks=on_wine), pytest.param("off", marks=on_wine)])
def test_the_guard_brings_the_service_back(
    lab: Lab, start: Start, watching: Watch, copy: CollectionCopy, guard: str
) -> None:
    if guard == "off":
        # It answers its drill and then never acts.
        copy.change("plugins/module_utils/guard.ps1", "$why = Get-ReasonToAct\n", "$why = ''\n")
    killed = dead_run(lab, start, environment=copy.environment, playbooks=copy.playbooks)
    while time.monotonic() < killed + DEAD_LIMIT and watching.since(killed) is None:
        time.sleep(0.2)
    assert (watching.since(killed) is not None) == (guard == "on"), guard_log(lab)


@pytest.mark.parametrize("drill", [pytest.param("on", marks=on_wine), pytest.param("off", marks=on_wine)])
def test_without_a_drill_that_has_passed_nothing_is_stopped(
    lab: Lab, start: Start, watching: Watch, copy: CollectionCopy, drill: str
) -> None:
    if drill == "off":
        copy.change("plugins/module_utils/NodeLease.psm1", "= Invoke-GuardDrill -Account $Account\n", "= $Account\n")
    lab.node.behave(account="S-1-5-20")
    run = start("database_backup.yml", environment=copy.environment, playbooks=copy.playbooks).finish()
    stopped = any(state in ("Stopped", "StopPending") for _unused, state in watching.states)
    assert stopped == (drill == "off")
    assert (run.outcome["reason"] == "drill_wrong_account") == (drill == "on")


@pytest.mark.parametrize("check", [pytest.param("on", marks=on_wine), pytest.param("off", marks=on_wine)])
def test_a_job_whose_lease_has_another_generation_ends_its_dump(
    lab: Lab, start: Start, watching: Watch, copy: CollectionCopy, check: str
) -> None:
    if check == "off":
        copy.change(
            "plugins/module_utils/NodeLease.psm1", "[int]$now.lease.generation -ne [int]$Lease.generation", "$false"
        )
    lab.node.behave(emongodump_delay_ms="8000")
    run = start("database_backup.yml", environment=copy.environment, playbooks=copy.playbooks)
    in_dump(lab, run)
    lease = read_state(lab, "lease.json")
    state_file(lab, "lease.json").write_text(
        json.dumps(lease | {"generation": lease["generation"] + 1}), encoding="utf-8"
    )
    finished = run.finish()
    assert (finished.rc == 0) == (check == "off"), finished.output[-3000:]
    if check == "on":
        finished.assert_failed(5, "lease_lost")
    assert lab.node.service().state == "Running"
    assert host_processes(lab.node, DUMP) == []


READY: dict[str, Any] = {"lease": {"run_id": "Full_1", "drilled": True}}


def opens(gate: Any, leases: dict[str, Any], stops: dict[str, Any]) -> bool:
    """Whether the gate lets the window open."""
    try:
        gate.check("Full_1", "controller", leases, stops)
    except gate.StepFailed as refused:
        return bool(refused.reason.name != "gate_closed")
    return True


CLOSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "worker still runs": ({"controller": READY, "worker": READY}, {"worker": {"service": {"state": "Running"}}}),
    "worker's stop failed": (
        {"controller": READY, "worker": READY},
        {"worker": {"failed": True, "service": {"state": "Stopped"}}},
    ),
    "worker has said nothing": ({"controller": READY, "worker": READY}, {}),
    "worker is unreachable": ({"controller": READY, "worker": {"unreachable": True}}, {}),
    "lease of another run": ({"controller": {"lease": {"run_id": "Full_0", "drilled": True}}}, {}),
    "no drill": ({"controller": {"lease": {"run_id": "Full_1", "drilled": False}}}, {}),
}


@pytest.mark.parametrize("gate", ["on", "off"])
@pytest.mark.parametrize("case", CLOSED)
def test_the_gate_is_closed_unless_every_node_is_ready(copy: CollectionCopy, gate: str, case: str) -> None:
    if gate == "off":
        copy.change(
            "plugins/plugin_utils/_fleet/_gate.py",
            "    for node, lease in leases.items():\n",
            "    for node, lease in ():\n",
        )
    module = _gate_of(copy)
    assert opens(module, *CLOSED[case]) == (gate == "off")
    assert opens(module, {"controller": READY, "worker": READY}, {"worker": {"service": {"state": "Stopped"}}})


def _gate_of(copy: CollectionCopy) -> Any:
    """The gate of the copy, beside the one that other tests have loaded."""
    package = f"gate_of_{abs(hash(str(copy.root)))}"
    folder = copy.root / "plugins" / "plugin_utils"
    specification = importlib.machinery.ModuleSpec(package, None, is_package=True)
    specification.submodule_search_locations = [str(folder)]
    sys.modules[package] = importlib.util.module_from_spec(specification)
    return importlib.import_module(f"{package}._fleet._gate")
