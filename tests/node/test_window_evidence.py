# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a window does around emongodump: a verb is tried before the stop, and what the tool leaves in logs is read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.node.engine import Engine
from tests.node.window import RUN, WINDOW_CODE, facts, running_service, window_spec

pytestmark = pytest.mark.wine

VERB = """
function Get-VerbAnswer {
    param($Executable, $Verb, $TimeoutSeconds)
    Write-Fact -Text "verb:$Verb"
    @{ text = ''; problem = PROBLEM }
}
"""
COUNTED = "done dumping AlteryxService.AS_Queue (3 documents)"
# A tool that prints nothing and leaves a log where it dumps.
LOGS = rf"""
function Request-ServiceStop {{
    param($Name)
    Write-Fact -Text 'stop'
    [IO.File]::WriteAllText('D:\window\service.txt', 'Stopped')
    [IO.File]::WriteAllText('D:\window\{RUN}\files\database\emongodump.log', '{COUNTED}')
}}
function Read-LastDump {{ param($Folder) @{{ name = ''; collections = @() }} }}
"""


def vendor_spec(verb: str) -> dict[str, Any]:
    """A window with emongodump; a program that does nothing stands for the service's own."""
    return {**window_spec(), "method": "emongodump", "executable": r"C:\windows\system32\hostname.exe",
            "tried_verb": verb, "archive_folder": r"D:\nowhere"}  # fmt: skip


def test_system_that_may_not_read_the_keys_stops_nothing(engine: Engine) -> None:
    folder = running_service(engine, VERB.replace("PROBLEM", "'ended with exit code 5'"))
    end = engine.run_job("window_job", vendor_spec("getemongopassword"), code=WINDOW_CODE)
    assert (end.result["state"], end.result.get("reason")) == ("failed", "verb_unusable"), end.result
    assert "getemongopassword, run by the account of the window job, ended with exit code 5" in end.result["msg"]
    assert facts(folder) == ["verb:getemongopassword"]


def test_counts_in_a_log_of_the_dump_folder_are_told(engine: Engine) -> None:
    folder = running_service(engine, VERB.replace("PROBLEM", "''") + LOGS)
    end = engine.run_job("window_job", vendor_spec("getemongopassword"), code=WINDOW_CODE)
    assert end.result["state"] == "succeeded", end.result
    assert facts(folder) == ["verb:getemongopassword", "stop", "start", "finished"]
    assert COUNTED in end.result["output"]
