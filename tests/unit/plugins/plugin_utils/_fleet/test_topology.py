# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes of a fleet are to each other, and in which order they go down and come up."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _topology
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet._topology import FleetNode

CONTROLLER = FleetNode("ayx-ctl", ("controller",), ("AYX-CTL", "ayx-ctl.example.test", "10.0.0.5"))


def node(name: str, *roles: str, address: str = "ayx-ctl.example.test:80", **more: t.Any) -> FleetNode:
    return FleetNode(name, roles, (name.upper(),), address, **more)


FLEET = (node("ui1", "ui"), node("w1", "worker"), CONTROLLER, node("w2", "worker"))


def derived(*nodes: FleetNode, names: tuple[str, ...] = ()) -> _topology.Topology:
    return _topology.derive(nodes, names)


def refused(call: t.Callable[[], t.Any]) -> StepFailed:
    with pytest.raises(StepFailed) as failure:
        call()
    assert failure.value.reason.exit_code == 3
    return failure.value


def test_a_fleet_goes_down_from_the_users_and_comes_up_from_the_controller() -> None:
    topology = derived(*FLEET)
    assert topology.controller == "ayx-ctl"
    assert topology.stop_tiers == (("ui1",), ("w1", "w2"), ("ayx-ctl",))
    assert topology.start_tiers == (("ayx-ctl",), ("w1", "w2"), ("ui1",))
    assert _topology.check(topology, stops_services=True) == []


@pytest.mark.parametrize(
    ("roles", "tier"),
    [
        (("controller", "worker", "ui"), "controller"),
        (("controller", "ui"), "controller"),
        (("worker", "ui"), "ui"),
        (("worker",), "worker"),
        (("ui",), "ui"),
    ],
)
def test_a_node_of_several_roles_has_one_place(roles: tuple[str, ...], tier: str) -> None:
    assert node("n", *roles).tier == tier


ROLES = st.sampled_from([("worker",), ("ui",), ("worker", "ui")])


@given(st.lists(ROLES, max_size=8), st.integers(0, 8))
def test_every_node_moves_once_and_the_controller_is_last_down_and_first_up(
    roles: list[tuple[str, ...]], place: int
) -> None:
    nodes = [node(f"n{number}", *each) for number, each in enumerate(roles)]
    nodes.insert(place, CONTROLLER)
    topology = derived(*nodes)
    stops, starts = topology.stop_tiers, topology.start_tiers
    assert sorted(itertools.chain(*stops)) == sorted(each.name for each in nodes) == sorted(itertools.chain(*starts))
    assert stops[-1] == starts[0] == ("ayx-ctl",)
    assert starts == tuple(reversed(stops))
    assert all(stops)


@pytest.mark.parametrize(
    "address",
    [
        "ayx-ctl.example.test:80", "AYX-CTL.EXAMPLE.TEST:80", "ayx-ctl", "AYX-CTL:8080", "ayx-ctl.other.test.:80",
        "10.0.0.5:80", "http://ayx-ctl.example.test:80/x", "ayx.example.test",
    ],
)  # fmt: skip
def test_a_worker_may_name_its_controller_in_any_way_it_is_called(address: str) -> None:
    names = ("ayx.example.test", "ayx-ctl.other.test")
    assert derived(CONTROLLER, node("w1", "worker", address=address), names=names).problems == ()


@pytest.mark.parametrize(
    "address",
    [
        "ayx-ctl2:80", "other.example.test:80", "ayx-ctl.other.test:80", "10.0.0.50", "10.0.0.5.example.test", "10",
        ":80", "x-ayx-ctl", "[fe80::1]:80",
    ],
)  # fmt: skip
def test_a_worker_of_another_controller_is_refused_with_node_and_element(address: str) -> None:
    topology = derived(CONTROLLER, node("w1", "worker", address=address))
    failure = refused(lambda: _topology.check(topology, stops_services=True))
    assert (failure.reason.name, failure.detail["node"]) == ("topology_contradicts", "w1")
    assert "Worker/ServerName" in failure.message
    assert address in failure.message
    # Nothing is stopped: nothing is lost.
    assert _topology.check(topology, stops_services=False) == list(topology.problems)


