# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal (--check) says of the run that would follow: order, amounts, space, downtime, what is not known."""

from __future__ import annotations

import typing as t

from .._core.text import size
from ._steps import Plan, Results

Outcome = t.Mapping[str, t.Any]

_LAST = 5
"""So many earlier runs give the range of the downtime."""


def describe_run(plan: Plan, results: Results, earlier: t.Sequence[Outcome]) -> list[str]:
    """A sentence for each thing that a run would do.

    Args:
        plan: of the run.
        results: of the rehearsal.
        earlier: outcomes of runs of this fleet and mode that ended well, the newest first.
    """
    lines = [_describe_order(plan)]
    for host, node in plan["nodes"].items():
        lines += _describe_node(host, node, plan, results, earlier)
    if plan["stops_services"]:
        lines.append(_describe_downtime(earlier))
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
    amounts = []
    if node["dumps"] and node["expected_bytes"]:
        room = free.get(plan["staging_directory"], -1)
        known = f" ({size(room)} are free for the dump)" if room >= 0 else ""
        amounts.append(f"a dump of data files of {size(node['expected_bytes'])}{known}")
    elif node["dumps"]:
        amounts.append("a dump of unknown size")
    files = [entry for entry in steps.get("configuration", {}).get("files") or [] if entry["present"]]
    if files:
        count, total = (sum(entry[key] for entry in files) for key in ("files", "bytes"))
        amounts.append(f"{count} critical files of {size(total)}")
    if node["secrets"]:
        amounts.append(f"{len(node['secrets'])} secrets, which could be read just now")
    last: t.Mapping[str, t.Any] = next((outcome["nodes"][host] for outcome in earlier if host in outcome["nodes"]), {})
    if amounts and last.get("archive_bytes"):
        room = free.get(plan["archive_directory"], -1)
        known = f", and {size(room)} are free for the next" if room >= 0 else ""
        amounts.append(f"an archive (the last one has {size(last['archive_bytes'])}{known})")
    if amounts:
        yield f"{host} would give {', '.join(amounts)}."


def _describe_downtime(earlier: t.Sequence[Outcome]) -> str:
    seen = [float(outcome["downtime"]["total"]) for outcome in earlier if outcome["downtime"]["total"]][:_LAST]
    if not seen:
        return "The downtime is not known: the report folder has no earlier run of this fleet and mode that ended well."
    if len(seen) == 1:
        return f"The downtime was {seen[0]:.1f} s in the last run of this fleet and mode that ended well."
    span = f"{min(seen):.1f} to {max(seen):.1f} s"
    return f"The downtime was {span} in the last {len(seen)} runs of this fleet and mode that ended well."
