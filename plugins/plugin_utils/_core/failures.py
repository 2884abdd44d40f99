# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures of steps, as outcome.json lists them, and the exit code of a run with these failures."""

from __future__ import annotations

import typing as t

from .reasons import EXIT_CODES, REASONS, overall_exit_code

_CAUSE = ("reason", "message", "hint", "node", "step")


def is_ok(result: t.Mapping[str, t.Any] | None) -> bool:
    """Did the step run without a failure? result: the registered result; None if the step did not run."""
    return result is not None and not any(result.get(word) for word in ("failed", "unreachable"))


def describe_time(result: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """When a step ran and how it ended, as outcome.json says it: started, finished, seconds and reason.

    The result of a module has the key ended instead of finished, because ansible-core 2.21 turns finished into a bool.
    """
    keys = {"started": "started", "finished": "ended", "seconds": "seconds", "reason": "reason"}
    return {name: result[key] for name, key in keys.items() if key in result}


def describe_failure(node: str, step: str, name: str, message: str) -> dict[str, t.Any]:
    """An entry of the failures in outcome.json. An unknown name of a reason becomes "unexpected"."""
    reason = REASONS.get(name, REASONS["unexpected"])
    return {
        "node": node,
        "step": step,
        "reason": reason.name,
        "exit_code": reason.exit_code,
        "message": message,
        "hint": reason.hint,
    }


def describe_end(failures: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """The result of a run with these failures, in their order: exit_code, exit_meaning, and reason, message, hint, node
    and step of the failure that determines the exit code; these are "" without failures."""
    code = overall_exit_code([failure["exit_code"] for failure in failures])
    cause = next((failure for failure in failures if failure["exit_code"] == code), None) if code else None
    return {
        "exit_code": code,
        "exit_meaning": EXIT_CODES[code].meaning,
        **{key: cause[key] if cause else "" for key in _CAUSE},
    }


def list_hints(outcome: t.Mapping[str, t.Any]) -> list[str]:
    """What the operator does next after a failed run, each once; first about the failure that determines the exit
    code."""
    return list(dict.fromkeys([outcome["hint"], *(failure["hint"] for failure in outcome["failures"])]))