def test_a_computer_name_is_cut_by_windows() -> None:
    long = FleetNode("c", ("controller",), ("ALTERYX-CONTROL",))
    assert derived(long, node("w", "worker", address="alteryx-controller-01.example.test:80")).problems == ()
    assert derived(long, node("w", "worker", address="alteryx-control-2:80")).problems == ()
    assert (
        derived(
            FleetNode("c", ("controller",), ("ALTERYX-CONTRO",)),
            node("w", "worker", address="alteryx-controller-01:80"),
        ).problems
        != ()
    )


def test_a_short_name_stands_for_any_domain_only_while_no_domain_is_known() -> None:
    elsewhere = node("w", "worker", address="ayx-ctl.test.example:80")
    assert derived(FleetNode("ayx-ctl", ("controller",), ("AYX-CTL",)), elsewhere).problems == ()
    assert derived(FleetNode("ayx-ctl", ("controller",), ("AYX-CTL", "ayx-ctl.prod.example")), elsewhere).problems != ()


def test_an_address_in_brackets_is_compared_as_a_whole() -> None:
    six = FleetNode("c", ("controller",), ("fe80::1",))
    assert derived(six, node("w", "worker", address="[FE80::1]:80")).problems == ()


@pytest.mark.parametrize("address", ["", "localhost:80", "LOCALHOST", "127.0.0.1:80", "[::1]:80", "w1:80"])
def test_a_worker_alone_cannot_be_its_own_controller(address: str) -> None:
    failure = refused(
        lambda: _topology.check(derived(CONTROLLER, node("w1", "worker", address=address)), stops_services=True)
    )
    assert ("Worker/ServerName" if address else "Worker/UseLocalServer") in failure.message


@pytest.mark.parametrize("address", ["", "localhost:80", "127.0.0.1", "ayx-ctl:80", "alias.example.test:80"])
def test_a_combined_node_is_its_own_controller(address: str) -> None:
    combined = FleetNode("ayx-ctl", ("controller", "worker", "ui"), ("AYX-CTL",), address)
    assert derived(combined, names=("alias.example.test",)).problems == ()


def test_a_controller_whose_work_goes_elsewhere_is_a_contradiction() -> None:
    failure = refused(
        lambda: _topology.check(derived(FleetNode("c", ("controller", "worker"), (), "other:80")), stops_services=True)
    )
    for element in ("Controller/ControllerEnabled", "Worker/UseLocalServer", "Worker/ServerName"):
        assert element in failure.message


@pytest.mark.parametrize("address", ["", "other.example.test:80"])
def test_what_is_not_known_of_ui_nodes_is_a_warning(address: str) -> None:
    topology = derived(CONTROLLER, node("ui1", "ui", address=address))
    ((name, text),) = _topology.check(topology, stops_services=True)
    assert name == "ui1"
    assert "Worker/" in text
    assert derived(CONTROLLER, node("x", "worker", "ui", address=address)).problems != ()


def test_two_active_controllers_are_two_fleets() -> None:
    topology = derived(CONTROLLER, FleetNode("other", ("controller",)), node("w1", "worker"))
    assert (topology.controller, topology.rivals, topology.standby) == ("", ("ayx-ctl", "other"), ())
    for stops in (True, False):
        failure = refused(lambda stops=stops: _topology.check(topology, stops_services=stops))  # type: ignore[misc]
        assert failure.reason.name == "several_fleets"
        assert "ayx-ctl, other" in failure.message


