# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from datetime import UTC, datetime

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._collection import (
    argument_spec,
    version,
)
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._screen import show_progress, warn
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _archive_job
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import _names, paths
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _dump_record


class ActionModule(NodeAction):
    """Archives the dumps that interrupted runs have left on a node, or continues with one of them."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/dump_recovery.yml."""
        if arguments["state"] == "adopted":
            return self._adopt(arguments, variables)
        host = variables["inventory_hostname"]
        result: Result = {"changed": False, "did": [], "left_behind": [], "kept": "", "archives": []}
        failures = []
        # The newest first, because the run continues with that one. The names begin with mode and time.
        for run_id in sorted(arguments["runs"], reverse=True):
            staging = paths.Staging(arguments["staging_directory"], run_id)
            try:
                did = self._recover(staging, arguments, variables, result)
            except StepFailed as failure:
                failures.append(failure)
                text = f"the dump of the run {run_id} is in no archive: {failure.message}. It stays in {staging.folder}"
                result["left_behind"].append(text)
                warn(f"{host}: {text}")
                continue
            result["changed"] = result["changed"] or run_id != result["kept"]
            result["did"].append(did)
            show_progress(host, did)
        if failures and arguments["required"]:
            first = failures[0]
            raise StepFailed(first.reason.name, "; ".join(result["left_behind"]), {**first.detail, **result})
        return result

    def _adopt(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """Transfers the dump of another run to this run."""
        (run_id,) = arguments["runs"]
        staging = paths.Staging(arguments["staging_directory"], run_id)
        record, _now = self._read(staging, arguments, variables)
        if record.window is None:
            raise StepFailed("dump_record_unusable", f"the dump of the run {run_id} cannot be used: {record.why}")
        self.call_node({**arguments, "_staging": staging.folder, "_operation": "adopt"}, variables)
        return {**record.window, "changed": True, "dump_of_run": record.run["run_id"], "data_as_of": record.ended}

    def _read(
        self, staging: paths.Staging, arguments: Result, variables: dict[str, t.Any]
    ) -> tuple[_dump_record.DumpRecord, str]:
        """The record of a dump, and the time by the clock of the node."""
        answer = self.call_node({**arguments, "_staging": staging.folder, "_operation": "read"}, variables)
        return _dump_record.read_record(answer["record"], variables["inventory_hostname"], staging), answer["now"]

    def _recover(self, staging: paths.Staging, arguments: Result, variables: dict[str, t.Any], result: Result) -> str:
        """Chooses, archives or removes one dump; returns what was done."""
        own = {**arguments, "_staging": staging.folder}
        record, now = self._read(staging, arguments, variables)
        would = "would have " if self.check_mode else ""
        if self._is_adopted(record, now, arguments, variables, result):
            result["kept"] = staging.run_id
            goes = "would go" if self.check_mode else "goes"
            return f"{goes} on with the dump of the run {record.run['run_id']} (data as of {record.ended})"
        if record.window is None:
            self.call_node({**own, "_operation": "remove"}, variables)
            return f"{would}removed the dump of the run {staging.run_id}, which cannot be used: {record.why}"
        archive = paths.archive_file(record.node["archive_folder"], record.node["base_name"])
        result["archives"].append(archive)
        if not self.check_mode:
            self._archive(record, staging, own, variables)
        return f"{would}archived the dump of the run {record.run['run_id']} (data as of {record.ended}) in {archive}"

    def _is_adopted(
        self,
        record: _dump_record.DumpRecord,
        now: str,
        arguments: Result,
        variables: dict[str, t.Any],
        result: Result,
    ) -> bool:
        """Can this run continue with the dump? If the operator allows that and the dump cannot be used, a message says
        why."""
        host = variables["inventory_hostname"]
        node = arguments["plan"].get("nodes", {}).get(host, {})
        # A run that does not dump on this node does not need a dump, and one dump is enough.
        if arguments["adopt_within"] <= 0 or not node.get("dumps") or result["kept"]:
            return False
        why = record.why_not_adopted(arguments["plan"], node, now, arguments["adopt_within"])
        if why:
            show_progress(host, f"does not use the dump of the run {record.run['run_id']}: {why}")
        return not why

    def _archive(
        self, record: _dump_record.DumpRecord, staging: paths.Staging, own: Result, variables: dict[str, t.Any]
    ) -> None:
        host = variables["inventory_hostname"]
        show_progress(host, f"the run {record.run['run_id']} has left a dump that is in no archive; archiving it")
        # Its run may have died between the end of the archive and that of its verification.
        problem = self._problem_of_archive(record, staging, own, variables)
        if not problem:
            return
        defaults = {
            name: argument_spec("backup_archive")[name]["default"]
            for name in ("compression", "stored_extensions", "on_change")
        }
        spec = _archive_job.build_archive_spec(
            record.run,
            record.node,
            staging,
            record.window,
            None,
            version(),
            record.mongodb,
            **defaults,
            again=True,
            # Also an archive that was not complete when its job died.
            set_aside=problem in ("archive_bad", "archive_incomplete"),
        )
        self._run("archive_job", f"{record.run['run_id']}-archive", spec, own, variables)
        self._verify(record, staging, own, variables)

    def _problem_of_archive(
        self, record: _dump_record.DumpRecord, staging: paths.Staging, own: Result, variables: dict[str, t.Any]
    ) -> str:
        """Verifies the archive of the run. Returns the reason why it is not good, "" if it is."""
        try:
            self._verify(record, staging, own, variables)
        except StepFailed as failure:
            if failure.reason.name not in ("backup_unknown", "archive_incomplete", "archive_bad"):
                raise
            return failure.reason.name
        return ""

    def _verify(
        self, record: _dump_record.DumpRecord, staging: paths.Staging, own: Result, variables: dict[str, t.Any]
    ) -> None:
        folder, base_name = record.node["archive_folder"], record.node["base_name"]
        stamp = _names.stamp(datetime.now(UTC))
        spec = _archive_job.build_verify_spec(folder, base_name, stamp, own["run_id"], staging.folder)
        self._run("verify_job", _archive_job.verify_job_id(base_name), spec, own, variables)

    def _run(self, job: str, job_id: str, spec: Result, own: Result, variables: dict[str, t.Any]) -> None:
        self.keep_warnings(self.run_job(job_id, spec, own["timeout"], {**own, "_job": job}, variables))
