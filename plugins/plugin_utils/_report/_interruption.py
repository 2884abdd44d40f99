# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts about an interrupted run: what continues on the nodes without it, until when, and what to do."""

from __future__ import annotations

import typing as t
from types import MappingProxyType

from .._core.failures import is_ok
from ._steps import STEPS, HostResults, Results

_NOTHING: t.Mapping[str, tuple[str, str]] = MappingProxyType({})


def last_step(results: Results) -> str:
    """The last step that any node has ended; "" for none."""
    found = {step for steps in results.values() for step in steps}
    return next((step for step in reversed(STEPS) if step in found), "")


def describe_nodes(
    results: Results, check_mode: bool = False, unanswered: t.Mapping[str, tuple[str, str]] = _NOTHING
) -> list[str]:
    """One line for each node on which something continues, is locked or is not known; one sentence if there is no such
    node.

    Args:
        results: of the steps that have ended.
        check_mode: whether the run was a prediction, which changes nothing.
        unanswered: host -> step that was sent to it and has not answered, and the name of its task.
    """
    hosts = [] if check_mode else dict.fromkeys((*results, *unanswered))
    told = {host: " ".join(_describe_node(results.get(host, {}), *unanswered.get(host, ("", "")))) for host in hosts}
    lines = [f"{host}: {text}" for host, text in told.items() if text]
    return lines or ["The run has changed nothing on any node."]


def describe_playbook(playbook: str, unanswered: t.Sequence[str]) -> str:
    """Two lines about a playbook without a report: what was interrupted, and the next command.

    Args:
        playbook: the name of its file.
        unanswered: the tasks that have not answered, each with its hosts.
    """
    where = f" in the task {', '.join(unanswered)}" if unanswered else ""
    return (
        f" now      {playbook} was interrupted{where}. If it has started a job on a node, that job continues.\n"
        f" next     Run {playbook} again. If it is refused because a job is still active, wait until the job has ended."
    )


def _describe_node(steps: HostResults, unanswered: str, task: str) -> t.Iterator[str]:
    if unanswered and not STEPS[unanswered].looks:
        yield f'The task "{task}" has not answered, so it is not known whether it took effect.'
    lease = steps.get("lease", {}).get("lease") or {}
    if is_ok(steps.get("lease")) and lease and not is_ok(steps.get("release")):
        service, deadline = lease.get("service", "the service"), lease.get("deadline", "its deadline")
        # The lease of a worker or UI node has the address of its controller.
        if lease.get("controller_host"):
            yield (
                f"Its guard starts {service} as soon as the stopped controller answers again, at the latest at"
                f" {deadline}."
            )
        else:
            yield (
                f"Its window job continues: it completes the dump and then starts {service}. If the job dies, the guard"
                f" of the node starts {service}, at the latest at {deadline}."
            )
    if unanswered in ("lock", "unlock"):
        yield (
            f"If it {'did' if unanswered == 'lock' else 'did not'}, the lock of this run stays until recover.yml or the"
            " next run removes it."
        )
    elif is_ok(steps.get("lock")) and not is_ok(steps.get("unlock")):
        yield "The lock of this run stays until recover.yml or the next run removes it."
    if unanswered in ("pause", "resume"):
        yield (
            f"If it {'did' if unanswered == 'pause' else 'did not'}, its schedules stay paused until recover.yml or the"
            " next run enables them."
        )
    elif (steps.get("pause") or {}).get("schedules"):
        yield "Its schedules stay paused until recover.yml or the next run enables them."