def test_a_standby_controller_is_left_alone_and_said() -> None:
    standby = FleetNode("standby", ("controller",), active=False)
    topology = derived(CONTROLLER, standby, node("w1", "worker"), node("w2", "worker", address="standby:80"))
    assert (topology.controller, topology.standby) == ("ayx-ctl", ("standby",))
    assert "standby" not in itertools.chain(*topology.stop_tiers, *topology.start_tiers)
    assert topology.problems == ()
    assert topology.warnings[0][0] == "standby"


def test_of_two_controllers_one_must_run_but_one_alone_may_be_stopped() -> None:
    stopped = FleetNode("a", ("controller",), active=False)
    assert derived(stopped).controller == "a"
    assert derived(stopped, FleetNode("b", ("controller",), active=False)).rivals == ("a", "b")


def test_without_a_controller_there_is_nothing_to_stop_for() -> None:
    topology = derived(node("w1", "worker"))
    assert (topology.controller, topology.problems) == ("", ())
    assert refused(lambda: _topology.check(topology, stops_services=True)).reason.name == "no_role"
    assert _topology.check(topology, stops_services=False) == []


MEMBERS = ("ayx-ctl", "ui1", "w1", "w2")


def test_a_part_of_a_fleet_is_refused_where_services_are_stopped() -> None:
    failure = refused(
        lambda: _topology.check_whole(
            "alteryx_prod", MEMBERS, ["ayx-ctl", "w1"], stops_services=True, partial_wanted=False
        )
    )
    assert failure.reason.name == "fleet_partial"
    assert failure.message == "2 of 4 nodes of the fleet alteryx_prod are left out: ui1, w2"
    assert failure.detail == {"missing": ["ui1", "w2"]}


@pytest.mark.parametrize(("stops", "wanted"), [(True, True), (False, False), (False, True)])
def test_a_part_of_a_fleet_is_said_where_it_is_wanted_or_nothing_stops(stops: bool, wanted: bool) -> None:
    assert "ui1, w1, w2" in _topology.check_whole(
        "f", MEMBERS, ["ayx-ctl"], stops_services=stops, partial_wanted=wanted
    )


@given(
    st.sets(st.sampled_from([f"n{number}" for number in range(30)])),
    st.sets(st.sampled_from([f"n{number}" for number in range(30)])),
    st.booleans(),
)
def test_a_fleet_is_whole_exactly_when_every_member_takes_part(
    members: set[str], hosts: set[str], wanted: bool
) -> None:
    if members <= hosts:
        assert _topology.check_whole("f", members, hosts, stops_services=True, partial_wanted=wanted) == ""
    elif wanted:
        assert str(len(members - hosts)) in _topology.check_whole(
            "f", members, hosts, stops_services=True, partial_wanted=True
        )
    else:
        failure = refused(lambda: _topology.check_whole("f", members, hosts, stops_services=True, partial_wanted=False))
        assert failure.detail["missing"] == sorted(members - hosts)


def test_the_table_shows_every_node_in_the_order_of_starting() -> None:
    facts = {"ayx-ctl": {"computer": "AYX-CTL", "database": "embedded"}}
    text = _topology.describe(derived(*FLEET, node("ui0", "ui", address="")), facts, ["dead"])
    lines = text.splitlines()
    assert lines[0].split("  ")[0] == "NODE"
    assert [line.split()[0] for line in lines[1:7]] == ["ayx-ctl", "w1", "w2", "ui0", "ui1", "dead"]
    assert lines[1].split() == ["ayx-ctl", "controller", "AYX-CTL", "-", "-", "embedded", "itself", "3", "1"]
    assert len(lines) == 7
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize(("address", "port"), [
    ("ayx-ctl", 0), ("ayx-ctl:8080", 8080), ("http://ayx-ctl.example.test:81/x", 81), ("[fd00::1]:90", 90),
    ("fd00::1", 0), ("ctl:", 0), ("ctl:0", 0), ("ctl:99999", 0), ("ctl:http", 0), ("", 0)])  # fmt: skip
def test_the_port_of_an_address(address: str, port: int) -> None:
    assert _topology.port_of(address) == port
