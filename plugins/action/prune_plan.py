# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t
from datetime import UTC, datetime

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import (
    find_fleet,
    raw_variables,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show, utc_text
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.text import duration
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan._plan import CLOCK_OFF_SECONDS
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _report, _steps
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import (
    _describe,
    _orders,
    _places,
    _policy,
    _room,
    _sets,
)


class ActionModule(NodeAction):
    """Decides which backup sets of a fleet are deleted, and prints the rule of each."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/prune_plan.yml."""
        policy = _policy.read_policy(arguments["policy"], arguments["max_share"])
        hosts = list(variables["ansible_play_hosts_all"])
        fleet, members = find_fleet(hosts, variables)
        run, needs = arguments["run"], arguments["needs"]
        catalogues = {host: raw_variables(variables, host).get(arguments["catalogues"]) or {} for host in hosts}
        refusal = _find_partial(hosts, members) or _find_unread(catalogues) or _find_clock(catalogues)
        if refusal and not run:
            raise refusal
        # Before the dump, a run has nothing to show yet.
        results = {} if needs else {host: _steps.read_results(raw_variables(variables, host)) for host in hosts}
        refused = refusal.message if refusal else self._find_failure(run, results)
        if refused:
            # The backup is good. The problem that prevents the deletion of others is a warning and not a failure of the
            # run.
            self.note_warning(fleet, f"retention deletes nothing: {refused}")
        now = datetime.now(UTC)
        readable = {host: result for host, result in catalogues.items() if "catalogue" in result}
        run_id = str(run.get("run_id", ""))
        sets = _sets.read_sets(readable, fleet, now, judged=run_id)
        places = _places.read_places(readable, fleet, now, policy, judged=run_id)
        decisions, of_places = _places.decide_everywhere(sets, places, policy, now)
        room, short, why = {}, None, refused
        for_room = _room.list_deleted(results, self.check_mode)
        if needs:
            measured = {host: raw_variables(variables, host).get(arguments["measured"]) or {} for host in hosts}
            # Nothing is deleted at destinations for room on a node.
            room, places = _room.read_room(needs, measured), []
            short = _room.find_shortage(_orders.write_plan(decisions, readable, fleet, run_id, refused), room)
            why = refused or (short[1] if short else "" if room else "there is enough room now")
        elif for_room:
            # So that one run deletes no more than max_share.
            why = refused or _describe.describe_for_room(for_room, self.check_mode)
        plan = _orders.join_plans(
            _orders.write_plan(decisions, readable, fleet, run_id, why),
            [
                _orders.write_place_plan(place, of_places.get(place.name, []), readable, fleet, run_id, refused)
                for place in places
            ],
        )
        plan |= {"room": room, "for_room": [] if self.check_mode else for_room}
        for each in (plan, *plan["places"]):
            each["summary"] = _describe.summarize(each, self.check_mode)
            show(_describe.describe_plan(each, would=self.check_mode))
        if short:
            host, numbers = short
            raise StepFailed("space_short", f"{numbers}: {refused}" if refused else numbers, {"node": host})
        return {"changed": False, "plan": plan, "summary": plan["summary"]}

    def _find_failure(self, run: t.Mapping[str, t.Any], results: _steps.Results) -> str:
        """Why the current run has not been good so far; "" if it has. A prediction has no results to check yet."""
        if not results or not run or self.check_mode:
            return ""
        outcome = _report.compose(run["mode"], results, False, utc_text(), time.monotonic())
        return f"this run has failed: {outcome['message']}" if outcome["exit_code"] else ""


def _find_partial(hosts: t.Sequence[str], members: t.Sequence[str]) -> StepFailed | None:
    missing = [member for member in members if member not in hosts]
    if not missing:
        return None
    message = f"{', '.join(missing)} of the fleet are left out, and a backup set is kept or deleted whole"
    return StepFailed("prune_partial", message, {"node": missing[0]})


def _find_unread(catalogues: _sets.Catalogues) -> StepFailed | None:
    for host, result in catalogues.items():
        if "catalogue" not in result:
            text = result.get("message") or result.get("msg") or "no answer"
            return StepFailed("prune_partial", f"the backups of {host} could not be listed: {text}", {"node": host})
    return None


def _find_clock(catalogues: _sets.Catalogues) -> StepFailed | None:
    for host, result in catalogues.items():
        off = float(result["clock_off"])
        if abs(off) > CLOCK_OFF_SECONDS:
            message = (
                f"the clock of {host} is {duration(abs(off))} {'ahead of' if off > 0 else 'behind'} that of the "
                "control node, so the age of a backup is not certain"
            )
            return StepFailed("clock_differs", message, {"node": host})
    return None
