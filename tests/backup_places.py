# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archive directories with small backups of some days, and what a run would delete of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _catalogue
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention import _orders, _prune, _sets
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._retention._policy import ModePolicy, Policy
from tests.lab import standin_catalogue
from tests.unit.plugins.plugin_utils._archive import test_catalogue as samples

NOW = datetime(2026, 9, 1, tzinfo=UTC)
POLICY = Policy({"full": ModePolicy(days=1, verified=1)}, share=100)
DAYS = ("20260101", "20260201", "20260301", "20260401")
"""All but the last go."""
FOLDER = r"D:\AlteryxBackups"


class Place:
    """The archive directories of the nodes of a fleet, the first of them its controller.

    Args:
        nodes: name -> whatever has a method path, from a path of Windows to the one here.
        days: of which there is a backup set.
    """

    def __init__(self, nodes: Mapping[str, Any], days: tuple[str, ...] = DAYS) -> None:
        self.nodes = dict(nodes)
        for name, node in self.nodes.items():
            for day in days:
                self._write(node.path(FOLDER) / name, name, day)

    def _write(self, folder: Path, name: str, day: str) -> None:
        base, run_id = f"ServerBackup_Full_{day}_020000", f"Full_{day}_020000_0001"
        folder.mkdir(parents=True, exist_ok=True)
        started = f"{day[:4]}-{day[4:6]}-{day[6:]}T02:00:00.000Z"
        told = samples.manifest(run_id=run_id, node=name, started=started)
        manifest = {
            **told,
            "secrets": {"included": False},
            "database": {key: told[key] for key in ("databases", "downtime_seconds")} | {"documents": {}},
        }
        texts = {"zip": f"archive of {base}", "manifest.json": json.dumps(manifest)}
        sums = [f"{hashlib.sha256(text.encode()).hexdigest()} *{base}.{ending}\n" for ending, text in texts.items()]
        verdict = {**samples.verification(), "problems": []}
        texts |= {"sha256": "".join(sums), "verify_20260901_020112.json": json.dumps(verdict)}
        for ending, text in texts.items():
            (folder / f"{base}.{ending}").write_text(text, encoding="utf-8")
        (folder / f"BackupLog_Full_{day}_020000.log").write_text("log", encoding="utf-8")
        if name == next(iter(self.nodes)):
            run = samples.run_set(run_id=run_id, started=started)
            run["nodes"] = {node: {"archive": "x"} for node in self.nodes}
            (folder.parent / f"{base}.set.json").write_text(json.dumps(run), encoding="utf-8")

    def catalogues(self) -> dict[str, dict[str, Any]]:
        """What backup_info says of both nodes."""
        found = {}
        for name, node in self.nodes.items():
            facts = standin_catalogue.backup_info(node, {"folder": FOLDER, "nodes": [name]})
            catalogue, _foreign = _catalogue.entries(facts, FOLDER, samples.PATTERN)
            found[name] = {"catalogue": catalogue, "sets": _catalogue.sets(facts)}
        return found

    def plan(self) -> dict[str, Any]:
        """What a run would delete now."""
        listed = self.catalogues()
        decisions = _prune.decide(_sets.read_sets(listed, "alteryx_prod", NOW), POLICY, NOW)
        return _orders.write_plan(decisions, listed, "alteryx_prod")

    def files(self) -> set[str]:
        """All that is there, without the names of the nodes."""
        return {file.name for node in self.nodes.values() for file in node.path(FOLDER).rglob("*") if file.is_file()}
