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
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import nightly, reasons
from tests.awx import content
from tests.lab import layout, standin_service

from . import restore_scene as scene
from .backup_files import flip_bit
from .kinds import KINDS, LONG_ON_WINE, STANDIN, WINDOWS
from .lab_of_tests import ARCHIVES, STATE_FOLDER, Lab
from .onlooker import Onlooker

BINARIES = Path(sys.executable).parent
GROUP = "alteryx_lab"
# The fleet of the lab takes the place of that of the administrator.
DATA = content.read(site_fleet=GROUP)
(WORKFLOW,) = DATA["controller_workflows"]
TEMPLATES = {template["name"]: template for template in DATA["controller_templates"]}

pytestmark = [
    # What the playbooks do to a node is proved elsewhere.
    pytest.mark.parametrize(
        "lab",
        KINDS if WINDOWS else [STANDIN, LONG_ON_WINE],
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

    def runs(
        self,
        playbook: str,
        *options: str,
        extra_vars: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Job:
        """Run a playbook of the project.

        Args:
            playbook: its file.
            options: of ansible-playbook.
            extra_vars: of the template, its survey and the jobs before it.
            variables: of the environment, from credentials.
        """
        self._number += 1
        env = self.folder / "env"
        paths = (
            f"{self.folder}/requirements_collections:{self.folder}/.ansible/collections:/usr/share/ansible/collections"
        )
        given = {"ANSIBLE_COLLECTIONS_PATH": paths, **(variables or {})}
        (env / "envvars").write_text(json.dumps(given), encoding="utf-8")
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

    def launches(
        self, name: str, answers: Mapping[str, Any] | None = None, entered: Mapping[str, str] | None = None
    ) -> Job:
        """Launch a template.

        Args:
            name: of the template.
            answers: to questions of its survey; the others are answered by their defaults.
            entered: what a person has entered into its credentials.
        """
        template = TEMPLATES[name]
        asked = {question["variable"]: question for question in (template.get("survey_spec") or {}).get("spec", [])}
        given = {variable: question["default"] for variable, question in asked.items()} | dict(answers or {})
        refused = [problem for key, answer in given.items() for problem in content.answer_problems(asked[key], answer)]
        assert refused == []
        return self.runs(
            template["playbook"],
            *(["--check"] if template["job_type"] == "check" else []),
            extra_vars={**template.get("extra_vars", {}), **given},
            variables=content.injected_environment(DATA, template, entered or {}),
        )

    def said(self, secret: str) -> list[str]:
        """Files of jobs that hold a text, without the environment, which AWX masks before it shows it."""
        found = []
        for file in (self.folder / "artifacts").rglob("*"):
            text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
            if file.name == "command":
                text = json.dumps(json.loads(text)["command"])
            found += [str(file)] if secret in text else []
        return found


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
    nightly.after_first(
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
        ]
    ),
)
def test_a_job_that_fails_tells_awx_why(
    awx: Awx, playbook: str, extra_vars: dict[str, Any], code: int, reason: str
) -> None:
    awx.runs(playbook, extra_vars=extra_vars).assert_told(code, reason)


@pytest.mark.long
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
        before: identifier of a node -> what happens on the server before its job, or while its approval waits.
    """

    def __init__(
        self, awx: Awx, failing: set[str] | None = None, before: Mapping[str, Callable[[], None]] | None = None
    ) -> None:
        self.jobs: dict[str, Job] = {}
        self.artifacts: dict[str, Any] = {}
        self.before = dict(before or {})
        nodes = {node["identifier"]: node for node in WORKFLOW["workflow_nodes"]}
        name: str | None = WORKFLOW["workflow_nodes"][0]["identifier"]
        while name:
            self.before.pop(name, lambda: None)()
            failed = name in (failing or ())
            if nodes[name]["unified_job_template"]["type"] != "workflow_approval":
                failed = not self._run(awx, nodes[name], TEMPLATES[nodes[name]["unified_job_template"]["name"]])
            links = nodes[name].get("related", {}).get("failure_nodes" if failed else "success_nodes", [])
            name = links[0]["identifier"] if links else None
        assert not self.before, "the workflow has not come there"

    def _run(self, awx: Awx, node: Mapping[str, Any], template: Mapping[str, Any]) -> bool:
        # What jobs before it have set is given to the next one; neither its template nor its node wins over it.
        given = {**template.get("extra_vars", {}), **node.get("extra_data", {}), **self.artifacts}
        name, check = node["identifier"], ["--check"] if template["job_type"] == "check" else []
        self.jobs[name] = awx.runs(template["playbook"], "-l", WORKFLOW["limit"], *check, extra_vars=given)
        self.artifacts |= self.jobs[name].artifacts
        return self.jobs[name].status == "successful"


def put(awx: Awx, playbook: str, task: dict[str, Any]) -> None:
    """Put a playbook of the operator into the project."""
    play = {"name": "Play", "hosts": "alteryx", "gather_facts": False, "tasks": [task]}
    (awx.folder / "project" / playbook).write_text(yaml.safe_dump([play]), encoding="utf-8")


def writes_id(file: Path) -> dict[str, Any]:
    """A task of the operator that writes the id of the backup that it was given into a file."""
    told = {"content": "{{ server_backup_run_id }}", "dest": str(file)}
    return {"name": "Work", "ansible.builtin.copy": told, "delegate_to": "localhost", "run_once": True}


FAILS = {"name": "Fail", "ansible.builtin.fail": {"msg": "The installer has ended with 1603"}}


@pytest.mark.long
def test_the_workflow_backs_up_verifies_that_backup_upgrades_and_looks(awx: Awx) -> None:
    file = awx.folder / "upgraded"
    put(awx, "upgrade.yml", writes_id(file))
    walk = Walk(awx)
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
@pytest.mark.reaches("archive_bad")
def test_a_backup_that_cannot_be_read_back_ends_the_workflow_before_its_approval(awx: Awx) -> None:
    marker = awx.folder / "touched"
    put(awx, "upgrade.yml", writes_id(marker))
    damaged: list[Path] = []

    def spoil() -> None:
        newest = max(awx.lab.node.path(ARCHIVES).rglob("*.zip"), key=lambda file: file.stat().st_mtime)
        flip_bit(newest)
        damaged.append(newest)

    walk = Walk(awx, before={"verification": spoil})
    assert list(walk.jobs) == ["backup", "verification"]
    walk.jobs["verification"].assert_told(3, "archive_bad")
    assert not marker.exists()
    assert awx.lab.node.service().state == "Running"
    for file in damaged[0].parent.glob(f"{damaged[0].stem}.*"):
        file.unlink()


@pytest.mark.long
def test_a_denied_approval_leaves_everything_as_it_is(awx: Awx) -> None:
    marker = awx.folder / "not_approved"
    put(awx, "upgrade.yml", writes_id(marker))
    server = Server(awx, Server.state(awx.lab))
    walk = Walk(awx, {"approval"})
    assert list(walk.jobs) == ["backup", "verification"]
    assert not marker.exists()
    assert server.is_as_before()
    assert awx.lab.node.service().state == "Running"


@dataclass
class Server:
    """The server that an upgrade spoils, judged from outside: by its critical files, and on Wine by its documents,
    permissions and users, too."""

    awx: Awx
    before: Any

    @staticmethod
    def state(lab: Lab) -> Any:
        """What it is now."""
        return scene.take_golden_state(lab.node) if lab.kind == "wine" else scene.read_files(lab.node)

    def is_as_before(self) -> bool:
        """Is it the one of the backup?"""
        now = self.state(self.awx.lab)
        return scene.compare(self.before, now) == [] if self.awx.lab.kind == "wine" else now == self.before

    def spoil(self) -> None:
        """What the upgrade does to it."""
        (scene.damage_server if self.awx.lab.kind == "wine" else scene.damage_files)(self.awx.lab.node, 7)
        assert not self.is_as_before()

    def stop(self) -> None:
        """Stop its service, as a person at the node would."""
        if self.awx.lab.kind == "standin":
            standin_service.put(self.awx.lab.node, "Stopped")
        else:
            self.awx.lab.stop_service()

    def restores(self) -> list[str]:
        """The restores that are not accepted yet."""
        folder = self.awx.lab.node.path(rf"{STATE_FOLDER}\restores")
        return sorted(file.name.partition(".")[0] for file in folder.glob("*.committed.json"))

    def accept(self) -> None:
        """Accept every restore, as a person does by its template."""
        for run_id in self.restores():
            answers = {"alteryx_restore_run": run_id, "alteryx_restore_confirm": GROUP}
            self.awx.launches("Alteryx: accept a restore", answers).assert_told(0)
        assert scene.kept(self.awx.lab.node) == []


@pytest.fixture
def server(awx: Awx) -> Iterator[Server]:
    """The server, whose restores are accepted afterwards, so that the next one is not refused."""
    server = Server(awx, Server.state(awx.lab))
    yield server
    server.accept()
    awx.lab.recover()


def assert_brought_back(server: Server, walk: Walk, reinstalled: Path) -> None:
    """The way back has reinstalled, and then restored the backup of the workflow to the fleet of its approval."""
    run_id = walk.jobs["backup"].artifacts["server_backup_run_id"]
    assert list(walk.jobs)[-2:] == ["reinstallation", "restore"]
    assert reinstalled.read_text(encoding="utf-8") == run_id
    job = walk.jobs["restore"]
    job.assert_told(0)
    told = {name.removeprefix("server_backup_"): value for name, value in job.artifacts.items()}
    assert told["source_run_id"] == run_id
    assert told["servers"] == [{"node": server.awx.lab.node.name, "server": "new"}]
    assert told["downtime"] > 0
    assert server.restores() == [told["run_id"]]
    assert any(told["run_id"] in path for path in scene.kept(server.awx.lab.node))
    assert server.is_as_before()
    assert server.awx.lab.node.service().state == "Running"
    assert server.awx.lab.leftovers() == []


@pytest.mark.long
def test_a_failed_upgrade_is_reinstalled_and_restored_after_the_second_approval(awx: Awx, server: Server) -> None:
    reinstalled = awx.folder / "reinstalled"
    put(awx, "upgrade.yml", FAILS)
    put(awx, "reinstall.yml", writes_id(reinstalled))
    walk = Walk(awx, before={"upgrade": server.spoil})
    assert list(walk.jobs)[:-2] == ["backup", "verification", "upgrade"]
    assert_brought_back(server, walk, reinstalled)


@pytest.mark.long
def test_a_server_that_fails_the_smoke_test_is_reinstalled_and_restored_after_the_second_approval(
    awx: Awx, server: Server
) -> None:
    reinstalled = awx.folder / "reinstalled_after_smoke"

    def leave_down() -> None:
        server.spoil()
        server.stop()

    put(awx, "upgrade.yml", writes_id(awx.folder / "upgraded_badly"))
    put(awx, "reinstall.yml", writes_id(reinstalled))
    walk = Walk(awx, before={"smoke": leave_down})
    assert list(walk.jobs)[:-2] == ["backup", "verification", "upgrade", "smoke"]
    walk.jobs["smoke"].assert_told(1, "unexpected")
    assert "AlteryxService is Stopped" in walk.jobs["smoke"].output
    assert_brought_back(server, walk, reinstalled)


@pytest.mark.long
@pytest.mark.reaches("restore_unconfirmed")
def test_a_denied_way_back_restores_nothing_until_a_person_launches_the_restore_by_hand(
    awx: Awx, server: Server
) -> None:
    marker = awx.folder / "reinstalled_without_approval"
    put(awx, "upgrade.yml", FAILS)
    put(awx, "reinstall.yml", writes_id(marker))
    spoiled: list[Any] = []

    def look() -> None:
        spoiled.extend([Server.state(awx.lab), awx.lab.node.service()])

    walk = Walk(awx, {"approval_of_the_way_back"}, {"upgrade": server.spoil, "approval_of_the_way_back": look})
    assert list(walk.jobs) == ["backup", "verification", "upgrade"]
    assert not marker.exists()
    assert [Server.state(awx.lab), awx.lab.node.service()] == spoiled
    assert server.restores() == []

    run_id = walk.artifacts["server_backup_run_id"]
    answers = {"alteryx_restore_backup": run_id, "alteryx_restore_confirm": "another_fleet"}
    awx.launches("Alteryx: restore a backup", answers).assert_told(3, "restore_unconfirmed")
    assert [Server.state(awx.lab), awx.lab.node.service()] == spoiled
    restored = awx.launches("Alteryx: restore a backup", {**answers, "alteryx_restore_confirm": GROUP})
    restored.assert_told(0)
    assert restored.artifacts["server_backup_source_run_id"] == run_id
    assert server.is_as_before()


@pytest.mark.long
def test_the_jobs_that_are_yours_refuse_until_you_replace_them(awx: Awx) -> None:
    for name in ("upgrade.yml", "reinstall.yml"):
        shutil.copy2(content.PROJECT / name, awx.folder / "project" / name)
    walk = Walk(awx)
    assert list(walk.jobs) == ["backup", "verification", "upgrade", "reinstallation"]
    assert "There is no upgrade yet, and nothing was touched" in " ".join(walk.jobs["upgrade"].output.split())
    output = " ".join(walk.jobs["reinstallation"].output.split())
    assert "There is no reinstallation yet, and this job has touched nothing" in output
    assert walk.artifacts["server_backup_run_id"] in output


ACCOUNT = {"username": r"EXAMPLE\svc-backup", "password": "Pa55-of+the/share"}
SHARE = r"\\nas1\alteryx"


@pytest.fixture
def share(awx: Awx, lab_doubles: None) -> Iterator[Path]:
    """A share, and in the inventory what the example inventory has of it in its comments."""
    example = (layout.ROOT / "inventory" / "example.yml").read_text(encoding="utf-8")
    block = example[example.index("# alteryx_distribution_destinations:") :].partition("\n\n")[0]
    assert SHARE in block
    file = awx.folder / "inventory" / "group_vars" / f"{GROUP}.yml"
    file.parent.mkdir()
    file.write_text(re.sub(r"(?m)^ *# ", "", block), encoding="utf-8")
    folder = awx.lab.node.path(SHARE)
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder.parent)
    shutil.rmtree(file.parent)


@pytest.mark.long
def test_the_account_of_a_share_comes_from_its_credential_and_is_on_no_command_line(awx: Awx, share: Path) -> None:
    empty = awx.launches("Alteryx: configuration backup")
    empty.assert_told(3, "invalid_variable")
    assert "alteryx_distribution_credentials.nas has no password" in " ".join(empty.output.split())
    with Onlooker([]) as seen:
        awx.launches("Alteryx: configuration backup", entered=ACCOUNT).assert_told(0)
        listed = awx.launches("Alteryx: list backups", {"alteryx_catalogue_destination": "nas"}, ACCOUNT)
    listed.assert_told(0)
    (copy,) = share.rglob("*.zip")
    assert copy.stem in listed.output
    assert any(b"ansible-playbook" in line for line in seen.command_lines)
    assert [line for line in seen.command_lines if ACCOUNT["password"].encode() in line] == []
    assert awx.said(ACCOUNT["password"]) == []


@pytest.mark.long
@pytest.mark.reaches("backup_at_destination")
def test_the_templates_work_at_the_destination_that_their_survey_names(awx: Awx, server: Server, share: Path) -> None:
    made = awx.launches("Alteryx: full backup", entered=ACCOUNT)
    made.assert_told(0)
    run_id = made.artifacts["server_backup_run_id"]
    nas = {"alteryx_catalogue_destination": "nas"}
    for name, answers in (
        ("Alteryx: copy backups", {"alteryx_distribution_copy_id": run_id}),
        ("Alteryx: list backups", {"alteryx_catalogue_destination": "all"}),
        ("Alteryx: verify backups", nas),
        ("Alteryx: pin a backup", {"alteryx_retention_pin_id": run_id}),
        ("Alteryx: delete old backups", {}),
        ("Alteryx: rehearsal of a restore", nas),
    ):
        awx.launches(name, answers, ACCOUNT).assert_told(0)
    shutil.rmtree(awx.lab.node.path(ARCHIVES))
    server.spoil()
    wanted = {"alteryx_restore_backup": run_id, "alteryx_restore_confirm": GROUP}
    awx.launches("Alteryx: restore a backup", wanted, ACCOUNT).assert_told(3, "backup_at_destination")
    restored = awx.launches("Alteryx: restore a backup", {**wanted, **nas}, ACCOUNT)
    restored.assert_told(0)
    assert restored.artifacts["server_backup_source_run_id"] == run_id
    assert server.is_as_before()
    assert awx.said(ACCOUNT["password"]) == []
