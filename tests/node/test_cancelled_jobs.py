# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that are cancelled end by themselves, whole; one that does not listen is ended."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator

import pytest

from tests import nightly
from tests.lab import layout
from tests.node.archives import Staged
from tests.node.engine import JOBS, Engine, JobEnd, watching
from tests.node.window import RUN, WINDOW_CODE, dump_spec, facts, running_service, window_spec

pytestmark = pytest.mark.wine

ENDING = "ending, because it was cancelled"


@contextlib.contextmanager
def cancelling(engine: Engine, name: str, phase: str) -> Iterator[list[str]]:
    """Cancel the job of that name once it is in a phase and has told progress, as Stop-NodeJob does; gives the
    phase in which that was."""
    folder, seen = engine.path(rf"{JOBS}\{name}"), list[str]()

    def cancel() -> bool:
        status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        if status["phase"] != phase:
            return False
        (folder / "cancel").touch()
        seen.append(status["phase"])
        return True

    with watching(cancel):
        yield seen


def assert_cancelled(end: JobEnd, phase: str) -> None:
    assert (end.result["state"], end.result.get("reason")) == ("failed", "job_died"), end.result
    assert end.result["msg"].lower().startswith("the job was cancelled during"), end.result
    assert end.result["msg"].endswith(phase)
    assert end.status["state"] == "failed"


@pytest.mark.long
def test_an_archive_that_is_cancelled_leaves_nothing(engine: Engine) -> None:
    staged = Staged(engine)
    staged.put_sparse("a-big.zip", 2_000_000_000)
    with cancelling(engine, staged.name, "archive") as seen:
        end = staged.write(secrets_file="")
    assert seen == ["archive"]
    assert_cancelled(end, "archive")
    assert staged.published() == []
    # What was dumped is still there.
    assert [file.name for file in staged.files.iterdir()] == ["a-big.zip"]


@pytest.mark.long
def test_a_verification_that_is_cancelled_gives_no_verdict(engine: Engine) -> None:
    staged = Staged(engine)
    staged.put_sparse("a-big.zip", 300_000_000)
    assert staged.write().result["state"] == "succeeded"
    spec = {"run_id": "r", "folder": rf"D:\{staged.name}\archives", "base_name": "Backup", "stamp": "1", "place": None}
    assert_cancelled(engine.run_job("verify_job", spec, cancelled=True), "read back")
    assert not list(staged.folder.glob("*.verify_*"))


def test_a_dump_that_is_cancelled_ends_its_tool(engine: Engine) -> None:
    with cancelling(engine, "cancelled-dump", "dump"):
        end = engine.run_job("dump_job", dump_spec("cancelled-dump"), name="cancelled-dump")
    assert_cancelled(end, "the dump")
    assert end.status["message"] == ENDING
    assert not engine.path(r"D:\cancelled-dump\done.txt").exists()
    assert not engine.path(rf"D:\cancelled-dump\{RUN}\mongodump.config").exists()


@pytest.mark.parametrize("phase", nightly.after_first(["dump", "stop", "begin"]))
def test_a_window_that_is_cancelled_brings_the_service_back(engine: Engine, phase: str) -> None:
    folder = running_service(engine)
    if phase == "stop":
        (folder / "slow").touch()
    name = f"cancelled-window-{phase}"
    with cancelling(engine, name, phase):
        end = engine.run_job("window_job", window_spec(), name=name, code=WINDOW_CODE, cancelled=phase == "begin")
    assert_cancelled(end, "the dump" if phase == "dump" else phase)
    assert (folder / "service.txt").read_text(encoding="ascii") == "Running"
    assert facts(folder) == (["start", "finished"] if phase == "begin" else ["stop", "start", "finished"])
    assert end.result["restored"] is True
    assert not (folder / "done.txt").exists()


# A process that says it is a job, and Stop-NodeJob.
STOP = r"""
$code = [scriptblock]::Create([IO.File]::ReadAllText('C:\scripts\NodeJob.psm1'))
New-Module -Name NodeJob -ScriptBlock $code | Import-Module
Import-NodeType -Name 'ProcessTable'
$folder = 'C:\ProgramData\AlteryxOps\jobs\Asked-1'
$null = [IO.Directory]::CreateDirectory($folder)
$process = [Diagnostics.Process]::Start('C:\pwsh-win-x64\pwsh.exe', '-NoProfile -Command "{does}"')
New-NodeRecord -Path "$folder\status.json" -Length 4096 -Data @{{
    run_id = 'r'; job = 'archive_job'; state = 'running'; phase = '{phase}'
    done_bytes = 0; total_bytes = 0; message = '{message}'
    process_id = $process.Id; process_birth = Get-ProcessBirth -ProcessId $process.Id
}}
$watch = [Diagnostics.Stopwatch]::StartNew()
$was = Stop-NodeJob -Id 'Asked-1'
$seconds = $watch.Elapsed.TotalSeconds
$null = $process.WaitForExit(5000)
ConvertTo-NodeJson -InputObject @{{
    was = $was; seconds = $seconds; ended = $process.HasExited; code = $process.ExitCode
    asked = [IO.File]::Exists("$folder\cancel")
}}
"""
LISTENS = (
    r"while (-not [IO.File]::Exists(''C:\ProgramData\AlteryxOps\jobs\Asked-1\cancel'')) "
    r"{ Start-Sleep -Milliseconds 100 }; exit 7"
)
DEAF = "Start-Sleep -Seconds 100"
SLOW = LISTENS.replace("exit 7", "Start-Sleep -Seconds 15; exit 7")


@pytest.mark.parametrize(
    ("does", "phase", "message", "least", "most", "code"),
    [
        pytest.param(LISTENS, "archive", "", 0, 9, 7, id="listens", marks=pytest.mark.long),
        pytest.param(DEAF, "archive", "", 10, 60, None, id="deaf", marks=pytest.mark.long),
        pytest.param(SLOW, "dump", ENDING, 15, 60, 7, id="says that it ends", marks=pytest.mark.long),
        pytest.param(SLOW, "start", "", 15, 60, 7, id="starts a service", marks=pytest.mark.long),
    ],
)
def test_a_job_is_asked_before_it_is_ended(
    engine: Engine, does: str, phase: str, message: str, least: float, most: float, code: int | None
) -> None:
    folder = engine.path(r"C:\ProgramData\AlteryxOps\jobs\Asked-1")
    shutil.rmtree(folder, ignore_errors=True)
    module = engine.path(r"C:\scripts\NodeJob.psm1")
    module.parent.mkdir(exist_ok=True)
    shutil.copyfile(layout.ROOT / "plugins" / "module_utils" / module.name, module)
    script = STOP.format(does=does, phase=phase, message=message)
    told = json.loads(engine.run(script, timeout=120, environment={"ALTERYX_OPS_FOLDER_TRUST": "warn"}))
    shutil.rmtree(folder, ignore_errors=True)
    assert (told["was"], told["ended"], told["asked"]) == (True, True, True)
    assert least <= told["seconds"] < most
    assert (told["code"] == 7) is (code == 7)
