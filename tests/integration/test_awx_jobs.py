# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks of the project for AWX, run as a job of AWX runs them: by ansible-runner, in the project's folder, with
the collection that the project's requirements have installed beside it; and the workflow, job by job, along the links
of its data.

What AWX has of a job is what is looked at here: rc, status, and the artifacts in the last event.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import reasons
from tests.awx import content
from tests.lab import layout

from .kinds import KINDS, STANDIN, WINDOWS
from .lab_of_tests import Lab

BINARIES = Path(sys.executable).parent
(WORKFLOW,) = content.read()["controller_workflows"]
TEMPLATES = {template["name"]: template for template in content.read()["controller_templates"]}
GROUP = "alteryx_lab"

pytestmark = [
    # What the playbooks do to a node is proved elsewhere.
    pytest.mark.parametrize(
        "lab",
        KINDS if WINDOWS else [STANDIN, pytest.param("wine", marks=[pytest.mark.wine, pytest.mark.long])],
        indirect=True,
    ),
    pytest.mark.timeout(1800),
]


@dataclass(frozen=True)
class Job:
    """What AWX has of a job."""

    rc: int
    status: str
    artifacts: dict[str, Any]
    output: str

    def assert_told(self, code: int, reason: str = "") -> None:
        """The job ended with this code, and AWX knows it."""
        told = (self.artifacts.get("server_backup_code"), self.artifacts.get("server_backup_reason"))
        assert (self.rc, self.status, told) == (code, "failed" if code else "successful", (code, reason)), self.output


