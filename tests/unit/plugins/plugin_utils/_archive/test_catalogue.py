# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node saw in a destination folder, and what that means."""

from __future__ import annotations

import json
import typing as t
from datetime import UTC, datetime

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _catalogue

FOLDER = r"D:\AlteryxBackups"
PATTERN = "ServerBackup_{mode}_{stamp}"
BASE = "ServerBackup_Full_20260901_020000"
LOG = {"name": "BackupLog_Full_20260901_020000.log", "bytes": 77}


def manifest(**changes: t.Any) -> dict[str, t.Any]:
    return {
        "error": "", "schema": 1, "tool": "alteryx_ops.server_backup 0.1.0", "run_id": "Full_20260901_020000_7f3a",
        "mode": "full", "fleet": "alteryx_prod", "node": "node1", "computer": "AYX01",
        "started": "2026-09-01T02:00:00.123Z", "alteryx_version": "2024.2", "databases": ["AlteryxService"],
        "documents": 1234, "dumped": True, "downtime_seconds": 41.5, "file_count": 45, "file_bytes": 12_900_000,
        "secrets": True, "proof": "counts", "roles": ["controller"], "database_kind": "embedded",
        "data_folder": r"D:\Alteryx", **changes,
    }  # fmt: skip


def verification(**changes: t.Any) -> dict[str, t.Any]:
    return {
        "error": "",
        "verified": "2026-09-01T02:01:12.000Z",
        "method": "read back",
        "verdict": "good",
        "problems": 0,
        "problem": "",
        **changes,
    }


def sidecar(base: str, **changes: t.Any) -> dict[str, t.Any]:
    names = [f"{base}.{ending}" for ending in ("zip", "manifest.json", "secrets.pem")]
    return {"error": "", "names": names, "archive_sha256": "9c1e" * 16, "sha256": "51de" * 16, **changes}


def backup(
    base: str = BASE, without: t.Sequence[str] = (), besides: t.Sequence[str] = (), **changes: t.Any
) -> dict[str, t.Any]:
    """What a node says of one complete backup, but for some of its files."""
    endings = [
        ending
        for ending in ("zip", "manifest.json", "secrets.pem", "sha256", "verify_20260901_020112.json")
        if ending not in without
    ]
    return {
        "base": base,
        "files": [
            {"name": f"{base}.{ending}", "bytes": 5_100_000 if "zip" in ending else 100}
            for ending in (*endings, *besides)
        ],
        "manifest": manifest(),
        "sidecar": sidecar(base),
        "verification": verification(),
        "pin": None,
        "prune": None,
        **changes,
    }


def run_set(**changes: t.Any) -> dict[str, t.Any]:
    """What a node says of the .set.json of a run."""
    return {
        "base": BASE, "error": "", "run_id": "Full_20260901_020000_7f3a", "fleet": "alteryx_prod", "mode": "full",
        "started": "2026-09-01T02:00:00.000Z", "verdict": "OK", "nodes": ["node1"], "bytes": 900, **changes,
    }  # fmt: skip


def facts(
    *backups: dict[str, t.Any], others: int = 0, sets: t.Sequence[dict[str, t.Any]] = (), node: str = "node1"
) -> dict[str, t.Any]:
    return {
        "exists": True,
        "utc": "2026-09-01T03:00:00.000Z",
        "folders": [
            {"name": "", "others": others, "sets": list(sets), "backups": [], "logs": [LOG]},
            {"name": node, "others": 0, "sets": [], "backups": list(backups), "logs": [LOG]},
        ],
    }


def entry(*args: t.Any, **changes: t.Any) -> dict[str, t.Any]:
    ((only,), _unused) = _catalogue.entries(facts(backup(*args, **changes)), FOLDER, PATTERN)
    return only


