# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a deletion, what nodes are told of it, and pins: all but the nodes."""

from __future__ import annotations

import json
import typing as t
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action import backup_pin, backup_prune, prune_plan
from tests.unit.plugins import samples as run_samples
from tests.unit.plugins.action import harness
from tests.unit.plugins.plugin_utils._archive import test_catalogue as samples

NODES = ("node1", "node2")
FLEET = """
all:
  children:
    alteryx:
      children:
        alteryx_prod: {hosts: {node1: {}, node2: {}}}
"""
DAYS = ("20260101", "20260201", "20260301", "20260401")
RULES = {"full": {"days": 1, "verified": 1}}


def of_day(day: str, **changes: t.Any) -> dict[str, t.Any]:
    """The backup of one node and one day, good but for what is said."""
    base = f"ServerBackup_Full_{day}_020000"
    manifest = samples.manifest(run_id=f"Full_{day}_020000_0001", started=_started(day))
    return samples.backup(base, **{"manifest": manifest, "sidecar": samples.sidecar(base), **changes})


def _started(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}T02:00:00.000Z"


def listed(node: str, days: t.Sequence[str] = DAYS, **changes: t.Any) -> dict[str, t.Any]:
    sets = [
        samples.run_set(
            base=f"ServerBackup_Full_{day}_020000", run_id=f"Full_{day}_020000_0001", started=_started(day),
            nodes=list(NODES),
        )
        for day in days
    ]  # fmt: skip
    found = samples.result(*map(of_day, days), sets=sets if node == "node1" else (), node=node)
    return {**found, **changes}


def play(
    folder: Path, hosts: t.Sequence[str] = NODES, steps: dict[str, t.Any] | None = None, **found: t.Any
) -> dict[str, t.Any]:
    """The variables of a play; found: host -> what it has listed, or changes of that."""
    variables = harness.inventory(folder, FLEET)
    own = {host: {"found": found.get(host, listed(host)), **(steps or {})} if host in hosts else {} for host in NODES}
    hostvars = harness.HostVariables(own)
    hostvars._inventory = variables["hostvars"]._inventory
    return {"hostvars": hostvars, "ansible_play_hosts_all": list(hosts)}


