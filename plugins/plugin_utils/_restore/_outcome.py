# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outcome of a restore, a rollback or an acceptance, composed from what its steps have registered; its log and its
summary."""

from __future__ import annotations

import typing as t
from datetime import datetime

from .._core import _names
from .._core.failures import describe_end, describe_failure, describe_time, is_ok, list_hints
from .._core.text import one_line

SCHEMA = 1

PREFIX = "alteryx_restore_"
STEPS: tuple[str, ...] = (
    "facts",
    "found",
    "records",
    "plan",
    "lock",
    "extracted",
    "room",
    "drain",
    "lease",
    "stop",
    "job",
    "service",
    "health",
    "release",
    "accepted",
    "cleared",
    "unlock",
)
"""Steps of the role in their order; each is registered in the variable of its name, with the prefix."""

_PARTS = ("stop", "files", "database", "start", "rest")
"""The parts of the downtime of a node."""

_GOES_ON = ("health", "cleared")
"""Steps after whose failure the play continues."""

_OF_FLEET = ("plan",)
"""Steps that are done once for all nodes, and registered on each."""

_GOOD = {"restore": "RESTORED", "roll_back": "ROLLED BACK", "accept": "ACCEPTED"}
_NAMES = {"restore": "RESTORE", "roll_back": "ROLLBACK", "accept": "ACCEPTANCE"}

Result = t.Mapping[str, t.Any]
Results = t.Mapping[str, t.Mapping[str, Result]]
"""Host -> step -> result."""


def read_steps(registered: t.Mapping[str, t.Any]) -> dict[str, Result]:
    """The results of the steps of a host, from its variables. A skipped step is left out."""
    found = {}
    for step in STEPS:
        result = registered.get(f"{PREFIX}{step}")
        if isinstance(result, t.Mapping) and result and not result.get("skipped"):
            found[step] = result
    return found


def ended_by_a_step(results: Results) -> bool:
    """Has a step failed in a way that ends its host? If not, only the report itself can make the play fail."""
    return any(
        not is_ok(result) and not (step in _GOES_ON or (step == "job" and "service" in steps))
        for steps in results.values()
        for step, result in steps.items()
    )


def compose(results: Results, check_mode: bool, now: str, clock: float, tool: str) -> dict[str, t.Any]:
    """The outcome, JSON-able.

    Args:
        results: of every host of the play.
        check_mode: whether only the plan was requested.
        now: UTC text.
        clock: monotonic seconds; the plan has those of the beginning.
        tool: name and version of this collection.
    """
    plan: t.Mapping[str, t.Any] = next(
        (steps["plan"]["plan"] for steps in results.values() if is_ok(steps.get("plan"))), {}
    )
    failures = _list_failures(results)
    nodes = {host: _describe_node(plan.get("nodes", {}).get(host, {}), steps) for host, steps in results.items()}
    if plan and not check_mode and not failures:
        failures = [
            describe_failure(host, "report", "unexpected", text)
            for host, node in plan["nodes"].items()
            for text in _list_lacks(plan, node, nodes[host], results[host])
        ]
    if not plan and not failures:
        failures = [describe_failure("", "report", "run_incomplete", "the run ended before it had a plan")]
    end = describe_end(failures)
    # A refused restore has no plan, but it has a request.
    asked = next((_asked_of(steps["plan"]) for steps in results.values() if "plan" in steps), {})
    verb = plan.get("verb") or asked.get("verb") or "restore"
    run_id = plan.get("run_id", "")
    return {
        "schema": SCHEMA,
        "tool": tool,
        "name": run_id or f"Restore_{_stamp(now)}_{int(now[20:23]):04x}",
        "log_name": f"RestoreLog_{_stamp(now)}.log",
        "run_id": run_id,
        "verb": verb,
        "scope": plan.get("scope") or asked.get("scope", ""),
        "fleet": plan.get("fleet") or asked.get("fleet", ""),
        "backup": plan.get("backup", {}),
        "restore_id": plan.get("restore_id", ""),
        "started": plan.get("started", now),
        "finished": now,
        "seconds": round(clock - plan.get("begun", clock), 3),
        "verdict": "FAILED" if end["exit_code"] else "PLANNED" if check_mode else _GOOD[verb],
        **end,
        "failures": failures,
        "warnings": _list_warnings(plan, results),
        "nodes": nodes,
    }


def _asked_of(plan: Result) -> t.Mapping[str, t.Any]:
    return t.cast(t.Mapping[str, t.Any], (plan.get("detail") or {}).get("asked") or {})


def _stamp(now: str) -> str:
    """UTC text in the form for names."""
    return _names.stamp(datetime.fromisoformat(now))


def _list_failures(results: Results) -> list[dict[str, t.Any]]:
    found: list[dict[str, t.Any]] = []
    for step in STEPS:
        for host, steps in results.items():
            result = steps.get(step)
            if result is None or is_ok(result):
                continue
            name = str(result.get("reason", ""))
            if result.get("unreachable"):
                name = "unreachable" if step in ("facts", "found", "records") else "connection_lost"
            message = one_line(result.get("message") or result.get("msg"))
            if step == "job" and name == "service_not_restored" and _runs(steps):
                name, message = "service_restored_late", f"{message}; it was started again after that"
            entry = describe_failure(str(result.get("node") or host), step, name, message)
            if entry not in found:
                found.append(entry)
    return found


def _runs(steps: t.Mapping[str, Result]) -> bool:
    service = steps.get("service", {})
    return is_ok(steps.get("service")) and (service.get("service") or {}).get("state") == "Running"


def _describe_node(planned: t.Mapping[str, t.Any], steps: t.Mapping[str, Result]) -> dict[str, t.Any]:
    job = _job_of(steps)
    service = steps.get("service", {})
    after = service.get("service") or (service.get("detail") or {}).get("service") or {}
    return {
        "roles": list(planned.get("roles", [])),
        "archive": planned.get("archive", ""),
        "server": _judge_server(planned, steps),
        "service_before": planned.get("service_state", "unknown"),
        "service_after": after.get("state") or ("not seen" if "lease" in steps else "not touched"),
        "downtime": _read_downtime(job, steps),
        **{key: job.get(key, 0) for key in ("collections", "documents")},
        "kept": list(job.get("kept") or ()),
        "undone": list(job.get("undone") or service.get("undone") or ()),
        "deleted": list(steps.get("accepted", {}).get("did") or ()),
        "steps": {step: describe_time(result) for step, result in steps.items()},
    }


def _read_downtime(job: Result, steps: t.Mapping[str, Result]) -> dict[str, float]:
    """The downtime of a node in seconds. A worker or UI node is stopped by a separate step, and waits for the other
    nodes."""
    down: dict[str, float] = {**(job.get("downtime") or dict.fromkeys(("total", *_PARTS), 0.0))}
    stopped = [seen["at"] for seen in steps.get("stop", {}).get("states") or () if seen["state"] != "Running"]
    states = [*(job.get("states") or ()), *(steps.get("service", {}).get("states") or ())]
    running = [seen["at"] for seen in states if seen["state"] == "Running"]
    if stopped and running:
        seconds = (datetime.fromisoformat(running[0]) - datetime.fromisoformat(stopped[0])).total_seconds()
        down["total"] = round(max(down["total"], seconds), 3)
        down["rest"] = round(max(0.0, down["total"] - sum(down[part] for part in _PARTS[:-1])), 3)
    return down


def _job_of(steps: t.Mapping[str, Result]) -> Result:
    job = steps.get("job", {})
    return job if is_ok(steps.get("job")) else t.cast(Result, job.get("detail") or {})


def _judge_server(planned: t.Mapping[str, t.Any], steps: t.Mapping[str, Result]) -> str:
    """Which files a node has now: new, old, or not known."""
    if not planned or "lease" not in steps:
        return "untouched"
    job, service = _job_of(steps), steps.get("service", {})
    if job.get("committed") or service.get("restore") == "committed":
        return "new"
    if "job" not in steps or service.get("restore") == "undone" or job.get("undone") is not None:
        unproven = "restore_unproven" in (steps.get("job", {}).get("reason"), service.get("reason"))
        return "not known" if unproven else "old"
    return "not known"


def _list_lacks(
    plan: t.Mapping[str, t.Any], node: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any], steps: t.Mapping[str, Result]
) -> t.Iterator[str]:
    """The results that a good run must show for a node and that are missing in this run. The absence of failures is not
    enough."""
    if plan["verb"] == "accept":
        if not is_ok(steps.get("accepted")):
            yield "no proof that the kept files were deleted"
        return
    if (node["restores_database"] or node["restores_files"] or node["rolls_back"]) and seen["server"] != "new":
        yield "no proof that the backup is in place"
    if node["restores_database"] and not seen["collections"]:
        yield "no proof that the documents were counted"
    wanted = "Running" if seen["server"] == "new" or node["service_state"] == "Running" else node["service_state"]
    if seen["service_after"] != wanted:
        yield f"no step has seen the service {wanted}"
    if not is_ok(steps.get("release")):
        yield "no proof that the lease was released"


def _list_warnings(plan: t.Mapping[str, t.Any], results: Results) -> list[str]:
    found = list(plan.get("warnings", ()))
    for host, steps in results.items():
        for step, result in steps.items():
            if step not in _OF_FLEET:
                found += [f"{host}: {one_line(text)}" for text in result.get("warnings") or ()]
    return list(dict.fromkeys(found))


def write_log(outcome: t.Mapping[str, t.Any], results: Results) -> str:
    """The log: what happened on the nodes, in the order of time, and the outcome."""
    lines = []
    for host, steps in results.items():
        for step, result in steps.items():
            if step in _OF_FLEET and host != next(iter(results)):
                continue
            level = "INFO" if is_ok(result) else "ERROR"
            text = "done" if is_ok(result) else one_line(result.get("message") or result.get("msg"))
            lines.append((str(result.get("ended", "")), level, host, f"{step}: {text}"))
            events = result.get("events") or (result.get("detail") or {}).get("events") or ()
            lines += [(event["at"], event["level"], host, one_line(event["text"])) for event in events]
            output = str(result.get("output") or (result.get("detail") or {}).get("output") or "")
            lines += [(str(result.get("ended", "")), "DEBUG", host, text) for text in output.splitlines() if text]
    lines.sort(key=lambda line: line[0])
    return (
        "".join(f"{at} {level:7} {host}: {text}\n" for at, level, host, text in lines) + summarize(outcome, "") + "\n"
    )


def summarize(
    outcome: t.Mapping[str, t.Any],
    directory: str,
    name_command: t.Callable[[str], str] = "ansible-playbook {}.yml".format,
) -> str:
    """The text for the operator at the end.

    Args:
        outcome: see compose.
        directory: where the report is.
        name_command: makes the beginning of a command line out of the name of a playbook.
    """
    name = _NAMES[outcome["verb"]]
    verdict = {"FAILED": "FAILED", "PLANNED": "PLANNED, nothing was touched"}.get(outcome["verdict"], "OK")
    touched = [host for host, node in outcome["nodes"].items() if node["server"] != "untouched"]
    if outcome["reason"] == "restore_unconfirmed":
        verdict = "NOT CONFIRMED, nothing was touched"
    elif verdict == "FAILED" and outcome["exit_code"] == 3 and not touched:
        verdict = "REFUSED, nothing was touched"
    source = outcome["backup"].get("name") or outcome["restore_id"]
    if destination := outcome["backup"].get("destination"):
        source += f" at the destination {destination}"
    head = f"{name} {verdict}  {outcome['fleet']}"
    if outcome["verb"] == "restore":
        head += f"  scope={outcome['scope']}"
    lines = [f"{head}  from {source}  id={outcome['run_id']}" if source else head]
    for failure in outcome["failures"][:5]:
        where = f"{failure['node']}: " if failure["node"] else ""
        lines.append(f" failed   {where}{failure['message']} ({failure['reason']})")
    complete = [host for host, node in outcome["nodes"].items() if node["server"] == "new"]
    if outcome["hint"] and complete:
        lines.append(
            f" do       {_GOOD[outcome['verb']].lower()} on {', '.join(complete)} already, so do not run this again. "
            "Look at the server, then accept or go back as below"
        )
    elif outcome["hint"]:
        lines += [f" do       {hint}" for hint in list_hints(outcome)]
    for host, node in outcome["nodes"].items():
        # Without a plan, nothing is known of a node that was not touched.
        if host in touched or node["service_before"] != "unknown":
            lines += _describe_lines(outcome["verb"], host, node)
    lines += [f" warning  {text}" for text in outcome["warnings"][:8]]
    lines += _describe_next(outcome, name_command)
    if directory:
        lines.append(f" report   {directory}")
    return "\n".join(lines)


_SERVERS = {
    ("restore", "new"): "the server is the restored one",
    ("restore", "old"): "the server is the one of before the restore",
    ("roll_back", "new"): "the server is the one of before the restore",
    ("roll_back", "old"): "the server is the restored one",
}
_UNKNOWN = "IT IS NOT KNOWN WHICH FILES THE SERVER HAS"


def _describe_lines(verb: str, host: str, node: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    down = node["downtime"]
    service = f"service {node['service_before']} -> {node['service_after']}"
    text = f" node     {host}  {', '.join(node['roles']) or '-'}  {service}"
    if down["total"]:
        parts = " + ".join(f"{part} {down[part]:.1f}" for part in _PARTS)
        text += f"  downtime {down['total']:.1f} s = {parts}"
    yield text
    server = _UNKNOWN if node["server"] == "not known" else _SERVERS.get((verb, node["server"]), "")
    if server:
        counted = f"; {node['documents']} documents in {node['collections']} collections, as in the backup"
        yield f"          {server}{counted if node['collections'] else ''}"
    if node["undone"]:
        yield "          what had been exchanged was put back; the log names it"
    yield from (f"          kept: {path}" for path in node["kept"])
    yield from (f"          deleted: {path}" for path in node["deleted"])


def _describe_next(outcome: t.Mapping[str, t.Any], name_command: t.Callable[[str], str]) -> t.Iterator[str]:
    # A job that was lost after the commit has not said what it keeps.
    if not any(node["kept"] or node["server"] == "new" for node in outcome["nodes"].values()):
        return
    fleet = outcome["fleet"]
    restore_id = outcome["restore_id"] or outcome["run_id"]
    given = f"-l {fleet} -e alteryx_restore_run={restore_id} -e alteryx_restore_confirm={fleet}"
    yield " check    users, schedules, and a workflow on each worker (docs/recovering.md, After a restore)"
    yield f" keep     {name_command('accept_restore')} {given}"
    yield "          deletes what is kept; nothing can be undone after that"
    if outcome["verb"] == "restore":
        yield f" go back  {name_command('roll_back_restore')} {given}"


def describe_interruption(plan: t.Mapping[str, t.Any], results: Results) -> str:
    """What continues on the nodes after an interruption, and what to do.

    Args:
        plan: of the restore.
        results: of the steps until then.
    """
    name = _NAMES[plan["verb"]]
    lines = [f"{name} INTERRUPTED  {plan['fleet']}  id={plan['run_id']}"]
    complete = [host for host, steps in results.items() if _job_of(steps).get("committed")]
    if complete:
        where = ", ".join(complete)
        lines += [
            f" nodes    the {name.lower()} is complete on {where}, and nothing puts files back there",
            "          another node completes its job if that has begun; if not, it keeps its files, and its service",
            "          starts when its lease ends",
        ]
    elif any(is_ok(steps.get("lease")) for steps in results.values()):
        controller = plan["controller"] or "the controller"
        lines.append(
            f" nodes    the job on {controller} continues: it completes the {name.lower()}, "
            "or puts back the files that it has exchanged"
        )
        lines.append(
            "          the other nodes keep their files, and start after the controller or when their leases end"
        )
    else:
        lines.append(" nodes    no service was stopped")
    lines.append(
        " do       look with topology.yml; when nothing is active any more, run recover.yml, which says what it did"
    )
    return "\n".join(lines)