@dataclass
class Awx:
    """The folder of a job in a container of AWX: /runner."""

    folder: Path
    lab: Lab
    _number: int = field(default=0)

    def runs(self, playbook: str, *options: str, extra_vars: Mapping[str, Any] | None = None) -> Job:
        """Run a playbook of the project."""
        self._number += 1
        env = self.folder / "env"
        (env / "extravars").write_text(json.dumps(dict(extra_vars or {})), encoding="utf-8")
        (env / "cmdline").write_text(" ".join(["-l", GROUP, *options]), encoding="utf-8")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        done = subprocess.run(
            [BINARIES / "ansible-runner", "run", self.folder, "-p", playbook, "--ident", str(self._number)],
            env=environment | {"PATH": f"{BINARIES}:{environment.get('PATH', os.defpath)}", "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        artifacts = self.folder / "artifacts" / str(self._number)
        rc = int((artifacts / "rc").read_text(encoding="utf-8"))
        events = [json.loads(file.read_text(encoding="utf-8")) for file in (artifacts / "job_events").glob("*.json")]
        last = [event for event in events if event["event"] == "playbook_on_stats"]
        told = last[0]["event_data"].get("artifact_data", {}) if last else {}
        output = (artifacts / "stdout").read_text(encoding="utf-8")
        reasons.saw_run(" ".join(output.split()), rc)
        assert done.returncode == rc, done.stderr
        status = (artifacts / "status").read_text(encoding="utf-8")
        return Job(rc, status, told, output[-6000:])


@pytest.fixture(scope="module")
def awx(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Awx:
    """What AWX has after it has updated the project: README.md of extensions/awx, step by step."""
    folder = tmp_path_factory.mktemp("runner")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment["HOME"] = str(folder)

    def galaxy(*arguments: str | Path, cwd: Path) -> None:
        done = subprocess.run(
            [BINARIES / "ansible-galaxy", "collection", *arguments],
            cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    project = folder / "project"
    galaxy("build", "--output-path", folder, cwd=layout.ROOT)
    (tarball,) = folder.glob("*.tar.gz")
    shutil.copytree(content.PROJECT, project)
    shutil.move(tarball, project / tarball.name)
    # One of the ways that the file names: no network is needed.
    requirements = {"collections": [{"name": tarball.name, "type": "file"}]}
    (project / "collections" / "requirements.yml").write_text(yaml.safe_dump(requirements), encoding="utf-8")
    galaxy("install", "-r", "collections/requirements.yml", "-p", folder / "requirements_collections", cwd=project)
    for name in ("inventory", "env"):
        (folder / name).mkdir()
    shutil.copy2(lab.inventory, folder / "inventory" / "hosts.yml")
    paths = f"{folder}/requirements_collections:{folder}/.ansible/collections:/usr/share/ansible/collections"
    variables = {"ANSIBLE_COLLECTIONS_PATH": paths}
    (folder / "env" / "envvars").write_text(json.dumps(variables), encoding="utf-8")
    return Awx(folder, lab)


def test_a_backup_leaves_its_identity_and_its_archives_in_awx(awx: Awx) -> None:
    job = awx.runs("full_backup.yml")
    job.assert_told(0)
    told = {name.removeprefix("server_backup_"): value for name, value in job.artifacts.items()}
    (archive,) = told["archives"]
    assert (archive["node"], archive["verdict"]) == (awx.lab.node.name, "good")
    assert awx.lab.node.path(archive["archive"]).is_file()
    assert told["run_id"].startswith("Full_")
    assert told["downtime"] > 0


@pytest.mark.parametrize(
    ("playbook", "extra_vars", "code", "reason"),
    [
        ("full_backup.yml", {"alteryx_preflight_mode": "everything"}, 6, "invalid_mode"),
        ("full_backup.yml", {"alteryx_archive_directroy": "D:/B"}, 3, "unknown_variable"),
        ("verify_backup.yml", {"alteryx_catalogue_verify_id": "Full_20200101_000000_0000"}, 3, "backup_unknown"),
        ("list_backups.yml", {"alteryx_catalogue_mode": "everything"}, 3, "invalid_variable"),
        (
            "list_backups.yml",
            {"alteryx_catalogue_alarm": True, "alteryx_catalogue_mode": "database"},
            3,
            "no_good_backup",
        ),
    ],
)
def test_a_job_that_fails_tells_awx_why(
    awx: Awx, playbook: str, extra_vars: dict[str, Any], code: int, reason: str
) -> None:
    awx.runs(playbook, extra_vars=extra_vars).assert_told(code, reason)


def test_a_job_without_hosts_fails_and_tells_nothing(awx: Awx) -> None:
    job = awx.runs("topology.yml", "-l", "nobody")
    assert (job.status, job.artifacts) == ("failed", {})


@pytest.mark.long
@pytest.mark.parametrize(
    "playbook", ["config_backup.yml", "database_backup.yml", "recover.yml", "remove_from_nodes.yml"]
)
def test_the_other_playbooks_run_as_jobs(awx: Awx, playbook: str) -> None:
    awx.runs(playbook).assert_told(0)


class Walk:
    """Runs the jobs of the workflow along its links, as AWX does.

    Args:
        awx: the folder of its jobs.
        failing: identifiers of approvals that are denied or time out.
    """

    def __init__(self, awx: Awx, failing: set[str]) -> None:
        self.jobs: dict[str, Job] = {}
        self.artifacts: dict[str, Any] = {}
        nodes = {node["identifier"]: node for node in WORKFLOW["workflow_nodes"]}
        name: str | None = WORKFLOW["workflow_nodes"][0]["identifier"]
        while name:
            failed = name in failing
            if nodes[name]["unified_job_template"]["type"] != "workflow_approval":
                failed = not self._run(awx, nodes[name], TEMPLATES[nodes[name]["unified_job_template"]["name"]])
            links = nodes[name].get("related", {}).get("failure_nodes" if failed else "success_nodes", [])
            name = links[0]["identifier"] if links else None

    def _run(self, awx: Awx, node: Mapping[str, Any], template: Mapping[str, Any]) -> bool:
        # What jobs before it have set is given to the next one; neither its template nor its node wins over it.
        given = {**template.get("extra_vars", {}), **node.get("extra_data", {}), **self.artifacts}
        name, check = node["identifier"], ["--check"] if template["job_type"] == "check" else []
        self.jobs[name] = awx.runs(template["playbook"], *check, extra_vars=given)
        self.artifacts |= self.jobs[name].artifacts
        return self.jobs[name].status == "successful"


def put(awx: Awx, playbook: str, task: dict[str, Any]) -> None:
    """Put a playbook of the operator into the project."""
    play = {"name": "Play", "hosts": "alteryx", "gather_facts": False, "tasks": [task]}
    (awx.folder / "project" / playbook).write_text(yaml.safe_dump([play]), encoding="utf-8")


def upgrade(awx: Awx, task: dict[str, Any]) -> None:
    """Put the operator's upgrade into the project."""
    put(awx, "upgrade.yml", task)


def test_the_workflow_backs_up_verifies_that_backup_upgrades_and_looks(awx: Awx) -> None:
    file = awx.folder / "upgraded"
    told = {"content": "{{ server_backup_run_id }}", "dest": str(file)}
    upgrade(awx, {"name": "Upgrade", "ansible.builtin.copy": told, "delegate_to": "localhost", "run_once": True})
    walk = Walk(awx, set())
    assert list(walk.jobs) == ["backup", "verification", "upgrade", "smoke", "rehearsal"]
    run_id = walk.jobs["backup"].artifacts["server_backup_run_id"]
    for name in ("backup", "verification", "smoke", "rehearsal"):
        walk.jobs[name].assert_told(0)
    assert walk.jobs["verification"].artifacts["server_backup_run_id"] == run_id
    assert file.read_text(encoding="utf-8") == run_id
    assert walk.jobs["rehearsal"].artifacts["server_backup_archives"] == []
    # If it had failed, the way back would still know the backup.
    assert walk.artifacts["server_backup_run_id"] == run_id


@pytest.mark.long
def test_a_denied_approval_leaves_everything_as_it_is(awx: Awx) -> None:
    marker = awx.folder / "touched"
    upgrade(
        awx,
        {"name": "Touch", "ansible.builtin.file": {"path": str(marker), "state": "touch"}, "delegate_to": "localhost"},
    )
    walk = Walk(awx, {"approval"})
    assert list(walk.jobs) == ["backup", "verification"]
    assert not marker.exists()
    assert awx.lab.node.service().state == "Running"


@pytest.mark.long
def test_an_upgrade_that_fails_ends_the_workflow_where_its_way_back_is_not_approved(awx: Awx) -> None:
    shutil.copy2(content.PROJECT / "upgrade.yml", awx.folder / "project" / "upgrade.yml")
    walk = Walk(awx, {"approval_of_the_way_back"})
    assert list(walk.jobs) == ["backup", "verification", "upgrade"]
    assert "There is no upgrade yet, and nothing was touched" in " ".join(walk.jobs["upgrade"].output.split())
    assert walk.artifacts["server_backup_run_id"].startswith("Full_")


@pytest.mark.long
def test_an_approved_way_back_ends_with_a_reinstallation_that_is_not_yours_yet(awx: Awx) -> None:
    for name in ("upgrade.yml", "reinstall.yml"):
        shutil.copy2(content.PROJECT / name, awx.folder / "project" / name)
    walk = Walk(awx, set())
    assert list(walk.jobs) == ["backup", "verification", "upgrade", "reinstallation"]
    output = " ".join(walk.jobs["reinstallation"].output.split())
    assert "There is no reinstallation yet, and this job has touched nothing" in output
    assert walk.artifacts["server_backup_run_id"] in output


@pytest.mark.long
def test_the_way_back_reinstalls_and_then_restores_the_backup_of_the_workflow_to_the_fleet_of_its_approval(
    awx: Awx,
) -> None:
    shutil.copy2(content.PROJECT / "upgrade.yml", awx.folder / "project" / "upgrade.yml")
    put(awx, "reinstall.yml", {"name": "Reinstall", "ansible.builtin.debug": {"msg": "the old version"}})
    # Stands for the restore: what it does is proved elsewhere, what it is given is told here.
    names = ("alteryx_restore_backup", "alteryx_restore_scope", "alteryx_restore_confirm")
    file = awx.folder / "given"
    given = {"content": "\n".join(f"{{{{ {name} }}}}" for name in names), "dest": str(file)}
    put(
        awx,
        "restore.yml",
        {"name": "Restore", "ansible.builtin.copy": given, "delegate_to": "localhost", "run_once": True},
    )
    try:
        walk = Walk(awx, set())
    finally:
        shutil.copy2(content.PROJECT / "restore.yml", awx.folder / "project" / "restore.yml")
    assert list(walk.jobs) == ["backup", "verification", "upgrade", "reinstallation", "restore"]
    assert walk.jobs["restore"].status == "successful"
    run_id = walk.jobs["backup"].artifacts["server_backup_run_id"]
    assert file.read_text(encoding="utf-8").splitlines() == [run_id, "full", WORKFLOW["limit"]]


@pytest.mark.long
def test_smoke_finds_a_service_that_does_not_run(awx: Awx, recovered: Lab) -> None:
    if recovered.kind != "standin":
        recovered.stop_service()
    else:
        from tests.lab import standin_service

        standin_service.put(recovered.node, "Stopped")
    job = awx.runs("smoke.yml")
    job.assert_told(1, "unexpected")
    assert "AlteryxService is Stopped" in job.output
