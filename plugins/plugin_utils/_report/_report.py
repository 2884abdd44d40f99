# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The texts for the operator: outcome and summary of a run, composed from the registered results of its steps."""

from __future__ import annotations

import contextlib
import json
import typing as t
from datetime import datetime

from .._archive import _manifest
from .._copy import _copies
from .._core import _names, paths
from .._core.failures import describe_end, describe_failure, describe_time, is_ok, list_hints
from .._core.reasons import REASONS, StepFailed
from .._core.text import counted, name_nodes, name_some, one_line, size
from .._server_api._schedules import read_record as _schedule_record
from . import _log
from ._prediction import describe_run
from ._steps import STEPS, Plan, Results, StepResult, describe_downtime, list_warnings, takes_archive

SCHEMA = 1

_WARNING_CHARACTERS = 300
_WARNINGS = 8
"""The length of a warning in the summary, and the number of warnings for each node. outcome.json and the log have all
of them in full."""


def plan_of(results: Results) -> t.Mapping[str, t.Any] | None:
    """The plan of the run; None if the run ended before it had a plan."""
    # A run that continues with the dump of an interrupted run does not stop services, even if its plan says so.
    kept = any(steps.get("dump_recovery", {}).get("kept") for steps in results.values())
    for steps in results.values():
        plan = steps.get("plan", {}).get("plan")
        if plan:
            return {**plan, "stops_services": False} if kept else t.cast(t.Mapping[str, t.Any], plan)
    return None


def set_name(plan: t.Mapping[str, t.Any]) -> str:
    """The name of the backup set: that of its archives."""
    return _names.base_name(plan["mode"], plan["stamp"], plan["name_pattern"])


def _failures(results: Results) -> list[dict[str, t.Any]]:
    """Every failed step in the order of the sequence. A failure that one node reports for all (run once) is listed
    once."""
    found: list[dict[str, t.Any]] = []
    for step in STEPS:
        for host, host_results in results.items():
            result = host_results.get(step)
            if result is None or not (result.get("failed") or result.get("unreachable")):
                continue
            failure = _failure(host, step, result, host_results)
            if failure not in found:
                found.append(failure)
    return found


def _failure(host: str, step: str, result: StepResult, host_results: t.Mapping[str, StepResult]) -> dict[str, t.Any]:
    name = result.get("reason", "")
    if result.get("unreachable"):
        # Until the facts are read, no node was changed.
        name = "unreachable" if step == "facts" else "connection_lost"
    message = _message(result)
    if step == "hook":
        name = "hook_failed"
    if step == "window" and name == "service_not_restored" and _running_again(host_results):
        # The window job has reported the failure that ended it, so the failure of the step after it is left out.
        name, message = "service_restored_late", f"{message}; it was started again after that"
    return describe_failure(result.get("node") or host, step, name, message)


def _message(result: StepResult) -> str:
    return one_line(result.get("message") or result.get("msg"))


def _was_stopped(plan: Plan | None, host_results: t.Mapping[str, StepResult]) -> bool:
    # A window that does not stop a service only dumps.
    return "stop" in host_results or ("window" in host_results and bool(plan and plan["stops_services"]))


def _seen_back(host_results: t.Mapping[str, StepResult]) -> bool:
    window = host_results.get("window", {})
    return _was_restored(host_results) or bool(window.get("restored") or window.get("detail", {}).get("restored"))


def ended_by_a_step(results: Results) -> bool:
    """Has a step failed in a way that ends its host? If not, only the report itself can make the play fail."""
    return any(
        not is_ok(result) for steps in results.values() for step, result in steps.items() if not STEPS[step].goes_on
    )


def _left_down(
    plan: Plan | None, results: Results, failures: t.Sequence[t.Mapping[str, t.Any]]
) -> list[dict[str, t.Any]]:
    """A failure for every node whose service may have been stopped and that was not seen running again.

    The messages of the failed steps do not matter.
    """
    name = "service_not_restored"
    # A failure with the same exit code is already listed and is more precise.
    said = {failure["node"] for failure in failures if failure["exit_code"] == REASONS[name].exit_code}
    down = [
        host
        for host, steps in results.items()
        if _was_stopped(plan, steps) and not _seen_back(steps) and host not in said
    ]
    return [
        describe_failure(host, "restore", name, "no step has seen the service in the state that it had before the run")
        for host in down
    ]


def _was_restored(host_results: t.Mapping[str, StepResult]) -> bool:
    return is_ok(host_results.get("restore"))


