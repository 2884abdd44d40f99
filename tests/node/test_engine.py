# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The harness itself: what goes wrong on the node reaches the test."""

from __future__ import annotations

import pytest

from tests.node.engine import Engine, EngineError

pytestmark = pytest.mark.wine


@pytest.mark.long
def test_a_script_has_the_modules_and_its_output_comes_back(engine: Engine) -> None:
    assert engine.run("ConvertTo-Hexadecimal -Bytes ([Text.Encoding]::UTF8.GetBytes('a\u00e4'))").strip() == "61c3a4"


def test_a_script_that_fails_is_an_error_with_its_text(engine: Engine) -> None:
    with pytest.raises(EngineError, match="on purpose"):
        engine.run("throw 'on purpose'")


def test_a_job_that_fails_says_why_in_its_result(engine: Engine) -> None:
    end = engine.run_job(
        "verify_job", {"run_id": "r", "folder": "C:\\nowhere", "base_name": "x", "stamp": "s", "place": None}
    )
    assert (end.result["state"], end.result["reason"], end.status["state"]) == ("failed", "backup_unknown", "failed")
    assert "C:\\nowhere has no backup x" in end.log
