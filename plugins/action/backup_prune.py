# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import raw_variables
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._process import describe_operator
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._shares import find_named_places
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._copy import _copies
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.text import counted, size
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _orders, _room

_SECONDS = 3600
"""For one state at one destination."""


class ActionModule(NodeAction):
    """Deletes on a node, and at destinations what is of this node, exactly what the plan names."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_prune.yml."""
        host, plan, state = variables["inventory_hostname"], arguments["plan"], arguments["state"]
        checked = self._read_checked(arguments["checked"], plan, variables)
        held = _orders.read_held(checked)
        # Sets that are in use are not deleted, so what is left of a plan for room may not free enough.
        if state == "begun" and (short := _room.find_shortage(plan, plan.get("room") or {}, held)):
            raise StepFailed("space_short", f"{short[1]}; the other sets are in use", {"node": short[0]})
        orders = _orders.list_orders(plan, host, held)
        own = {
            **{key: arguments[key] for key in ("state", "folder", "run_id")},
            "plan": {},
            "destinations": [],
            "credentials": {},
            "_node": host,
            "_who": describe_operator(),
        }
        # In a text, because Ansible writes the arguments of a module into the event log, and the plan of a fleet is
        # longer than what a line of it takes.
        answer = self.call_node({**own, "_backups": json.dumps({"backups": orders})}, variables)
        self._tell(answer, orders, "", state, host)
        answer["places"] = self._prune_places(own, checked, arguments, variables)
        answer["changed"] = answer["changed"] or any(place["did"] for place in answer["places"])
        # A failure at one destination does not affect the others, so the module fails after the last one.
        failed = {place["destination"]: place for place in answer["places"] if place["reason"]}
        if state == "finished":
            for place in plan.get("places", []):
                refusals = _orders.read_refusals(checked, place["destination"])
                if host in refusals:
                    failed[place["destination"]] = refusals[host]
        if failed and state != "checked":
            first = next(iter(failed.values()))
            text = "; ".join(f"the destination {name}: {place['message']}" for name, place in failed.items())
            raise StepFailed(first["reason"], text, {key: answer[key] for key in ("did", "bytes", "places")})
        return answer

    @staticmethod
    def _read_checked(
        name: str, plan: t.Mapping[str, t.Any], variables: dict[str, t.Any]
    ) -> dict[str, t.Mapping[str, t.Any]]:
        if not name:
            return {}
        return {host: raw_variables(variables, host).get(name) or {} for host in plan["nodes"]}

    def _prune_places(
        self,
        own: Result,
        checked: t.Mapping[str, t.Mapping[str, t.Any]],
        arguments: Result,
        variables: dict[str, t.Any],
    ) -> list[Result]:
        """Does at every destination what the state says. Returns what became of each."""
        host, plan, state = variables["inventory_hostname"], arguments["plan"], arguments["state"]
        work = _orders.build_places(plan, host, checked, state)
        if not work:
            return []
        if self.check_mode:
            for name, place in work.items():
                self._tell({"held": []}, place["backups"], name, state, host)
            return []
        places = find_named_places(self, work, arguments, own, variables)
        spec = _orders.build_prune_spec(
            state, arguments["folder"], host, arguments["run_id"], own["_who"], places, plan["fleet"], work
        )
        job = self.run_job(_copies.name_job(f"prune-{state}"), spec, _SECONDS * len(places), own, variables)
        for place in job["places"]:
            name = place["destination"]
            if place["reason"]:
                self.note_warning(host, f"the destination {name}: {place['message']}")
            else:
                self._tell(place, work[name]["backups"], name, state, host)
        return t.cast(list[Result], job["places"])

    def _tell(
        self,
        answer: t.Mapping[str, t.Any],
        orders: t.Sequence[t.Mapping[str, t.Any]],
        place: str,
        state: str,
        host: str,
    ) -> None:
        where = f" at {place}" if place else ""
        if state == "checked":
            for one in answer["held"]:
                self.note_warning(host, f"{one['name']} is in use{where} and stays on every node: {one['why']}")
        elif state == "finished" and orders:
            verb = "would delete" if self.check_mode else "deleted"
            total = size(sum(file["bytes"] for order in orders for file in (*order["files"], *order["others"])))
            show_progress(host, f"{verb} {counted(len(orders), 'backup')}{where}, {total}")
