# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a run: one line an event, in the order of time: UTC time with zone, level, node (- for the run itself), step, text.

Levels: DEBUG (what a tool printed), INFO, WARNING, ERROR (with reason and what to do next), SUCCESS (something that counts was proved).
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ._node_job import size

StepResult = t.Mapping[str, t.Any]
Results = t.Mapping[str, t.Mapping[str, StepResult]]
Words = t.Iterable[tuple[str, str]]
"""Level and text."""

RUN = "-"
"""Stands for the run itself, where the name of a node stands otherwise."""

# What one node reports for all of them; it belongs into the log of each.
_STEPS_OF_THE_RUN = ("request", "plan", "gate")


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


def text(outcome: t.Mapping[str, t.Any], results: Results, node: str = "") -> str:
    """The log of a run.

    Args:
        outcome: see _report.compose.
        results: host -> step -> result.
        node: the one whose log it is; all of them otherwise.
    """
    said = {(failure["node"], failure["step"]): failure for failure in outcome["failures"]}
    lines: list[Line] = []
    for host, steps in results.items():
        for step, result in steps.items():
            # What one node reports for all is registered on all. Of a fleet of hundreds, a node's log takes what it needs.
            if (result.get("node") or host) == host and (host == node or not node or step in _STEPS_OF_THE_RUN):
                lines += _step(host, step, result, said.get((host, step)), outcome["finished"])
    lines.sort(key=lambda line: line.at)
    told = {(line.node, line.step) for line in lines if line.level == "ERROR"}
    lines = [*_opening(outcome), *lines, *_closing(outcome, told)]
    if node:
        lines = [line for line in lines if line.node in (node, RUN) or line.step in _STEPS_OF_THE_RUN]
    return "".join(f"{line}\n" for line in lines)


def one_line(words: t.Any) -> str:
    """A message of whatever making on one line. No path is as long as the encoded commands in some messages of PowerShell, which nobody reads."""
    return re.sub(r"\S{400,}", lambda found: f"{found[0][:40]}... ({len(found[0])} characters)", " ".join(str(words or "no message").split()))


def _opening(outcome: t.Mapping[str, t.Any]) -> list[Line]:
    head = f"{outcome['tool'] or 'backup'}: run {outcome['run_id'] or '(none)'}, mode {outcome['mode']}, fleet {outcome['fleet'] or '(none)'}"
    return [Line(outcome["started"], "INFO", RUN, "run", f"{head}, nodes {', '.join(outcome['nodes']) or '(none)'}")]


def _step(host: str, step: str, result: StepResult, failure: t.Mapping[str, t.Any] | None, now: str) -> list[Line]:
    started, finished = result.get("started", now), result.get("finished", now)
    lines = [Line(started, "INFO", host, step, "begun")]
    lines += [Line(event["at"], event["level"], host, step, one_line(event["text"])) for event in _events(result)]
    if failure is None:
        lines += [Line(finished, level, host, step, words) for level, words in _DETAILS.get(step, _nothing)(result)]
        return [*lines, Line(finished, "INFO", host, step, f"done in {result.get('seconds', 0)} s")]
    lines += [Line(finished, "DEBUG", host, step, words) for words in _output(result)]
    return [*lines, Line(finished, "ERROR", host, step, f"failed after {result.get('seconds', 0)} s: {_failure(failure)}")]


def _failure(failure: t.Mapping[str, t.Any]) -> str:
    return f"{failure['message']} [{failure['reason']}, exit code {failure['exit_code']}]; next: {failure['hint']}"


def _events(result: StepResult) -> list[t.Mapping[str, t.Any]]:
    events = result.get("events") or (result.get("detail") or {}).get("events") or []
    return [event for event in events if isinstance(event, t.Mapping)]


def _output(result: StepResult) -> list[str]:
    """What the tool printed, and where in our code it broke if nobody has given the failure a name."""
    detail = result.get("detail") or {}
    found = [*str(detail.get("output") or "").splitlines(), *str(detail.get("position") or result.get("exception") or "").splitlines()]
    return [line.rstrip() for line in found if line.strip()]


