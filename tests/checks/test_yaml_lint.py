# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML: yamllint over every file, ansible-lint with the production profile over the collection."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checks import sources
from tests.collection_link import link_collection

BIN = Path(sys.executable).parent


def yamllint(*paths: str | Path) -> str:
    """Complaints of yamllint, warnings included."""
    command = [
        sys.executable,
        "-m",
        "yamllint",
        "--strict",
        "--format",
        "parsable",
        "--config-file",
        sources.ROOT / ".yamllint",
        *paths,
    ]
    done = subprocess.run(command, cwd=sources.ROOT, capture_output=True, check=False, text=True, timeout=120)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def ansible_lint(folder: Path) -> str:
    """Complaints of ansible-lint in this folder, with our settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment["ANSIBLE_COLLECTIONS_PATH"] = str(link_collection())
    environment["PATH"] = os.pathsep.join([str(BIN), environment.get("PATH", os.defpath)])
    command = [
        sys.executable,
        "-m",
        "ansiblelint",
        "--config-file",
        sources.ROOT / ".ansible-lint",
        "--strict",
        "--nocolor",
        "-q",
        "-f",
        "pep8",
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_yamllint_has_nothing_to_say() -> None:
    # Relative, because the patterns of what is ignored are.
    files = [path.relative_to(sources.ROOT) for path in sources.project_files()]
    paths = [path for path in files if path.suffix in {".yml", ".yaml"} or path.name in {".ansible-lint", ".yamllint"}]
    complaints = yamllint(*paths) if paths else ""
    assert not complaints, complaints


@pytest.mark.long
def test_ansible_lint_has_nothing_to_say() -> None:
    complaints = ansible_lint(sources.ROOT)
    assert not complaints, complaints


def test_planted_faults_are_found(tmp_path: Path) -> None:
    planted = tmp_path / "playbooks" / "planted.yml"
    planted.parent.mkdir()
    planted.write_text("---\n- hosts: all\n  tasks:\n    - shell: echo a | cat\n", encoding="utf-8")
    (tmp_path / "bad.yml").write_text("a: yes\n", encoding="utf-8")
    (tmp_path / ".git").mkdir()
    assert "truthy" in yamllint(tmp_path / "bad.yml")
    found = ansible_lint(tmp_path)
    assert "name[play]" in found
    assert "risky-shell-pipe" in found
