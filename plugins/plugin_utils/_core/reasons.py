# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reasons and exit codes: the table of everything that can end a run, read from reasons.yml beside this file."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from pathlib import Path

from .yaml_text import load_yaml


@dataclass(frozen=True)
class ExitCode:
    """The meaning of an exit code of ansible-playbook, and when it occurs."""

    meaning: str
    when: str


@dataclass(frozen=True)
class Reason:
    """Why a step failed.

    Attributes:
        name: the name in outcome.json, in the log and on the screen.
        exit_code: the exit code of a run that fails for it first.
        why_late: why it could not be known before the stop; "" if it cannot occur after the run has stopped a service
            of the fleet.
        meaning: the situation, in one sentence.
        hint: what the operator does next.
        bad_dump: whether the dump of a window that fails for it cannot be used.
    """

    name: str
    exit_code: int
    meaning: str
    hint: str
    why_late: str = ""
    bad_dump: bool = False


_TABLE = load_yaml(Path(__file__).with_name("reasons.yml").read_text(encoding="utf-8"))

EXIT_CODES: dict[int, ExitCode] = {code: ExitCode(**row) for code, row in _TABLE["exit_codes"].items()}
REASONS: dict[str, Reason] = {name: Reason(name, **row) for name, row in _TABLE["reasons"].items()}


class StepFailed(Exception):
    """A step failed for a named reason.

    Args:
        reason: a name of REASONS; an unknown one becomes "unexpected".
        message: one line for the operator: what failed, with the values that matter.
        detail: further facts for outcome.json, never secrets.
    """

    def __init__(self, reason: str, message: str, detail: t.Mapping[str, t.Any] | None = None) -> None:
        super().__init__(message)
        self.reason = REASONS.get(reason, REASONS["unexpected"])
        self.message = message
        self.detail = dict(detail or {})


def overall_exit_code(codes: t.Sequence[int]) -> int:
    """The exit code of a run from the codes of its failures in the order they happened.

    7 (a service was not started again) has priority over all others. Otherwise the first failure counts, because the
    later ones are its consequences.
    """
    failures = [code for code in codes if code != 0]
    if not failures:
        return 0
    return 7 if 7 in failures else failures[0]
