# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _node_job, _plan
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._action import NodeAction, Result, _display, warn
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import StepFailed


class ActionModule(NodeAction):
    """Turns the facts of all nodes into the plan of the run and prints it."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_plan.yml."""
        asked = arguments["request"]
        request = _plan.Request(**{field.name: asked[field.name] for field in dataclasses.fields(_plan.Request)})
        nodes = []
        for host in asked["hosts"]:
            try:
                nodes.append(_plan.plan_node(host, variables["hostvars"][host][arguments["facts"]], request))
            except StepFailed as failure:
                failure.detail["node"] = host
                raise
        controller = _plan.controller_of(nodes)
        if request.stops_services and len(nodes) > 1:
            names = ", ".join(node.name for node in nodes)
            raise StepFailed("fleet_unsupported", f"{request.mode} mode handles fleets of one node so far, this one has {len(nodes)}: {names}")
        if request.stops_services and controller is None:
            raise StepFailed("no_role", f"none of the nodes is a controller, so {request.mode} mode has nothing to dump")
        plan = {
            **asked,
            "stops_services": request.stops_services,
            "exports_configuration": request.exports_configuration,
            "controller": controller.name if controller else "",
            "nodes": {node.name: {**dataclasses.asdict(node), "dumps": node.dumps and request.stops_services} for node in nodes},
        }
        for node in nodes:
            for text in node.warnings:
                warn(f"{node.name}: {text}")
            _display.display(
                f"plan: {node.name} ({', '.join(node.roles)}), Alteryx {node.version or 'of unknown version'}, service {node.service['state']}, "
                f"data files {_node_job.size(node.expected_bytes)} -> {node.archive_folder}\\{node.base_name}.zip"
            )
        return {"changed": False, "plan": plan}
