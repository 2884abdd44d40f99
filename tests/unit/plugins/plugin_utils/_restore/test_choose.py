# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The set that is restored: the newest good one or the one that was named, never one with a bad archive."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _catalogue
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import _names
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore import _choose
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _sets
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._sets import BackupSet
from tests.unit.plugins.plugin_utils._archive import test_catalogue as samples

NOW = datetime(2026, 9, 10, tzinfo=UTC)
NODES = ("controller", "worker")


def entry(host: str = "controller", **changes: t.Any) -> dict[str, t.Any]:
    """A good backup of a node."""
    found = {
        "id": "ServerBackup_Full_20260901_020000",
        "run_id": "Full_20260901_020000_7f3a",
        "fleet": "prod",
        "folder": rf"D:\AlteryxBackups\{host}",
        "complete": True,
        "why": [],
        "partial": False,
        "pruning": False,
        "dumped": host == "controller",
        "verified": {"verdict": "good", "problem": ""},
    }
    return {**found, **changes}


def backup_set(day: int, mode: str = "full", **changes: t.Any) -> BackupSet:
    """A good set of September 2026."""
    started = datetime(2026, 9, 1, 2, tzinfo=UTC) + timedelta(days=day - 1)
    hosts = ("controller",) if mode == "database" else NODES
    return BackupSet(
        **{
            "run_id": _names.run_id(mode, started, "7f3a"),
            "name": _names.base_name(mode, _names.stamp(started)),
            "mode": mode,
            "started": started,
            "backups": {host: entry(host, dumped=host == "controller" and mode != "config") for host in hosts},
            **changes,
        }
    )


def choose(sets: t.Sequence[BackupSet], wanted: str = "latest", scope: str = "full", **changes: t.Any) -> t.Any:
    return _choose.choose(sets, wanted, scope, changes.pop("nodes", NODES), NOW, **changes)


def refusal(*arguments: t.Any, **named: t.Any) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        choose(*arguments, **named)
    return caught.value


OLD, NEW = backup_set(1), backup_set(3)
DATABASE, CONFIG = backup_set(4, "database"), backup_set(5, "config")


@pytest.mark.parametrize(
    ("scope", "taken", "hosts"),
    [
        ("full", NEW, ["controller", "worker"]),
        ("database", DATABASE, ["controller"]),
        ("configuration", CONFIG, ["controller", "worker"]),
    ],
)
def test_the_newest_set_that_holds_the_scope_is_the_latest(scope: str, taken: BackupSet, hosts: list[str]) -> None:
    choice = choose([OLD, DATABASE, CONFIG, NEW], scope=scope)
    assert (choice.set, list(choice.backups), choice.passed_over) == (taken, hosts, ())


def test_of_a_full_set_the_database_alone_is_that_of_the_controller() -> None:
    assert list(choose([NEW], scope="database").backups) == ["controller"]


def test_a_newer_set_that_is_not_good_is_named_with_the_reason() -> None:
    bad = replace(NEW, why=("controller: its verification found it bad",))
    choice = choose([OLD, bad])
    assert choice.set == OLD
    assert choice.passed_over == (f"{NEW.name}: controller: its verification found it bad",)


def test_a_newer_set_without_a_node_that_is_restored_is_named() -> None:
    alone = replace(NEW, backups={"controller": entry()})
    assert choose([OLD, alone]).passed_over == (f"{NEW.name}: it has no archive of worker",)
    assert choose([OLD, alone], nodes=["controller"]).set == alone


def test_a_set_of_the_future_is_not_the_latest() -> None:
    future = backup_set(20)
    undated = replace(backup_set(6), started=None)
    choice = choose([OLD, future, undated])
    assert choice.set == OLD
    assert choice.passed_over == (
        f"{undated.name}: nothing says when it was started",
        f"{future.name}: it was started in the future, by its date",
    )


@pytest.mark.reaches("no_good_backup")
def test_without_a_good_set_every_one_is_named() -> None:
    assert "there is none at all" in refusal([]).message
    failure = refusal([replace(OLD, why=("worker: no .sha256",)), CONFIG])
    assert failure.reason.name == "no_good_backup"
    assert f"{OLD.name}: worker: no .sha256" in failure.message
    assert failure.detail == {"passed_over": [f"{OLD.name}: worker: no .sha256"]}


