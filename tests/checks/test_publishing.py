# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Galaxy and Automation Hub demand: galaxy-importer takes the artifact, and ansible-test sanity is clean."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checks import sanity, sources

pytestmark = pytest.mark.timeout(sanity.TIMEOUT + 60)

# Said here, so that no file of the machine's decides what is checked.
IMPORTER_SETTINGS = {
    "ANSIBLE_TEST_LOCAL_IMAGE": "false",
    "CHECK_CHANGELOG": "true",
    "CHECK_REQUIRED_TAGS": "true",
    "OFFLINE_ANSIBLE_LINT": "true",
    "RUN_ANSIBLE_DOC": "true",
    "RUN_ANSIBLE_LINT": "true",
    "RUN_ANSIBLE_TEST": "false",
    "RUN_FLAKE8": "false",  # it would read PowerShell and YAML as Python
}
IGNORES_ALLOWED = 10
NEVER_IGNORED = re.compile(r"undocumented-parameter|doc-default-does-not-match-spec")


def importer(tarball: Path, folder: Path) -> str:
    """What galaxy-importer says about an artifact."""
    foreign = ("ANSIBLE_", "GALAXY_IMPORTER_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment |= {f"GALAXY_IMPORTER_{name}": value for name, value in IMPORTER_SETTINGS.items()}
    environment["GALAXY_IMPORTER_ANSIBLE_LOCAL_TMP"] = str(folder / "ansible")
    environment["PATH"] = os.pathsep.join([str(sanity.BIN), environment.get("PATH", os.defpath)])
    done = subprocess.run(
        [sys.executable, "-m", "galaxy_importer.main", tarball], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=sanity.TIMEOUT, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def importer_complaints(output: str) -> list[str]:
    """The lines of its output for which an artifact is not published, or not gladly."""
    found = [
        line
        for line in output.splitlines()
        if line.startswith(("WARNING", "ERROR", "CRITICAL", "Traceback")) and not _is_deaf_to_itself(line)
    ]
    for needed in ("...ansible-lint run complete", "Importer processing completed successfully"):
        if needed not in output:
            found.append(f"galaxy-importer did not say: {needed}")
    return found


def _is_deaf_to_itself(line: str) -> bool:
    # The ansible-lint that it starts looks for playbooks of collections, which the project for AWX imports by their
    # full names, where it has not put the one that it examines.
    missed = re.fullmatch(r"WARNING: ERROR +Failed to find alteryx_ops\.server_backup\.(\w+) playbook\.", line)
    return bool(missed) and (sources.ROOT / "playbooks" / f"{missed[1]}.yml").is_file()


@pytest.mark.long
def test_galaxy_importer_takes_the_artifact(artifact: Path, tmp_path: Path) -> None:
    output = importer(artifact, tmp_path)
    found = importer_complaints(output)
    assert not found, "\n".join([*found, "All it said:", output])


def test_planted_words_of_the_importer_are_found() -> None:
    good = "Linting collection...\n...ansible-lint run complete\nImporter processing completed successfully\n"
    assert importer_complaints(good) == []
    assert importer_complaints(f"WARNING: no changelog\n{good}") == ["WARNING: no changelog"]
    missed = "WARNING: ERROR    Failed to find alteryx_ops.server_backup.{} playbook."
    assert importer_complaints(f"{missed.format('topology')}\n{good}") == []
    assert importer_complaints(f"{missed.format('topologie')}\n{good}") == [missed.format("topologie")]
    assert len(importer_complaints("ERROR: The import failed for the following reason: no README")) == 3


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sanity.tree(tmp_path_factory.mktemp("sanity"))


@pytest.mark.long
def test_sanity_tests_have_nothing_to_say(tree: Path) -> None:
    options = [word for name in sanity.POWERSHELL_TESTS for word in ("--skip-test", name)]
    found = sanity.complaints(tree, *options, with_powershell=False)
    assert not found, found


@pytest.mark.long
def test_sanity_tests_of_powershell_have_nothing_to_say(tree: Path) -> None:
    options = [word for name in sanity.POWERSHELL_TESTS for word in ("--test", name)]
    found = sanity.complaints(tree, *options, with_powershell=True)
    assert not found, found


def test_what_sanity_tests_ignore_has_a_reason() -> None:
    for file in (sources.ROOT / "tests" / "sanity").glob("ignore-*.txt"):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= IGNORES_ALLOWED, file.name
        assert [line for line in lines if " # " not in line or NEVER_IGNORED.search(line)] == [], file.name


@pytest.mark.long
def test_planted_faults_are_found_by_sanity_tests(tmp_path: Path) -> None:
    root = sanity.tree(tmp_path)
    lease = root / "plugins" / "modules" / "maintenance_lease.ps1"
    text = lease.read_text(encoding="utf-8")
    lease.write_text(text.replace("default = 80 }", "default = 81 }") + "Get-Item -Path 'C:\\x'\n", encoding="utf-8")
    options = [word for name in sanity.POWERSHELL_TESTS for word in ("--test", name)]
    found = sanity.complaints(root, *options, "plugins/modules/maintenance_lease.ps1", with_powershell=True)
    assert "maintenance_lease.ps1:0:0: doc-default-does-not-match-spec" in found
    assert f"maintenance_lease.ps1:{len(text.splitlines()) + 1}:1: PSCustomUseLiteralPath" in found
