# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a dump (dump.json in its staging folder): written by its job, read when its run has died."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass
from datetime import datetime

from .._core import paths
from .._core.reasons import REASONS, StepFailed
from . import _dump

Mapping = t.Mapping[str, t.Any]

# The fields that the archive of a dump needs.
_OF_THE_RUN = ("run_id", "exports_configuration", "mode", "fleet", "started", "secrets")
_OF_THE_NODE = ("archive_folder", "base_name", "computer", "service", "dump")


@dataclass(frozen=True)
class DumpRecord:
    """A dump that has ended.

    Attributes:
        run: the plan of its run, of one node.
        node: its part about the node.
        window: the data for its archive; None if the dump cannot be used.
        why: why it cannot be used, "" if it can.
        mongodb: facts about the servers.
        ended: UTC text, when the dump had ended and the service was running again.
    """

    run: Mapping
    node: Mapping
    window: Mapping | None
    why: str
    mongodb: tuple[Mapping, ...]
    ended: str

    def why_not_adopted(self, run: Mapping, node: Mapping, now: str, within: float) -> str:
        """Why another run cannot continue with this dump; "" if it can.

        Args:
            run: the plan of that run.
            node: its part about the node.
            now: UTC text of the clock of the node, like ended.
            within: seconds since the end of the dump.
        """
        if self.window is None:
            return self.why
        mine, other = self._request(self.run, self.node), self._request(run, node)
        if differs := [name for name in mine if mine[name] != other[name]]:
            return f"the other run asks for another {' and '.join(differs)}"
        try:
            age = (datetime.fromisoformat(now) - datetime.fromisoformat(self.ended)).total_seconds()
        except (TypeError, ValueError):
            return "its record does not say when it ended"
        if age < 0:
            return "the clock of the node was set back after its end, so its age is not known"
        return f"it ended {age:.0f} s ago, and adopt_within is {within:.0f} s" if age > within else ""

    @staticmethod
    def _request(run: Mapping, node: Mapping) -> Mapping:
        """The options that must be equal in both runs. Everything besides the dump is backed up by each run itself."""
        return {
            "mode": run["mode"], "fleet": run["fleet"], "service": node["service"]["name"], "database": node["dump"],
        }  # fmt: skip


def write_memo(plan: Mapping, mongodb: t.Sequence[Mapping], judging: Mapping) -> str:
    """The text that the node stores for read_record.

    Args:
        plan: of the run, of one node (what backup_archive gets).
        mongodb: the result of mongodb_info about the servers.
        judging: the keyword arguments required, accepted_exit_codes and removed of _dump.judge_ended.
    """
    return json.dumps({"schema": 1, "plan": plan, "mongodb": list(mongodb), "judging": judging}, ensure_ascii=False)


def read_record(text: str, node_name: str, staging: paths.Staging) -> DumpRecord:
    """Reads the record that write_memo and the window job have written.

    Args:
        text: JSON of the node.
        node_name: inventory_hostname.
        staging: where the dump is.

    Raises:
        StepFailed: dump_record_unusable; the dump stays as it is.
    """
    try:
        record = json.loads(text)
        memo = json.loads(record["memo"])
        run, detail = memo["plan"], record["detail"]
        node = run["nodes"][node_name]
        judging = memo["judging"]
        if not isinstance(detail, dict):
            raise TypeError("its field detail is not an object")
        if memo["schema"] != 1 or record["schema"] != 1:
            raise ValueError("it was written by another version of this collection")
        for part, keys in ((run, _OF_THE_RUN), (node, _OF_THE_NODE)):
            if lacking := [key for key in keys if key not in part]:
                raise ValueError(f"it lacks {', '.join(lacking)}")
        reason = REASONS.get(record["reason"] or "unexpected", REASONS["unexpected"])
        judged, why = _dump.judge_ended(reason if record["reason"] else None, detail, **judging)
        return DumpRecord(run, node, judged, why, tuple(memo["mongodb"]), str(record["ended"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise StepFailed(
            "dump_record_unusable", f"the record of the dump in {staging.folder} cannot be used: {what}"
        ) from error