@pytest.mark.parametrize("wanted", [OLD.run_id, OLD.name, OLD.name.upper()])
def test_a_set_is_named_by_its_run_or_its_files(wanted: str) -> None:
    assert choose([NEW, OLD], wanted).set == OLD


def test_of_a_named_set_what_does_not_prevent_its_restore_is_a_warning() -> None:
    unverified = entry(verified={"verdict": "not verified", "problem": ""})
    named = replace(OLD, backups={**OLD.backups, "controller": unverified}, why=("there is no .set.json of its run",))
    choice = choose([NEW, named], OLD.run_id)
    assert (choice.set, choice.warnings) == (named, (f"{OLD.name}: there is no .set.json of its run",))


@pytest.mark.reaches("backup_unknown")
def test_an_unknown_name_is_told_with_the_nearest_ones() -> None:
    failure = refusal([NEW, OLD], "ServerBackup_Full_20260901_02000")
    assert failure.reason.name == "backup_unknown"
    assert f"did you mean {OLD.name}" in failure.message


def test_a_name_of_several_runs_is_refused() -> None:
    other = replace(OLD, run_id="Full_20260901_020000_0001")
    failure = refusal([OLD, other], OLD.name)
    assert failure.reason.name == "backup_unknown"
    assert OLD.run_id in failure.message
    assert other.run_id in failure.message
    assert choose([OLD, other], OLD.run_id).set == OLD


@pytest.mark.reaches("archive_incomplete")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"complete": False, "why": ["no .sha256"]}, "controller: no .sha256"),
        ({"pruning": True, "complete": False, "why": ["x is missing"]}, "controller: its deletion has begun"),
    ],
)
def test_a_named_set_that_is_not_complete_is_refused(changes: dict[str, t.Any], said: str) -> None:
    failure = refusal([replace(OLD, backups={**OLD.backups, "controller": entry(**changes)})], OLD.run_id)
    assert failure.reason.name == "archive_incomplete"
    assert said in failure.message


@pytest.mark.reaches("archive_bad")
def test_a_named_set_that_is_bad_is_refused() -> None:
    bad = entry("worker", verified={"verdict": "bad", "problem": "it is cut"})
    failure = refusal([replace(OLD, backups={**OLD.backups, "worker": bad})], OLD.run_id)
    assert failure.reason.name == "archive_bad"
    assert "worker: it is cut" in failure.message


@pytest.mark.reaches("restore_scope_missing")
@pytest.mark.parametrize(
    ("named", "scope"), [(CONFIG, "full"), (DATABASE, "full"), (CONFIG, "database"), (DATABASE, "configuration")]
)
def test_a_named_set_without_the_scope_is_refused(named: BackupSet, scope: str) -> None:
    failure = refusal([named], named.run_id, scope)
    assert failure.reason.name == "restore_scope_missing"
    assert f"mode {named.mode}" in failure.message


@pytest.mark.reaches("restore_set_incomplete")
def test_a_named_set_without_an_archive_of_a_node_is_refused() -> None:
    alone = replace(OLD, backups={"worker": entry("worker")})
    failure = refusal([alone], OLD.run_id)
    assert failure.reason.name == "restore_set_incomplete"
    assert "it has no archive of controller" in failure.message
    assert "holds the database" in failure.message


def test_a_scope_that_there_is_not_is_refused() -> None:
    assert refusal([OLD], scope="all").reason.name == "invalid_variable"


def test_what_is_not_of_the_fleet_is_named_for_what_it_is() -> None:
    elsewhere = entry(fleet="lab", id="ServerBackup_Full_1", run_id="Full_20260801_020000_1111")
    cut = entry(fleet="", run_id="", id="ServerBackup_Full_2", complete=False, why=["no .sha256"])
    other = refusal([OLD], "serverbackup_full_1", others=[elsewhere, cut])
    assert (other.reason.name, "another fleet, lab" in other.message) == ("backup_unknown", True)
    failure = refusal([OLD], "ServerBackup_Full_2", others=[elsewhere, cut])
    assert (failure.reason.name, "no .sha256" in failure.message) == ("archive_incomplete", True)


