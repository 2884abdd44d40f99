# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal says of the run that would follow."""

from __future__ import annotations

import copy
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _files, _prediction, _report
from tests.unit.plugins import samples


def outcome(seconds: float, **changes: t.Any) -> dict[str, t.Any]:
    """Of an earlier run."""
    return {
        "downtime": {"total": seconds},
        "nodes": {"node1": {"archive_bytes": 5_100_000, "dump_bytes": 12_800_000}},
        **changes,
    }


def described(mode: str = "full", earlier: t.Sequence[t.Mapping[str, t.Any]] = ()) -> str:
    steps = samples.steps(mode)
    return "\n".join(_prediction.describe_run(samples.plan(mode), {"node1": steps}, earlier))


def test_amounts_and_space_of_a_node_are_told() -> None:
    text = described(earlier=[outcome(8.2)])
    assert "The service of node1 would be stopped, and started again after the dump." in text
    assert "node1 would give a dump (the last one had 12.8 MB, the data files have " in text
    assert "2 critical files of 300 B" in text
    assert "2 secrets, which could be read just now" in text
    assert "an archive (the last one had 5.1 MB" in text


def test_without_an_earlier_run_no_size_is_invented() -> None:
    assert "a dump (its size is not known, the data files have " in described()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ([], "The downtime is not known"),
        ([8.25], "The downtime was 8.2 s in the last run"),
        ([8.2, 30.0, 12.0], "The downtime was 8.2 to 30.0 s in the last 3 runs"),
    ],
)
def test_the_downtime_is_the_range_of_the_last_runs(seconds: list[float], words: str) -> None:
    assert words in described(earlier=[outcome(each) for each in seconds])


def test_in_a_fleet_the_downtime_of_the_ui_is_told_before_that_of_the_controller() -> None:
    plan = samples.plan("full")
    plan["nodes"]["ui1"] = {**plan["nodes"]["node1"], "name": "ui1", "dumps": False, "files": [], "secrets": []}
    earlier = [outcome(8.2, users_downtime={"node": "ui1", "total": 21.5}), outcome(9.0)]
    lines = _prediction.describe_run(plan, {"node1": samples.steps("full")}, earlier)
    first = next(index for index, line in enumerate(lines) if line.startswith("The downtime of the UI was 21.5 s"))
    assert lines[first + 1].startswith("The downtime of node1 was 8.2 to 9.0 s")


def test_without_a_stop_there_is_no_downtime() -> None:
    text = described("config")
    assert "No service would be stopped." in text
    assert "downtime" not in text


def test_only_good_runs_of_the_fleet_and_mode_count_and_files_that_cannot_be_read_do_not(tmp_path: Path) -> None:
    good = {"verdict": "OK", "fleet": "prod", "mode": "full"}
    contents: list[t.Any] = [{**good, "started": f"2026-09-0{day}T02:00:00Z"} for day in (1, 2)]
    contents += [
        {**good, "started": "x", **other} for other in ({"fleet": "test"}, {"verdict": "FAILED"}, {"mode": "x"})
    ]
    for number, content in enumerate([*contents, ["no outcome"], {}]):
        write_outcome(tmp_path / f"Full_2026090{number + 1}_020000_7f3a", json.dumps(content))
    write_outcome(tmp_path / "Full_20260909_020000_7f3a", "{")
    write_outcome(tmp_path / "Config_20260903_020000_7f3a", json.dumps({**good, "started": "x"}))
    found = _files.read_outcomes(tmp_path, "prod", "full")
    assert [each["started"] for each in found] == ["2026-09-02T02:00:00Z", "2026-09-01T02:00:00Z"]
    assert list(_files.read_outcomes(tmp_path / "absent", "prod", "full")) == []


def write_outcome(folder: Path, text: str) -> None:
    """The report of one run."""
    folder.mkdir()
    (folder / "outcome.json").write_text(text, encoding="utf-8")


def test_the_last_run_tells_how_long_each_phase_of_a_dump_took_and_how_large_it_was(tmp_path: Path) -> None:
    steps = samples.steps()
    composed = _report.compose("full", {"node1": steps}, False, "2026-09-01T02:05:00.000Z", 1300.0)
    # A dump without a stop has no downtime, and a node without a dump is nothing to compare with.
    running, worker = copy.deepcopy(composed["nodes"]["node1"]), copy.deepcopy(composed["nodes"]["node1"])
    running["downtime"] = dict.fromkeys(running["downtime"], 0.0)
    worker["dump_bytes"] = 0
    composed["nodes"] |= {"running": running, "worker": worker, "damaged": {}}
    write_outcome(tmp_path / samples.RUN_ID, json.dumps(composed))
    assert _files.read_last_run(tmp_path, "alteryx_prod", "full") == {
        "node1": {"seconds": {"stop": 3.0, "dump": 30.0, "start": 7.8}, "bytes": 12_800_000},
        "running": {"seconds": {"stop": 0.0, "dump": 0.9, "start": 0.0}, "bytes": 12_800_000},
    }
    assert _files.read_last_run(tmp_path, "alteryx_prod", "database") == {}