def _closing(outcome: t.Mapping[str, t.Any], told: t.Collection[tuple[str, str]]) -> list[Line]:
    now = outcome["finished"]
    # Found by looking at the whole: no step has said it.
    lines = [
        Line(now, "ERROR", failure["node"] or RUN, failure["step"], _failure(failure))
        for failure in outcome["failures"]
        if (failure["node"], failure["step"]) not in told
    ]
    for host, node in outcome["nodes"].items():
        words = f"service {node['service_before']} -> {node['service_after']}"
        if node["archive"]:
            words += f"; {node['archive']}, {size(node['archive_bytes'])}, {node['file_count']} files, sha256 {node['archive_sha256']}, {node['verdict']}"
        lines.append(Line(now, "INFO", host, "report", words))
    if outcome["downtime"]["total"]:
        lines.append(Line(now, "INFO", RUN, "report", _downtime(outcome["downtime"])))
    lines += [Line(now, "WARNING", RUN, "report", words) for words in outcome["warnings"]]
    level = {"OK": "SUCCESS", "PREDICTED": "SUCCESS"}.get(outcome["verdict"], "ERROR")
    end = f"{outcome['verdict']} after {outcome['seconds']:.0f} s, exit code {outcome['exit_code']} ({outcome['exit_meaning']})"
    if outcome["reason"]:
        end += f", {outcome['node'] or 'control node'}, step {outcome['step']}: {outcome['reason']}; next: {outcome['hint']}"
    return [*lines, Line(now, level, RUN, "report", end)]


def _downtime(down: t.Mapping[str, float]) -> str:
    return f"downtime {down['total']:.1f} s = " + " + ".join(f"{part} {down[part]:.1f}" for part in ("stop", "dump", "start", "rest"))


# --- what a step that went well has to say; what it lacks (a prediction has little) is left out -----------------------


def _nothing(result: StepResult) -> Words:
    del result
    return ()


def _request(result: StepResult) -> Words:
    request = result.get("request") or {}
    if not request:
        return
    yield "INFO", f"mode {request['mode']}, staging in {request['staging_directory']}, archives to {request['archive_directory']}"
    for recipient in request["recipients"]:
        yield "INFO", f"secrets are encrypted for {recipient['subject']}"


def _facts(result: StepResult) -> Words:
    system, alteryx, service, database = (result.get(key) or {} for key in ("system", "alteryx", "service", "database"))
    yield "INFO", (
        f"computer {system.get('computer', '?')}, Windows {system.get('os_version', '?')}, PowerShell {system.get('powershell_version', '?')}, "
        f"account {system.get('user', '?')}"
    )
    yield "INFO", f"Alteryx Server {alteryx.get('version') or '(version unknown)'} in {alteryx.get('bin_folder') or '(no folder)'}"
    state, start_type, account = (service.get(key, "?") for key in ("state", "start_type", "account"))
    yield "INFO", f"service {service.get('name', '?')} is {state}, start type {start_type}, account {account}"
    if database.get("folder"):
        yield "INFO", f"data files of the embedded MongoDB in {database['folder']}: {size(database['bytes'])}"
    for folder in result.get("folders") or []:
        yield "INFO", f"{folder['path']}: {size(folder['free_bytes'])} free"
    for process in alteryx.get("processes") or []:
        yield "DEBUG", f"process {process.get('name')} ({process.get('process_id')})"


def _plan(result: StepResult) -> Words:
    plan = result.get("plan") or {}
    for host, node in (plan.get("nodes") or {}).items():
        todo = [f"dump its {node['database_kind']} database"] if node["dumps"] else []
        todo += [f"take {len(node['files'])} kinds of critical files"] if node["files"] else []
        todo += [f"take secrets ({', '.join(node['secrets'])})"] if node["secrets"] else []
        archive = f"{node['archive_folder']}\\{node['base_name']}.zip"
        yield "INFO", f"{host} is {', '.join(node['roles'])}: {', '.join(todo) or 'nothing is taken'}; archive {archive}"


def _mongodb(result: StepResult) -> Words:
    for server in result.get("servers") or []:
        databases = ", ".join(f"{found['name']} ({found['collections']} collections)" for found in server["databases"])
        yield "SUCCESS", f"{server['shown']} answers, MongoDB {server['version']}: {databases}"


def _lock(result: StepResult) -> Words:
    for words in result.get("did") or []:
        yield "WARNING", one_line(words)
    if result.get("adopted"):
        yield "WARNING", f"goes on with the window job of the run {result['adopted']}"


def _names(schedules: t.Iterable[t.Mapping[str, str]]) -> str:
    return ", ".join(one_line(each["name"] or each["id"]) for each in schedules)


def _pause(result: StepResult) -> Words:
    if result.get("schedules"):
        yield "INFO", f"paused, and to be enabled again: {_names(result['schedules'])}"


def _resume(result: StepResult) -> Words:
    if result.get("schedules"):
        yield "SUCCESS", f"enabled again: {_names(result['schedules'])}"
    if result.get("gone"):
        yield "INFO", f"deleted meanwhile: {_names(result['gone'])}"
    if result.get("left"):
        yield "WARNING", f"still paused: {_names(result['left'])}"