def test_a_complete_backup_says_everything_that_is_known_of_it() -> None:
    ((found,), foreign) = _catalogue.entries(facts(backup(), sets=[run_set()]), FOLDER, PATTERN)
    assert foreign == 0
    assert found == {
        "id": BASE, "node": "node1", "folder": rf"{FOLDER}\node1", "mode": "full", "stamp": "20260901_020000",
        "started": "2026-09-01T02:00:00.123Z", "run_id": "Full_20260901_020000_7f3a", "run_verdict": "OK",
        "fleet": "alteryx_prod", "computer": "AYX01", "machine_id": "", "tool": "alteryx_ops.server_backup 0.1.0",
        "alteryx_version": "2024.2", "complete": True, "why": [], "bytes": 5_100_000, "archive_sha256": "9c1e" * 16,
        "file_count": 45, "file_bytes": 12_900_000, "databases": ["AlteryxService"], "documents": 1234,
        "downtime_seconds": 41.5, "dumped": True, "secrets": True, "proof": "counts", "roles": ["controller"],
        "database_kind": "embedded", "data_folder": r"D:\Alteryx",
        "verified": {
            "verdict": "good", "at": "2026-09-01T02:01:12.000Z", "method": "read back", "problems": 0, "problem": "",
            "count": 1,
        },
        "sidecars": [
            f"{BASE}.{ending}" for ending in ("manifest.json", "secrets.pem", "sha256", "verify_20260901_020112.json")
        ],
        "pin": None, "partial": False, "pruning": False, "sidecar_sha256": "51de" * 16,
        "files": [
            {"name": f"{BASE}.manifest.json", "bytes": 100},
            {"name": f"{BASE}.secrets.pem", "bytes": 100},
            {"name": f"{BASE}.sha256", "bytes": 100},
            {"name": f"{BASE}.verify_20260901_020112.json", "bytes": 100},
            {"name": f"{BASE}.zip", "bytes": 5_100_000},
            LOG,
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"without": ["sha256"], "sidecar": None}, "no .sha256"),
        (
            {"without": ["sha256", "zip"], "besides": ["zip.partial"], "sidecar": None},
            "only .zip.partial: it is being written, or its run died",
        ),
        ({"without": ["zip"]}, f"{BASE}.zip is missing"),
        ({"without": ["manifest.json"], "manifest": None}, f"{BASE}.manifest.json is missing"),
        ({"without": ["secrets.pem"]}, f"{BASE}.secrets.pem is missing"),
        (
            {"sidecar": sidecar(BASE, error="it has a line that is not '<SHA-256> *<file name>': x", names=[])},
            "its .sha256 cannot be used: it has a line that is not '<SHA-256> *<file name>': x",
        ),
        (
            {"sidecar": sidecar(BASE, names=[f"{BASE}.manifest.json", f"{BASE}.secrets.pem"])},
            f"its .sha256 does not name {BASE}.zip",
        ),
        (
            {"sidecar": sidecar(BASE, names=[f"{BASE}.zip", f"{BASE}.secrets.pem"])},
            f"its .sha256 does not name {BASE}.manifest.json",
        ),
        ({"sidecar": sidecar(BASE, names=[f"{BASE}.zip", f"{BASE}.manifest.json"])}, "its secrets file is missing"),
        (
            {"manifest": manifest(error="it has no list of files")},
            "its manifest cannot be read: it has no list of files",
        ),
        ({"manifest": manifest(schema=2)}, "its manifest has the schema 2, this version knows 1"),
    ],
)
def test_an_incomplete_backup_says_why(changes: dict[str, t.Any], why: str) -> None:
    found = entry(**changes)
    assert (found["complete"], found["why"]) == (False, [why])
    assert f"NOT COMPLETE: {why}" in _catalogue.table([found])


def test_everything_missing_is_listed() -> None:
    assert len(entry(without=["zip", "secrets.pem"])["why"]) == 2


@pytest.mark.parametrize(
    ("fact", "verdict", "problem"),
    [
        (None, "not verified", ""),
        (verification(verdict="bad", problems=2_000_000, problem="a.bson is absent"), "bad", "a.bson is absent"),
        (verification(error="no JSON", verdict="", verified=""), "unreadable", "no JSON"),
        (verification(verdict="splendid"), "unreadable", ""),
    ],
)
def test_only_a_verdict_that_says_good_is_good(fact: dict[str, t.Any] | None, verdict: str, problem: str) -> None:
    verified = entry(verification=fact)["verified"]
    assert (verified["verdict"], verified["problem"]) == (verdict, problem)


