# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ntpath
import secrets
import time
import typing as t
from datetime import UTC, datetime

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import (
    find_fleet,
    raw_variables,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._process import describe_operator
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show, utc_text
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._values import (
    refuse_invalid_values,
    refuse_unknown_variables,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._copy import _destinations
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import _names
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.failures import is_ok
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import (
    _node_facts,
    _runtime_settings,
    _topology,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore import (
    _choose,
    _gates,
    _plan,
    _space,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _sets


class ActionModule(NodeAction):
    """Chooses the backup set that is restored, refuses what cannot be restored, and prints the plan."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/restore_plan.yml."""
        asked = {key: arguments[key] for key in ("verb", "scope")}
        if asked["verb"] == "restore" and arguments["destination"] == _destinations.EVERYWHERE:
            raise StepFailed(
                "invalid_variable",
                f"alteryx_catalogue_destination is {_destinations.EVERYWHERE}; a restore reads at one destination",
                {"asked": asked},
            )
        hosts = list(variables["ansible_play_hosts_all"])
        try:
            asked["fleet"], members = find_fleet(hosts, variables)
            return self._plan(asked["fleet"], members, arguments, variables)
        except StepFailed as failure:
            # For the report, because it does not receive a plan.
            failure.detail["asked"] = asked
            raise

    def _plan(self, fleet: str, members: list[str], arguments: Result, variables: dict[str, t.Any]) -> Result:
        hosts = list(variables["ansible_play_hosts_all"])
        of_hosts = {host: raw_variables(variables, host) for host in hosts}
        refuse_unknown_variables(variables, of_hosts.values())
        refuse_invalid_values(variables, of_hosts, self._loader)
        asked = _plan.Asked(
            arguments["verb"], arguments["scope"], arguments["confirm"], tuple(arguments["without_nodes"])
        )
        hosts = self._list_nodes(hosts, members, asked)
        facts = self._read(of_hosts, hosts, arguments["facts"])
        known = _node_facts.read_all(facts)
        records = {host: found["records"] for host, found in self._read(of_hosts, hosts, arguments["records"]).items()}
        now = datetime.now(UTC)
        plan: Result = {
            "run_id": _names.restore_id(now, secrets.token_hex(2)),
            "started": utc_text(),
            "begun": time.monotonic(),
            "verb": asked.verb,
            "scope": asked.scope,
            "fleet": fleet,
            "restore_id": arguments["restore_id"],
            "backup": {},
            "warnings": [],
            "nodes": {},
            "controller": "",
            "stop_tiers": [],
            "service_name": arguments["service_name"],
        }
        chosen, passed_over = None, ()
        if asked.verb == "restore":
            chosen, passed_over = self._plan_restore(plan, asked, arguments, of_hosts, facts, known, records)
        elif asked.verb == "roll_back":
            found = _plan.find_rollback(records, arguments["restore_id"])
            for host in hosts:
                node = _plan.plan_node(host, facts[host], known[host].roles, {}, asked)
                plan["nodes"][host] = {**node, "rolls_back": found.get(host, {})}
        else:
            for host in _plan.find_accepted(records, arguments["restore_id"]):
                plan["nodes"][host] = _plan.plan_node(host, facts[host], known[host].roles, {}, asked)
        if asked.verb != "accept":
            _plan.check_hold(facts)
            _plan.check_service({host: facts[host] for host in plan["nodes"]})
        who = describe_operator()
        for host, node in plan["nodes"].items():
            node["who"] = who
            node["work_folder"] = ntpath.join(arguments["work_directory"], plan["run_id"])
            _add_addresses(node, known[host])
        roles_by_host = {host: node["roles"] for host, node in plan["nodes"].items()}
        plan["stop_tiers"] = _plan.order_tiers(roles_by_host)
        plan["controller"] = next((host for host, node in plan["nodes"].items() if node["is_controller"]), "")
        if asked.verb != "accept":
            _plan.check_controllers(plan["nodes"])
        if asked.verb == "roll_back":
            _plan.check_rollback(plan["nodes"], plan["controller"], plan["restore_id"])
        show(_plan.describe_plan(plan, chosen, passed_over))
        if not self.check_mode:
            _plan.check_confirmation(asked, fleet)
        return {"changed": False, "plan": plan}

    @staticmethod
    def _list_nodes(hosts: list[str], members: list[str], asked: _plan.Asked) -> list[str]:
        """The nodes of the fleet that are restored. Raises StepFailed if a node of the fleet is left out and the
        operator has not named it."""
        missing = [host for host in members if host not in hosts and host not in asked.without]
        if missing:
            raise StepFailed("fleet_partial", f"{', '.join(missing)} of the fleet are left out", {"node": missing[0]})
        return [host for host in hosts if host not in asked.without]

    @staticmethod
    def _read(of_hosts: t.Mapping[str, t.Mapping[str, t.Any]], hosts: list[str], name: str) -> dict[str, t.Any]:
        """The registered result of each host. Raises StepFailed for a node that has not answered."""
        found = {}
        for host in hosts:
            result = of_hosts[host].get(name) or {}
            if not result or not is_ok(result):
                text = result.get("message") or result.get("msg") or "it has not answered"
                reason = "unreachable" if result.get("unreachable") else str(result.get("reason") or "unreachable")
                raise StepFailed(reason, text, {"node": host})
            found[host] = result
        return found

    def _plan_restore(
        self,
        plan: Result,
        asked: _plan.Asked,
        arguments: Result,
        of_hosts: t.Mapping[str, t.Mapping[str, t.Any]],
        facts: _plan.Facts,
        known: t.Mapping[str, _node_facts.NodeFacts],
        records: _plan.Records,
    ) -> tuple[_sets.BackupSet, t.Sequence[str]]:
        _plan.check_pending(records)
        hosts, now = list(facts), datetime.now(UTC)
        catalogues = self._read(of_hosts, hosts, arguments["catalogues"])
        wanted, destination = arguments["backup"], arguments["destination"]
        choice = _choose.choose_backup(catalogues, plan["fleet"], wanted, asked.scope, hosts, now, destination)
        plan["backup"] = {
            "name": choice.set.name,
            "run_id": choice.set.run_id,
            "mode": choice.set.mode,
            "destination": destination,
        }
        for host in hosts:
            entry = choice.backups.get(host, {})
            roles = list(entry.get("roles") or known[host].roles)
            plan["nodes"][host] = _plan.plan_node(host, facts[host], roles, entry, asked)
            plan["nodes"][host]["data_folder_wanted"] = arguments["data_folder"]
        saved = {host: _gates.read_saved(entry) for host, entry in choice.backups.items()}
        current = {host: _gates.read_now(known[host]) for host in hosts}
        options = _gates.Options(
            restores_database=asked.scope != "configuration",
            restores_files=asked.scope != "database",
            force_version=arguments["other_version"],
            reserve=arguments["space_reserve"],
            needs={host: _list_needs(facts[host], entry) for host, entry in choice.backups.items()},
        )
        if refusals := _gates.find_refusals(saved, current, options):
            reason, text = refusals[0]
            host, _colon, message = text.partition(": ")
            more = f" (and {len(refusals) - 1} more problems)" if len(refusals) > 1 else ""
            raise StepFailed(
                reason, f"{message}{more}", {"node": host, "refusals": [text for _reason, text in refusals]}
            )
        plan["warnings"] += [*choice.warnings, *_gates.find_warnings(saved, current, options)]
        return choice.set, choice.passed_over


def _list_needs(facts: t.Mapping[str, t.Any], backup: t.Mapping[str, t.Any]) -> list[_space.Need]:
    """The space that the extraction needs. The restore job checks the space for the database, before the stop."""
    return [
        _space.Need(folder["volume"], int(folder["free_bytes"]), "the unpacked backup", int(backup["file_bytes"]))
        for folder in facts["folders"][:1]
        if folder["volume"]
    ]


def _add_addresses(node: Result, known: _node_facts.NodeFacts) -> None:
    """The address of the controller, if the settings of the node contain it."""
    settings = known.readable_settings
    if settings is None:
        return
    address = _runtime_settings.controller_address(settings)
    node["controller_host"] = _topology.host_of(address)
    node["controller_port"] = _topology.port_of(address) or _runtime_settings.service_port(settings)