def test_catalogues_are_read_as_backup_info_gives_them() -> None:
    manifest = samples.manifest(fleet="prod", run_id="Full_20260901_020000_7f3a")
    facts = samples.facts(samples.backup(samples.BASE, manifest=manifest), node="node1")
    found, _unused = _catalogue.entries(facts, samples.FOLDER, samples.PATTERN)
    catalogues = {"node1": {"catalogue": found, "sets": []}}
    sets = _sets.read_sets(catalogues, "prod", NOW)
    assert [one.name for one in sets] == [samples.BASE]
    assert _choose.list_others(catalogues, "prod") == []
    (other,) = _choose.list_others(catalogues, "lab")
    assert refusal([], samples.BASE, others=[other]).reason.name == "backup_unknown"


@st.composite
def histories(draw: st.DrawFn) -> list[BackupSet]:
    """Sets of all kinds, in any order."""
    found = []
    for day in draw(st.lists(st.integers(1, 20), unique=True, max_size=6)):
        mode = draw(st.sampled_from(("full", "database", "config")))
        backups = {}
        for host in NODES:
            if draw(st.integers(0, 4)) == 0 or (mode == "database" and host == "worker"):
                continue
            backups[host] = entry(
                host,
                complete=draw(st.integers(0, 4)) > 0,
                pruning=draw(st.integers(0, 9)) == 0,
                dumped=host == "controller" and mode != "config",
                verified={"verdict": draw(st.sampled_from(("good", "good", "bad", "not verified"))), "problem": "p"},
            )
        whole = all(one["complete"] and one["verified"]["verdict"] == "good" for one in backups.values())
        why = () if whole and draw(st.booleans()) else ("something",)
        found.append(backup_set(day, mode, backups=backups, why=why))
    return found


@given(histories(), st.sampled_from(sorted(_choose.SCOPES)), st.data())
def test_a_set_that_is_not_good_is_never_the_latest_and_a_bad_archive_is_never_chosen(
    sets: list[BackupSet], scope: str, data: st.DataObject
) -> None:
    wanted = data.draw(st.sampled_from(["latest", *(one.run_id for one in sets), *(one.name for one in sets)]))
    choice = _outcome(sets, wanted, scope)
    # The order of the catalogues decides nothing.
    assert _outcome(data.draw(st.permutations(sets)), wanted, scope) == choice
    if isinstance(choice, Refusal):
        assert choice.exit_code == 3
        return
    assert choice.set.mode in _choose.SCOPES[scope]
    assert choice.backups
    assert all(one["complete"] and one["verified"]["verdict"] != "bad" for one in choice.backups.values())
    if scope != "database":
        assert set(choice.backups) == set(NODES)
    if wanted != "latest":
        assert wanted in (choice.set.run_id, choice.set.name)
        return
    assert choice.set.is_good
    assert choice.set.moment <= NOW
    newer = [one for one in sets if one.order > choice.set.order and one.mode in _choose.SCOPES[scope]]
    assert [text.partition(":")[0] for text in choice.passed_over] == [
        one.name for one in sorted(newer, key=lambda one: one.order, reverse=True)
    ]


class Refusal(t.NamedTuple):
    """A failure that can be compared."""

    reason: str
    exit_code: int
    message: str


def _outcome(sets: t.Sequence[BackupSet], wanted: str, scope: str) -> t.Any:
    try:
        return choose(sets, wanted, scope)
    except StepFailed as failure:
        return Refusal(failure.reason.name, failure.reason.exit_code, failure.message)


def catalogue(*entries: dict[str, t.Any], **elsewhere: t.Sequence[dict[str, t.Any]]) -> dict[str, t.Any]:
    """What a node has found in its archive directory, and at destinations."""
    places = [{"destination": name, "catalogue": list(found)} for name, found in elsewhere.items()]
    return {"catalogue": list(entries), "sets": [], "places": places}