def test_newest_first_and_then_by_name() -> None:
    names = [
        "ServerBackup_DB_20260902_020000",
        BASE,
        "ServerBackup_Config_20270101_000000",
        "ServerBackup_DB_20260901_020000",
    ]
    found, _unused = _catalogue.entries(facts(*(backup(name) for name in names)), FOLDER, PATTERN)
    assert [entry["id"] for entry in found] == [names[2], names[0], names[1], names[3]]
    assert [entry["mode"] for entry in found] == ["config", "database", "full", "database"]


def test_foreign_files_are_counted_and_not_listed() -> None:
    photos = {
        "base": "photos",
        "files": [{"name": "photos.zip", "bytes": 1}],
        "manifest": None,
        "sidecar": None,
        "verification": None,
        "pin": None,
        "prune": None,
    }
    package = {
        **photos,
        "base": "app",
        "files": [{"name": "app.manifest.json", "bytes": 1}],
        "manifest": manifest(tool="npm"),
    }
    found, foreign = _catalogue.entries(facts(photos, package, backup(), others=3), FOLDER, PATTERN)
    assert ([entry["id"] for entry in found], foreign) == ([BASE], 5)


def test_a_backup_with_a_name_of_an_older_pattern_is_known_by_its_manifest() -> None:
    found, foreign = _catalogue.entries(
        facts(backup("Old-20250101", manifest=manifest(started="2025-01-01T00:00:00.000Z"))), FOLDER, PATTERN
    )
    assert ([(entry["id"], entry["stamp"], entry["mode"]) for entry in found], foreign) == (
        [("Old-20250101", "20250101_000000", "full")],
        0,
    )


def test_a_backup_without_a_readable_manifest_is_known_by_its_name() -> None:
    found = entry(manifest=manifest(error="no JSON", started="", mode=""))
    assert (found["mode"], found["started"], found["run_id"]) == ("full", "2026-09-01T02:00:00.000Z", "")


@pytest.mark.parametrize("pattern", ["ServerBackup_{mode}_{stamp}", "{stamp}.{mode}+x", "({mode}) {stamp} [{mode}]"])
def test_a_pattern_of_names_finds_the_names_it_makes(pattern: str) -> None:
    match = _catalogue.name_expression(pattern).fullmatch(pattern.format(mode="DB", stamp="20260901_020000"))
    assert match
    assert (match["mode"], match["stamp"]) == ("DB", "20260901_020000")
    assert not _catalogue.name_expression(pattern).fullmatch(pattern.format(mode="Other", stamp="20260901_020000"))


def test_the_table_is_of_fixed_width_and_obeys_no_control_characters() -> None:
    found, _unused = _catalogue.entries(
        facts(backup(), backup("ServerBackup_DB_20260902_020000", without=["zip"]), node="a\x1b[2Jb"), FOLDER, PATTERN
    )
    head, first, second = _catalogue.table(found).splitlines()
    assert {line.index(word) for line, word in ((head, "STATE"), (first, "NOT COMPLETE"), (second, "complete"))} == {
        head.index("STATE")
    }
    assert "\x1b" not in first
    assert second.split() == [
        BASE,
        "a?[2Jb",
        "2026-09-01",
        "02:00:00",
        "full",
        "5.1",
        "MB",
        "1234",
        "42",
        "s",
        "good",
        "2026-09-01",
        "02:01",
        "complete",
    ]


def test_a_configuration_backup_has_no_documents_and_no_downtime() -> None:
    row = _catalogue.table([entry(manifest=manifest(dumped=False, documents=0, downtime_seconds=0.0))]).splitlines()[1]
    assert "MB  -          -" in row
    assert _catalogue.table([]) == "no backups"


