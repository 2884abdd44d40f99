# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start attempts that fail at the log-on of the service: two in 15 minutes, from all programs together."""

from __future__ import annotations

import pytest

from tests import nightly
from tests.node.engine import Engine

pytestmark = pytest.mark.wine

MODULE = "& (Get-Module -Name 'NodeService') "
SAY = """$global:say = { param($Mark) if ($Mark.too_soon) { 'too soon' } elseif ($Mark.waits) { 'wait' } else { 'go' } }
"""
CLEAR = "Remove-OwnKey -Name 'Starts'\n"


def marks(engine: Engine, *ages_and_states: tuple[float, str]) -> str:
    """A script that puts attempts of other processes into the registry: seconds ago, asked or failed."""
    lines = ["$key = Open-OwnKey -Name 'Starts' -Create"]
    for number, (age, state) in enumerate(ages_and_states):
        moment = f"([DateTime]::UtcNow.Ticks - {int(age * 1e7)})"
        lines.append(f"$key.SetValue(('{{0}}-{9000 + number}' -f {moment}.ToString('d19')), '{state}')")
    return CLEAR + "\n".join([*lines, "$key.Dispose()", ""])


@pytest.mark.parametrize(
    ("others", "answer"),
    nightly.after_first(
        [
            (((10.0, "failed"), (600.0, "failed")), "too soon"),
            ((), "go"),
            (((10.0, "failed"),), "go"),
            (((10.0, "failed"), (899.0, "failed")), "too soon"),
            (((10.0, "failed"), (901.0, "failed")), "go"),
            # One that is under way counts until it is known what comes of it; one that was never answered only for
            # a minute.
            (((10.0, "failed"), (5.0, "asked")), "wait"),
            (((10.0, "failed"), (70.0, "asked")), "go"),
            # A clock that was set back leaves attempts in the future; they do not delay a start.
            (((-100.0, "failed"), (-200.0, "failed")), "go"),
        ]
    ),
)
def test_a_third_attempt_within_fifteen_minutes_is_not_made(
    engine: Engine, others: tuple[tuple[float, str], ...], answer: str
) -> None:
    script = marks(engine, *others) + SAY + MODULE + "{ & $say (Add-StartMark) }"
    assert engine.run(script).strip() == answer


def test_of_several_at_the_same_moment_two_are_made(engine: Engine) -> None:
    looks = "{ 1..5 | ForEach-Object { & $say (Add-StartMark); Start-Sleep -Milliseconds 2 } }"
    assert engine.run(CLEAR + SAY + MODULE + looks).split() == ["go", "go", "wait", "wait", "wait"]


def test_a_start_that_succeeds_or_fails_otherwise_is_forgotten(engine: Engine) -> None:
    script = (
        CLEAR
        + MODULE
        + """{
        foreach ($number in 1069, 1053, 0) {
            Complete-StartMark -Mark (Add-StartMark) -ErrorNumber $number
            $key = Open-OwnKey -Name 'Starts'
            @($key.GetValueNames()).Count
            $key.Dispose()
        }
    }"""
    )
    assert engine.run(script).split() == ["1", "1", "0"]
