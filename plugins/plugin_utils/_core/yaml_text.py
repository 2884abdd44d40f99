# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML that is part of this collection: argument specs, documentation, the table of reasons."""

from __future__ import annotations

import typing as t

import yaml

# Many tasks read such files; libyaml, where PyYAML has it, is ten times faster.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(text: str) -> t.Any:
    """Parses a YAML text of this collection."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader either way
