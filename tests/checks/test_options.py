# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An option has one type, one default and one set of choices: in the role, in its documentation and in
the module that gets it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import paths
from tests.checks import sources
from tests.lab import layout

FRAGMENTS = "ansible_collections.alteryx_ops.server_backup.plugins.doc_fragments"
MODULES = layout.ROOT / "plugins" / "modules"
ROLES = sorted((layout.ROOT / "roles").iterdir())
_HANDED_ON = re.compile(r"\{\{\s*(\w+)\s*\}\}")
# Without a folder run_lock removes no staging folders; a role always has one. The one time limit of alteryx_service
# serves every state, and a role has a limit for each. A restore always looks for a backup, a list for none.
DIFFERENT = {("run_lock", "staging_directory"), ("alteryx_service", "timeout"), ("backup_info", "wanted")}


@dataclass(frozen=True)
class HandedOn:
    """A variable of a role that a task hands to an option of a module as it is."""

    role: str
    variable: str
    module: str
    option: str


def specs(role: Any) -> dict[str, Any]:
    """Variable -> its specification, over all entry points of a role."""
    entry_points = sources.load_yaml(role / "meta" / "argument_specs.yml")["argument_specs"].values()
    return {name: option for point in entry_points for name, option in point.get("options", {}).items()}


def options(module: str) -> dict[str, Any]:
    """Option -> its documentation."""
    documentation = sources.load_yaml(MODULES / f"{module}.yml")["DOCUMENTATION"]
    documented = dict(documentation["options"])
    for fragment in documentation.get("extends_documentation_fragment", []):
        _before, _separator, name = str(fragment).partition("alteryx_ops.server_backup.")
        if name:
            plugin = importlib.import_module(f"{FRAGMENTS}.{name}")
            documented |= yaml.safe_load(plugin.ModuleDocFragment.DOCUMENTATION)["options"]
    return documented


def handed_on() -> Iterator[HandedOn]:
    for role in ROLES:
        known = specs(role)
        for file in sorted((role / "tasks").glob("*.yml")):
            for task in sources.tasks(sources.load_yaml(file)):
                for name, arguments in task.items():
                    module = name.removeprefix("alteryx_ops.server_backup.")
                    if module == name or not isinstance(arguments, dict):
                        continue
                    for option, value in arguments.items():
                        found = _HANDED_ON.fullmatch(str(value))
                        if found and found.group(1) in known:
                            yield HandedOn(role.name, found.group(1), module, option)


# Operators count in megabytes, modules in bytes.
MEGABYTES = {
    ("alteryx_window_space_reserve", "database_window", "space_reserve"),
    ("alteryx_window_space_reserve", "database_dump", "space_reserve"),
}
_FOREIGN_DEFAULT = re.compile(r"(alteryx_\w+) \| default\('([^']+)'\)")


def test_the_default_of_a_variable_of_another_role_is_that_of_its_owner() -> None:
    known = {name: option for role in ROLES for name, option in specs(role).items()}
    found = [
        (name, default.replace("\\\\", "\\"))
        for role in ROLES
        for file in sorted((role / "tasks").glob("*.yml"))
        # In double quotes of YAML, a backslash of Jinja's text is written twice.
        for name, default in _FOREIGN_DEFAULT.findall(str(sources.load_yaml(file)).encode().decode("unicode_escape"))
    ]
    assert len(found) >= 3
    assert [(name, default) for name, default in found if known[name]["default"] != default] == []


def test_every_variable_of_a_role_is_used() -> None:
    used = "".join(
        path.read_text(encoding="utf-8")
        for folder, pattern in (("roles", "*/tasks/*.yml"), ("playbooks", "**/*.yml"), ("plugins", "**/*.py"))
        for path in sorted((layout.ROOT / folder).glob(pattern))
    )
    unused = [name for role in ROLES for name in specs(role) if not re.search(rf"\b{name}\b", used)]
    assert unused == [], "no task and no plugin reads these variables, so they do nothing"


ALL = sorted(set(handed_on()), key=repr)


def test_the_check_finds_what_it_is_for() -> None:
    assert len(ALL) > 25


@pytest.mark.parametrize("handed", ALL, ids=lambda handed: f"{handed.variable}-{handed.module}.{handed.option}")
def test_role_and_module_say_the_same_of_an_option(handed: HandedOn) -> None:
    of_role = specs(layout.ROOT / "roles" / handed.role)[handed.variable]
    of_module = options(handed.module)[handed.option]
    for key in ("type", "elements", "choices"):
        assert of_role.get(key) == of_module.get(key), key
    if not of_module.get("required") and (handed.module, handed.option) not in DIFFERENT:
        # An option without a default and one that is empty are the same to a module.
        assert (of_role.get("default") or None) == (of_module.get("default") or None)


@pytest.mark.parametrize(("variable", "module", "option"), sorted(MEGABYTES))
def test_a_default_in_megabytes_is_the_same_in_bytes(variable: str, module: str, option: str) -> None:
    of_role = specs(layout.ROOT / "roles" / "alteryx_window")[variable]
    of_module = options(module)[option]
    assert of_role["type"] == of_module["type"] == "int"
    assert of_role["default"] * 1_000_000 == of_module["default"]


# On the control node, or told by the node itself.
NOT_OF_THE_OPERATOR = {
    ("backup_plan", "report_directory"),
    ("fleet_topology", "report_directory"),
    ("backup_report", "directory"),
    ("restore_report", "directory"),
    ("backup_request", "report_directory"),
    ("run_lock", "log_directory"),
    ("schedule_pause", "ca_file"),
    ("database_restore", "_data_folder"),
    ("workflow_drain", "bin_folder"),
}
_IS_PATH = re.compile(r"(^|_)(folders?|directory|mongodump)$|^target$|^tls_.*_file$|^ca_file$")


def test_every_option_that_is_a_path_on_a_node_is_read_as_one() -> None:
    found = {
        (module.stem, name)
        for module in MODULES.glob("*.yml")
        for name in _names(options(module.stem))
        if _IS_PATH.search(name)
    }
    assert {(module, name) for module, name in found if name not in paths.NODE_PATHS} == NOT_OF_THE_OPERATOR
    assert paths.NODE_PATHS.keys() == {name for _module, name in found if name in paths.NODE_PATHS}


def test_the_variables_of_paths_exist() -> None:
    known = {name for role in ROLES for name in specs(role)}
    assert {name for name in paths.NODE_PATHS.values() if name} <= known


def _names(documented: dict[str, Any]) -> Iterator[str]:
    for name, option in documented.items():
        if option["type"] in ("str", "list"):
            yield name
        yield from _names(option.get("suboptions", {}))