def _running_again(host_results: t.Mapping[str, StepResult]) -> bool:
    service = host_results.get("restore", {}).get("service") or {}
    return _was_restored(host_results) and service.get("state") == "Running"


def _lacking(plan: Plan, results: Results) -> list[tuple[str, str]]:
    """The results that a good run must show and that are missing in this run: (node, what). The absence of failures is
    not enough."""
    found = [
        (host, step.lacks(plan, node, results.get(host, {})))
        for host, node in plan["nodes"].items()
        for step in STEPS.values()
    ]
    return [(host, what) for host, what in found if what]


def _unpredicted(plan: t.Mapping[str, t.Any], results: Results) -> list[tuple[str, str]]:
    """The same for a prediction: the nodes on which a run would write an archive and which the prediction did not
    reach."""
    archiving = [host for host, node in plan["nodes"].items() if takes_archive(plan, node)]
    return [
        (host, "the prediction ended before its archive")
        for host in archiving
        if "archive" not in results.get(host, {})
    ]


def compose(
    mode: str,
    results: Results,
    check_mode: bool,
    now: str,
    clock: float,
    tool: str = "",
    interruption: str = "",
    continues: t.Sequence[str] = (),
    earlier: t.Sequence[t.Mapping[str, t.Any]] = (),
) -> dict[str, t.Any]:
    """The outcome of a run, JSON-able: schema, verdict (OK, FAILED, PREDICTED), exit_code, reason, message, hint, node,
    failures, nodes, downtime.

    Args:
        mode: the requested mode, also if the run failed before it had a plan.
        now: UTC text, when the run ended.
        clock: monotonic seconds, when the run ended; the request has the time when it began. The wall clock may be
            changed in between.
        tool: name and version of this collection.
        earlier: see _prediction.describe_run.
        interruption: where the run was interrupted, "" for a run that reached its report.
        continues: what continues on the nodes after an interruption, a line for each node.
    """
    plan = plan_of(results)
    # It is not known whether an interrupted step would have failed.
    failures = (
        _failures(results) if not interruption else [describe_failure("", "report", "run_interrupted", interruption)]
    )
    if not check_mode and not interruption:
        failures += _left_down(plan, results, failures)
    if plan and not failures:
        missing = _unpredicted(plan, results) if check_mode else _lacking(plan, results)
        failures = [describe_failure(node, "report", "unexpected", what) for node, what in missing]
    if plan is None and not failures:
        failures = [describe_failure("", "report", "run_incomplete", "the run ended before it had a plan")]
    end = describe_end(failures)
    request = _request_of(results)
    run_id = request.get("run_id", "")
    ended = datetime.fromisoformat(now)
    stamp = request.get("stamp") or _names.stamp(ended)
    name_mode = mode if mode in _names.MODES else "full"
    nodes = {host: _node(host, steps, plan, check_mode) for host, steps in results.items()}
    # The downtime of the controller, if there is one, because users wait for it.
    downtimes = [
        nodes[host]["downtime"] for host in sorted(nodes, key=lambda host: not (plan and host == plan["controller"]))
    ]
    downtimes = [downtime for downtime in downtimes if downtime["total"]]
    return {
        "schema": SCHEMA,
        "tool": tool,
        # A part that differs, so that two runs that are refused in the same second both have a report.
        "name": run_id or _names.run_id(name_mode, ended, f"{ended.microsecond // 1000:04x}"),
        "log_name": _names.log_name(name_mode, stamp),
        "run_id": run_id,
        "mode": mode,
        "fleet": request.get("fleet", ""),
        "started": request.get("started", now),
        "finished": now,
        "seconds": round(clock - request.get("begun", clock), 3),
        "verdict": "FAILED" if end["exit_code"] else ("PREDICTED" if check_mode else "OK"),
        **end,
        "failures": failures,
        "downtime": downtimes[0] if downtimes else dict.fromkeys(("total", "stop", "dump", "start", "rest"), 0.0),
        "users_downtime": _users_downtime(nodes),
        "schedules": _schedules(results, check_mode),
        "copies": _list_copies(results),
        "retention": _retention(results),
        "warnings": _warnings(plan, request, results),
        "prediction": describe_run(plan, results, earlier) if plan and check_mode and not end["exit_code"] else [],
        "continues": list(continues),
        "nodes": nodes,
    }


