# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How jobs of a node fail: the reasons that only the node itself can give."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tests import reasons, records
from tests.lab import layout
from tests.node.engine import Engine

pytestmark = pytest.mark.wine

STATE_JOBS = r"C:\ProgramData\AlteryxOps\jobs"


# Wine keeps only a part of an access list.
WARN = MappingProxyType({"ALTERYX_OPS_FOLDER_TRUST": "warn"})


def refused(engine: Engine, call: str, environment: Mapping[str, str] = WARN) -> tuple[str, str]:
    """Reason and message of a call that fails."""
    # The control node starts and asks jobs by it; it is not among the code that runs without Ansible.
    module = engine.path(r"C:\scripts\NodeJob.psm1")
    module.parent.mkdir(exist_ok=True)
    shutil.copyfile(layout.ROOT / "plugins" / "module_utils" / module.name, module)
    load = (
        "New-Module -Name NodeJob -ScriptBlock "
        rf"([scriptblock]::Create([IO.File]::ReadAllText('C:\scripts\{module.name}'))) | Import-Module"
    )
    script = f"""{load}
    Import-NodeType -Name 'ProcessTable'
    try {{ $null = {call} }}
    catch {{ ConvertTo-NodeJson -InputObject (Get-NodeFailure -ErrorRecord $_) }}"""
    answer = engine.run(script, environment=environment)
    failure = json.loads(answer)
    reasons.saw(failure["reason"])
    return failure["reason"], failure["message"]


@pytest.fixture
def job(engine: Engine) -> Path:
    """The folder of a job whose process is gone and that still says it runs."""
    folder = engine.path(rf"{STATE_JOBS}\Gone-1")
    folder.mkdir(parents=True, exist_ok=True)
    status = {
        "run_id": "r",
        "state": "running",
        "phase": "dump",
        "done_bytes": 0,
        "total_bytes": 0,
        "message": "",
        "process_id": 99_999_999,
        "process_birth": 1,
        "job": "window_job",
    }
    records.write(folder / "status.json", status, 4096)
    return folder


@pytest.mark.reaches("job_exists")
@pytest.mark.long
def test_a_job_there_already_is_not_started_again(engine: Engine, job: Path) -> None:
    reason, message = refused(engine, f"Start-NodeJob -Id '{job.name}' -Job 'window_job' -Spec '{{}}' -Code '{{}}'")
    assert (reason, job.name in message) == ("job_exists", True)
    assert [file.name for file in job.iterdir()] == ["status.json"]


@pytest.mark.reaches("job_died")
def test_a_job_whose_process_is_gone_has_died(engine: Engine, job: Path) -> None:
    reason, message = refused(engine, f"Get-NodeJobStatus -Id '{job.name}' -WaitSeconds 5")
    assert reason == "job_died", message
    assert "process 99999999" in message
    assert "during dump" in message


@pytest.mark.reaches("job_lost")
@pytest.mark.long
def test_an_unknown_job_counts_as_lost(engine: Engine) -> None:
    assert refused(engine, "Get-NodeJobStatus -Id 'Never-1'")[0] == "job_lost"


@pytest.mark.long
def test_jobs_in_a_folder_that_others_may_write_to_are_not_looked_at(engine: Engine, job: Path) -> None:
    reason, message = refused(engine, "@(Get-NodeJob)", {})
    assert reason == "folder_untrusted"
    assert r"C:\ProgramData\AlteryxOps belongs to" in message
    assert (
        refused(engine, "Start-NodeJob -Id 'New-1' -Job 'window_job' -Spec '{}' -Code '{}'", {})[0]
        == "folder_untrusted"
    )
    assert [entry.name for entry in job.parent.iterdir()] == [job.name]
