# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a run, one row each: the variable of its result, its text in the log, and what proves that it was done.

A step is one task of a role. Its result is the registered result of the task: that of the module, with failed or
unreachable if they apply. A skipped task does not count as a step of the run.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from functools import partial

from .._copy import _copies
from .._core import paths
from .._core.failures import is_ok
from .._core.text import counted, one_line, size

StepResult = t.Mapping[str, t.Any]
HostResults = t.Mapping[str, StepResult]
"""Step -> result."""
Results = t.Mapping[str, HostResults]
"""Host -> step -> result."""
Plan = t.Mapping[str, t.Any]
Words = t.Iterable[tuple[str, str]]
"""Level and text."""

_NAMED = 3
"""The number of left-out files that a warning names. The log and the manifest name all of them."""


def describe_downtime(down: t.Mapping[str, float], dumps: bool = True) -> str:
    """The downtime of a node and its parts in one sentence.

    Args:
        down: seconds: total, stop, dump, start, rest.
        dumps: whether this node makes the dump. Other nodes wait for the dump, which is part of their rest.
    """
    parts = {"stop": "stop", "dump": "dump", "start": "start", "rest": "rest"}
    if not dumps:
        parts = {"stop": "stop", "wait for others": "rest", "start": "start"}
    return f"downtime {down['total']:.1f} s = " + " + ".join(f"{name} {down[key]:.1f}" for name, key in parts.items())


def read_events(result: StepResult) -> list[t.Mapping[str, t.Any]]:
    """The events on the node or of the connection: mappings with at, level and text."""
    events = result.get("events") or (result.get("detail") or {}).get("events") or []
    return [event for event in events if isinstance(event, t.Mapping)]


def takes_archive(plan: Plan, node: t.Mapping[str, t.Any]) -> bool:
    """Will an archive be written on this node of the plan?"""
    return bool(node["dumps"] or plan["exports_configuration"])


# --- the log text of a successful step; fields that its result does not have (as in a prediction) are left out
# ----------


def _nothing(result: StepResult) -> Words:
    del result
    return ()


def _request(result: StepResult) -> Words:
    request = result.get("request") or {}
    if not request:
        return
    yield (
        "INFO",
        (
            f"mode {request['mode']}, staging in {request['staging_directory']}, "
            f"archives to {request['archive_directory']}"
        ),
    )
    for recipient in request["recipients"]:
        yield "INFO", f"secrets are encrypted for {recipient['subject']}"


def _facts(result: StepResult) -> Words:
    system, alteryx, service, database = (result.get(key) or {} for key in ("system", "alteryx", "service", "database"))
    yield (
        "INFO",
        (
            f"computer {system.get('computer', '?')}, Windows {system.get('os_version', '?')}, "
            f"PowerShell {system.get('powershell_version', '?')}, account {system.get('user', '?')}"
        ),
    )
    yield (
        "INFO",
        (
            f"Alteryx Server {alteryx.get('version') or '(version unknown)'} "
            f"in {alteryx.get('bin_folder') or '(no folder)'}"
        ),
    )
    state, start_type, account = (service.get(key, "?") for key in ("state", "start_type", "account"))
    yield "INFO", f"service {service.get('name', '?')} is {state}, start type {start_type}, account {account}"
    if database.get("folder"):
        yield "INFO", f"data files of the embedded MongoDB in {database['folder']}: {size(database['bytes'])}"
        for words in database["skipped"]:
            yield "INFO", f"not counted: {one_line(words)}"
    yield from _room(result)
    for process in alteryx.get("processes") or []:
        yield "DEBUG", f"process {process.get('name')} ({process.get('process_id')})"


def _room(result: StepResult) -> Words:
    for folder in result.get("folders") or []:
        yield "INFO", f"{folder['path']}: {size(folder['free_bytes'])} free"


def _plan(result: StepResult) -> Words:
    plan = result.get("plan") or {}
    for host, node in (plan.get("nodes") or {}).items():
        todo = [f"dump its {node['database_kind']} database"] if node["dumps"] else []
        todo += [f"take {len(node['files'])} kinds of critical files"] if node["files"] else []
        todo += [f"take secrets ({', '.join(node['secrets'])})"] if node["secrets"] else []
        archive = paths.archive_file(node["archive_folder"], node["base_name"])
        yield (
            "INFO",
            f"{host} is {', '.join(node['roles'])}: {', '.join(todo) or 'nothing is taken'}; archive {archive}",
        )