def result(
    *backups: dict[str, t.Any], foreign: int = 0, sets: t.Sequence[dict[str, t.Any]] = (), node: str = "node1"
) -> dict[str, t.Any]:
    seen = facts(*backups, sets=sets, node=node)
    found, _unused = _catalogue.entries(seen, FOLDER, PATTERN)
    return {
        "changed": False,
        "folder": FOLDER,
        "exists": True,
        "catalogue": found,
        "foreign_files": foreign,
        "sets": _catalogue.sets(seen),
        "clock_off": 0.0,
    }


def test_a_run_says_of_which_nodes_it_has_archives_and_which_files_are_of_all() -> None:
    (found,) = _catalogue.sets(facts(sets=[run_set(nodes=["node1", "node2"])]))
    assert (found["run_id"], found["verdict"], found["nodes"]) == (run_set()["run_id"], "OK", ["node1", "node2"])
    assert found["files"] == [{"name": f"{BASE}.set.json", "bytes": 900}, LOG]


def mark(**changes: t.Any) -> dict[str, t.Any]:
    """What stays to the last of a backup that is being deleted."""
    return {"error": "", **{key: manifest()[key] for key in ("run_id", "fleet", "mode", "started", "node")}, **changes}


@pytest.mark.parametrize("without", [["sha256"], ["sha256", "zip"], ["sha256", "zip", "manifest.json", "secrets.pem"]])
def test_a_backup_whose_deletion_has_begun_is_not_complete_and_known_to_the_last_file(without: list[str]) -> None:
    gone = {"manifest": None} if "manifest.json" in without else {}
    found = entry(without=without, besides=["prune.json"], sidecar=None, prune=mark(), **gone)
    assert (found["complete"], found["why"], found["pruning"]) == (False, ["its deletion has begun"], True)
    assert (found["run_id"], found["fleet"], found["mode"]) == (manifest()["run_id"], "alteryx_prod", "full")
    assert found["started"] == manifest()["started"]


@pytest.mark.parametrize(("until", "words"), [("", "pinned"), ("2026-12-31T23:59:59Z", "pinned until 2026-12-31")])
def test_a_list_shows_a_pin(until: str, words: str) -> None:
    pin = {"error": "", "at": "", "who": "ops", "why": "", "until": until}
    assert _catalogue.table([entry(pin=pin)]).endswith(f"complete, {words}")


def test_the_list_of_a_fleet_goes_node_by_node_and_hides_no_node() -> None:
    nodes = {
        "node1": result(backup(), backup("ServerBackup_DB_20260902_020000", without=["zip"]), foreign=2),
        "node2": {"failed": True, "msg": "node2: no answer. Check", "message": "no\nanswer"},
        "node3": {**result(), "exists": False},
    }
    listed = _catalogue.listing(nodes, "2026-09-03T00:00:00.000Z")
    assert json.loads(json.dumps(listed)) == listed
    assert [listed["nodes"][host]["error"] for host in nodes] == ["", "no\nanswer", ""]
    blocks = _catalogue.listing_text(listed).split("\n\n")
    assert blocks[0].startswith(
        rf"node1  {FOLDER}: 2 backups, 1 of them complete and verified good; 2 files that belong to no backup"
        "\nBACKUP "
    )
    assert blocks[1:] == [
        "node2: could not be asked: no answer",
        rf"node3  {FOLDER}: there is no such folder on this node, so no backup",
    ]


NOW = datetime(2026, 9, 3, 2, 0, 0, tzinfo=UTC)
DATABASE = "ServerBackup_DB_20260902_020000"


def problems(nodes: dict[str, dict[str, t.Any]], **asked: t.Any) -> list[tuple[str, str]]:
    return _catalogue.problems(_catalogue.listing(nodes, "2026-09-03T02:00:00.000Z"), NOW, **asked)


def started(base: str, time: str) -> dict[str, t.Any]:
    return backup(base, manifest=manifest(started=time))


