# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a run: one line for each event, in the order of time: UTC time with zone, level, node (- for the run
itself), step, text.

Levels: DEBUG (what a tool printed), INFO, WARNING, ERROR (with reason and what to do next), SUCCESS (a result was
proved).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .._core.text import counted, one_line, size
from ._steps import STEPS, Results, StepResult, describe_downtime, describe_step, read_events

RUN = "-"
"""Used for the run itself, in place of the name of a node."""

# Events that one node reports for all nodes. They are added to the log of each node.
_STEPS_OF_THE_RUN = [step.name for step in STEPS.values() if step.of_the_run]


@dataclass(frozen=True)
class Line:
    """One event."""

    at: str
    level: str
    node: str
    step: str
    text: str

    def __str__(self) -> str:
        return f"{self.at} {self.level} {self.node} {self.step}: {self.text}"


def text(outcome: t.Mapping[str, t.Any], results: Results, node: str = "", check_mode: bool = False) -> str:
    """The log of a run.

    Args:
        outcome: see _report.compose.
        results: host -> step -> result.
        node: only the log of this node; "" for all nodes.
        check_mode: whether the run was a prediction.
    """
    said = {(failure["node"], failure["step"]): failure for failure in outcome["failures"]}
    lines: list[Line] = []
    for host, steps in results.items():
        for step, result in steps.items():
            # A result that one node reports for all is registered on all. In a fleet of hundreds of nodes, the log of a
            # node contains only what concerns it.
            if (result.get("node") or host) == host and (host == node or not node or step in _STEPS_OF_THE_RUN):
                lines += _step(host, step, result, said.get((host, step)), outcome["finished"], check_mode)
    lines.sort(key=lambda line: line.at)
    told = {(line.node, line.step) for line in lines if line.level == "ERROR"}
    warned = {f"{line.node}: {line.text}" for line in lines if line.level == "WARNING"}
    # The events of other nodes are in their own logs.
    others = tuple(f"{host}: " for host in outcome["nodes"] if node and host != node)
    warnings = [words for words in outcome["warnings"] if words not in warned and not words.startswith(others)]
    lines = [*_opening(outcome, check_mode), *lines, *_closing(outcome, told, warnings)]
    if node:
        lines = [line for line in lines if line.node in (node, RUN) or line.step in _STEPS_OF_THE_RUN]
    return "".join(f"{line}\n" for line in lines)


def _opening(outcome: t.Mapping[str, t.Any], check_mode: bool) -> list[Line]:
    head = (
        f"{outcome['tool'] or 'backup'}: {'prediction (--check) of the ' if check_mode else ''}"
        f"run {outcome['run_id'] or outcome['name']}, mode {outcome['mode']}, fleet {outcome['fleet'] or '(none)'}"
    )
    return [Line(outcome["started"], "INFO", RUN, "run", f"{head}, nodes {', '.join(outcome['nodes']) or '(none)'}")]


def _step(
    host: str, step: str, result: StepResult, failure: t.Mapping[str, t.Any] | None, now: str, check_mode: bool
) -> list[Line]:
    started, finished = result.get("started", now), result.get("ended", now)
    lines = [Line(started, "INFO", host, step, "begun")]
    lines += [Line(event["at"], event["level"], host, step, one_line(event["text"])) for event in read_events(result)]
    lines += [Line(finished, level, host, step, words) for level, words in describe_step(step, result, check_mode)]
    if failure is None:
        verb = "predicted" if check_mode and not STEPS[step].looks else "done"
        return [*lines, Line(finished, "INFO", host, step, f"{verb} in {result.get('seconds', 0)} s")]
    lines += [Line(finished, "DEBUG", host, step, words) for words in _output(result)]
    return [
        *lines,
        Line(finished, "ERROR", host, step, f"failed after {result.get('seconds', 0)} s: {_failure(failure)}"),
    ]


def _failure(failure: t.Mapping[str, t.Any]) -> str:
    return f"{failure['message']} [{failure['reason']}, exit code {failure['exit_code']}]; next: {failure['hint']}"


def _output(result: StepResult) -> list[str]:
    """The output of the tool and, for a failure without a reason, the place in the code of this collection."""
    detail = result.get("detail") or {}
    # Since ansible-core 2.19, this is an object, and has a traceback only if the operator wants one.
    exception = result.get("exception") or ""
    if not isinstance(exception, str):
        exception = getattr(getattr(exception, "event", None), "formatted_traceback", None) or ""
    found = [*str(detail.get("output") or "").splitlines(), *str(detail.get("position") or exception).splitlines()]
    return [line.rstrip() for line in found if line.strip()]


def _closing(
    outcome: t.Mapping[str, t.Any], told: t.Collection[tuple[str, str]], warnings: t.Iterable[str]
) -> list[Line]:
    now = outcome["finished"]
    # The report found this failure in the whole run. No single step reported it.
    lines = [
        Line(now, "ERROR", failure["node"] or RUN, failure["step"], _failure(failure))
        for failure in outcome["failures"]
        if (failure["node"], failure["step"]) not in told
    ]
    lines += [Line(now, "WARNING", RUN, "report", words) for words in outcome["continues"]]
    for host, node in outcome["nodes"].items():
        words = f"service {node['service_before']} -> {node['service_after']}"
        if node["archive"] and not node["archive_sha256"]:
            words += f"; {node['archive']} would be written"
        elif node["archive"]:
            words += (
                f"; {node['archive']}, {size(node['archive_bytes'])}, {counted(node['file_count'], 'file')}, "
                f"sha256 {node['archive_sha256']}, {node['verdict']}"
            )
        lines.append(Line(now, "INFO", host, "report", words))
    if outcome["downtime"]["total"]:
        lines.append(Line(now, "INFO", RUN, "report", describe_downtime(outcome["downtime"])))
    lines += [Line(now, "WARNING", RUN, "report", words) for words in warnings]
    level = {"OK": "SUCCESS", "PREDICTED": "SUCCESS"}.get(outcome["verdict"], "ERROR")
    end = (
        f"{outcome['verdict']} after {outcome['seconds']:.0f} s, "
        f"exit code {outcome['exit_code']} ({outcome['exit_meaning']})"
    )
    if outcome["reason"]:
        end += (
            f", {outcome['node'] or 'control node'}, step {outcome['step']}: {outcome['reason']}; "
            f"next: {outcome['hint']}"
        )
    return [*lines, Line(now, level, RUN, "report", end)]