def _remarks(result: StepResult) -> Words:
    for words in result.get("remarks") or ():
        yield "WARNING", one_line(words)


def _mongodb(result: StepResult) -> Words:
    for server in result.get("servers") or []:
        databases = ", ".join(f"{found['name']} ({found['collections']} collections)" for found in server["databases"])
        yield "SUCCESS", f"{server['shown']} answers, MongoDB {server['version']}: {databases}"
    yield from _remarks(result)


def _lock(result: StepResult) -> Words:
    for words in result.get("did") or []:
        yield "WARNING", one_line(words)
    for words in result.get("left_behind") or []:
        yield "WARNING", one_line(words)
    if result.get("adopted"):
        yield "WARNING", f"takes over the window job of the run {result['adopted']}"


def _names(schedules: t.Iterable[t.Mapping[str, str]]) -> str:
    return ", ".join(one_line(each["name"] or each["id"]) for each in schedules)


def _pause(result: StepResult, predicts: bool = False) -> Words:
    if result.get("schedules"):
        verb = "would be paused, and" if predicts else "paused, and to be"
        yield "INFO", f"{verb} enabled again: {_names(result['schedules'])}"


def _resume(result: StepResult, predicts: bool = False) -> Words:
    if result.get("schedules"):
        level, would = ("INFO", "would be ") if predicts else ("SUCCESS", "")
        yield level, f"{would}enabled again: {_names(result['schedules'])}"
    if result.get("gone"):
        yield "INFO", f"deleted meanwhile: {_names(result['gone'])}"
    if result.get("left"):
        # The result has the reason, which is the message of the plan about the schedules.
        yield from (("WARNING", one_line(words)) for words in result.get("did") or ())


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
        yield (
            "SUCCESS",
            (
                f"the guard has answered as {lease['guard_account']}; "
                f"it brings {lease['service']} back by {lease['deadline']} whatever happens"
            ),
        )


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
    if result.get("dump_of_run"):
        yield "WARNING", f"the dump is that of the run {result['dump_of_run']}: data as of {result['data_as_of']}"
    if result.get("databases"):
        documents = f"{sum(result['documents'].values())} documents in {len(result['documents'])} collections"
        yield "SUCCESS", f"dumped {', '.join(result['databases'])}: {documents}, {size(result['dump_bytes'])}"
    if result.get("downtime") and not result.get("dump_of_run"):
        yield "INFO", describe_downtime(result["downtime"])
    yield from _remarks(result)


def _restore(result: StepResult) -> Words:
    service = result.get("service") or {}
    if service.get("state"):
        process = f", process {service['process_id']}" if service.get("process_id") else ""
        yield (
            "SUCCESS" if service["state"] == result.get("goal") else "WARNING",
            f"{service.get('name', 'the service')} is {service['state']}{process}",
        )


def _release(result: StepResult) -> Words:
    if result.get("why"):
        yield "INFO", f"its own job has started the service: {result['why']}"


def _configuration(result: StepResult, predicts: bool = False) -> Words:
    would = "would be " if predicts else ""
    for entry in result.get("files") or []:
        if entry["present"]:
            permissions = (
                f"; permissions of {entry['permissions']} files and folders" if entry.get("permissions") else ""
            )
            amount = f"{counted(entry['files'], 'file')}, {size(entry['bytes'])}"
            yield "INFO", f"{entry['id']}: {amount}, from {entry['source']}{permissions}"
        else:
            yield "INFO", f"{entry['id']}: {entry['source']} is not on this node"
        for left in entry["left_out"]:
            yield "INFO", f"{entry['id']}: left out, {one_line(left['why'])}"
        if entry["left_out"]:
            yield "WARNING", _left_out(entry)
    metadata = result.get("metadata") or []
    if metadata:
        by_state = {
            state: [item for item in metadata if item["state"] == state] for state in ("found", "absent", "unreadable")
        }
        yield "INFO", f"{would}recorded in node.json: {', '.join(item['id'] for item in by_state['found'])}"
        for item in by_state["absent"]:
            yield "INFO", f"{item['id']}: none, {one_line(item['why'])}"
        for item in by_state["unreadable"]:
            yield "WARNING", f"{item['id']} could not be read: {one_line(item['why'])}"
    if result.get("secrets"):
        yield "INFO", f"{would}encrypted: {', '.join(result['secrets'])}"


