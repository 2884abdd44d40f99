# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about this collection: its version, and the argument specs of its modules."""

from __future__ import annotations

import functools
import importlib
import typing as t
from pathlib import Path

from .._core.yaml_text import load_yaml
from . import _variables

NAME = "alteryx_ops.server_backup"
ROOT = Path(__file__).resolve().parents[3]


def version() -> str:
    """The version of this collection."""
    # Installed collections have MANIFEST.json, a checkout has galaxy.yml.
    manifest = ROOT / "MANIFEST.json"
    if manifest.exists():
        return str(load_yaml(manifest.read_text(encoding="utf-8"))["collection_info"]["version"])
    return str(load_yaml((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"])


@functools.cache
def argument_spec(module: str) -> dict[str, t.Any]:
    """The argument spec of a task, read from the documentation of its module
    (plugins/modules/NAME.yml): one source for both."""
    documentation = load_yaml((ROOT / "plugins" / "modules" / f"{module}.yml").read_text(encoding="utf-8"))[
        "DOCUMENTATION"
    ]
    options = dict(documentation.get("options", {}))
    for name in documentation.get("extends_documentation_fragment", []):
        if name.startswith(f"{NAME}."):
            fragment = importlib.import_module(
                f"ansible_collections.{NAME}.plugins.doc_fragments.{name.removeprefix(f'{NAME}.')}"
            )
            options |= load_yaml(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
    # Options that begin with _ are sent to the node only by the action plugin.
    return _variables.argument_options({name: option for name, option in options.items() if not name.startswith("_")})
