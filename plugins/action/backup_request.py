# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import os
import secrets
import tempfile
import time
import typing as t
from datetime import UTC, datetime
from pathlib import Path

from ansible.utils.vars import load_extra_vars

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _reports
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import (
    find_fleet,
    raw_variables,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import utc_text, warn
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._values import (
    refuse_invalid_values,
    refuse_strange_variables,
    refuse_unknown_variables,
    variable_default,
    variable_warnings,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._copy import _destinations
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import _names
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _recipients
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _files
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _places, _policy

# Options of other roles, which may be absent from the play of the preflight.
_VARIABLES = {
    "archive_directory": "alteryx_archive_directory",
    "name_pattern": "alteryx_archive_name_pattern",
    "secrets": "alteryx_configuration_secrets",
    "recipients": "alteryx_configuration_recipients",
    "expiry_warning_days": "alteryx_configuration_expiry_warning_days",
    "destinations": "alteryx_distribution_destinations",
    "credentials": "alteryx_distribution_credentials",
    "retention_policy": "alteryx_retention_policy",
    "retention_max_share": "alteryx_retention_max_share",
    "retention_room": "alteryx_retention_room",
}


class ActionModule(NodeAction):
    """Validates the request before any node is contacted, and makes the run ID."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_request.yml."""
        hosts = list(variables["ansible_play_hosts_all"])
        arguments = {
            name: variable_default(_VARIABLES[name]) if value is None and name in _VARIABLES else value
            for name, value in arguments.items()
        }
        of_hosts = {host: raw_variables(variables, host) for host in hosts}
        if "always" in (variables.get("ansible_skip_tags") or ()):
            # The callback would notice that the report is missing, but the callback may not be enabled.
            raise StepFailed("run_incomplete", "--skip-tags always leaves out the report of the run")
        refuse_unknown_variables(variables, of_hosts.values())
        refuse_strange_variables(load_extra_vars(self._loader), arguments["other_variables"])
        for words in variable_warnings(of_hosts.values(), arguments["other_variables"]):
            warn(words)
        mode = arguments["mode"]
        if mode not in _names.MODES:
            raise StepFailed(
                "invalid_mode", f"the mode {mode!r} does not exist; the modes are {', '.join(_names.MODES)}"
            )
        refuse_invalid_values(variables, of_hosts, self._loader)
        try:
            name = _names.base_name(mode, "20260901_020000", arguments["name_pattern"])
        except (KeyError, IndexError, ValueError) as error:
            raise StepFailed(
                "invalid_variable",
                f"the name pattern {arguments['name_pattern']!r} has a field other than {{mode}} and {{stamp}}",
            ) from error
        if (problem := _names.windows_name_problem(name)) or "{stamp}" not in arguments["name_pattern"]:
            raise StepFailed(
                "invalid_variable",
                f"the name pattern {arguments['name_pattern']!r} is not usable: {problem or '{stamp} is missing'}",
            )
        if arguments["space_factor"] <= 0:
            raise StepFailed(
                "invalid_variable", f"alteryx_preflight_space_factor is {arguments['space_factor']}; it must be above 0"
            )
        for file in arguments["task_files"]:
            # For a relative path, the folder that Ansible searches depends on the task that includes the file.
            if Path(file).is_absolute() and not Path(file).is_file():
                raise StepFailed(
                    "invalid_variable",
                    f"the file {file} with your tasks for the window does not exist on the control node",
                )
        policy = _policy.read_policy(arguments["retention_policy"], arguments["retention_max_share"])
        reports = _reports.resolve_directory(arguments["report_directory"]) if arguments["report_directory"] else None
        if reports:
            self._try_report_directory(reports)
        now = datetime.now(UTC)
        fleet, members = find_fleet(hosts, variables)
        destinations = _destinations.read_destinations(
            arguments["destinations"], arguments["credentials"], arguments["archive_directory"], fleet
        )
        prunes_copies = _places.check_policies(
            {one.name: one.retention for one in destinations}, arguments["retention_max_share"]
        )
        recipients = self._recipients(arguments, mode, now)
        request = {
            "run_id": _names.run_id(mode, now, secrets.token_hex(2)),
            "stamp": _names.stamp(now),
            "started": utc_text(),
            "begun": time.monotonic(),
            "mode": mode,
            "fleet": fleet,
            "members": members,
            "hosts": hosts,
            "secrets": arguments["secrets"],
            "recipients": recipients,
            "prunes": bool(policy) or prunes_copies,
            "prunes_for_room": bool(policy) and arguments["retention_room"],
            "copies": bool(destinations),
            "copies_with_password": any(one.credential for one in destinations),
            "destinations": [dataclasses.asdict(one) for one in destinations],
            **{
                key: arguments[key]
                for key in (
                    "service_name",
                    "archive_directory",
                    "staging_directory",
                    "name_pattern",
                    "space_factor",
                    "folder_trust",
                )
            },
        }
        return {"changed": False, "request": request, "report_directory": str(reports or "")}

    def _try_report_directory(self, folder: Path) -> None:
        """Raises StepFailed unless reports can be written, because a failure after the window would be too late."""
        try:
            if self.check_mode:
                there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
                if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
                    raise PermissionError(f"{there} is not a folder that can be written to")
            else:
                _files.make_private_folder(folder)
                with tempfile.TemporaryFile(dir=folder) as probe:
                    probe.write(b"1")
        except OSError as error:
            raise StepFailed(
                "invalid_variable",
                f"alteryx_report_directory is {folder}, where the control node cannot write: {error}. "
                "Make it writable, or set another folder",
            ) from error

    @staticmethod
    def _recipients(arguments: Result, mode: str, now: datetime) -> list[dict[str, str]]:
        if mode == "database" or arguments["secrets"] == "skip":
            return []
        if not arguments["recipients"]:
            raise StepFailed("no_recipient", "no certificate is configured for which the secrets can be encrypted")
        found = []
        for recipient in arguments["recipients"]:
            label, content = "given as text", recipient.encode()
            if "-----BEGIN" not in recipient:
                label = recipient
                try:
                    content = Path(recipient).expanduser().read_bytes()
                except OSError as error:
                    raise StepFailed(
                        "recipient_invalid", f"the recipient {recipient} cannot be read: {error}"
                    ) from error
            try:
                read = _recipients.read(label, content, now, arguments["expiry_warning_days"])
            except _recipients.RecipientError as error:
                raise StepFailed("recipient_invalid", str(error)) from error
            if read.warning:
                warn(read.warning)
            found.append({"pem": read.pem, "sha256": read.sha256, "subject": read.subject, "warning": read.warning})
        return found
