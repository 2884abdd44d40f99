# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which reason a job gives for an error of Windows at a destination."""

from __future__ import annotations

import json
from pathlib import Path

from tests.checks import powershell, sources

SCRIPT = Path(__file__).with_name("judge_share_errors.ps1")
FOLDER = sources.ROOT / "plugins" / "module_utils"
REASONS = {
    "112": "destination_full",
    "39": "destination_full",
    "5": "destination_denied",
    "1326": "destination_denied",
    "53": "destination_unreachable",
    "32": "destination_unreachable",
    "named": "folder_untrusted",
}


def test_an_error_at_a_destination_has_the_reason_of_its_number() -> None:
    answers = json.loads(powershell.run(SCRIPT, FOLDER, ",".join(REASONS)))
    assert {code: answer["reason"] for code, answer in answers.items()} == REASONS
    assert "error 112" in answers["112"]["message"]