def _left_out(entry: t.Mapping[str, t.Any]) -> str:
    """A warning about an optional critical file, or files of a folder, that are not in the backup."""
    why = [one_line(left["why"]) for left in entry["left_out"]]
    more = f" and {len(why) - _NAMED} more" if len(why) > _NAMED else ""
    return f"NOT in this backup ({entry['id']}): {'; '.join(why[:_NAMED])}{more}"


def _archive(result: StepResult) -> Words:
    if result.get("archive_sha256"):
        what = (
            f"{result['archive']}: {counted(result['file_count'], 'file')}, "
            f"{size(result['file_bytes'])} in {size(result['archive_bytes'])}"
        )
        yield "INFO", f"{what}, sha256 {result['archive_sha256']}"


def _verify(result: StepResult) -> Words:
    if result.get("verdict"):
        what = f"{result.get('entries', 0)} entries, {size(result.get('bytes', 0))} read back"
        yield ("SUCCESS" if result["verdict"] == "good" else "WARNING"), f"{result['verdict']}: {what}"


def _probe(result: StepResult) -> Words:
    for copy in result.get("copies") or ():
        if copy["state"] == "usable":
            free = f", {size(copy['free_bytes'])} free" if copy["free_bytes"] >= 0 else ""
            did = f"a file could be written, read and deleted in {copy['folder']}{free}"
            yield "SUCCESS", f"{copy['destination']}: {did}"


def _copy(result: StepResult) -> Words:
    for copy in result.get("copies") or ():
        level = "SUCCESS" if copy["state"] in _copies.GOOD else "INFO"
        yield level, f"{copy['destination']}: {copy['folder']}: {_copies.describe_copy(copy)}"


def _retention(result: StepResult) -> Words:
    plan = result.get("plan") or {}
    for place in (plan, *plan.get("places", ())):
        where = f" at {place['destination']}" if place.get("destination") else ""
        for one in place.get("sets") or []:
            verb = "is to be deleted" if one["deletes"] else "is kept"
            yield "INFO", f"{one['name']} ({one['mode']}){where} {verb}: {one_line(one['rule'])}"
        if place.get("summary"):
            yield "INFO", f"retention{where}: {place['summary']}"


def _prune(result: StepResult) -> Words:
    if result.get("did"):
        yield "SUCCESS", f"deleted {', '.join(result['did'])}: {size(result['bytes'])}"
    for place in result.get("places") or []:
        if place["did"]:
            yield "SUCCESS", f"deleted at {place['destination']} {', '.join(place['did'])}: {size(place['bytes'])}"


def _set(result: StepResult, predicts: bool = False) -> Words:
    for path in result.get("written") or []:
        yield "INFO", f"{'would be ' if predicts else ''}written: {path}"


# --- what a step must show in a good run and does not show in this one; empty if it does ------------------------------


def _lacks_nothing(plan: Plan, node: t.Mapping[str, t.Any], steps: HostResults) -> str:
    del plan, node, steps
    return ""


def _lacks_resume(plan: Plan, node: t.Mapping[str, t.Any], steps: HostResults) -> str:
    del plan, node
    lacks = steps.get("pause", {}).get("schedules") and not is_ok(steps.get("resume"))
    return "no proof that the paused schedules were enabled again" if lacks else ""


def _moves(plan: Plan, node: t.Mapping[str, t.Any]) -> bool:
    return bool(plan["stops_services"] and not node["standby"])


def _lacks_stop(plan: Plan, node: t.Mapping[str, t.Any], steps: HostResults) -> str:
    stop = steps.get("stop", {})
    if steps.get("lock", {}).get("adopted"):
        # The interrupted run had stopped the service, and this run has taken over its lease.
        return ""
    stopped = is_ok(stop) and (stop.get("service") or {}).get("state") == "Stopped"
    return "no proof that the service was stopped" if _moves(plan, node) and not node["dumps"] and not stopped else ""


