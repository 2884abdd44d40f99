# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of three - controller, worker, UI node: the order of every stop and start, seen from outside, and what one
bad node does to the others."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.watch import until
from tests.lab import control
from tests.lab.fleet_watch import FleetWatch
from tests.lab.node import SERVICE, Node

from . import observer
from .backup_files import Backup
from .kinds import KINDS, LONG_ON_WINE, STANDIN, WINDOWS
from .lab_of_tests import STATE_FOLDER, Lab, run_id_pattern
from .playbook_run import PlaybookRunner, Run

CONTROLLER, WORKER, UI = "alteryx-lab-1", "alteryx-lab-2", "alteryx-lab-3"
# Long enough for a node of the lab, short enough for a test.
QUICK = {
    "alteryx_window_stop_timeout": 20,
    "alteryx_window_start_timeout": 20,
    "alteryx_window_health_timeout": 10,
    "alteryx_window_health_stable": 2,
}


@pytest.fixture
def run_fleet(fleet: Lab) -> Iterator[PlaybookRunner]:
    """Runs playbooks against the fleet; afterwards every node behaves again and runs."""
    yield PlaybookRunner(fleet)
    for lab in fleet.each():
        wait_for_answer(lab.node)
        lab.recover()


def node(fleet: Lab, name: str) -> Node:
    (found,) = [each for each in fleet.nodes if each.name == name]
    return found


def states(fleet: Lab) -> dict[str, str]:
    return {each.name: each.service().state for each in fleet.nodes}


def answers(target: Node) -> bool:
    try:
        socket.create_connection((target.host, target.port), timeout=2).close()
    except OSError:
        return False
    return True


def wait_for_answer(target: Node) -> None:
    """Wait until the endpoint of a node that was cut off is there again."""
    until(lambda: answers(target), 150, f"an answer of {target.name}")


ALL_RUNNING = dict.fromkeys((CONTROLLER, WORKER, UI), "Running")


def assert_nothing_left(fleet: Lab) -> None:
    assert [path for lab in fleet.each() for path in lab.leftovers()] == []


def assert_failed(run: Run, code: int, reason: str, name: str) -> None:
    run.assert_failed(code, reason)
    assert run.outcome["node"] == name


@pytest.mark.parametrize("fleet", KINDS if WINDOWS else [LONG_ON_WINE, STANDIN], indirect=True)
def test_a_full_backup_of_a_fleet_stops_and_starts_in_order_and_archives_every_node(
    fleet: Lab, run_fleet: PlaybookRunner
) -> None:
    before = {each.name: each.service() for each in fleet.nodes}
    with FleetWatch(fleet.nodes) as watch:
        run = run_fleet("full_backup.yml", extra_vars=QUICK)
    run.assert_ok()
    assert watch.order("Stopped", "Running") == [
        (UI, "Stopped"),
        (WORKER, "Stopped"),
        (CONTROLLER, "Stopped"),
        (CONTROLLER, "Running"),
        (WORKER, "Running"),
        (UI, "Running"),
    ], watch.table()
    assert states(fleet) == ALL_RUNNING
    assert all(each.service().pid != before[each.name].pid for each in fleet.nodes)
    match = run_id_pattern("Full").fullmatch(run.outcome["run_id"])
    assert match
    for lab in fleet.each():
        backup = Backup.of(lab, match.group(1), "Full")
        backup.assert_complete(secrets=lab.node.name == CONTROLLER)
        assert any(name.startswith("database/") for name in backup.names()) == (lab.node.name == CONTROLLER)
        # The count of the report differs from the observed one by the time of sampling and WinRM.
        assert abs(run.outcome["nodes"][lab.node.name]["downtime"]["total"] - watch.downtime(lab.node.name)) < 3, (
            watch.table()
        )
    assert run.outcome["downtime"] == run.outcome["nodes"][CONTROLLER]["downtime"]
    assert_nothing_left(fleet)