def _request_of(results: Results) -> t.Mapping[str, t.Any]:
    for steps in results.values():
        request = steps.get("request", {}).get("request")
        if request:
            return t.cast(t.Mapping[str, t.Any], request)
    return {}


def _node(
    host: str, steps: t.Mapping[str, StepResult], plan: t.Mapping[str, t.Any] | None, check_mode: bool
) -> dict[str, t.Any]:
    facts = steps.get("facts", {})
    planned = plan["nodes"].get(host, {}) if plan else {}
    window = steps.get("window", {})
    seen = window if is_ok(window) else window.get("detail", {})
    archive, verify = _archive_of(steps), _verify_of(steps)
    restore = steps.get("restore", {})
    after = restore.get("service") or restore.get("detail", {}).get("service") or {}
    return {
        "roles": list(planned.get("roles", [])),
        "service_before": facts.get("service", {}).get("state", "unknown"),
        "service_after": after.get("state")
        or ("not seen" if _was_stopped(plan, steps) or "lease" in steps else "not touched"),
        "process_before": _process(facts.get("service", {})),
        "process_after": _process(after),
        "downtime": _downtime_of(seen, steps),
        "dump": _dump_state(steps),
        **{key: seen.get(key, "") for key in ("dump_of_run", "data_as_of")},
        "staging": paths.Staging(plan["staging_directory"], plan["run_id"]).folder if plan else "",
        "dump_bytes": seen.get("dump_bytes", 0),
        "archive": archive.get("archive", "") if is_ok(archive) else "",
        "archive_bytes": archive.get("archive_bytes", 0),
        "archive_sha256": archive.get("archive_sha256", ""),
        "file_count": archive.get("file_count", 0),
        "secrets": bool(archive.get("secrets") or (check_mode and is_ok(archive or None) and planned.get("secrets"))),
        "verdict": _verdict(verify),
        "steps": {step: describe_time(result) for step, result in steps.items()},
    }


def _archive_of(steps: t.Mapping[str, StepResult]) -> StepResult:
    """The archive of a node. In a run that failed, this is the archive that was written after the failure."""
    late = steps.get("archive_late")
    return late if late is not None and is_ok(late) else steps.get("archive", {})


def _verify_of(steps: t.Mapping[str, StepResult]) -> StepResult:
    return steps.get("verify_late") or steps.get("verify", {})


def _dump_state(steps: t.Mapping[str, StepResult]) -> str:
    """The state of the dump of a window: archived, kept (good and not in an archive), unusable, unknown; "" if there is
    no dump.
    """
    window = steps.get("window")
    if window is None:
        return ""
    detail = window if is_ok(window) else window.get("detail") or {}
    if detail.get("is_usable"):
        return "archived" if is_ok(_archive_of(steps)) and _verdict(_verify_of(steps)) == "good" else "kept"
    if "unusable" in detail:
        return "unusable"
    return "unknown" if window.get("reason") in ("connection_lost", "job_lost", "job_timeout") else ""


_DUMP_WORDS = {
    "archived": "archived although the run failed: {archive}",
    "kept": (
        "good, and in no verified archive. It stays in {staging}. Remove the cause of the failure and run recover.yml,"
        " which archives the dump"
    ),
    "unusable": "unusable. recover.yml or the next run removes {staging}",
    "unknown": (
        "unfinished or its result is not known."
        " When its job on the node has ended, recover.yml archives it if it is good"
    ),
}