def _lacks_window(plan: Plan, node: t.Mapping[str, t.Any], steps: HostResults) -> str:
    window = steps.get("window")
    if _moves(plan, node):
        lacks = node["dumps"] and not (window or {}).get("restored")
        return "no proof that the dump was made and the service restored" if lacks else ""
    return "no proof that the dump was made" if node["dumps"] and not is_ok(window) else ""


def _lacks_restore(plan: Plan, node: t.Mapping[str, t.Any], steps: HostResults) -> str:
    lacks = _moves(plan, node) and not is_ok(steps.get("restore"))
    return "no proof that the service is as it was before" if lacks else ""


def _lacks_configuration(plan: Plan, node: t.Mapping[str, t.Any], steps: HostResults) -> str:
    del node
    lacks = plan["exports_configuration"] and not is_ok(steps.get("configuration"))
    return "no proof that the critical files were taken" if lacks else ""


def _lacks_archive(plan: Plan, node: t.Mapping[str, t.Any], steps: HostResults) -> str:
    archive = steps.get("archive", {})
    if takes_archive(plan, node) and not archive.get("archive_sha256"):
        return "no archive"
    return "no secrets file" if node["secrets"] and not archive.get("secrets") else ""


def _lacks_verify(plan: Plan, node: t.Mapping[str, t.Any], steps: HostResults) -> str:
    if not takes_archive(plan, node) or not steps.get("archive", {}).get("archive_sha256"):
        return ""
    return "" if steps.get("verify", {}).get("verdict") == "good" else "the archive was not verified"


def _lacks_copy(plan: Plan, node: t.Mapping[str, t.Any], steps: HostResults) -> str:
    if not takes_archive(plan, node) or not steps.get("archive", {}).get("archive_sha256"):
        return ""
    copies = steps.get("copy", {}).get("copies") or ()
    has = {copy["destination"] for copy in copies if copy["state"] in _copies.GOOD}
    lacks = [one["name"] for one in plan.get("destinations", ()) if one["name"] not in has]
    return f"no proof of a copy at {', '.join(lacks)}" if lacks else ""


@dataclass(frozen=True)
class Step:
    """One row.

    Attributes:
        name: its name in the log, outcome.json and the summary.
        variable: the variable in which its role registers the result.
        describe: level and text for the log after a success. A WARNING is also in outcome.json and in the summary.
        foretell: the same for a prediction, where it differs.
        lacks: what it must show on a node in a good run and does not show; "" if nothing is missing.
        of_the_run: one node reports it for all nodes, and it is in the log of each.
        goes_on: after its failure the run continues, or may continue.
        has_detail: the detail of its failure has the fields of its result, so the warnings are read from it.
        looks: it changes nothing on a node.
        is_after: it runs after the backup was made and verified, so its failure does not affect the backup set.
        is_beside: it is about the services, so its failure does not affect the backup set, if that is complete.
    """

    name: str
    variable: str
    describe: t.Callable[[StepResult], Words] = _nothing
    lacks: t.Callable[[Plan, t.Mapping[str, t.Any], HostResults], str] = _lacks_nothing
    foretell: t.Callable[[StepResult], Words] | None = None
    of_the_run: bool = False
    goes_on: bool = False
    has_detail: bool = False
    looks: bool = False
    is_after: bool = False
    is_beside: bool = False


STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        # In the order of the sequence.
        Step("request", "alteryx_preflight_request", _request, of_the_run=True, looks=True),
        Step("facts", "alteryx_preflight_facts", _facts, looks=True),
        Step("plan", "alteryx_preflight_plan", _plan, of_the_run=True, looks=True),
        Step("mongodb", "alteryx_preflight_mongodb", _mongodb, looks=True),
        Step("lock", "alteryx_preflight_lock", _lock, has_detail=True),
        Step("dump_recovery", "alteryx_preflight_dumps", _lock, has_detail=True),
        # Only if the archive directory lacks room and the operator lets retention free it. In between are the steps of
        # retention, as at the end of a run.
        Step("room_before", "alteryx_retention_room_before", _room, looks=True),
        Step("room_after", "alteryx_retention_room_after", _room, looks=True),
        # Only if the operator has configured copies.
        Step("probe", "alteryx_distribution_probed", _probe),
        Step("trial", "alteryx_configuration_trial", looks=True),
        Step("pause", "alteryx_window_pause", _pause, foretell=partial(_pause, predicts=True)),
        Step("drain", "alteryx_window_drain", _drain, looks=True),
        Step("hook", "alteryx_window_hook", goes_on=True, is_beside=True),
        Step("lease", "alteryx_window_lease", _lease),
        Step("arm", "alteryx_window_armed"),
        Step("drain_again", "alteryx_window_drain_again", _drain, looks=True),
        Step("stop", "alteryx_window_stop", _stop, _lacks_stop),
        Step("gate", "alteryx_window_gate", _gate, foretell=_nothing, of_the_run=True, looks=True),
        Step("open", "alteryx_window_opened"),
        Step("told", "alteryx_window_told", goes_on=True, is_beside=True),
        Step("window", "alteryx_window_dump", _window, _lacks_window, has_detail=True),
        Step("cancel", "alteryx_window_cancel"),
        Step("restore", "alteryx_window_restore", _restore, _lacks_restore),
        Step("health", "alteryx_window_health", _health, goes_on=True, looks=True, is_beside=True),
        Step("release", "alteryx_window_release", _release),
        Step(
            "resume",
            "alteryx_window_resume",
            _resume,
            _lacks_resume,
            partial(_resume, predicts=True),
            goes_on=True,
            is_beside=True,
        ),
        Step(
            "configuration",
            "alteryx_configuration_export",
            _configuration,
            _lacks_configuration,
            partial(_configuration, predicts=True),
        ),
        Step("archive", "alteryx_archive_written", _archive, _lacks_archive),
        Step("verify", "alteryx_archive_verified", _verify, _lacks_verify),
        # Only if the operator has configured copies.
        Step("copy", "alteryx_distribution_copied", _copy, _lacks_copy, has_detail=True, is_after=True),
        # Only if the operator has set a policy.
        Step("catalogue", "alteryx_retention_found", looks=True, is_after=True),
        Step("prune_plan", "alteryx_retention_plan", _retention, of_the_run=True, looks=True, is_after=True),
        Step("prune_check", "alteryx_retention_checked", is_after=True),
        Step("prune_begin", "alteryx_retention_begun", is_after=True),
        Step("prune", "alteryx_retention_pruned", _prune, is_after=True),
        # In a run that failed after its dump.
        Step("archive_late", "alteryx_archive_written_late", _archive),
        Step("verify_late", "alteryx_archive_verified_late", _verify),
        Step("set", "alteryx_report_set", _set, foretell=partial(_set, predicts=True)),
        Step("unlock", "alteryx_report_unlock", _lock),
    )
}


def describe_step(name: str, result: StepResult, check_mode: bool = False) -> list[tuple[str, str]]:
    """Levels and texts for the log about a step. For a failed step, only warnings."""
    step = STEPS[name]
    if is_ok(result):
        return list((step.foretell if check_mode and step.foretell else step.describe)(result))
    detail = result.get("detail") or {} if step.has_detail else {}
    return [(level, words) for level, words in step.describe(detail) if level == "WARNING"] if detail else []


def list_warnings(results: Results) -> list[tuple[str, str]]:
    """Every warning of the nodes, once each: (node, text), in the order of the sequence."""
    found = [
        (host, one_line(words))
        for host, steps in results.items()
        for step, result in ((step, steps[step]) for step in STEPS if step in steps)
        # A result that one node reports for all is registered on all.
        if (result.get("node") or host) == host
        for level, words in [
            *((event.get("level"), event.get("text")) for event in read_events(result)),
            *describe_step(step, result),
        ]
        if level == "WARNING"
    ]
    return list(dict.fromkeys(found))


def read_results(variables: t.Mapping[str, t.Any]) -> HostResults:
    """The results of the steps that one host took part in, in the order of the sequence.

    Args:
        variables: of that host.
    """
    found = {step.name: variables[step.variable] for step in STEPS.values() if step.variable in variables}
    # A skipped task did not run.
    return {name: result for name, result in found.items() if not result.get("skipped")}
