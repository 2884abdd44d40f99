# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the follower of a worker or UI node starts the service, and when it must not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.node.engine import JOBS, Engine, JobEnd, watching
from tests.node.window import RUN, WINDOW_CODE, facts, running_service

pytestmark = pytest.mark.wine

# The service stops at the third look; what the controller answers is a list, whose last entry stays.
FOLLOWED = r"""
$script:looks = 0
$script:asked = 0
function Get-ServiceStatus {
    param($Name)
    $script:looks++
    if ($script:looks -eq 3 -and -not $keeps) { [IO.File]::WriteAllText('D:\window\service.txt', 'Stopped') }
    [IO.File]::ReadAllText('D:\window\service.txt')
}
function Read-NodeLease {
    $deadline = (Get-MonotonicSecond) + $lasts
    New-Object psobject -Property @{ run_id = 'RUN'; generation = 1; deadline_monotonic = $deadline }
}
function Test-LeaseLost { param($Lease, $Seen) [IO.File]::Exists('D:\window\released') }
function Test-TcpPort {
    param($HostName, $Port)
    $answer = $answers[[Math]::Min($script:asked, $answers.Count - 1)]
    $script:asked++
    $answer
}
function Remove-NodeLease { Write-Fact -Text 'released'; $true }
function Test-NodeHold { [IO.File]::Exists('D:\window\HOLD') }
""".replace("RUN", RUN)

BACK = "@($true, $false, $false, $true)"


def follow(
    engine: Engine, name: str, answers: str, *, keeps: bool = False, lasts: int = 600, hold: bool = False, **spec: Any
) -> JobEnd:
    """Run a follower.

    Args:
        answers: of the controller, one after the other.
        keeps: the service is not stopped.
        lasts: seconds until the deadline of the lease.
        hold: a person wants the service to stay down.
    """
    given = f"$answers = {answers}\n$keeps = ${str(keeps).lower()}\n$lasts = {lasts}\n"
    folder = running_service(engine, given + FOLLOWED)
    if hold:
        (folder / "HOLD").touch()
    asked = {
        "run_id": RUN, "service_name": "AyxSvc", "controller_host": "controller", "controller_port": 80,
        "controller_url": "", "start_delay": 0, "stop_within": 600, "open_within": 600, "start_timeout": 60,
    }  # fmt: skip
    return engine.run_job("follow_job", asked | spec, name=name, code=WINDOW_CODE, timeout=120)


def done(engine: Engine) -> list[str]:
    return facts(engine.path(r"D:\window"))


def test_the_service_starts_when_the_controller_was_down_and_answers_again(engine: Engine) -> None:
    end = follow(engine, "follow-back", BACK)
    assert (end.result["state"], end.result["restored"]) == ("succeeded", True), end.result
    assert end.result["why"] == "the controller has been down and answers again"
    # The playbook releases the lease.
    assert done(engine) == ["start"]


def test_a_ui_node_waits_until_the_controller_has_answered_for_some_seconds(engine: Engine) -> None:
    # It falls silent once more, which begins the time anew.
    end = follow(engine, "follow-late", "@($false, $false, $true, $true, $false, $false, $true)", start_delay=2)
    assert end.result["restored"], end.result
    assert done(engine) == ["start"]
    assert next(event["text"] for event in end.result["events"]) == "the controller does not answer any more"


@pytest.mark.long
def test_one_question_without_an_answer_and_a_controller_that_stays_up_start_nothing(engine: Engine) -> None:
    end = follow(engine, "follow-up", "@($true, $false, $true, $false, $true)", lasts=8)
    assert (end.result["restored"], end.result["why"]) == (False, "")
    assert done(engine) == []


def test_a_window_that_does_not_open_in_time_is_given_up_and_the_lease_with_it(engine: Engine) -> None:
    end = follow(engine, "follow-lost", "@($true)", open_within=2)
    assert end.result["why"] == "the window did not open within 2 s"
    assert done(engine) == ["start", "released"]
    assert engine.path(rf"{JOBS}\follow-lost\decision").read_text(encoding="ascii") == "closed"


@pytest.mark.long
def test_who_has_seen_the_controller_go_down_waits_for_it(engine: Engine) -> None:
    end = follow(engine, "follow-seen", "@($false)", open_within=2, lasts=8)
    assert (end.result["restored"], end.result["why"]) == (False, "")
    assert done(engine) == []


@pytest.mark.long
def test_who_was_told_that_the_window_opens_waits_for_the_controller(engine: Engine) -> None:
    decision = engine.path(rf"{JOBS}\follow-told\decision")

    def tell() -> bool:
        if not (decision.parent / "status.json").exists():
            return False
        decision.write_text("open", encoding="ascii")
        return True

    with watching(tell):
        end = follow(engine, "follow-told", "@($true)", open_within=2, lasts=10)
    assert (end.result["restored"], end.result["why"]) == (False, ""), end.result
    assert done(engine) == []


def test_a_service_that_nobody_stops_in_time_ends_the_lease(engine: Engine) -> None:
    end = follow(engine, "follow-unstopped", BACK, keeps=True, stop_within=2)
    assert (end.result["restored"], end.result["why"]) == (False, "")
    assert done(engine) == ["released"]


@pytest.mark.long
def test_hold_keeps_the_service_down(engine: Engine) -> None:
    end = follow(engine, "follow-hold", BACK, hold=True, open_within=1, lasts=6)
    assert (end.result["restored"], end.result["why"]) == (False, "")
    assert done(engine) == []