def listed(host: str = "controller", **changes: t.Any) -> dict[str, t.Any]:
    """An entry of a catalogue that is a member of OLD."""
    more = {"mode": "full", "started": "2026-09-01T02:00:00.000Z", "pin": None, "files": []}
    return entry(host, **{**more, **changes})


def copied(host: str = "controller", **changes: t.Any) -> dict[str, t.Any]:
    return listed(host, **{"folder": rf"\\nas1\ayx\prod\{host}", **changes})


def choose_backup(catalogues: t.Mapping[str, t.Any], wanted: str = "latest", **changes: t.Any) -> _choose.Choice:
    return _choose.choose_backup(catalogues, "prod", wanted, changes.pop("scope", "full"), NODES, NOW, **changes)


@pytest.mark.parametrize("wanted", ["latest", OLD.run_id, OLD.name])
def test_at_a_destination_a_set_is_good_without_a_word_of_its_run(wanted: str) -> None:
    there = {host: catalogue(copied(host)) for host in NODES}
    choice = choose_backup(there, wanted, destination="nas")
    assert (choice.set.name, list(choice.backups), choice.warnings) == (OLD.name, list(NODES), ())
    assert choice.backups["worker"]["folder"] == r"\\nas1\ayx\prod\worker"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"partial": True}, "its run did not take all that it was to take"),
        ({"verified": {"verdict": "not verified", "problem": ""}}, "its verdict is: not verified"),
        ({"complete": False, "why": ["no .sha256"]}, "no .sha256"),
    ],
)
def test_at_a_destination_the_latest_is_whole_and_verified(changes: dict[str, t.Any], why: str) -> None:
    there = {"controller": catalogue(copied(**changes)), "worker": catalogue(copied("worker"))}
    with pytest.raises(StepFailed) as caught:
        choose_backup(there, destination="nas")
    assert caught.value.reason.name == "no_good_backup"
    assert f"controller: {why}" in caught.value.message


@pytest.mark.reaches("backup_at_destination")
@pytest.mark.parametrize("wanted", ["latest", OLD.run_id, OLD.name])
@pytest.mark.parametrize("own", [(), ("controller",)], ids=["no archive is here", "one is here"])
def test_what_only_a_destination_has_is_refused_with_its_name(wanted: str, own: tuple[str, ...]) -> None:
    found = {host: catalogue(listed(host)) if host in own else catalogue(away=[], nas=[copied(host)]) for host in NODES}
    with pytest.raises(StepFailed) as caught:
        choose_backup(found, wanted)
    failure = caught.value
    assert failure.reason.name == "backup_at_destination"
    assert f"the destination nas has {OLD.name} (run {OLD.run_id})" in failure.message
    assert "-e alteryx_catalogue_destination=nas" in failure.message


@pytest.mark.parametrize(
    "elsewhere",
    [[], [copied("worker", complete=False, why=["no .sha256"])], [copied("worker", fleet="other")]],
    ids=["nothing", "incomplete", "of another fleet"],
)
def test_a_destination_that_could_not_be_restored_from_is_not_named(elsewhere: list[dict[str, t.Any]]) -> None:
    found = {"controller": catalogue(nas=[copied()]), "worker": catalogue(nas=elsewhere)}
    with pytest.raises(StepFailed) as caught:
        choose_backup(found, OLD.run_id)
    assert caught.value.reason.name == "backup_unknown"


@pytest.mark.parametrize(
    ("wanted", "scope", "changes", "expected"),
    [
        ("latest", "full", {}, True),
        ("latest", "configuration", {}, True),
        ("latest", "full", {"mode": "config"}, False),
        ("latest", "full", {"verified": {"verdict": "not verified"}}, False),
        (OLD.name.lower(), "full", {"verified": {"verdict": "not verified"}}, True),
        (OLD.run_id, "full", {}, True),
        (OLD.run_id, "full", {"verified": {"verdict": "bad"}}, False),
        (OLD.run_id, "full", {"complete": False}, False),
        (NEW.run_id, "full", {}, False),
    ],
)
def test_destinations_are_looked_at_for_what_a_node_does_not_have(
    wanted: str, scope: str, changes: dict[str, t.Any], expected: bool
) -> None:
    assert _choose.holds([listed(**changes)], wanted, scope) is expected
