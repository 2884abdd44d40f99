# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ntpath
import typing as t
from datetime import UTC, datetime

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._chosen import choose_backups
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._shares import find_places
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._copy import _copies, _destinations
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import _names
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed

_PROBE_SECONDS = 120
"""Time limit for each destination: 60 s to answer, and some time for the job to begin."""


class ActionModule(NodeAction):
    """Copies backups of a node to the destinations, or tests whether it can."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_copy.yml."""
        destinations = _destinations.read_destinations(
            arguments["destinations"],
            arguments["credentials"],
            ntpath.dirname(arguments["folder"]),
            arguments["fleet"],
        )
        if not destinations:
            raise StepFailed("invalid_variable", f"{_destinations.VARIABLE} is empty, so there is no place for copies")
        if arguments["state"] == "probed":
            return self._probe(destinations, arguments, variables)
        if arguments["catalogue"]:
            return self._copy_chosen(destinations, arguments, variables)
        if problem := _names.windows_name_problem(arguments["base_name"]):
            raise StepFailed("invalid_variable", f"{arguments['base_name']!r} is not the name of a backup: {problem}")
        if self.check_mode:
            return {"changed": True, "copies": []}
        return self._copy(arguments["base_name"], arguments["fleet"], destinations, arguments, variables)

    def _probe(
        self, destinations: t.Sequence[_destinations.Destination], arguments: Result, variables: dict[str, t.Any]
    ) -> Result:
        """Tests every destination, so that no service is stopped for a backup that cannot be copied."""
        host = variables["inventory_hostname"]
        found = self._run("", arguments["fleet"], destinations, arguments, variables)
        bad = [copy for copy in found.get("copies", ()) if copy["state"] != "usable"]
        texts = [f"the destination {copy['destination']} cannot be used: {copy['message']}" for copy in bad]
        unfit = [copy for copy in bad if copy["reason"] == "destination_invalid"] or bad
        if bad and (arguments["on_failed_probe"] == "fail" or unfit[0]["reason"] == "destination_invalid"):
            raise StepFailed(unfit[0]["reason"], "; ".join(texts), {"copies": found["copies"]})
        for text in texts:
            self.note_warning(host, f"{text}. The backup is made, and its copy is tried again then")
        return found

    def _copy_chosen(
        self, destinations: t.Sequence[_destinations.Destination], arguments: Result, variables: dict[str, t.Any]
    ) -> Result:
        """Copies one backup after the other, also if one of them fails. Then fails with the first failure."""
        host = variables["inventory_hostname"]
        backups = choose_backups(arguments, variables, "copy")
        verb = "would be" if self.check_mode else "will be"
        if backups:
            names = ", ".join(one["id"] for one in backups)
            show_progress(host, f"{len(backups)} of the backups {verb} copied: {names}")
        if self.check_mode:
            return {"changed": bool(backups), "copies": []}
        done: Result = {"changed": False, "copies": [], "events": []}
        failures: list[tuple[str, StepFailed]] = []
        for one in backups:
            try:
                # A copy belongs to the fleet that made the backup, also if the node is in another fleet today.
                if not one["fleet"]:
                    raise StepFailed("archive_incomplete", "its manifest does not say of which fleet it is")
                found = self._copy(one["id"], one["fleet"], destinations, arguments, variables)
            except StepFailed as failure:
                failures.append((one["id"], failure))
                found = failure.detail
            done["changed"] = done["changed"] or bool(found.get("changed"))
            done["copies"] += found.get("copies", [])
            done["events"] += found.get("events", [])
        if failures:
            first = failures[0][1]
            text = "; ".join(f"{name}: {failure.message}" for name, failure in failures)
            raise StepFailed(first.reason.name, text, done)
        return done

    def _copy(
        self,
        base_name: str,
        fleet: str,
        destinations: t.Sequence[_destinations.Destination],
        arguments: Result,
        variables: dict[str, t.Any],
    ) -> Result:
        host = variables["inventory_hostname"]
        try:
            found = self._run(base_name, fleet, destinations, arguments, variables)
        except StepFailed as failure:
            self._tell(base_name, failure.detail, host)
            raise
        self._tell(base_name, found, host)
        return {**found, "changed": any(copy["state"] == "copied" for copy in found["copies"])}

    @staticmethod
    def _tell(base_name: str, found: Result, host: str) -> None:
        for copy in found.get("copies", ()):
            copy["backup"] = base_name
            show_progress(host, f"{base_name} -> {copy['destination']}: {_copies.describe_copy(copy)}")

    def _run(
        self,
        base_name: str,
        fleet: str,
        destinations: t.Sequence[_destinations.Destination],
        arguments: Result,
        variables: dict[str, t.Any],
    ) -> Result:
        # The node needs only these arguments. Passwords are in the spec of the job, and nowhere else.
        own = {"folder": arguments["folder"], "run_id": arguments["run_id"], "destinations": [], "credentials": {}}
        places = find_places(self, destinations, arguments["credentials"], own, variables)
        if self.check_mode:
            return {"changed": False, "copies": []}
        spec = _copies.build_copy_spec(
            arguments["folder"],
            base_name,
            _copies.place_copies(fleet, arguments["folder"]),
            _names.stamp(datetime.now(UTC)),
            places,
            arguments["run_id"],
            arguments["retries"],
            arguments["retry_seconds"],
        )
        limit = arguments["timeout"] if base_name else _PROBE_SECONDS * len(destinations)
        return {
            "changed": False,
            **self.run_job(_copies.name_job(base_name), spec, limit, own, variables),
        }