def _drain(result: StepResult) -> Words:
    running = result.get("running") or []
    names = ", ".join(f"{process['name']} ({process['process_id']})" for process in running)
    if result.get("forced"):
        yield "WARNING", f"going on although workflows run: {names}"
    elif running:
        yield "INFO", f"workflows run: {names}"
    else:
        yield "INFO", f"no workflow runs; {len(result.get('found') or [])} ran at first"


def _lease(result: StepResult) -> Words:
    lease = result.get("lease") or {}
    if lease.get("drilled"):
        yield "SUCCESS", f"the guard has answered as {lease['guard_account']}; it brings {lease['service']} back by {lease['deadline']} whatever happens"


def _stop(result: StepResult) -> Words:
    for seen in result.get("states") or []:
        yield "DEBUG", f"the service was seen {seen['state']} at {seen['at']}"
    service = result.get("service") or {}
    if service.get("state"):
        yield "INFO", f"{service.get('name', 'the service')} is {service['state']}"


def _health(result: StepResult) -> Words:
    if (result.get("service") or {}).get("state"):
        yield "SUCCESS", "the controller answers"


def _gate(result: StepResult) -> Words:
    if result.get("open"):
        yield "INFO", "every node is ready for the window"


def _window(result: StepResult) -> Words:
    for seen in result.get("states") or []:
        yield "DEBUG", f"the service was seen {seen['state']} at {seen['at']}"
    if result.get("databases"):
        documents = f"{sum(result['documents'].values())} documents in {len(result['documents'])} collections"
        yield "SUCCESS", f"dumped {', '.join(result['databases'])}: {documents}, {size(result['dump_bytes'])}"
    if result.get("downtime"):
        yield "INFO", _downtime(result["downtime"])


def _restore(result: StepResult) -> Words:
    service = result.get("service") or {}
    if service.get("state"):
        process = f", process {service['process_id']}" if service.get("process_id") else ""
        yield "SUCCESS" if service["state"] == result.get("goal") else "WARNING", f"{service.get('name', 'the service')} is {service['state']}{process}"


def _configuration(result: StepResult) -> Words:
    for entry in result.get("files") or []:
        if entry["present"]:
            permissions = f"; permissions of {entry['permissions']} files and folders" if entry.get("permissions") else ""
            yield "INFO", f"{entry['id']}: {entry['files']} files, {size(entry['bytes'])}, from {entry['source']}{permissions}"
        else:
            yield "INFO", f"{entry['id']}: {entry['source']} is not on this node"
    metadata = result.get("metadata") or []
    if metadata:
        by_state = {state: [item for item in metadata if item["state"] == state] for state in ("found", "absent", "unreadable")}
        yield "INFO", f"written down: {', '.join(item['id'] for item in by_state['found'])}"
        for item in by_state["absent"]:
            yield "INFO", f"{item['id']}: none, {one_line(item['why'])}"
        for item in by_state["unreadable"]:
            yield "WARNING", f"{item['id']} could not be read: {one_line(item['why'])}"
    if result.get("secrets"):
        yield "INFO", f"encrypted: {', '.join(result['secrets'])}"


def _archive(result: StepResult) -> Words:
    if result.get("archive_sha256"):
        what = f"{result['archive']}: {result['file_count']} files, {size(result['file_bytes'])} in {size(result['archive_bytes'])}"
        yield "INFO", f"{what}, sha256 {result['archive_sha256']}"


def _verify(result: StepResult) -> Words:
    if result.get("verdict"):
        what = f"{result.get('entries', 0)} entries, {size(result.get('bytes', 0))} read back"
        yield ("SUCCESS" if result["verdict"] == "good" else "WARNING"), f"{result['verdict']}: {what}"


def _set(result: StepResult) -> Words:
    for path in result.get("written") or []:
        yield "INFO", f"written: {path}"


_DETAILS: dict[str, t.Callable[[StepResult], Words]] = {
    "request": _request, "facts": _facts, "plan": _plan, "mongodb": _mongodb, "lock": _lock, "lock_others": _lock, "drain": _drain, "drain_again": _drain,
    "lease": _lease, "stop": _stop, "gate": _gate, "window": _window, "dump": _window, "restore": _restore, "health": _health, "configuration": _configuration,
    "archive": _archive, "verify": _verify, "set": _set, "unlock": _lock, "pause": _pause, "resume": _resume,
}  # fmt: skip
