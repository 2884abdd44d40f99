# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The execution environment: what ansible-builder makes of it, and whether it has what the collection asks for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bindep.depends import Depends  # type: ignore[import-untyped]
from packaging.requirements import Requirement

from tests.awx import content
from tests.checks import sources

FOLDER = content.FOLDER / "execution_environment"
DEFINITION = FOLDER / "execution-environment.yml"
META = sources.ROOT / "meta"


def create(definition: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The context that a container is built from."""
    program = Path(sys.executable).with_name("ansible-builder")
    command = [str(program), "create", "-f", str(definition), "-c", str(folder), "--output-filename", "Containerfile"]
    return subprocess.run(
        command, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    done = create(DEFINITION, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def definition() -> dict[str, Any]:
    loaded: dict[str, Any] = sources.load_yaml(DEFINITION)
    return loaded


def test_the_context_has_what_the_definition_says(context: Path) -> None:
    dependencies = definition()["dependencies"]
    for name, file in (("python", "requirements.txt"), ("system", "bindep.txt")):
        assert (context / "_build" / file).read_text(encoding="utf-8").split("\n") == dependencies[name]
    assert (context / "_build" / "configs" / "krb5.conf").read_bytes() == (FOLDER / "krb5.conf").read_bytes()


def test_the_container_file_takes_kerberos_and_the_exit_codes_along(context: Path) -> None:
    text = (context / "Containerfile").read_text(encoding="utf-8")
    dependencies = definition()["dependencies"]
    assert f'ARG EE_BASE_IMAGE="{definition()["images"]["base_image"]["name"]}"' in text
    for key in ("ansible_core", "ansible_runner"):
        assert dependencies[key]["package_pip"] in text
    for line in definition()["additional_build_steps"]["append_final"]:
        assert line in text
    steps = text.split("FROM ")[-1]
    assert steps.index("krb5.conf") > steps.index("assemble" if "assemble" in steps else "install-from-bindep")


def test_the_image_has_what_the_collection_asks_for() -> None:
    dependencies = definition()["dependencies"]
    given = {Requirement(line).name: Requirement(line) for line in dependencies["python"]}
    asked = [
        line
        for line in (META / "ee-requirements.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    for requirement in map(Requirement, asked):
        assert requirement.specifier == given[requirement.name].specifier
        assert requirement.extras <= given[requirement.name].extras
    for words in (["platform:rpm"], ["platform:rpm", "compile"]):
        wanted = Depends((META / "ee-bindep.txt").read_text(encoding="utf-8")).active_rules(words)
        found = Depends("\n".join(dependencies["system"])).active_rules(words)
        assert {rule[0] for rule in wanted} <= {rule[0] for rule in found}


def test_the_image_has_an_ansible_that_the_collection_runs_with() -> None:
    runtime = sources.load_yaml(META / "runtime.yml")["requires_ansible"]
    pinned = definition()["dependencies"]["ansible_core"]["package_pip"]
    assert re.search(r">=(\d+\.\d+)", pinned)[1] == re.search(r">=(\d+\.\d+)", runtime)[1]  # type: ignore[index]


def test_the_callback_of_the_image_is_that_of_the_project() -> None:
    (line,) = [line for line in definition()["additional_build_steps"]["append_final"] if line.startswith("ENV ")]
    assert line.partition("=")[2] in (content.PROJECT / "ansible.cfg").read_text(encoding="utf-8")


def test_a_planted_wrong_definition_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.yml").write_text("version: 3\nimages: {base_image: {nam: fedora}}\n", encoding="utf-8")
    assert create(tmp_path / "wrong.yml", tmp_path / "context").returncode != 0
