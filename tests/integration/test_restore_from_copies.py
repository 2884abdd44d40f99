# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restore.yml when the archives on the nodes are lost and a share has copies of them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import watch
from tests.lab.node import Node
from tests.node.engine import watching

from . import restore_scene as scene
from .backup_files import Backup, flipped_bit
from .kinds import wine_only
from .lab_of_tests import ARCHIVES, Lab, run_id_pattern
from .playbook_run import PlaybookRunner, Run
from .restored_server import FLEET, WORK, Server, assert_refused, nothing_touched
from .test_fleet_restore import Fleet

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]

NAS, NAS2, AWAY = r"\\nas1\ayx", r"\\nas2\ayx", r"\\nas9\ayx"
PASSWORD = "Pa55-of+the/share"
SHARE = {"name": "nas", "path": NAS, "credential": "svc"}
SHARE2 = {"name": "nas2", "path": NAS2, "credential": "svc"}
BACKUP_FILES = (".zip", ".manifest.json", ".secrets.pem", ".sha256")
COPIES: dict[str, object] = {
    "alteryx_distribution_destinations": [SHARE, {"name": "away", "path": AWAY}],
    "alteryx_distribution_credentials": {"svc": {"user": r"EXAMPLE\svc", "password": PASSWORD}},
    "alteryx_distribution_retries": 0,
}


def copies(node: Node, share: str = NAS) -> Path:
    """The folder of a node on a share."""
    return node.path(share) / FLEET / node.name


def hashes(folder: Path) -> dict[str, str]:
    """Everything in a folder, by an observer outside of the code under test."""
    found = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in found}


def backup_hashes(folder: Path) -> dict[str, str]:
    """Those of the files of a backup, which are the same wherever it is."""
    return {name: digest for name, digest in hashes(folder).items() if name.endswith(BACKUP_FILES)}


def back_up(lab: Lab, run_playbook: PlaybookRunner, *shares: dict[str, str]) -> Run:
    """A full backup whose archives are on shares only."""
    for share in shares:
        for node in lab.nodes:
            shutil.rmtree(node.path(share["path"]), ignore_errors=True)
            node.path(share["path"]).mkdir(parents=True)
    only_shares = {**COPIES, "alteryx_distribution_destinations": list(shares)}
    for node in lab.nodes:
        shutil.rmtree(node.path(ARCHIVES), ignore_errors=True)
    run = run_playbook("full_backup.yml", extra_vars=only_shares, timeout=900)
    run.assert_ok()
    for node in lab.nodes:
        own = backup_hashes(node.path(ARCHIVES) / node.name)
        assert [name for name in own if name.endswith(".zip")]
        for share in shares:
            assert backup_hashes(copies(node, share["path"])) == own, (node.name, share["name"])
    for node in lab.nodes:
        shutil.rmtree(node.path(ARCHIVES))
    return run


