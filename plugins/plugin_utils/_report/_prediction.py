# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The prediction of a run by --check: order, sizes, space, downtime, and what is not known."""

from __future__ import annotations

import typing as t

from .._core.text import counted, size
from ._steps import Plan, Results

Outcome = t.Mapping[str, t.Any]

EARLIER = 5
"""The number of earlier runs from which the range of the downtime is taken."""


def describe_run(plan: Plan, results: Results, earlier: t.Sequence[Outcome]) -> list[str]:
    """A sentence for each thing that a run would do.

    Args:
        plan: of the run.
        results: of the run with --check.
        earlier: outcomes of successful runs of this fleet and mode, the newest first.
    """
    lines = [_describe_order(plan)]
    for host, node in plan["nodes"].items():
        lines += _describe_node(host, node, plan, results, earlier)
    if plan["stops_services"]:
        lines += _describe_downtime(plan, earlier)
        lines.append(
            "Only a run can try whether files can be written in the staging and archive directory, whether the guard"
            " answers as SYSTEM, and whether the services stop and start."
        )
    return lines


def _describe_order(plan: Plan) -> str:
    if not plan["stops_services"]:
        return "No service would be stopped."
    if len(plan["stop_tiers"]) == 1 and len(plan["stop_tiers"][0]) == 1:
        return f"The service of {plan['stop_tiers'][0][0]} would be stopped, and started again after the dump."
    stop, start = (
        ", then ".join(" and ".join(tier) for tier in plan[tiers]) for tiers in ("stop_tiers", "start_tiers")
    )
    return f"Services would stop in this order: {stop}. They would start in this order: {start}."


def _describe_node(
    host: str, node: t.Mapping[str, t.Any], plan: Plan, results: Results, earlier: t.Sequence[Outcome]
) -> t.Iterator[str]:
    steps = results.get(host, {})
    free = {folder["path"]: folder["free_bytes"] for folder in steps.get("facts", {}).get("folders") or []}
    last: t.Mapping[str, t.Any] = next((outcome["nodes"][host] for outcome in earlier if host in outcome["nodes"]), {})
    amounts = []
    if node["dumps"]:
        known = [f"the data files have {size(node['expected_bytes'])}"] if node["expected_bytes"] else []
        amounts.append(_describe_amount("a dump", last.get("dump_bytes", 0), known, free, plan["staging_directory"]))
    files = [entry for entry in steps.get("configuration", {}).get("files") or [] if entry["present"]]
    if files:
        count, total = (sum(entry[key] for entry in files) for key in ("files", "bytes"))
        amounts.append(f"{counted(count, 'critical file')} of {size(total)}")
    if node["secrets"]:
        amounts.append(f"{len(node['secrets'])} secrets, which could be read just now")
    if amounts:
        amounts.append(
            _describe_amount("an archive", last.get("archive_bytes", 0), [], free, plan["archive_directory"])
        )
    if amounts:
        yield f"{host} would give {', '.join(amounts)}."


def _describe_amount(what: str, last: int, known: list[str], free: t.Mapping[str, int], folder: str) -> str:
    """The size of the backup, if it is known, and the free space for it."""
    said = [f"the last one had {size(last)}" if last else "its size is not known", *known]
    said += [f"{size(free[folder])} are free for it"] if free.get(folder, -1) >= 0 else []
    return f"{what} ({', '.join(said)})"


def _describe_downtime(plan: Plan, earlier: t.Sequence[Outcome]) -> list[str]:
    if len(plan["nodes"]) == 1:
        return [describe_earlier("The downtime", [float(each["downtime"]["total"]) for each in earlier])]
    users = [float(each.get("users_downtime", {}).get("total", 0.0)) for each in earlier]
    controller = [float(each["downtime"]["total"]) for each in earlier]
    return [
        describe_earlier("The downtime of the UI", users),
        describe_earlier(f"The downtime of {plan['controller']}", controller),
    ]


def describe_earlier(what: str, totals: t.Sequence[float]) -> str:
    """The downtimes in earlier successful runs of a fleet and mode.

    Args:
        what: the beginning of the sentence.
        totals: seconds, the newest first; 0 for a run that did not record it.
    """
    seen = [total for total in totals if total][:EARLIER]
    if not seen:
        return f"{what} is not known: the report folder has no earlier run of this fleet and mode that ended well."
    if len(seen) == 1:
        return f"{what} was {seen[0]:.1f} s in the last run of this fleet and mode that ended well."
    span = f"{min(seen):.1f} to {max(seen):.1f} s"
    return f"{what} was {span} in the last {len(seen)} runs of this fleet and mode that ended well."
