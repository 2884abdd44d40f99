# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A window whose dump is complete gives it, whatever goes wrong beside it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.node.engine import Engine, JobEnd
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


def test_a_file_of_any_depth_is_listed_with_its_size(engine: Engine) -> None:
    deep = engine.path(r"D:\listed") / ("d" * 120) / ("e" * 120) / ("f" * 120)
    deep.mkdir(parents=True, exist_ok=True)
    (deep / "a.bson").write_bytes(b"12345")
    said = engine.run(r"""
    Import-NodeType -Name 'NodeDisk'
    foreach ($file in Get-FolderFile -Path 'D:\listed') { '{0} {1}' -f $file.path, $file.bytes }
    """)
    assert said.split() == ["/".join(("d" * 120, "e" * 120, "f" * 120, "a.bson")), "5"]