def _users_downtime(nodes: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """node and total (seconds): the downtime of the UI, which users notice; the longest one if there are several UI
    nodes."""
    totals = {host: float(node["downtime"]["total"]) for host, node in nodes.items() if "ui" in node["roles"]}
    longest = max(totals, key=lambda host: totals[host], default="")
    return {"node": longest, "total": totals.get(longest, 0.0)}


def _downtime_of(window: StepResult, steps: t.Mapping[str, StepResult]) -> dict[str, float]:
    """The downtime of a node. The downtime for an adopted dump belongs to the run that made the dump."""
    own = None if window.get("dump_of_run") else window.get("downtime")
    return own or _downtime(steps.get("stop", {}), steps.get("restore", {}), steps.get("release", {}))


def _downtime(stop: StepResult, restore: StepResult, release: StepResult) -> dict[str, float]:
    """The downtime in seconds of a node that is stopped and started by separate steps, from the states seen there; rest
    is the wait for the other nodes. Normally the follower of the node starts the service. Its result is read at the
    release of the lease."""
    down, late, early = (
        list(result.get("states") or (result.get("detail") or {}).get("states") or [])
        for result in (stop, restore, release)
    )
    up = early if early and (not late or early[0]["at"] < late[0]["at"]) else late
    parts = dict.fromkeys(("total", "stop", "dump", "start", "rest"), 0.0)
    service = restore.get("service") or {}
    if not up and service.get("state") == "Running" and service.get("started"):
        # Its guard or a person has started the service.
        up = [{"at": service["started"]}]
    if not down or not up or up[-1]["at"] < down[0]["at"]:
        return parts
    first, stopped, begun, ended = (datetime.fromisoformat(seen["at"]) for seen in (down[0], down[-1], up[0], up[-1]))
    parts |= {
        "total": (ended - first).total_seconds(),
        "stop": (stopped - first).total_seconds(),
        "start": (ended - begun).total_seconds(),
    }
    parts["rest"] = parts["total"] - parts["stop"] - parts["start"]
    return {name: round(seconds, 3) for name, seconds in parts.items()}


def _schedules(results: Results, check_mode: bool) -> dict[str, t.Any]:
    """paused, resumed: the number of schedules that this run has paused, or would pause, and enabled again. left: names
    of those that were still paused at the last check."""
    paused = [each for steps in results.values() for each in steps.get("pause", {}).get("schedules", ())]
    ends = [
        steps["resume"] if is_ok(steps["resume"]) else steps["resume"].get("detail") or {}
        for steps in results.values()
        if "resume" in steps
    ]
    resumed = [each for end in ends for each in end.get("schedules", ())]
    left = [each for end in ends for each in end.get("left", ())]
    if not ends and not (paused and check_mode):
        left = paused or _read_recorded(results)
    return {
        "paused": len(paused),
        "resumed": 0 if check_mode else len(resumed),
        "left": [each["name"] or each["id"] for each in left],
    }


def _list_copies(results: Results) -> list[dict[str, t.Any]]:
    """The result for each archive at each destination; empty if the operator has not configured copies."""
    return [
        {"node": host, **copy}
        for host, steps in results.items()
        if "copy" in steps
        for copy in (steps["copy"] if is_ok(steps["copy"]) else steps["copy"].get("detail") or {}).get("copies", ())
    ]


def _retention(results: Results) -> dict[str, t.Any]:
    """deleted: names of the backup sets that this run has deleted. kept: how many it has not. text: what it decided, or
    why it deleted nothing; "" where the operator has set no policy. destinations: the same of each, with its name."""
    planned = next((steps["prune_plan"] for steps in results.values() if is_ok(steps.get("prune_plan"))), {})
    plan = planned.get("plan") or {}
    done = [steps["prune"] for steps in results.values() if "prune" in steps]
    # A node that has failed may still have files of it.
    whole = all(map(is_ok, done))
    did = {name for result in done for name in result.get("did", ())} if whole else set()
    places = [place for result in done for place in result.get("places", ())] if whole else []
    whole_plan = _count_deleted(plan, did)
    return {
        **whole_plan,
        "deleted": [*plan.get("for_room", ()), *whole_plan["deleted"]],
        "destinations": [
            {
                "destination": place["destination"],
                **_count_deleted(
                    place,
                    {name for one in places if one["destination"] == place["destination"] for name in one["did"]},
                ),
            }
            for place in plan.get("places", ())
        ],
    }


def _count_deleted(plan: t.Mapping[str, t.Any], did: t.Collection[str]) -> dict[str, t.Any]:
    sets = plan.get("sets") or []
    deleted = [one["name"] for one in sets if one["name"] in did]
    return {"deleted": deleted, "kept": len(sets) - len(deleted), "text": str(plan.get("summary", ""))}


def _read_recorded(results: Results) -> list[dict[str, str]]:
    """The schedules that interrupted runs have left paused and that no run has enabled since."""
    found: list[dict[str, str]] = []
    for steps in results.values():
        if text := steps.get("facts", {}).get("schedules_left"):
            # The plan warns of a record that cannot be read.
            with contextlib.suppress(StepFailed):
                found += [{"id": each.id, "name": each.name} for each in _schedule_record(text).schedules]
    return found


def _verdict(verify: StepResult) -> str:
    if is_ok(verify):
        return str(verify.get("verdict", "not verified"))
    # A verification that was not possible does not show whether the archive is good.
    return "bad" if verify.get("reason") in ("archive_bad", "archive_incomplete") else "not verified"


def _process(service: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {"process_id": service.get("process_id", 0), "started": service.get("started", "")}


def _warnings(plan: Plan | None, request: t.Mapping[str, t.Any], results: Results) -> list[str]:
    # Only a stand-in node of the lab reports this.
    simulated = [host for host, steps in results.items() if steps.get("facts", {}).get("simulated")]
    warnings = [f"{host}: SIMULATED: this is a stand-in node of the lab, not a server" for host in simulated]
    warnings += [recipient["warning"] for recipient in request.get("recipients", []) if recipient["warning"]]
    if plan:
        warnings += plan["warnings"]
        warnings += [f"{host}: {text}" for host, node in plan["nodes"].items() for text in node["warnings"]]
    warnings += [f"{host}: {text}" for host, text in list_warnings(results)]
    if plan and plan["exports_configuration"] and plan["secrets"] == "skip":
        warnings.append("the secrets (controller token, MongoDB passwords) are not in this backup")
    return list(dict.fromkeys(warnings))


def _describe_warnings(outcome: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """The warnings for the screen: equal warnings of several nodes once, and only a few of each node."""
    who: dict[str, list[str]] = {}
    for warning in outcome["warnings"]:
        host = next((host for host in outcome["nodes"] if warning.startswith(f"{host}: ")), "")
        who.setdefault(warning.removeprefix(f"{host}: "), []).append(host)
    shown: dict[str, int] = {}
    for text, hosts in who.items():
        shown[hosts[0]] = shown.get(hosts[0], 0) + 1
        if hosts[0] and shown[hosts[0]] > _WARNINGS:
            continue
        named = name_some(hosts, _WARNINGS)
        cut = f"{text[:_WARNING_CHARACTERS]}..." if len(text) > _WARNING_CHARACTERS else text
        yield f"{named}: {cut}" if named else cut
    for host, count in shown.items():
        if host and count > _WARNINGS:
            yield f"{host}: {count - _WARNINGS} more warnings are in outcome.json and in the log"


def _list_retention(retention: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    for place in (retention, *retention["destinations"]):
        where = f" at {place['destination']}" if place is not retention else ""
        if place["deleted"]:
            yield (
                f" retention deleted {counted(len(place['deleted']), 'backup set')}{where}, {place['kept']} are kept"
            )
        elif place["text"]:
            yield f" retention{where} {place['text']}"


def _describe_verdict(outcome: t.Mapping[str, t.Any]) -> str:
    # The report writes no set, and removes no lock, of a run that has no other step which changes something.
    done = {step for node in outcome["nodes"].values() for step in node["steps"]} - {"set", "unlock"}
    if outcome["exit_code"] == 3 and all(STEPS[step].looks for step in done):
        return "REFUSED, nothing was touched"
    return f"{outcome['verdict']}{', nothing was touched' if outcome['verdict'] == 'PREDICTED' else ''}"


def summary(outcome: t.Mapping[str, t.Any], directory: str) -> str:
    """The last lines of a run on the operator's screen."""
    # The fleet is not known if the run was refused before it had one.
    fleet = f"{outcome['fleet']}  " if outcome["fleet"] else ""
    head = (
        f"BACKUP {_describe_verdict(outcome)}  {fleet}mode={outcome['mode']}  id={outcome['run_id'] or outcome['name']}"
    )
    lines = []
    if outcome["exit_code"]:
        lines.append(f"{head}  exit code {outcome['exit_code']} ({outcome['exit_meaning']})")
        failures = (
            (failure["node"] or "control node", f"step {failure['step']}: {failure['message']} [{failure['reason']}]")
            for failure in outcome["failures"]
        )
        lines += [f" {nodes}, {text}" for nodes, text in name_nodes(failures)]
        lines += [f" now      {line}" for line in outcome["continues"]]
        lines += [f" next     {hint}" for hint in list_hints(outcome)]
    else:
        lines.append(head)
    down, users = outcome["downtime"], outcome["users_downtime"]
    is_fleet = len(outcome["nodes"]) > 1
    if is_fleet and users["total"]:
        lines.append(f" users    were without the UI for {users['total']:.1f} s ({users['node']})")
    elif down["total"]:
        lines.append(f" {describe_downtime(down)}")
    schedules = outcome["schedules"]
    said = (
        [f"{schedules['paused']} {'would be ' if outcome['verdict'] == 'PREDICTED' else ''}paused"]
        if schedules["paused"]
        else []
    )
    said += [f"{schedules['resumed']} enabled again"] if schedules["resumed"] else []
    said += [f"still paused: {', '.join(schedules['left'])}"] if schedules["left"] else []
    lines += [f" schedules {', '.join(said)}"] if said else []
    lines += _list_retention(outcome["retention"])
    for host, node in outcome["nodes"].items():
        down = node["downtime"]
        lasted = f"  {describe_downtime(down, 'controller' in node['roles'])}" if down["total"] and is_fleet else ""
        lines.append(
            f" node     {host}  {', '.join(node['roles']) or 'roles unknown'}  "
            f"service {node['service_before']} -> {node['service_after']}{lasted}"
        )
        if node["archive"]:
            what = f"dump {size(node['dump_bytes'])}, " if node["dump_bytes"] else ""
            secret = "secrets encrypted beside it" if node["secrets"] else "no secrets file"
            lines.append(f"          {node['archive']}")
            if not node["archive_sha256"]:
                # A prediction has written no archive.
                continue
            what += f"archive {size(node['archive_bytes'])}, {counted(node['file_count'], 'file')}"
            lines.append(f"          {what}, sha256 {node['archive_sha256'][:12]}..., {node['verdict']}, {secret}")
        lines += [
            f" copy     {host} -> {copy['destination']}: {_copies.describe_copy(copy)}"
            for copy in outcome["copies"]
            if copy["node"] == host
        ]
        if node["dump_of_run"]:
            lines.append(
                f"          the dump is that of the run {node['dump_of_run']}: data as of {node['data_as_of']}, "
                "no service was stopped"
            )
        if outcome["exit_code"] and node["dump"]:
            lines.append(f" dump     {host}: the dump is {_DUMP_WORDS[node['dump']].format(**node)}")
    lines += [f" would    {text}" for text in outcome["prediction"]]
    lines += [f" warning  {text}" for text in _describe_warnings(outcome)]
    lines.append(f" report   {directory}")
    return "\n".join(lines)


_OF_THE_SET = ("window", "configuration", "archive", "verify")
"""The steps that make the backup set."""


def _verdict_of_set(outcome: t.Mapping[str, t.Any], plan: Plan, results: Results) -> str:
    """The verdict about the backup set: failures that do not affect it are ignored, because a set that is recorded as
    bad never becomes good again."""
    failed = [STEPS.get(each["step"]) for each in outcome["failures"]]
    if not failed or any(step is None or not (step.is_after or step.is_beside) for step in failed):
        return str(outcome["verdict"])
    # After a failure, nothing else has looked whether the set is complete.
    lacks = any(
        STEPS[name].lacks(plan, node, results.get(host, {}))
        for host, node in plan["nodes"].items()
        for name in _OF_THE_SET
    )
    return str(outcome["verdict"]) if lacks else "OK"


def list_publications(
    results: Results, outcome: t.Mapping[str, t.Any], check_mode: bool
) -> dict[str, dict[str, t.Any]]:
    """The files that are written on each node: host -> folder and files (name -> text).

    The set manifest and the log of the run are beside the archives of the controller, and the log of each node is
    beside its own archive. If a node has no archive, its log is in its state folder, so that a person at the node finds
    it, and the archive directory has no files of runs without a backup.
    """
    plan = plan_of(results)
    if plan is None:
        return {}
    answer: dict[str, dict[str, t.Any]] = {}
    for host, steps in results.items():
        node = plan["nodes"].get(host)
        if node is None:
            continue
        log = _log.text(outcome, results, host, check_mode)
        if is_ok(_archive_of(steps) or None):
            files = {f"{host}\\{outcome['log_name']}": log}
            if host == (plan["controller"] or host):
                files = {
                    f"{set_name(plan)}.set.json": _manifest.of_set(
                        plan, outcome, _verdict_of_set(outcome, plan, results)
                    ),
                    outcome["log_name"]: _log.text(outcome, results, check_mode=check_mode),
                    **files,
                }
            answer[host] = {"folder": node["archive_root"], "files": files}
        elif not check_mode and is_ok(steps.get("lock")):
            # Without the lock, the run has not begun on this node and does not write files there.
            answer[host] = {
                "folder": paths.log_folder(steps["facts"]["system"]["state_folder"]),
                "files": {outcome["log_name"]: log},
            }
    return answer


def json_text(outcome: t.Mapping[str, t.Any]) -> str:
    """outcome.json."""
    return json.dumps(outcome, indent=2, ensure_ascii=False) + "\n"
