# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a run shows what its outcome says."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from defusedxml import ElementTree

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _report
from tests import schemas, timeline

NODE = "alteryx-lab-1"


@pytest.fixture
def outcome() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(timeline.SAMPLE.read_text(encoding="utf-8"))
    return copy.deepcopy(content)


def texts(picture: str) -> list[str]:
    return [element.text for element in ElementTree.fromstring(picture).iter() if element.text and element.text.strip()]


def test_the_sample_is_an_outcome_of_a_good_run(outcome: dict[str, Any]) -> None:
    schemas.assert_valid("outcome", outcome)
    assert (outcome["verdict"], outcome["mode"]) == ("OK", "full")


def test_every_part_of_a_run_has_a_row_with_its_seconds(outcome: dict[str, Any]) -> None:
    bars = {each.label: each for each in timeline.read_bars(outcome, NODE)}
    assert list(bars) == [
        "checks", "lease", "window job", "stop", "dump", "start", "release", "configuration", "archive", "verify",
        "report",
    ]  # fmt: skip
    parts = outcome["nodes"][NODE]["downtime"]
    for part in ("stop", "dump", "start"):
        assert bars[part].end - bars[part].begin == pytest.approx(parts[part])
    shown = texts(timeline.draw(outcome))
    assert {"dump", f"{parts['dump']:.1f} s"} <= set(shown)


def test_rows_follow_each_other_and_the_service_is_down_inside_of_the_window_job(outcome: dict[str, Any]) -> None:
    bars = {each.label: each for each in timeline.read_bars(outcome, NODE)}
    down = timeline.downtime(outcome, NODE)
    assert down
    assert bars["window job"].begin < down[0] < down[1] < bars["window job"].end
    assert (bars["stop"].begin, bars["start"].end) == down
    order = [bars[name] for name in ("stop", "dump", "start", "release", "archive", "verify", "report")]
    assert [each.begin for each in order] == sorted(each.begin for each in order)
    assert order[-1].end <= outcome["seconds"]


def test_a_run_that_stops_nothing_has_no_downtime(outcome: dict[str, Any]) -> None:
    node = outcome["nodes"][NODE]
    node["downtime"] = dict.fromkeys(node["downtime"], 0.0)
    for name in ("drain", "lease", "gate", "window", "restore", "release"):
        del node["steps"][name]
    outcome["mode"] = "config"
    shown = texts(timeline.draw(outcome))
    assert f"Config backup of {NODE}: 50 s, the service runs" in shown
    assert not {"down", "stop", "window job"} & set(shown)


def test_of_a_fleet_the_node_with_the_dump_is_shown(outcome: dict[str, Any]) -> None:
    worker = copy.deepcopy(outcome["nodes"][NODE])
    del worker["steps"]["window"]
    outcome["nodes"] = {"a<worker": worker, "a&controller": outcome["nodes"][NODE]}
    assert timeline.controller(outcome) == "a&controller"
    assert any(text.startswith("Full backup of a&controller: down for") for text in texts(timeline.draw(outcome)))


def test_a_long_run_has_its_marks_in_minutes(outcome: dict[str, Any]) -> None:
    outcome["seconds"] = 3000.0
    shown = texts(timeline.draw(outcome))
    assert "10 min" in shown
    assert "50 min" in shown
    assert "5 min" not in shown


def test_the_readme_shows_the_summary_of_the_run_in_the_picture(outcome: dict[str, Any]) -> None:
    # The README says that it leaves out two warnings. The run is older than copies, retention and adopted dumps.
    assert len(outcome["warnings"]) == 2
    outcome |= {"warnings": [], "copies": [], "retention": {"deleted": [], "text": "", "destinations": []}}
    outcome["nodes"][NODE]["dump_of_run"] = ""
    shown = _report.summary(outcome, f"/srv/ansible/backup-runs/{outcome['name']}")
    assert f"```\n{shown}\n```\n" in (timeline.ROOT / "README.md").read_text(encoding="utf-8")
