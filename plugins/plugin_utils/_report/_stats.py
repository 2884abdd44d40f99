# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statistics of a run for the program that has started it. AWX stores them with the job and passes them to the next
job."""

from __future__ import annotations

import typing as t

from .._core import paths
from .._core.reasons import REASONS, overall_exit_code
from ._steps import STEPS

PREFIX = "server_backup_"
"""Not alteryx_: AWX passes these names to the next job of a workflow as -e, and this collection refuses unknown names
with alteryx_ there."""

Registered = t.Mapping[str, t.Mapping[str, t.Any]]
"""Variable -> the result that a task has registered in it."""

_REPORTS = ("alteryx_report_published", "alteryx_report_composed")
RESTORED = "alteryx_restore_reported"
_OF_RESTORE = "alteryx_restore_"
_VERIFIED, _FOUND = "alteryx_catalogue_verified", "alteryx_catalogue_found"
_OF_STEPS = frozenset(step.variable for step in STEPS.values())


def compose_stats(
    hosts: t.Mapping[str, Registered],
    failed: t.Collection[str],
    refusal: tuple[int, str] | None = None,
    restored: t.Mapping[str, t.Any] | None = None,
    check_mode: bool = False,
) -> dict[str, t.Any]:
    """The stats of a run.

    Args:
        hosts: host -> what the tasks of the play have registered on it.
        failed: the hosts that Ansible has taken out of the play.
        refusal: exit code and reason of a play that was refused before it registered a result.
        restored: the outcome of a restore, a rollback or an acceptance.
        check_mode: whether the run was a prediction.
    """
    outcome = restored or next((found for name in _REPORTS for found in [_outcome(hosts, name)] if found), None)
    failures = _failures({host: hosts[host] for host in hosts if host in failed}, without_steps=bool(outcome))
    if outcome:
        failures.insert(0, (outcome["exit_code"], outcome["reason"]))
        if refusal and outcome["reason"] == "run_incomplete":
            # Without the steps of the role, the report only shows that they are missing.
            failures.insert(0, refusal)
    elif failed and not failures:
        failures = [refusal or _of_reason("unexpected")]
    code = overall_exit_code([code for code, _reason in failures])
    told: dict[str, t.Any] = {
        "code": code,
        "reason": next((reason for number, reason in failures if number == code), "") if code else "",
    }
    if restored:
        told |= _of_restore(restored, check_mode)
    elif outcome:
        told |= _of_backup(outcome, check_mode)
    elif any(_VERIFIED in registered for registered in hosts.values()):
        told |= _of_verification(hosts)
    return {f"{PREFIX}{name}": value for name, value in told.items()}


def _outcome(hosts: t.Mapping[str, Registered], name: str) -> t.Mapping[str, t.Any] | None:
    # A task that runs once is registered on every host.
    found = (registered.get(name, {}).get("outcome") for registered in hosts.values())
    return next((outcome for outcome in found if outcome), None)


def _failures(hosts: t.Mapping[str, Registered], without_steps: bool) -> list[tuple[int, str]]:
    """Exit code and reason of every failed result, in the order in which the tasks ended.

    Args:
        without_steps: whether the outcome of a backup or a restore has judged its steps already.
    """
    found = [
        (str(result.get("ended", "")), _of_reason(str(result.get("reason", ""))))
        for registered in hosts.values()
        for name, result in registered.items()
        if result.get("failed") and not (without_steps and _is_step(name))
    ]
    return [failure for _finished, failure in sorted(found, key=lambda each: each[0])]


def _is_step(name: str) -> bool:
    return name in _OF_STEPS or (name.startswith(_OF_RESTORE) and name != RESTORED)


def _of_reason(name: str) -> tuple[int, str]:
    reason = REASONS.get(name, REASONS["unexpected"])
    return reason.exit_code, reason.name


def _of_backup(outcome: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """A prediction names archives, but has not written them."""
    archives = [
        {"node": host, "archive": node["archive"], "sha256": node["archive_sha256"], "verdict": node["verdict"]}
        for host, node in outcome["nodes"].items()
        if node["archive"] and not check_mode
    ]
    return {
        **_identity(outcome, check_mode),
        "archives": archives,
        "downtime": outcome["downtime"]["total"],
        "users_downtime": outcome["users_downtime"]["total"],
    }


def _of_restore(outcome: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """The backup, the files that each node has now, and the downtime of the controller."""
    nodes, backup = outcome["nodes"], outcome["backup"]
    controllers = [node for node in nodes.values() if "controller" in node["roles"]]
    return {
        **_identity(outcome, check_mode),
        **({"source_run_id": backup["run_id"]} if backup else {}),
        "servers": [{"node": host, "server": node["server"]} for host, node in nodes.items()],
        "downtime": max((node["downtime"]["total"] for node in controllers or nodes.values()), default=0.0),
    }


def _identity(outcome: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, str]:
    """A prediction has not made a backup, so its ID is useless. In a workflow it would replace the ID of the backup."""
    return {} if check_mode or not outcome["run_id"] else {"run_id": outcome["run_id"]}


def _of_verification(hosts: t.Mapping[str, Registered]) -> dict[str, t.Any]:
    archives, runs = [], set()
    for host, registered in hosts.items():
        verified = registered.get(_VERIFIED, {})
        known = {entry["id"]: entry for entry in registered.get(_FOUND, {}).get("catalogue") or ()}
        for backup in verified.get("backups") or (verified.get("detail") or {}).get("backups") or ():
            entry = known.get(backup["id"])
            if entry is None:
                continue
            runs.add(entry["run_id"])
            archives.append(
                {
                    "node": host,
                    "archive": paths.archive_file(entry["folder"], entry["id"]),
                    "sha256": entry["archive_sha256"],
                    "verdict": backup["verdict"],
                }
            )
    # The next job of a workflow receives the ID only if there is a backup.
    return {"archives": archives, **({"run_id": runs.pop()} if len(runs) == 1 else {})}
