# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import (
    direct_child_groups,
    raw_variables,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show, utc_text
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _catalogue
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.text import name_nodes

_NOT_FOUND = ("backup_unknown", "no_good_backup", "invalid_variable")


class ActionModule(NodeAction):
    """Prints what backup_info has found on every node of the play; writes it as JSON if requested."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_list.yml."""
        hosts = list(variables["ansible_play_hosts_all"])
        listed = _catalogue.listing(
            {host: raw_variables(variables, host).get(arguments["catalogues"]) or {} for host in hosts}, utc_text()
        )
        # A table of other backups would look like a result for the requested backup.
        unfound = self._unfound(hosts, arguments["verified"], variables) if arguments["verified"] else {}
        if shown := {host: node for host, node in listed["nodes"].items() if host not in unfound}:
            show(_catalogue.listing_text({**listed, "nodes": shown}))
        mode = arguments["mode"]
        # Only the controller of a fleet has backups of the database alone.
        fleets = _fleets(hosts, variables) if mode == "database" else None
        problems = _catalogue.problems(listed, datetime.now(UTC), mode, arguments["max_age"], fleets)
        listed["problems"] = [{"node": node, "text": text} for node, text in problems]
        told = [f"problem: {node}: {text}" for node, text in problems if node not in unfound]
        told += [f"NOT VERIFIED  {nodes}: {text}" for nodes, text in name_nodes(unfound.items())]
        if told:
            show("\n" + "\n".join(told))
        changed = self._write(arguments["file"], listed)
        if problems and arguments["alarm"]:
            raise StepFailed("no_good_backup", _alarm_text(problems), {"node": problems[0][0], "listing": listed})
        return {"changed": changed, "listing": listed}

    @staticmethod
    def _unfound(hosts: list[str], name: str, variables: dict[str, t.Any]) -> dict[str, str]:
        """Host -> what failed and what to do, of hosts that do not have the backup that was to be verified."""
        results = {host: raw_variables(variables, host).get(name) or {} for host in hosts}
        return {
            host: f"{result['message']}. {result['hint']}"
            for host, result in results.items()
            if result.get("failed") and result.get("reason") in _NOT_FOUND
        }

    def _write(self, name: str, listed: dict[str, t.Any]) -> bool:
        if not name:
            return False
        file = Path(name).expanduser()
        if not self.check_mode:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                draft = file.with_name(f".{file.name}.new")
                draft.write_text(json.dumps(listed, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
                draft.replace(file)
            except OSError as error:
                raise StepFailed("report_failed", f"the list cannot be written to {file}: {error}") from error
        show(f"\nlist     {file}")
        return True


def _fleets(hosts: list[str], variables: dict[str, t.Any]) -> dict[str, list[str]]:
    groups = direct_child_groups(variables, "alteryx")
    found = {fleet: [host for host in hosts if host in members] for fleet, members in groups.items()}
    return {fleet: members for fleet, members in found.items() if members}


def _alarm_text(problems: list[tuple[str, str]]) -> str:
    """The first problem without its node, which every failure names anyway, and the others with theirs."""
    others = "".join(f"; {node}: {text}" for node, text in problems[1:5])
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
    return f"{problems[0][1]}{others}{more}"
