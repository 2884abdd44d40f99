# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import raw_variables
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show, warn
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import paths
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.text import size
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _dump, _persistence
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _node_facts
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _plan
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _files

# The fields of the plan that grow with the fleet.
_OF_ALL_NODES = ("nodes", "members", "hosts", "warnings", "stop_tiers", "start_tiers")


class ActionModule(NodeAction):
    """Turns the facts of all nodes into the plan of the run and prints it."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_plan.yml."""
        asked = arguments["request"]
        request = _plan.Request(
            **{field.name: asked[field.name] for field in dataclasses.fields(_plan.Request) if field.name in asked}
        )
        request = dataclasses.replace(
            request, pauses_schedules=arguments["schedules"], knows_api=arguments["schedules_api"]
        )
        hostvars = variables["hostvars"]
        addresses = {host: str(hostvars[host].get("ansible_host", "")) for host in asked["hosts"]}
        fleet = _plan.Fleet(
            name=request.fleet,
            members=tuple(asked["members"]),
            addresses=addresses,
            controller_names=tuple(arguments["controller_names"]),
            partial_wanted=arguments["partial_fleet"],
        )
        database = _plan.Database(
            kind=arguments["database_kind"],
            options=_persistence.Options(
                **{name: arguments[f"mongodb_{name}"] for name in ("stop", "oplog", "gzip")},
                sqlserver=arguments["sqlserver"],
            ),
            connections=_dump.read_connections(arguments["mongodb_connections"]),
        )
        planned = _plan.plan_fleet(
            _node_facts.read_all({host: raw_variables(variables, host)[arguments["facts"]] for host in asked["hosts"]}),
            request,
            fleet,
            database,
        )
        request = planned.request
        plan = {
            **asked,
            "stops_services": request.stops_services,
            "exports_configuration": request.exports_configuration,
            "controller": planned.controller,
            "warnings": list(planned.warnings),
            "stop_tiers": [list(tier) for tier in planned.stop_tiers],
            "start_tiers": [list(tier) for tier in planned.start_tiers],
            "nodes": {node.name: {**dataclasses.asdict(node), "dumps": node.dumps} for node in planned.nodes},
        }
        for text in planned.warnings:
            warn(text)
        for node in planned.nodes:
            for text in node.warnings:
                warn(f"{node.name}: {text}")
            show(
                f"plan: {node.name} ({', '.join(node.roles)}), Alteryx {node.version or 'of unknown version'}, "
                f"service {node.service.state}, "
                f"{_describe_data(node)}{paths.archive_file(node.archive_folder, node.base_name)}"
            )
            if node.room:
                show(f"plan: {node.name} lacks room on {node.room['volume']}; old backups may be deleted for it")
            if request.stops_services and node.name not in (planned.controller, "") and not node.standby:
                host = variables.get("alteryx_window_controller_address") or node.controller_host
                port = variables.get("alteryx_window_controller_port") or node.controller_port
                sign = node.controller_url or f"port {port} of {host}"
                show(f"plan: {node.name} starts again once {sign} has been down and answers")
        return {
            "changed": False,
            "plan": plan,
            "run": {key: value for key, value in plan.items() if key not in _OF_ALL_NODES},
            "room": {node.name: node.room for node in planned.nodes if node.room},
            "leaves_out": self._list_unused(planned, arguments, asked["hosts"], variables),
            "last_run": _files.read_last_run(Path(arguments["report_directory"]), request.fleet, request.mode)
            if arguments["report_directory"]
            else {},
        }

    @staticmethod
    def _list_unused(
        planned: _plan.FleetPlan, arguments: Result, hosts: list[str], variables: dict[str, t.Any]
    ) -> list[str]:
        """A value that is set for only one host is used, too."""
        of_hosts = [raw_variables(variables, host) for host in hosts]
        hooks = [
            name
            for name in _plan.HOOKS
            if (arguments["hooks"] or {}).get(name) or any(own.get(f"alteryx_window_{name}") for own in of_hosts)
        ]
        pauses = arguments["schedules"] or any(own.get("alteryx_window_schedules") for own in of_hosts)
        return _plan.list_unused(planned, hooks, bool(pauses), arguments["adopt_within"] > 0)


def _describe_data(node: _plan.NodePlan) -> str:
    if node.dump["method"] == "mongodump":
        return f"mongodump of {', '.join(dict.fromkeys(dump['shown'] for dump in node.dump['dumps']))} -> "
    return f"data files {size(node.expected_bytes)} -> "
