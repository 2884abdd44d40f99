# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The published schemas (docs/schemas), to which everything that tests produce is held."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schemas"
NAMES = ("manifest", "set", "verdict", "outcome", "catalogue", "node", "restore")

# The names of the documents beside an archive, by kind.
_PATTERNS = {"manifest": "*.manifest.json", "set": "*.set.json", "verdict": "*.verify_*.json"}


@cache
def schema(name: str) -> dict[str, Any]:
    """A schema as data."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}-1.schema.json").read_text(encoding="utf-8"))
    return content


def problems(name: str, document: Any) -> list[str]:
    """Everything in which a document is not of its schema."""
    errors = Draft202012Validator(schema(name)).iter_errors(document)
    return [f"{name} {error.json_path}: {error.message}" for error in errors]


def assert_valid(name: str, document: Any) -> None:
    """Fails unless the document is of the schema."""
    found = problems(name, document)
    assert not found, "\n".join(found)


def assert_all_valid(destination: Path, known: set[Path]) -> None:
    """Fails unless every document in a destination is of its schema.

    Args:
        destination: the archive directory.
        known: files that were judged before; those judged now are added.
    """
    for name, pattern in _PATTERNS.items():
        for file in set(destination.rglob(pattern)) - known:
            known.add(file)
            found = problems(name, json.loads(file.read_text(encoding="utf-8")))
            assert not found, f"{file.name}:\n" + "\n".join(found)