@pytest.mark.long
def test_database_mode_archives_on_the_controller_alone(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    run = run_fleet("database_backup.yml", extra_vars=QUICK)
    run.assert_ok()
    assert {name: bool(each["archive"]) for name, each in run.outcome["nodes"].items()} == {
        CONTROLLER: True,
        WORKER: False,
        UI: False,
    }
    assert states(fleet) == ALL_RUNNING
    assert_nothing_left(fleet)


@pytest.mark.long
def test_config_mode_stops_nothing_on_any_node(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    before = {each.name: each.service() for each in fleet.nodes}
    with FleetWatch(fleet.nodes) as watch:
        run = run_fleet("config_backup.yml")
    run.assert_ok()
    assert watch.order("Stopped", "Running", "StopPending", "StartPending") == []
    assert {each.name: each.service() for each in fleet.nodes} == before
    assert all(each["archive"] and each["verdict"] == "good" for each in run.outcome["nodes"].values())
    assert_nothing_left(fleet)
    match = run_id_pattern("Config").fullmatch(run.outcome["run_id"])
    assert match
    backups = {lab.node.name: Backup.of(lab, match.group(1), "Config") for lab in fleet.each()}
    assert [name for name, backup in backups.items() if "configuration/Engine/SystemAlias.xml" in backup.names()] == [
        WORKER
    ]
    items = {name: backup.node_metadata() for name, backup in backups.items()}
    assert {name: item["roles"]["value"] for name, item in items.items()} == {
        CONTROLLER: ["controller"],
        WORKER: ["worker"],
        UI: ["ui"],
    }
    # What belongs to one role is found on its node and absent, with a reason, on the others.
    for only, names in {
        CONTROLLER: ("persistence",),
        WORKER: ("run_as_user", "connectors", "python_packages"),
        UI: ("smtp_server", "base_address"),
    }.items():
        for name in names:
            assert {node for node, item in items.items() if item[name]["state"] == "found"} == {only}, name
            assert {node for node, item in items.items() if item[name]["state"] == "unreadable"} == set(), name


@pytest.mark.long
@pytest.mark.reaches("window_open")
def test_nobody_starts_a_worker_of_a_run_that_dumps(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    node(fleet, CONTROLLER).behave(emongodump_delay_ms="60000")
    lock = node(fleet, WORKER).path(r"C:\ProgramData\AlteryxOps\run.json")
    with ThreadPoolExecutor(1) as pool:
        living = pool.submit(run_fleet, "database_backup.yml", extra_vars=QUICK | {"alteryx_preflight_lock_stale": 1})
        # The worker hears nothing of its run while that dumps on the controller.
        until(
            lambda: states(fleet)[CONTROLLER] == "Stopped" and time.time() > lock.stat().st_mtime + 1.5,
            90,
            "a dump, and a worker that hears nothing",
        )
        everybody, alone = run_fleet("recover.yml"), run_fleet("recover.yml", limit=WORKER)
        assert states(fleet) == dict.fromkeys((CONTROLLER, WORKER, UI), "Stopped")
        run = living.result()
    assert everybody.rc == alone.rc == 8, everybody.output + alone.output
    assert f"{CONTROLLER}: A job of a dead run is active on this node" in everybody.text
    assert "whether that run lives is known there" in alone.text
    run.assert_ok()
    assert states(fleet) == ALL_RUNNING
    assert_nothing_left(fleet)


@pytest.mark.long
@pytest.mark.parametrize("playbook", ["full_backup.yml", "database_backup.yml", "config_backup.yml"])
def test_check_mode_predicts_and_touches_no_node(fleet: Lab, run_fleet: PlaybookRunner, playbook: str) -> None:
    before = {each.name: (observer.tree(each), each.service()) for each in fleet.nodes}
    run = run_fleet(playbook, "--check")
    run.assert_ok()
    assert run.outcome["verdict"] == "PREDICTED"
    for each in fleet.nodes:
        tree, service = before[each.name]
        assert observer.difference(tree, observer.tree(each)) == []
        assert each.service() == service


@pytest.mark.long
def test_a_part_of_a_fleet_is_refused_unless_it_is_wanted(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    limit = f"{CONTROLLER},{WORKER}"
    refused = run_fleet("database_backup.yml", limit=limit)
    refused.assert_failed(3, "fleet_partial", message=UI)
    assert states(fleet) == ALL_RUNNING
    before = {each.name: each.service().pid for each in fleet.nodes}
    wanted = run_fleet(
        "database_backup.yml", limit=limit, extra_vars={**QUICK, "alteryx_preflight_partial_fleet": True}
    )
    wanted.assert_ok()
    assert any(UI in text for text in wanted.outcome["warnings"])
    # By their processes: a service that is down for a moment only may not be seen so.
    assert {each.name for each in fleet.nodes if each.service().pid != before[each.name]} == {CONTROLLER, WORKER}


@pytest.mark.long
def test_a_worker_that_does_not_stop(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    node(fleet, WORKER).behave(stop="hang")
    with FleetWatch(fleet.nodes) as watch:
        run = run_fleet(
            "full_backup.yml", extra_vars=QUICK | {"alteryx_window_stop_timeout": 3, "alteryx_window_start_timeout": 5}
        )
    # It hangs half-way down, so it is not back; everybody else is, and the controller has not been touched.
    assert_failed(run, 7, "service_not_restored", WORKER)
    assert [failure["reason"] for failure in run.outcome["failures"]] == ["stop_timeout", "service_not_restored"]
    assert watch.order("Stopped", "Running") == [(UI, "Stopped"), (UI, "Running")], watch.table()
    assert states(fleet) == {**ALL_RUNNING, WORKER: "StopPending"}
    # Its guard stays, to start the service when it has stopped.
    node(fleet, WORKER).behave()


@pytest.mark.long
def test_a_worker_that_stops_too_late_comes_back_and_so_do_all(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    node(fleet, WORKER).behave(stop_delay_ms="5000")
    run = run_fleet("full_backup.yml", extra_vars=QUICK | {"alteryx_window_stop_timeout": 2})
    assert_failed(run, 2, "stop_timeout", WORKER)
    assert states(fleet) == ALL_RUNNING
    assert_nothing_left(fleet)


@pytest.mark.long
def test_a_workflow_that_outlives_the_service_of_its_worker_is_named_and_the_window_stays_shut(
    fleet: Lab, run_fleet: PlaybookRunner
) -> None:
    (worker,) = [lab for lab in fleet.each() if lab.node.name == WORKER]
    worker.node.start_engine(300)
    try:
        with FleetWatch(fleet.nodes) as watch:
            run = run_fleet("database_backup.yml", extra_vars=QUICK | {"alteryx_window_force": True})
    finally:
        worker.end_engines()
    assert_failed(run, 2, "processes_left", WORKER)
    assert "AlteryxEngineCmd.exe" in run.outcome["message"]
    assert CONTROLLER not in {name for name, _unused in watch.order("Stopped")}
    assert states(fleet) == ALL_RUNNING
    assert_nothing_left(fleet)


@pytest.mark.long
def test_a_worker_unreachable_at_the_start(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    control.ask(fleet.control_port, "cut", node=WORKER, seconds=15)
    with FleetWatch(fleet.nodes) as watch:
        run = run_fleet("full_backup.yml", extra_vars=QUICK)
    assert_failed(run, 3, "unreachable", WORKER)
    assert watch.order("Stopped") == []
    wait_for_answer(node(fleet, WORKER))
    assert_nothing_left(fleet)


@pytest.mark.long
def test_a_worker_lost_after_its_stop(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    done = threading.Event()

    def cut_when_stopped() -> None:
        while not done.wait(0.02):
            with contextlib.suppress(RuntimeError, OSError, ValueError):
                if node(fleet, WORKER).service().state == "Stopped":
                    # After the end of the run's attempt to start the service. A Wine node needs some seconds for each
                    # step.
                    control.ask(fleet.control_port, "cut", node=WORKER, seconds=120)
                    return

    for lab in fleet.each():
        lab.minute(10)
    thread = threading.Thread(target=cut_when_stopped)
    thread.start()
    try:
        # Its guard acts once it has seen the controller down and answering again, or at its
        # deadline: about three minutes.
        limits = {"alteryx_window_start_timeout": 8, "alteryx_window_dump_timeout": 30,
                  "alteryx_window_leftover_timeout": 0, "alteryx_window_open_within": 90}  # fmt: skip
        run = run_fleet("full_backup.yml", extra_vars=QUICK | limits)
    finally:
        done.set()
        thread.join(30)
    run.assert_failed(7, "service_not_restored")
    assert run.outcome["node"] == WORKER
    # Where the answer to its stop was lost as well, the window has not opened and the controller has not been
    # touched; it runs either way.
    assert {**states(fleet), WORKER: "?"} == {**ALL_RUNNING, WORKER: "?"}
    # No other node can reach it, so it starts its service itself.
    (worker,) = [lab for lab in fleet.each() if lab.node.name == WORKER]
    assert worker.wait_for("Running", 240).state == "Running"
    wait_for_answer(node(fleet, WORKER))


@pytest.mark.long
def test_a_controller_that_does_not_start(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    node(fleet, CONTROLLER).behave(start="fail")
    with FleetWatch(fleet.nodes) as watch:
        # Its start fails at once; that of the others, which counts here, takes its time on a busy Wine.
        run = run_fleet("full_backup.yml", extra_vars=QUICK | {"alteryx_window_start_timeout": 30})
    assert_failed(run, 7, "service_not_restored", CONTROLLER)
    back = [name for name, _unused in watch.order("Running") if name != CONTROLLER]
    # On a busy Wine a start may fall back once, and is asked for again.
    assert list(dict.fromkeys(back)) == [WORKER, UI], watch.table()
    assert states(fleet) | {CONTROLLER: "?"} == ALL_RUNNING | {CONTROLLER: "?"}
    assert f"{CONTROLLER}, step restore: {SERVICE} was not Running" in run.text


@pytest.mark.long
@pytest.mark.reaches("controller_silent")
def test_a_controller_that_runs_and_does_not_answer(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    node(fleet, CONTROLLER).behave(port="closed")
    run = run_fleet("full_backup.yml", extra_vars=QUICK | {"alteryx_window_health_timeout": 3})
    assert_failed(run, 2, "controller_silent", CONTROLLER)
    assert states(fleet) == ALL_RUNNING
    # The backup is good all the same.
    assert all(each["verdict"] == "good" for each in run.outcome["nodes"].values())
    assert_nothing_left(fleet)


@pytest.mark.long
def test_a_refused_removal_on_one_node_prevents_it_on_the_whole_fleet(fleet: Lab, run_fleet: PlaybookRunner) -> None:
    run_fleet("config_backup.yml").assert_ok()
    hold = node(fleet, WORKER).path(rf"{STATE_FOLDER}\HOLD")
    hold.touch()
    before = [observer.tree(each) for each in fleet.nodes]
    refused = run_fleet("remove_from_nodes.yml")
    assert refused.rc == 3, refused.output
    assert f"{WORKER}: The file {STATE_FOLDER}\\HOLD exists" in refused.text
    assert [observer.difference(tree, observer.tree(each)) for tree, each in zip(before, fleet.nodes, strict=True)] == [
        [],
        [],
        [],
    ]

    # A single node is not a fleet.
    run_fleet("remove_from_nodes.yml", limit=UI).assert_ended_well()
    assert [each.path(STATE_FOLDER).exists() for each in fleet.nodes] == [True, True, False]
    hold.unlink()
    run_fleet("remove_from_nodes.yml").assert_ended_well()
    assert not any(each.path(STATE_FOLDER).exists() for each in fleet.nodes)
    run_fleet("config_backup.yml").assert_ok()