@pytest.fixture(scope="module")
def backed_up(lab: Lab, run_playbook: PlaybookRunner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A backup that is on the share only, and the server as it was then; see the fixture server."""
    lab.recover()
    run = back_up(lab, run_playbook, SHARE)
    match = run_id_pattern("Full").fullmatch(run.outcome["run_id"])
    assert match
    backup = Backup(copies(lab.node), f"ServerBackup_Full_{match.group(1)}")
    yield Server.of(lab, run_playbook, run, backup, tmp_path_factory.mktemp("cold"))
    shutil.rmtree(lab.node.path(NAS), ignore_errors=True)


def restore(server: Server, destination: str, *options: str, **variables: object) -> Run:
    """Run restore.yml with a destination, "" for none."""
    asked = {**COPIES, "alteryx_restore_confirm": FLEET, "alteryx_catalogue_destination": destination, **variables}
    return server.run_playbook("restore.yml", *options, extra_vars=asked, timeout=900)


@pytest.mark.reaches("backup_at_destination", exit_code=3)
@wine_only
def test_a_server_is_restored_from_the_share_that_the_refusal_names(server: Server) -> None:
    server.damage()
    before = hashes(server.lab.node.path(NAS))
    with nothing_touched(server):
        for wanted in ("latest", server.backup.base):
            refused = restore(server, "", alteryx_restore_backup=wanted)
            assert_refused(refused, 3, "backup_at_destination", "the destination nas has", server.backup.base)
            assert "-e alteryx_catalogue_destination=nas" in refused.text
        planned = restore(server, "nas", "--check")
        planned.assert_ended_well()
    assert "at the destination nas" in planned.text
    run = restore(server, "nas")
    run.assert_ended_well()
    assert run.outcome["backup"]["destination"] == "nas"
    assert scene.compare(server.golden, server.now()) == []
    assert server.leftovers() == []
    assert hashes(server.lab.node.path(NAS)) == before
    assert not server.lab.node.path(ARCHIVES).exists()
    assert PASSWORD not in run.output
    server.accept(run.outcome["run_id"]).assert_ended_well()


@pytest.mark.parametrize(
    ("destination", "code", "said"),
    [
        pytest.param("tape", 3, "there is no destination tape", marks=pytest.mark.reaches("invalid_variable")),
        pytest.param("all", 3, "a restore reads at one destination", marks=pytest.mark.reaches("invalid_variable")),
        pytest.param("away", 4, "cannot be reached", marks=pytest.mark.reaches("destination_unreachable", exit_code=4)),
    ],
)
@wine_only
def test_a_destination_that_cannot_be_used_is_refused_before_anything_is_touched(
    server: Server, destination: str, code: int, said: str
) -> None:
    with nothing_touched(server):
        assert_refused(restore(server, destination), code, said)


@pytest.mark.reaches("space_short", exit_code=3)
@wine_only
def test_a_backup_for_which_there_is_no_room_is_refused_before_anything_is_touched(server: Server) -> None:
    with nothing_touched(server):
        assert_refused(restore(server, "nas", alteryx_window_space_reserve=90_000_000), 3, "space_short")


@pytest.mark.reaches("archive_bad", exit_code=3)
@wine_only
def test_a_damaged_copy_is_found_before_anything_is_stopped(server: Server) -> None:
    with watch.Watch(server.lab, scene.RESTORE) as watching_service, flipped_bit(server.backup.archive):
        run = restore(server, "nas")
    assert_refused(run, 3, "archive_bad")
    assert {state for _at, state in watching_service.states} <= {"Running"}
    assert scene.compare(server.golden, server.now()) == []
    assert server.leftovers() == []


@pytest.mark.reaches("destination_unreachable", exit_code=4)
@wine_only
def test_a_share_that_vanishes_while_it_is_read_ends_the_run_before_the_stop(server: Server) -> None:
    share = server.lab.node.path(NAS)
    gone = share.with_name("gone")

    def vanish() -> bool:
        if not any(server.lab.node.path(WORK).rglob("extraction.json")):
            return False
        share.rename(gone)
        return True

    try:
        with watch.Watch(server.lab, scene.RESTORE) as watching_service, watching(vanish):
            run = restore(server, "nas")
    finally:
        gone.rename(share)
    assert_refused(run, 4, "destination_unreachable")
    assert {state for _at, state in watching_service.states} <= {"Running"}
    assert scene.compare(server.golden, server.now()) == []
    assert server.leftovers() == []


def test_a_fleet_has_its_backup_in_three_places_and_every_node_is_restored_from_its_copy_on_one_share(
    fleet: Lab, tmp_path: Path
) -> None:
    run_playbook = PlaybookRunner(fleet)
    copied = back_up(fleet, run_playbook, SHARE, SHARE2).outcome["copies"]
    assert len(copied) == 2 * len(fleet.nodes)
    for copy in copied:
        assert copy["rate"] > 0
        print(  # noqa: T201  # the figures
            f"{copy['node']} -> {copy['destination']}: {copy['bytes']} bytes, {copy['rate'] / 1e6:.1f} MB/s, "
            f"sent in {copy['send_seconds']:.2f} s, copied and read back in {copy['seconds']:.2f} s"
        )
    cold = [(node, scene.ColdCopy.of(node, tmp_path / node.name)) for node in fleet.nodes]
    backed_up = Fleet(fleet, run_playbook, {node.name: scene.take_golden_state(node) for node in fleet.nodes})
    try:
        for node in fleet.nodes:
            scene.damage_server(node, 19)
        places = {**COPIES, "alteryx_distribution_destinations": [SHARE, SHARE2]}
        run = backed_up.run("restore.yml", **places, alteryx_catalogue_destination="nas2")
        run.assert_ended_well()
        assert run.outcome["backup"]["destination"] == "nas2"
        assert backed_up.differences(backed_up.golden) == {}
        assert backed_up.leftovers() == []
        backed_up.run("accept_restore.yml", alteryx_restore_run=run.outcome["run_id"]).assert_ended_well()
    finally:
        for node, copy in cold:
            copy.put_back(node)
            for path in (NAS, NAS2):
                shutil.rmtree(node.path(path), ignore_errors=True)
        for lab in fleet.each():
            lab.recover()