def test_the_newest_backup_may_be_as_old_as_is_allowed() -> None:
    nodes = {"node1": result(started(DATABASE, "2026-09-02T02:00:00.000Z"), started(BASE, "2026-09-01T02:00:00.000Z"))}
    assert problems(nodes, max_age=86400) == []
    assert problems(nodes, max_age=86399) == [
        ("node1", f"the newest backup, {DATABASE}, is 24.0 h old; 24.0 h are allowed")
    ]
    assert problems(nodes, max_age=86400, mode="full") == [
        ("node1", f"the newest full backup, {BASE}, is 2.0 days old; 24.0 h are allowed")
    ]


def test_one_that_is_dated_in_the_future_does_not_silence_the_alarm() -> None:
    ahead, old = started(BASE, "2027-09-01T02:00:00.000Z"), started(DATABASE, "2026-08-01T02:00:00.000Z")
    ((_node, text),) = problems({"node1": result(ahead, old)}, max_age=86400)
    assert text.startswith(f"the newest backup, {DATABASE}, is 33.0 days old")
    assert problems({"node1": result(ahead)}, max_age=86400) == [("node1", "every good backup is dated in the future")]


def test_one_that_lacks_a_part_is_said_and_is_not_enough() -> None:
    nodes = {"node1": result(backup(manifest=manifest(status="partial")))}
    assert problems(nodes) == [("node1", "there is no good backup: every one is incomplete or was found to be bad")]
    listed = _catalogue.listing(nodes, "2026-09-03T02:00:00.000Z")
    assert "complete, but its run did not take all that it was to take" in _catalogue.listing_text(listed)


def test_what_is_incomplete_or_bad_is_no_backup_and_a_bad_one_is_said() -> None:
    bad = backup(verification=verification(verdict="bad", problem="a.bson is absent"))
    nodes = {"node1": result(bad, backup(DATABASE, without=["zip"])), "node2": {"failed": True, "msg": "no answer"}}
    assert problems(nodes) == [
        ("node1", f"{BASE} is bad: a.bson is absent"),
        ("node1", "there is no good backup: every one is incomplete or was found to be bad"),
    ]


def test_one_backup_of_the_database_is_enough_for_a_fleet() -> None:
    nodes = {"node1": result(backup(DATABASE)), "node2": result(backup())}
    fleets = {"prod": ["node1", "node2"], "test": ["node2"]}
    assert problems(nodes, mode="database", fleets=fleets) == [
        ("test", "there is no good database backup: every one is incomplete or was found to be bad")
    ]


def test_a_row_does_not_contradict_itself() -> None:
    incomplete = _catalogue.table([entry(without=["zip"])]).splitlines()[1]
    assert "NOT COMPLETE" in incomplete
    assert "good" not in incomplete
    fact = verification(verdict="bad", problems=3, problem="a.bson is absent")
    bad = _catalogue.table([entry(verification=fact)]).splitlines()[1]
    assert bad.endswith("  BAD: a.bson is absent (and 2 more)")
    assert "complete" not in bad


def test_what_is_at_destinations_only_is_listed_with_its_places() -> None:
    old = "ServerBackup_Full_20260801_020000"
    pin = {"error": "", "at": "2026-09-01T05:00:00.000Z", "who": "ops", "why": "", "until": ""}
    catalogue = result(backup())["catalogue"]
    nas1 = result(backup(pin=pin), backup(old))["catalogue"]
    nas2 = result(backup(old, without=["zip"]))["catalogue"]
    places = [{"destination": "nas1", "catalogue": nas1}, {"destination": "nas2", "catalogue": nas2}]
    elsewhere = _catalogue.add_copies(catalogue, places)
    assert [place["destination"] for place in catalogue[0]["copies"]] == ["nas1"]
    assert [(entry["id"], [place["destination"] for place in entry["copies"]]) for entry in elsewhere] == [
        (old, ["nas1", "nas2"])
    ]
    lines = _catalogue.table(catalogue, elsewhere).splitlines()[1:]
    first, second = (" ".join(line.split()) for line in lines)
    assert first.endswith("nas1 (pinned) complete")
    assert second.endswith("nas1, nas2 (not complete) not in the archive directory")
