# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python: ruff over everything, mypy --strict over the code that decides (plugins/plugin_utils)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.checks import sources
from tests.collection_link import LINK

PLUGIN_UTILS = sources.ROOT / "plugins" / "plugin_utils"
CONFIGURATION = str(sources.ROOT / "pyproject.toml")


def tool(*command: str | Path, cwd: Path = sources.ROOT) -> str:
    """Run a Python tool of the virtual environment; returns its complaints, or nothing when it is content."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def mypy(*targets: str | Path) -> str:
    """Complaints of mypy --strict."""
    return tool("mypy", "--config-file", CONFIGURATION, "--strict", "--no-error-summary", *targets)


def test_ruff_has_nothing_to_say() -> None:
    complaints = tool("ruff", "check", "--quiet", "--output-format", "concise", ".")
    assert not complaints, complaints


def test_every_file_has_the_format_of_ruff() -> None:
    complaints = tool("ruff", "format", "--check", "--quiet", ".")
    assert not complaints, f"run `ruff format`: {complaints}"


def test_plugin_utils_are_strictly_typed() -> None:
    modules = [path for path in sources.node_code(".py") if path.is_relative_to(PLUGIN_UTILS)]
    # Through the link, so that relative and full names of the collection's modules mean the same module.
    complaints = mypy(*(LINK / path.relative_to(sources.ROOT) for path in modules)) if modules else ""
    assert not complaints, complaints


def test_one_room_of_plugin_utils_adapts_ansible() -> None:
    modules = [path for path in sources.node_code(".py") if path.is_relative_to(PLUGIN_UTILS)]
    adapters = {path.parent.name for path in modules if imports_ansible(path.read_text(encoding="utf-8"))}
    assert adapters == {"_ansible"}


def imports_ansible(source: str) -> bool:
    """Does this module import ansible itself (its own collection's modules do not count)?"""
    starts = ("import ansible", "from ansible")
    lines = [line.strip() for line in source.splitlines()]
    return any(
        line.startswith(starts) and not line.split()[1].startswith("ansible_collections.alteryx_ops.server_backup")
        for line in lines
    )


def test_a_planted_fault_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("import os\n\n\ndef f(x):\n    return x + undefined\n", encoding="utf-8")
    found = tool("ruff", "check", "--config", CONFIGURATION, "--output-format", "concise", str(planted))
    assert {"F401", "F821", "ANN001"} <= {word for word in found.split() if word.isalnum()}
    assert "no-untyped-def" in mypy(planted)
    assert imports_ansible("from ansible.errors import AnsibleError")
    assert not imports_ansible(
        "from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core._names import stamp"
    )
