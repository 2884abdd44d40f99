# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data and the modules of awx.awx themselves: each item is taken as far as the connection to an AWX that is not
there. Needs the collection awx.awx, which `make test-awx` downloads.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.awx import content, modules

pytestmark = [
    pytest.mark.skipif(not (modules.FOLDER / "fetched").is_file(), reason="`make test-awx` downloads awx.awx"),
    pytest.mark.timeout(1800),
]


def closed_port() -> int:
    """A port of this machine on which no program listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def asked(folder: Path, *options: str) -> list[dict[str, Any]]:
    """What became of every item of every task of tasks/load.yml, and nothing ends the play."""
    tasks = (folder / "tasks" / "load.yml").read_text(encoding="utf-8")
    # Every task runs, whatever became of the one before it.
    play = (folder / "configure.yml").read_text(encoding="utf-8")
    assert "  gather_facts: false\n" in play
    (folder / "configure.yml").write_text(
        play.replace("  gather_facts: false\n", "  gather_facts: false\n  ignore_errors: true\n"), encoding="utf-8"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "CONTROLLER_"))}
    environment |= {
        "ANSIBLE_COLLECTIONS_PATH": str(modules.COLLECTIONS),
        "CONTROLLER_HOST": f"http://127.0.0.1:{closed_port()}",
        "CONTROLLER_OAUTH_TOKEN": "none",
        "ANSIBLE_NOCOLOR": "1",
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "configure.yml", *options],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert tasks.count("- name:") == 12
    lines = [
        line for line in done.stdout.splitlines() if line.startswith(("failed: [localhost]", "fatal: [localhost]"))
    ]
    assert lines, done.stdout + done.stderr
    return [json.loads(line.partition("=> ")[2]) for line in lines]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = tmp_path / "awx"
    shutil.copytree(content.FOLDER, copied)
    return copied


def test_every_item_is_taken_as_far_as_the_connection(folder: Path) -> None:
    results = [result for result in asked(folder) if "item" in result]
    data = content.read()
    expected = sum(len(items) for items in data.values()) + len(data["controller_inventory_sources"])
    assert len(results) == expected
    assert [result for result in results if "when trying to connect to http://127.0.0.1" not in result["msg"]] == []


def test_a_planted_wrong_item_is_refused_before_the_connection(folder: Path) -> None:
    file = folder / "data" / "labels.yml"
    file.write_text(file.read_text(encoding="utf-8").replace("  - name:", "  - nam: x\n    name:", 1), encoding="utf-8")
    messages = [result["msg"] for result in asked(folder) if "msg" in result]
    assert [message for message in messages if "nam. Supported parameters" in message]


def test_what_is_recorded_of_the_options_is_what_the_modules_document() -> None:
    assert modules.documented() == modules.recorded(), "run python -m tests.awx record"
