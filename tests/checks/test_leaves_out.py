# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles and playbooks leave out of a run is what the plan says of it, by the same names."""

from __future__ import annotations

import re

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _plan
from tests.checks import sources
from tests.lab import layout
from tests.unit.plugins import samples
from tests.unit.plugins.plugin_utils._plan.test_plan import plan_fleet


def imports() -> dict[str, str]:
    """Where a file is imported by a name that is decided when it is read -> how the name is made."""
    found = {}
    for folder in ("roles", "playbooks"):
        for file in sorted((layout.ROOT / folder).rglob("tasks/*.yml")):
            for task in sources.tasks(sources.load_yaml(file)):
                name = task.get("ansible.builtin.import_tasks")
                if isinstance(name, dict) and "leaves_out" in name["file"]:
                    found[f"{sources.shown(file)}: {task['name']}"] = name["file"]
    return found


IMPORTS = imports()


def test_there_are_imports_to_check() -> None:
    assert len(IMPORTS) > 10


@pytest.mark.parametrize("where", sorted(IMPORTS))
def test_each_part_that_is_left_out_is_one_that_the_plan_knows(where: str) -> None:
    plan = plan_fleet({"node1": samples.facts()}, samples.request("config"))
    known = set(_plan.list_unused(plan, (), pauses=False))
    folder = (layout.ROOT / where.partition(":")[0]).parent
    words = set(re.findall(r"'(\w+)'", IMPORTS[where])) - {"config"}
    named = set(re.findall(r"'(\w+)' (?:not )?in ", IMPORTS[where]))
    named |= {word for listed in re.findall(r"\[('.*?')\] \|", IMPORTS[where]) for word in listed.split("'")[1::2]}
    assert named
    assert named <= known
    assert [word for word in words - named if not (folder / f"{word}.yml").exists()] == []


def test_the_window_job_is_told_the_same_when_it_is_made_ready_and_when_it_is_asked() -> None:
    tasks = layout.ROOT / "roles" / "alteryx_window" / "tasks"
    armed, done = (
        next(sources.tasks(sources.load_yaml(tasks / name)))["alteryx_ops.server_backup.database_window"]
        for name in ("arm.yml", "window.yml")
    )
    own = {"state", "open_within", "armed", "attach"}
    assert {key: armed[key] for key in armed if key not in own} == {key: done[key] for key in done if key not in own}
