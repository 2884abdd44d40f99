# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the roles: which exist, which name is nearest to an unknown name, and which values are allowed."""

from __future__ import annotations

import difflib
import re
import typing as t
from dataclasses import dataclass
from pathlib import Path

from .._core.yaml_text import load_yaml

RENAMED = {
    "alteryx_archive_list_file": "alteryx_catalogue_list_file",
    "alteryx_archive_verify_id": "alteryx_catalogue_verify_id",
}
"""Variables of earlier versions, each with its present name. The roles still read them."""

# Endings of the names of options whose values are never shown. (The option "secrets" of some modules is not a secret.
# It says what to do with the secrets of the node.)
_SECRET = ("password", "secret", "client_id")


def argument_options(documented: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Converts options from the form of the documentation to an argument spec."""
    spec: dict[str, t.Any] = {}
    for name, option in documented.items():
        spec[name] = {
            key: option[key] for key in ("type", "required", "default", "choices", "elements") if key in option
        }
        if name.endswith(_SECRET):
            spec[name]["no_log"] = True
        if "suboptions" in option:
            spec[name]["options"] = argument_options(option["suboptions"])
    return spec


@dataclass(frozen=True)
class KnownVariables:
    """roles: names of the roles. public: variables of the argument specs, name -> option. results: what the roles
    register for each other."""

    roles: tuple[str, ...]
    public: t.Mapping[str, t.Mapping[str, t.Any]]
    results: frozenset[str]


def read(roles_folder: Path) -> KnownVariables:
    """Reads the argument specs and the registered results of all roles below a folder."""
    roles: list[str] = []
    public: dict[str, t.Mapping[str, t.Any]] = {}
    results: set[str] = set()
    for specification in sorted(roles_folder.glob("*/meta/argument_specs.yml")):
        role = specification.parent.parent
        roles.append(role.name)
        for entry in load_yaml(specification.read_text(encoding="utf-8"))["argument_specs"].values():
            public |= argument_options(entry.get("options", {}))
        for tasks in role.glob("tasks/*.yml"):
            results.update(re.findall(r"^\s*register:\s*(\w+)\s*$", tasks.read_text(encoding="utf-8"), re.MULTILINE))
    return KnownVariables(tuple(roles), public, frozenset(results))


def strange(names: t.Iterable[str], known: KnownVariables, declared: t.Collection[str]) -> list[tuple[str, str]]:
    """Unknown variables that begin with alteryx_, each with the nearest known name.

    Args:
        names: of variables.
        known: the variables of the roles of this collection.
        declared: names that the operator uses for something else.
    """
    prefixes = tuple(f"{role}_" for role in known.roles)
    mine = {*known.public, *known.results, *declared}
    names = sorted(name for name in set(names) if name.startswith("alteryx_") and not name.startswith(prefixes))
    return [(name, _nearest(name, known)) for name in names if name not in mine]


def _nearest(name: str, known: KnownVariables) -> str:
    near = difflib.get_close_matches(name, sorted(known.public), n=1, cutoff=0.0)
    return near[0] if near else ""


def unknown(names: t.Iterable[str], known: KnownVariables) -> list[tuple[str, str]]:
    """Variables that begin with the name of a role and _ but exist in no argument spec, each with
    the nearest known name."""
    prefixes = tuple(f"{role}_" for role in known.roles)
    wrong = sorted(
        name
        for name in set(names)
        if name.startswith(prefixes) and name not in {*known.public, *known.results, *RENAMED}
    )
    return [(name, _nearest(name, known)) for name in wrong]
