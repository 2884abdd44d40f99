# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The built collection, for every check that looks at it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checks import sources
from tests.collection_link import link_collection


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tarball that `ansible-galaxy collection build` makes of this checkout."""
    folder = tmp_path_factory.mktemp("artifact")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(link_collection()), "ANSIBLE_NOCOLOR": "1"}
    command = [Path(sys.executable).with_name("ansible-galaxy"), "collection", "build", "--output-path", folder]
    done = subprocess.run(
        command, env=environment, cwd=sources.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (tarball,) = folder.glob("*.tar.gz")
    return tarball
