# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/quickstart.md tells a reader to type works, in this order, with the collection as it is published.

The commands are those of the page, letter by letter. Only the inventory is that of the lab, whose group gets the name
that the page uses. What changes Windows and what needs root, a network or a domain is not run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.checks import sources
from tests.documents import Page
from tests.lab import layout

from .kinds import KINDS, STANDIN, WINDOWS
from .lab_of_tests import Lab

PAGE = Page(layout.ROOT / "docs" / "quickstart.md")
BINARIES = Path(sys.executable).parent
NOT_RUN = ("sudo apt-get ", "pip install ")
GROUP = "alteryx_prod"

# The tests are about the commands; what these do to a node is proved elsewhere.
pytestmark = pytest.mark.parametrize("lab", KINDS if WINDOWS else [STANDIN], indirect=True)


def step(number: int) -> list[str]:
    """The blocks of shell in a step of the page."""
    heads = {int(match[1]): match.start() for match in re.finditer(r"(?m)^## (\d)\. ", PAGE.text)}
    lines = {head: PAGE.text[:position].count("\n") + 1 for head, position in heads.items()}
    end = lines.get(number + 1, PAGE.text.count("\n") + 2)
    return [block.text for block in PAGE.blocks() if block.language == "sh" and lines[number] < block.line < end]


def commands(block: str) -> list[str]:
    """The commands of a block that are run here, without what only makes the virtual environment."""
    found = []
    for line in block.splitlines():
        made, _separator, rest = line.partition(" && ")
        command = rest if made.startswith("python3 -m venv ") else line
        if not command.startswith(NOT_RUN):
            found.append(command)
    return found


@dataclass(frozen=True)
class Reader:
    """A user who follows the page, with a separate home folder."""

    home: Path

    @property
    def folder(self) -> Path:
        """Where the page works from step 1 on."""
        return self.home / "alteryx-backup"

    def _published(self) -> dict[str, str]:
        """Lets git read the address of the page from the folder "published"."""
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{self.home}/published.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://github.com/alteryx-ops/server_backup",
        }

    def types(self, *lines: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run lines of shell in a new shell that has the virtual environment of the page."""
        environment = {key: value for key, value in os.environ.items() if key in ("LANG", "LC_ALL", "TZ")}
        script = "\n".join(["set -eu", ". ~/alteryx/bin/activate", *lines])
        return subprocess.run(
            ["sh", "-c", script],
            cwd=folder or self.folder,
            env=environment | self._published() | {"HOME": str(self.home), "PATH": os.defpath},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=500,
            check=False,
        )


def _publish(folder: Path) -> None:
    """A repository of git with the files of this one as they are."""
    for path in sources.project_files():
        target = folder / path.relative_to(layout.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    author = ["-c", "user.name=lab", "-c", "user.email=lab@localhost"]
    for command in (["init", "--quiet"], ["add", "--all"], [*author, "commit", "--quiet", "--message", "Publish"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


@pytest.fixture(scope="module")
def reader(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A reader who has done step 1 and has an inventory."""
    home = tmp_path_factory.mktemp("home")
    (home / "alteryx").symlink_to(BINARIES.parent, target_is_directory=True)
    reader = Reader(home)
    _publish(home / "published")
    (install,) = step(1)
    done = reader.types(*commands(install), folder=home)
    assert done.returncode == 0, done.stdout
    content = lab.inventory_content()
    fleets = content["alteryx"]["children"]
    content["alteryx"]["children"] = {GROUP: fleets.pop("alteryx_lab"), **fleets}
    (reader.folder / "inventory.yml").write_text(json.dumps(content), encoding="utf-8")
    return reader


def test_the_page_has_the_commands_that_are_run_here(lab: Lab) -> None:
    (install,), (connect,), (backup,), (nightly,) = step(1), step(4), step(6), step(7)
    assert len(commands(install)) == len(install.splitlines()) - 2
    assert [line.split()[1].rpartition(".")[2] for line in commands(connect)[1:]] == ["topology", "list_backups"]
    assert [line.split()[1].rpartition(".")[2] for line in commands(backup)] == [
        "full_backup", "full_backup", "verify_backup",
    ]  # fmt: skip
    assert nightly.startswith("#!/bin/sh\n")


def test_the_first_commands_show_the_fleet_and_change_nothing(reader: Reader, lab: Lab) -> None:
    (block,) = step(4)
    export, *questions = commands(block)
    for question in questions:
        done = reader.types(export, question)
        assert done.returncode == 0, done.stdout
        assert lab.node.name in done.stdout
        assert "changed=0" in done.stdout


def test_the_backup_is_predicted_then_made_then_verified(reader: Reader) -> None:
    (block,) = step(6)
    for command, words in zip(commands(block), ("BACKUP PREDICTED", "BACKUP OK", " good"), strict=True):
        done = reader.types(command)
        assert done.returncode == 0, done.stdout
        assert words in done.stdout


@pytest.mark.long
def test_the_script_of_the_night_makes_a_backup(reader: Reader) -> None:
    (script,) = step(7)
    (reader.folder / "nightly.sh").write_text(script, encoding="utf-8")
    (reader.folder / "nightly.sh").chmod(0o755)
    (reader.folder / "password.env").write_text("export ALTERYX_NODE_PASSWORD=x\n", encoding="utf-8")
    done = reader.types("~/alteryx-backup/nightly.sh", folder=reader.home)
    assert done.returncode == 0, done.stdout
    assert "BACKUP OK" in done.stdout


def test_exit_codes_reach_the_caller(reader: Reader) -> None:
    (block,) = step(6)
    done = reader.types(f"{commands(block)[1]} -e alteryx_preflight_mode=everything")
    assert done.returncode == 6, done.stdout
