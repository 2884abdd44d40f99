# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report is written on the control node whatever happened."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_report import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report._steps import STEPS
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness


def reported(
    directory: Path, hostvars: dict[str, dict[str, t.Any]], state: str = "published", check_mode: bool = False
) -> dict[str, t.Any]:
    variables = {
        "ansible_play_hosts_all": list(hostvars),
        "hostvars": harness.HostVariables(
            {host: {STEPS[step].variable: result for step, result in steps.items()} for host, steps in hostvars.items()}
        ),
    }
    arguments = {"state": state, "mode": "full", "directory": str(directory)}
    return harness.run(ActionModule, arguments, variables=variables, check_mode=check_mode)


def test_outcome_and_log_are_written_into_a_folder_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = reported(tmp_path / "runs", {"node1": samples.steps()})
    folder = tmp_path / "runs" / samples.RUN_ID
    assert result["directory"] == str(folder)
    assert {file.name for file in folder.iterdir()} == {"outcome.json", f"BackupLog_Full_{samples.STAMP}.log"}
    assert json.loads((folder / "outcome.json").read_text()) == result["outcome"]
    assert result["exit_code"] == 0
    assert "BACKUP OK" in capsys.readouterr().out


def test_composed_writes_nothing_and_returns_what_lies_beside_the_archives(tmp_path: Path) -> None:
    result = reported(tmp_path / "runs", {"node1": samples.steps()}, state="composed")
    assert not (tmp_path / "runs").exists()
    files = result["publish"]["node1"]["files"]
    assert set(files) == {
        f"ServerBackup_Full_{samples.STAMP}.set.json",
        f"BackupLog_Full_{samples.STAMP}.log",
        rf"node1\BackupLog_Full_{samples.STAMP}.log",
    }
    assert json.loads(files[f"ServerBackup_Full_{samples.STAMP}.set.json"])["verdict"] == "OK"


def test_a_run_that_failed_before_its_plan_is_reported_too(tmp_path: Path) -> None:
    result = reported(tmp_path, {"node1": {"request": samples.failed("no_recipient", 3)}})
    assert not result.get("failed")
    assert (result["exit_code"], result["publish"]) == (3, {})
    assert (Path(result["directory"]) / "outcome.json").exists()


def test_a_skipped_step_counts_as_one_that_did_not_happen(tmp_path: Path) -> None:
    steps = samples.steps()
    steps["archive"] = {"skipped": True, "changed": False}
    outcome = reported(tmp_path, {"node1": steps}, state="composed")["outcome"]
    assert outcome["verdict"] == "FAILED"
    assert "no archive" in [failure["message"] for failure in outcome["failures"]]


def test_what_only_the_report_has_found_lets_it_fail_so_that_no_play_ends_green(tmp_path: Path) -> None:
    steps = samples.steps()
    del steps["archive"]
    result = reported(tmp_path, {"node1": steps})
    assert (result["failed"], result["exit_code"], result["node"]) == (True, 1, "node1")
    assert json.loads((tmp_path / samples.RUN_ID / "outcome.json").read_text())["verdict"] == "FAILED"


@pytest.mark.reaches("report_failed")
def test_a_report_that_cannot_be_written_is_a_failure_with_the_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").write_text("a file, no folder")
    result = reported(tmp_path / "runs", {"node1": samples.steps()})
    assert result["failed"] is True
    assert str(tmp_path / "runs") in result["message"]
    said = capsys.readouterr().out
    assert "BACKUP OK" in said
    assert " report   not written: " in said


def test_publishing_again_replaces_the_files_and_leaves_no_drafts(tmp_path: Path) -> None:
    for _unused in range(2):
        result = reported(tmp_path, {"node1": samples.steps()})
    assert len(list(Path(result["directory"]).iterdir())) == 2


def test_a_prediction_is_no_backup(tmp_path: Path) -> None:
    assert reported(tmp_path, {"node1": samples.steps()}, check_mode=True)["outcome"]["verdict"] == "PREDICTED"