def planned(variables: dict[str, t.Any], check_mode: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
    asked = {"catalogues": "found", "policy": RULES, "max_share": 100, **arguments}
    return harness.run(prune_plan.ActionModule, asked, variables=variables, check_mode=check_mode)


def test_a_plan_names_each_set_with_its_rule_and_each_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = planned(play(tmp_path))
    plan = result["plan"]
    assert json.loads(json.dumps(plan)) == plan
    assert [(one["name"][-15:-7], one["deletes"]) for one in plan["sets"]] == [
        ("20260401", False), ("20260301", True), ("20260201", True), ("20260101", True),
    ]  # fmt: skip
    assert {host: len(backups) for host, backups in plan["nodes"].items()} == {"node1": 3, "node2": 3}
    order = plan["nodes"]["node1"][0]
    assert {file["name"] for file in order["files"]} == {
        f"ServerBackup_Full_20260301_020000.{ending}"
        for ending in ("zip", "manifest.json", "secrets.pem", "sha256", "verify_20260901_020112.json")
    }
    assert [file["name"] for file in order["others"]] == ["ServerBackup_Full_20260301_020000.set.json"]
    assert plan["nodes"]["node2"][0]["others"] == []
    assert order["sidecar_sha256"] == "51de" * 16
    out = capsys.readouterr().out
    assert "retention of alteryx_prod: 3 of 4 backup sets are to be deleted" in out
    assert "keep    ServerBackup_Full_20260401_020000" in out
    assert "one of the newest 1 that are verified good" in out


def test_without_a_policy_every_set_says_why_it_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert planned(play(tmp_path), policy={})["plan"]["deletes"] is False
    out = capsys.readouterr().out
    assert "nothing is deleted: a rule keeps each of the 4 backup sets" in out
    assert out.count("alteryx_retention_policy is empty") == 4


@pytest.mark.reaches("prune_partial", when="partial")
@pytest.mark.reaches("prune_partial", when="unread")
@pytest.mark.reaches("clock_differs", when="ahead")
@pytest.mark.reaches("clock_differs", when="back")
@pytest.mark.parametrize(
    ("hosts", "found", "words"),
    [
        (("node1",), {}, "node2 of the fleet are left out"),
        (NODES, {"node2": {"failed": True, "message": "no answer"}}, "the backups of node2 could not be listed: no an"),
        (NODES, {"node2": listed("node2", clock_off=365 * 86400.0)}, "the clock of node2 is 365.0 days ahead of that"),
        (NODES, {"node1": listed("node1", clock_off=-61.0)}, "the clock of node1 is 61 s behind that of the control"),
    ],
    ids=["partial", "unread", "ahead", "back"],
)
def test_what_makes_ages_or_sets_uncertain_keeps_everything(
    hosts: tuple[str, ...], found: dict[str, t.Any], words: str, tmp_path: Path
) -> None:
    alone = planned(play(tmp_path, hosts, **found))
    assert (alone["failed"], alone["exit_code"]) == (True, 3)
    assert words in alone["message"]
    # At the end of a run it is a warning: the backup is good.
    steps = run_steps(hosts)
    run = planned(play(tmp_path, hosts, steps, **found), run=run_samples.request_fields())
    assert not run.get("failed")
    assert run["plan"]["deletes"] is False
    assert run["plan"]["nodes"] == {host: [] for host in run["plan"]["nodes"]}
    assert words in run["summary"]
    assert run["events"][0]["level"] == "WARNING"


def run_steps(hosts: t.Sequence[str] = NODES, **changes: t.Any) -> dict[str, t.Any]:
    """Variable -> result of every step of a good run before its retention."""
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report._steps import STEPS

    results = {**run_samples.steps(), **changes}
    return {STEPS[name].variable: result for name, result in results.items() if name not in ("set", "unlock")}


def test_a_good_run_counts_itself_and_prunes(tmp_path: Path) -> None:
    today = f"{datetime.now(UTC):%Y%m%d}"
    request = run_samples.request_fields(run_id=f"Full_{today}_020000_0001")
    own = {host: listed(host, (*DAYS, today)) for host in NODES}
    own["node1"]["sets"] = own["node1"]["sets"][:-1]  # its .set.json comes with the report
    result = planned(play(tmp_path, steps=run_steps(), **own), run=request)
    assert result["plan"]["refused"] == ""
    # The newest is this run's; the newest of those that are older stays, too.
    assert [one["deletes"] for one in result["plan"]["sets"]] == [False, False, True, True, True]
    assert result["plan"]["sets"][0]["counts"]


def test_a_run_that_failed_prunes_nothing(tmp_path: Path) -> None:
    bad = run_steps(health=run_samples.failed("controller_silent", 1, "it does not answer"))
    result = planned(play(tmp_path, steps=bad), run=run_samples.request_fields())
    assert (result["plan"]["deletes"], result["plan"]["refused"]) == (False, "this run has failed: it does not answer")
    unverified = run_steps(verify={"verdict": "unknown"})
    result = planned(play(tmp_path, steps=unverified), run=run_samples.request_fields())
    assert result["plan"]["refused"] == "this run has failed: the archive was not verified"


def test_a_prediction_says_what_a_run_would_delete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = planned(play(tmp_path), check_mode=True, run=run_samples.request_fields())
    assert result["plan"]["deletes"]
    assert "would be deleted" in result["summary"]
    assert capsys.readouterr().out.count("would delete ") == 3


@pytest.mark.parametrize("state", ["checked", "begun", "finished"])
def test_a_node_is_told_exactly_the_plan_but_for_what_is_in_use_anywhere(state: str, tmp_path: Path) -> None:
    plan = planned(play(tmp_path))["plan"]
    held = "ServerBackup_Full_20260201_020000"
    checks = {
        "node1": {"checks": {"held": []}},
        "node2": {"checks": {"held": [{"name": held, "why": "it is open"}]}},
    }
    told: list[dict[str, t.Any]] = []

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        told.append(arguments)
        return {"changed": True, "held": [], "did": [], "bytes": 0}

    harness.run(
        backup_prune.ActionModule,
        {"state": state, "folder": samples.FOLDER, "plan": plan, "checked": "" if state == "checked" else "checks"},
        node,
        {"hostvars": harness.HostVariables(checks), "inventory_hostname": "node1"},
    )
    names = [backup["name"] for backup in json.loads(told[0]["_backups"])["backups"]]
    wanted = [order["name"] for order in plan["nodes"]["node1"]]
    assert names == (wanted if state == "checked" else [name for name in wanted if name != held])
    assert (told[0]["_node"], told[0]["plan"]) == ("node1", {})


def short_of(*lacks: int) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """What the first nodes need, and their results of node_info: each lacks so many bytes."""
    needs = {host: {"volume": "D:\\", "bytes": 5000 + lack} for host, lack in zip(NODES, lacks, strict=False)}
    return needs, {host: {"folders": [{"free_bytes": 5000}]} for host in needs}


def for_room(folder: Path, *lacks: int, check_mode: bool = False, **found: t.Any) -> dict[str, t.Any]:
    """The plan of a run whose first nodes lack so many bytes."""
    needs, measures = short_of(*lacks)
    variables = play(folder, **found)
    for host in measures:
        variables["hostvars"][host]["before"] = measures[host]
    asked = {"run": run_samples.request_fields(), "needs": needs, "measured": "before"}
    return planned(variables, check_mode, **asked)


def freed(folder: Path, host: str) -> int:
    orders = planned(play(folder))["plan"]["nodes"][host]
    return sum(file["bytes"] for order in orders for file in (*order["files"], *order["others"]))


@pytest.mark.parametrize("check_mode", [False, True])
def test_before_the_dump_the_plan_of_the_policy_is_carried_out_if_it_frees_enough(
    tmp_path: Path, check_mode: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    lacks = [freed(tmp_path, host) for host in NODES]
    plan = for_room(tmp_path, *lacks, check_mode=check_mode)["plan"]
    usual = planned(play(tmp_path))["plan"]
    assert (plan["acts"], plan["sets"], plan["nodes"]) == (True, usual["sets"], usual["nodes"])
    assert set(plan["room"]) == set(NODES)
    assert ("would delete " in capsys.readouterr().out) is check_mode


@pytest.mark.reaches("space_short")
@pytest.mark.parametrize("check_mode", [False, True])
def test_nothing_is_deleted_for_room_if_one_node_would_not_have_enough(
    tmp_path: Path, check_mode: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    frees = [freed(tmp_path, host) for host in NODES]
    capsys.readouterr()
    result = for_room(tmp_path, 1, frees[1] + 1, check_mode=check_mode)
    assert (result["reason"], result["exit_code"], result["node"]) == ("space_short", 3, "node2")
    assert f"and retention would free {frees[1]} bytes" in result["message"]
    assert "delete  ServerBackup" not in capsys.readouterr().out


@pytest.mark.reaches("space_short")
def test_what_makes_ages_uncertain_deletes_nothing_for_room_either(tmp_path: Path) -> None:
    result = for_room(tmp_path, 1, node2=listed("node2", clock_off=365 * 86400.0))
    assert result["reason"] == "space_short"
    assert "the clock of node2 is 365.0 days ahead" in result["message"]


def test_nothing_is_deleted_if_there_is_room_since_the_run_was_planned(tmp_path: Path) -> None:
    plan = for_room(tmp_path, 0, -1)["plan"]
    assert (plan["acts"], plan["refused"], plan["room"]) == (False, "there is enough room now", {})


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_run_that_has_deleted_for_room_deletes_only_copies_at_its_end(tmp_path: Path, check_mode: bool) -> None:
    before = for_room(tmp_path, 1)["plan"]
    gone = [one["name"] for one in before["sets"] if one["deletes"]]
    did: dict[str, t.Any] = {"changed": True, "held": [], "did": [] if check_mode else gone, "bytes": 1}
    steps = run_steps(prune_plan={"plan": before}, prune=did)
    found = {node: {**listed(node), "places": [{**at("nas"), **at_node(at("nas"), node)}]} for node in NODES}
    plan = planned(
        play(tmp_path, steps=steps, **found), check_mode=check_mode, run=run_samples.request_fields()
    )["plan"]  # fmt: skip
    assert not plan["deletes"]
    assert ", ".join(gone) in plan["summary"]
    assert plan["for_room"] == ([] if check_mode else gone)
    assert [sum(one["deletes"] for one in place["sets"]) for place in plan["places"]] == [3]


@pytest.mark.parametrize("in_use", ["", "ServerBackup_Full_20260201_020000"], ids=["nothing", "one"])
@pytest.mark.reaches("space_short", when="one")
def test_nothing_is_deleted_for_room_if_what_is_in_use_is_needed(tmp_path: Path, in_use: str) -> None:
    plan = for_room(tmp_path, freed(tmp_path, "node1"))["plan"]
    held = [{"name": in_use, "why": "it is open"}] if in_use else []
    # The other node has the archive open.
    checks = {"node1": {"checks": {"held": []}}, "node2": {"checks": {"held": held}}}
    asked = {"state": "begun", "folder": samples.FOLDER, "plan": plan, "checked": "checks"}
    told: list[dict[str, t.Any]] = []

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        told.append(arguments)
        return {"changed": True, "held": [], "did": [], "bytes": 0}

    variables = {"hostvars": harness.HostVariables(checks), "inventory_hostname": "node2"}
    result = harness.run(backup_prune.ActionModule, asked, node, variables)
    assert result.get("reason", "") == ("space_short" if in_use else "")
    assert len(told) == (0 if in_use else 1)


def pinned(
    variables: dict[str, t.Any], host: str = "node1", **arguments: t.Any
) -> tuple[dict[str, t.Any], list[t.Any]]:
    told: list[dict[str, t.Any]] = []

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        told.append(arguments)
        return {"changed": True}

    asked = {"folder": samples.FOLDER, "catalogues": "found", "backup": "Full_20260101_020000_0001", **arguments}
    return harness.run(backup_pin.ActionModule, asked, node, {**variables, "inventory_hostname": host}), told


def test_a_pin_says_who_why_and_until_when_on_every_node_that_has_the_backup(tmp_path: Path) -> None:
    variables = play(tmp_path, node2=listed("node2", DAYS[1:]))
    result, told = pinned(variables, why="before the upgrade", until="2999-12-31", who="ops")
    assert result["pin"] == {"who": "ops", "why": "before the upgrade", "until": "2999-12-31T23:59:59Z"}
    assert {key: told[0][key] for key in ("backup", "who", "until")} == {
        "backup": "ServerBackup_Full_20260101_020000", "who": "ops", "until": "2999-12-31T23:59:59Z",
    }  # fmt: skip
    assert "@" in told[0]["_who"]
    result, told = pinned(variables, "node2")
    assert (result["changed"], result["backup"], told) == (False, "", [])


@pytest.mark.reaches("pin_refused")
def test_a_backup_whose_deletion_has_begun_cannot_be_pinned_any_more(tmp_path: Path) -> None:
    rest = of_day(DAYS[0], without=["sha256"], sidecar=None, prune=samples.mark(run_id="Full_20260101_020000_0001"))
    variables = play(tmp_path, node1=samples.result(rest))
    result, told = pinned(variables)
    assert (result["reason"], told) == ("pin_refused", [])
    assert "has begun" in result["message"]


def at(name: str, days: t.Sequence[str] = DAYS, node: str = "node1", **changes: t.Any) -> dict[str, t.Any]:
    """What a node lists at a destination: the same backups, without the records of their runs."""
    there = listed(node, days)
    told = {"destination": name, "reason": "", "message": "", "retention": None, "sets": []}
    return {**told, "folder": there["folder"], "exists": True, "catalogue": there["catalogue"], **changes}


def with_places(folder: Path, *places: dict[str, t.Any], **arguments: t.Any) -> dict[str, t.Any]:
    """The plan of a fleet whose nodes list the same at destinations."""
    found = {node: {**listed(node), "places": [dict(place, **at_node(place, node)) for place in places]}
             for node in NODES}  # fmt: skip
    return planned(play(folder, **found), **arguments)["plan"]


def at_node(place: dict[str, t.Any], node: str) -> dict[str, t.Any]:
    """The backups of another node at the same destination."""
    days = [entry["id"][-15:-7] for entry in place["catalogue"]]
    return {"catalogue": sorted(listed(node, days)["catalogue"], key=lambda entry: entry["id"], reverse=True)}


def test_a_plan_has_each_destination_by_its_own_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = {"full": {"days": 36_500, "verified": 1}}
    plan = with_places(tmp_path, at("nas"), at("tape", retention=long), at("cloud", retention={}))
    assert json.loads(json.dumps(plan)) == plan
    deleted = {place["destination"]: sum(one["deletes"] for one in place["sets"]) for place in plan["places"]}
    assert deleted == {"nas": 3, "tape": 0, "cloud": 0}
    # The archive directory may delete the records of runs now: each destination gets those of what it keeps.
    assert [len(place["brings"].get("node1", [])) for place in plan["places"]] == [1, 4, 4]
    assert plan["acts"]
    out = capsys.readouterr().out
    assert "retention of alteryx_prod at nas: 3 of 4 backup sets are to be deleted" in out
    assert "destination cloud: retention is empty" in out


def test_a_destination_that_one_node_cannot_list_counts_as_holding_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = with_places(tmp_path, at("nas", reason="destination_unreachable", message="no answer"))
    (place,) = plan["places"]
    assert (place["deletes"], place["sets"], place["brings"]) == (False, [], {})
    assert place["summary"] == "nothing is deleted: node1 cannot list it: no answer"
    assert plan["deletes"]
    assert "at nas: nothing is deleted" in capsys.readouterr().out


ACCOUNT = {"nas": {"user": "svc", "password": "Pa55-of+the/share"}}
PLACES = [{"name": name, "path": rf"\\{name}\ayx", "credential": "nas"} for name in ("nas", "tape")]


def pruned(
    plan: dict[str, t.Any], state: str, job: t.Callable[[dict[str, t.Any]], dict[str, t.Any]], **checks: t.Any
) -> tuple[dict[str, t.Any], list[dict[str, t.Any]]]:
    """What node1 answers, and the specs of its jobs."""
    specs: list[dict[str, t.Any]] = []

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        assert ACCOUNT["nas"]["password"] not in json.dumps({**arguments, "_spec": ""})
        match arguments.get("_operation"):
            case None:
                return {"changed": True, "held": [], "did": [], "bytes": 0}
            case "start":
                specs.append(json.loads(arguments["_spec"]))
            case "poll":
                result = {"state": "succeeded", "events": [], **job(specs[-1])}
                return {"status": {"state": "succeeded"}, "log": "", "log_offset": 0, "result": json.dumps(result)}
        return {}

    asked = {
        "state": state, "folder": samples.FOLDER, "plan": plan, "destinations": PLACES, "credentials": ACCOUNT,
        "checked": "checks",
    }  # fmt: skip
    variables = {
        "hostvars": harness.HostVariables({"node1": {"checks": checks}, "node2": {}}),
        "inventory_hostname": "node1",
    }
    return harness.run(backup_prune.ActionModule, asked, node, variables), specs


def answered(spec: dict[str, t.Any], **bad: str) -> dict[str, t.Any]:
    """What the job says: all is well, but for the destinations that are named with a reason."""
    nothing = {"held": [], "did": [], "bytes": 0, "message": "told"}
    return {"places": [{"destination": place["name"], **nothing, "reason": bad.get(place["name"], "")}
                       for place in spec["places"]]}  # fmt: skip


def test_destinations_get_exactly_their_plan_and_one_that_fails_costs_no_other(tmp_path: Path) -> None:
    plan = with_places(tmp_path, at("nas"), at("tape"))
    result, (spec,) = pruned(plan, "checked", lambda spec: answered(spec, tape="prune_changed"))
    assert not result.get("failed")
    assert [place["folder"] for place in spec["places"]] == [rf"\\{name}\ayx\alteryx_prod" for name in ("nas", "tape")]
    for place, planned_there in zip(spec["places"], plan["places"], strict=True):
        assert place["backups"] == planned_there["nodes"]["node1"]
        assert (place["user"], place["password"]) == ("svc", ACCOUNT["nas"]["password"])
    result, (spec,) = pruned(plan, "begun", answered, places=result["places"])
    assert [place["name"] for place in spec["places"]] == ["nas"]
    assert spec["places"][0]["brings"] == ["ServerBackup_Full_20260401_020000.set.json"]
    refused = [{"destination": "tape", "held": [], "reason": "prune_changed", "message": "told"}]
    result, _specs = pruned(plan, "finished", answered, places=refused)
    assert (result["reason"], result["message"]) == ("prune_changed", "the destination tape: told")
    result, _specs = pruned(plan, "finished", lambda spec: answered(spec, nas="prune_incomplete"))
    assert (result["reason"], result["exit_code"]) == ("prune_incomplete", 4)


def test_a_backup_that_is_only_at_destinations_is_pinned_there(tmp_path: Path) -> None:
    variables = play(
        tmp_path,
        node1={**listed("node1", DAYS[1:]), "places": [at("nas")]},
        node2={**listed("node2", DAYS[1:]), "places": [at("nas", DAYS[1:], "node2")]},
    )
    specs: list[dict[str, t.Any]] = []

    def node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        assert arguments["_operation"], "the archive directory is not touched"
        if arguments["_operation"] == "start":
            specs.append(json.loads(arguments["_spec"]))
        places = [{"destination": "nas", "changed": True, "reason": "", "message": ""}]
        told = json.dumps({"state": "succeeded", "events": [], "places": places})
        return {"status": {"state": "succeeded"}, "log": "", "log_offset": 0, "result": told}

    asked = {
        "folder": samples.FOLDER, "catalogues": "found", "backup": "Full_20260101_020000_0001",
        "destinations": PLACES, "credentials": ACCOUNT,
    }  # fmt: skip
    result = harness.run(backup_pin.ActionModule, asked, node, {**variables, "inventory_hostname": "node1"})
    assert (result["changed"], result["backup"]) == (True, "ServerBackup_Full_20260101_020000")
    (spec,) = specs
    assert [place["name"] for place in spec["places"]] == ["nas"]
    assert (spec["node"], spec["pin"]["until"]) == ("node1", "")
