# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import typing as t
from pathlib import Path

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _reports
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import (
    direct_child_groups,
    raw_variables,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _fleet_topology
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _files, _prediction


class ActionModule(NodeAction):
    """Prints what node_info has found on every node of the play, fleet by fleet, as a table."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/fleet_topology.yml."""
        hosts = list(variables["ansible_play_hosts_all"])
        surveys = {}
        for fleet, members in direct_child_groups(variables, "alteryx").items():
            facts = {
                host: raw_variables(variables, host).get(arguments["facts"]) or {} for host in hosts if host in members
            }
            if facts:
                addresses = {host: str(variables["hostvars"][host].get("ansible_host", "")) for host in facts}
                left, restores = (
                    {host: raw_variables(variables, host).get(arguments[name]) or {} for host in facts}
                    for name in ("left", "restores")
                )
                surveys[fleet] = _fleet_topology.describe_fleet(
                    fleet, facts, addresses, arguments["controller_names"], left, restores
                )
        reports = _reports.resolve_directory(arguments["report_directory"])
        said = {fleet: "\n".join([found.text, *_expect_downtime(reports, fleet)]) for fleet, found in surveys.items()}
        show("\n" + "\n\n".join(said.values()))
        fleets = {
            fleet: {
                "controller": found.controller,
                "roles": {host: list(roles) for host, roles in found.roles.items()},
                "problems": [{"node": node, "text": text} for node, text in found.problems],
            }
            for fleet, found in surveys.items()
        }
        for fleet, found in surveys.items():
            # A node that could not be read is not a contradiction.
            for node, (reason, text) in found.unread.items():
                raise StepFailed(reason, f"fleet {fleet}: {text}", {"node": node, "fleets": fleets})
            if found.problems:
                node, text = found.problems[0]
                raise StepFailed(
                    "topology_contradicts",
                    f"fleet {fleet}: {text}",
                    {**({"node": node} if node else {}), "fleets": fleets},
                )
        return {"changed": False, "fleets": fleets}


def _expect_downtime(reports: Path, fleet: str) -> list[str]:
    """How long users were without the UI in earlier runs, a sentence for each mode that stops services and has run."""
    found = []
    for mode in ("full", "database"):
        totals = [
            float(outcome.get("users_downtime", outcome["downtime"])["total"])
            for outcome in itertools.islice(_files.read_outcomes(reports, fleet, mode), _prediction.EARLIER)
        ]
        if totals:
            found.append(f"note: {_prediction.describe_earlier(f'mode {mode}: the downtime of the UI', totals)}")
    return found
