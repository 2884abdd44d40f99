# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A window whose dump is complete gives it, whatever goes wrong beside it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from tests.node.engine import JOBS, Engine, JobEnd, watching
from tests.node.window import PWSH, RUN, WINDOW_CODE, running_service, window_spec

pytestmark = pytest.mark.wine

DUMP = rf"D:\window\{RUN}\files\database"


def window(engine: Engine, name: str, doubles: str, **changes: Any) -> JobEnd:
    """Run a window on the doubles of service and lease, and on more of them."""
    running_service(engine, doubles)
    spec = {**window_spec(), "executable": PWSH, "tried_verb": "", "archive_folder": ""}
    return engine.run_job("window_job", {**spec, **changes}, name=name, code=WINDOW_CODE, timeout=200)


def quick(command: str) -> list[dict[str, Any]]:
    """A tool that does this and ends."""
    return [{"config": "", "arguments": ["-NoProfile", "-Command", command]}]


def test_the_last_heartbeat_is_written_though_another_program_holds_the_file(engine: Engine) -> None:
    held = r"""
    $script:refused = 0
    function Write-LeaseHeartbeat {
        param($Beat)
        if (-not $Beat.Finished) { return }
        $script:refused++
        if ($script:refused -lt 4) { throw (New-Object System.IO.IOException 'it is held') }
        Write-Fact -Text 'finished'
    }
    """
    end = window(engine, "held-heartbeat", held, dumps=quick("42"))
    assert end.result["state"] == "succeeded", end.result
    assert engine.path(r"D:\window\facts.txt").read_text(encoding="ascii").split() == ["stop", "start", "finished"]


@pytest.mark.long
def test_the_log_of_a_window_tells_when_each_thing_happened_and_the_start_only_once_it_was_asked_for(
    engine: Engine,
) -> None:
    late = r"""
    function Start-ServiceSurely {
        param($Name, $TimeoutSeconds, $OnTick)
        if ([IO.File]::ReadAllText('C:\jobs\told\job.log') -match 'starting') { Write-Fact -Text 'told-too-soon' }
        Write-Fact -Text 'start'
        [IO.File]::WriteAllText('D:\window\service.txt', 'Running')
        Start-Sleep -Milliseconds 700
        & $OnTick
        @{
            reached = $true; running_after = 0.1; error = 0; problem = 'error 1056'; gave_up = $false
            states = @(@{ state = 'Running'; at = '2026-09-01T02:00:00.000Z' })
        }
    }
    """
    end = window(engine, "told", late, dumps=quick("42"))
    assert end.result["state"] == "succeeded", end.result
    assert "told-too-soon" not in engine.path(r"D:\window\facts.txt").read_text(encoding="ascii")
    events = {event["text"].split(" to ")[0]: event for event in end.result["events"]}
    name = window_spec()["service_name"]
    assert list(events) == [
        f"stopping {name}", f"{name} is Stopped", "dumping", f"starting {name}",
        "a start request was refused: error 1056", f"{name} is Running",
    ]  # fmt: skip
    assert events[f"{name} is Running"]["at"] == "2026-09-01T02:00:00.000Z"
    # Asked for before the wait for it began.
    refused = events["a start request was refused: error 1056"]
    assert refused["level"] == "WARNING"
    moments = [datetime.fromisoformat(event["at"]) for event in (events[f"starting {name}"], refused)]
    assert (moments[1] - moments[0]).total_seconds() >= 0.7
    assert f"{events['dumping']['at']} INFO dumping to " in end.log


@pytest.mark.long
def test_a_dump_tells_its_size_its_collections_and_the_age_of_its_phase(engine: Engine) -> None:
    tool = (
        f"[IO.File]::WriteAllText('{DUMP}\\users.bson', 'x' * 100); [IO.File]::WriteAllText('{DUMP}\\a.bson.gz', 'x');"
        f"[IO.File]::WriteAllText('{DUMP}\\users.metadata.json', '{{}}'); Start-Sleep -Seconds 5"
    )
    seen: list[dict[str, Any]] = []

    def look() -> bool:
        file = engine.path(rf"{JOBS}\progress\status.json")
        status = json.loads(file.read_text(encoding="utf-8"))
        seen.append(status)
        return status["phase"] == "dump" and status["collections"] == 2

    with watching(look):
        end = window(engine, "progress", "", dumps=quick(tool))
    assert end.result["state"] == "succeeded", end.result
    assert (seen[-1]["phase"], seen[-1]["collections"], seen[-1]["done_bytes"]) == ("dump", 2, 103)
    began = [status["phase_began"] for status in (*seen, end.status)]
    assert began == sorted(began)
    # Once for each phase, however often the job tells.
    assert len({(status["phase"], status["phase_began"]) for status in seen}) == len(
        {status["phase"] for status in seen}
    )


@pytest.mark.long
def test_a_list_of_processes_that_fails_after_the_dump_does_not_lose_it(engine: Engine) -> None:
    # Before the dump every name is asked for, after it mongod alone.
    fails = r"""
    function Get-AlteryxProcess {
        param($BinFolder, $Name, [switch] $Surely)
        if (@($Name).Count -eq 1) { throw (New-Object System.ComponentModel.Win32Exception 24) }
    }
    """
    end = window(engine, "no-list", fails, method="emongodump")
    assert end.result["state"] == "succeeded", end.result
    assert "whether a mongod still runs is not known" in end.log
    assert end.result["restored"] is True


def test_a_tool_that_takes_the_dump_folder_away_hides_nothing_else(engine: Engine) -> None:
    end = window(engine, "no-folder", r"""
    function Invoke-NativeProcess {
        param($FileName, $RawArguments, $TimeoutSeconds, $TickSeconds, $OnStart, $OnTick, [switch] $Utf8)
        [IO.Directory]::Delete('""" + DUMP + r"""')
        @{ exit_code = 3; stdout = 'said'; stderr = ''; timed_out = $false; stopped_because = ''; seconds = 1.0 }
    }
    """, method="emongodump")  # fmt: skip
    assert end.result["state"] == "succeeded", end.result
    assert (end.result["restored"], end.result["exit_code"], end.result["output"], end.result["files"]) == (
        True,
        3,
        "said",
        [],
    )


@pytest.mark.long
def test_a_file_of_any_depth_is_listed_with_its_size(engine: Engine) -> None:
    deep = engine.path(r"D:\listed") / ("d" * 120) / ("e" * 120) / ("f" * 120)
    deep.mkdir(parents=True, exist_ok=True)
    (deep / "a.bson").write_bytes(b"12345")
    said = engine.run(r"""
    Import-NodeType -Name 'NodeDisk'
    foreach ($file in Get-FolderFile -Path 'D:\listed') { '{0} {1}' -f $file.path, $file.bytes }
    """)
    assert said.split() == ["/".join(("d" * 120, "e" * 120, "f" * 120, "a.bson")), "5"]
