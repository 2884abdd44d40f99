# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._inventory import raw_variables
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import utc_text
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._values import (
    refuse_invalid_values,
    refuse_unknown_variables,
    registered_results,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._report import _stats
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore import _outcome


class ActionModule(NodeAction):
    """Stores the result of the run as statistics of Ansible, as set_stats does."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/run_stats.yml."""
        hosts = {
            host: registered_results(raw_variables(variables, host)) for host in variables["ansible_play_hosts_all"]
        }
        failed = set(hosts) - set(variables["ansible_play_hosts"])
        stats = _stats.compose_stats(
            hosts,
            failed,
            refusal=self._refusal(variables, hosts) if failed else None,
            restored=self._restored(hosts),
            check_mode=self.check_mode,
        )
        return {
            "changed": False,
            "stats": stats,
            "ansible_stats": {"data": stats, "per_host": False, "aggregate": False},
        }

    def _restored(self, hosts: t.Mapping[str, _stats.Registered]) -> t.Mapping[str, t.Any] | None:
        """The outcome of a restore. A report that has failed does not return it, so it is composed again."""
        reports = [registered[_stats.RESTORED] for registered in hosts.values() if _stats.RESTORED in registered]
        if not reports:
            return None
        for report in reports:
            if "outcome" in report:
                return t.cast(t.Mapping[str, t.Any], report["outcome"])
        results = {host: _outcome.read_steps(registered) for host, registered in hosts.items()}
        return _outcome.compose(results, self.check_mode, utc_text(), time.monotonic(), "")

    def _refusal(self, variables: dict[str, t.Any], hosts: t.Iterable[str]) -> tuple[int, str] | None:
        """Why a role was refused by Ansible's own check of its arguments, which registers nothing."""
        of_hosts = {host: raw_variables(variables, host) for host in hosts}
        try:
            refuse_unknown_variables(variables, of_hosts.values())
            refuse_invalid_values(variables, of_hosts, self._loader)
        except StepFailed as failure:
            return failure.reason.exit_code, failure.reason.name
        return None
