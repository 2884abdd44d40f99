# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of options on the pages of modules and roles. antsibull-docs sorts them by name, so internal ones
(_operation) come first. Here, required options come first, then the others as they are documented, and last those that
action plugins or playbooks set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.checks import sources

_TABLE = re.compile(r"(?<=\n)\.\. list-table::\n(?:[^\n]*\n)*?  \* - Parameter\n    - Comments\n\n")
_ROW = re.compile(r"(?<=\n)(?=  \* - \.\. raw:: html\n)")
_NAME = re.compile(r'id="parameter-(?:\w+--)?(\w+)')
_INTERNAL = re.compile(r"set by the (?:action plugin|playbooks)", re.IGNORECASE)


def order_options(page: str, documented: Sequence[str]) -> str:
    """The text of a page with each of its tables of options in order.

    Args:
        page: as antsibull-docs has written it.
        documented: names of options in the order of the documentation; others come after them.
    """
    parts, end = [], 0
    for table in _TABLE.finditer(page):
        parts.append(page[end : table.end()])
        # The table ends with the first line that is not indented.
        stop = re.search(r"^\S", page[table.end() :], re.MULTILINE)
        end = table.end() + stop.start() if stop else len(page)
        parts.append(_order_rows(page[table.end() : end], documented))
    return "".join([*parts, page[end:]])


def _order_rows(rows: str, documented: Sequence[str]) -> str:
    groups: dict[str, str] = {}
    for row in _ROW.split("\n" + rows):
        # A row of a suboption belongs to that of its option, and follows it.
        if name := _NAME.search(row):
            groups[name.group(1)] = groups.get(name.group(1), "") + row
        elif row.strip():
            raise ValueError(f"a row of options without a name: {row[:200]}")
    places = {name: place for place, name in enumerate(documented)}

    def key(name: str) -> tuple[bool, bool, int]:
        own = _ROW.split("\n" + groups[name])[1]
        is_internal = name.startswith("_") or _INTERNAL.search(own) is not None
        return is_internal, "ansible-option-required:" not in own, places.get(name, len(places))

    return "".join(groups[name] for name in sorted(groups, key=key))


def read_documented(page: str) -> list[str]:
    """The options of a page of antsibull-docs by its file name, in the order of their documentation."""
    name, _unused, kind = page.removesuffix(".rst").rpartition("_")
    if kind == "role":
        specs = _read(sources.ROOT / "roles" / name / "meta" / "argument_specs.yml")["argument_specs"]
        return [option for spec in specs.values() for option in spec.get("options") or {}]
    file = sources.ROOT / "plugins" / "modules" / f"{name}.yml"
    return list(_read(file)["DOCUMENTATION"].get("options") or {}) if file.exists() else []


def order_pages(folder: Path) -> None:
    """Rewrite the pages of modules and roles in a folder."""
    for file in [*folder.glob("*_module.rst"), *folder.glob("*_role.rst")]:
        text = file.read_text(encoding="utf-8")
        file.write_text(order_options(text, read_documented(file.name)), encoding="utf-8")


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found
