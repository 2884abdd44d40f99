# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: a clear error with its own exit code, and nothing touched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import nightly
from tests.lab import layout

from .backup_files import Backup
from .lab_of_tests import SETTINGS, Lab, run_id_pattern
from .playbook_run import PLAYBOOKS, PlaybookRunner

NOT_TOUCHED = pytest.mark.usefixtures("untouched")


def _write(folder: Path, name: str, content: Any) -> Path:
    file = folder / name
    file.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return file


@NOT_TOUCHED
def test_a_limit_that_matches_no_host(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml", limit="nosuch")
    # Ansible itself refuses it, before any plugin of ours is asked.
    assert run.rc != 0
    assert "no hosts to target" in run.text


@pytest.mark.long
@NOT_TOUCHED
def test_a_limit_to_a_host_outside_the_group(lab: Lab, run_playbook: PlaybookRunner, tmp_path: Path) -> None:
    inventory = _write(
        tmp_path,
        "inventory.yml",
        {**lab.inventory_content(), "others": {"hosts": {"elsewhere": {"ansible_host": "127.0.0.1"}}}},
    )
    run = run_playbook("full_backup.yml", limit="elsewhere", inventory=[inventory])
    assert run.rc == 3
    assert "no host of the inventory matches this play and --limit" in run.text


@pytest.mark.long
@NOT_TOUCHED
@pytest.mark.reaches("no_hosts")
def test_a_group_without_hosts(run_playbook: PlaybookRunner, tmp_path: Path) -> None:
    inventory = _write(
        tmp_path,
        "inventory.yml",
        {"alteryx": {"children": {"alteryx_lab": {}}}, "others": {"hosts": {"elsewhere": {}}}},
    )
    run = run_playbook("full_backup.yml", limit=None, inventory=[inventory])
    assert run.rc == 3
    assert "no host of the inventory matches this play and --limit" in run.text


@NOT_TOUCHED
@pytest.mark.reaches("unreachable")
def test_wrong_credentials(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml", extra_vars={"ansible_password": "wrong"})
    run.assert_failed(3, "unreachable", message="credentials were rejected")


@NOT_TOUCHED
@pytest.mark.usefixtures("lab_doubles")
@pytest.mark.reaches("not_administrator")
def test_not_an_administrator(lab: Lab, run_playbook: PlaybookRunner) -> None:
    run = run_playbook(
        "full_backup.yml", extra_vars={"ansible_user": "operator", "ansible_password": f"{lab.node.password}-operator"}
    )
    run.assert_failed(3, "not_administrator")


@pytest.mark.long
@NOT_TOUCHED
@pytest.mark.reaches("service_absent", exit_code=3)
def test_no_such_service(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml", extra_vars={"alteryx_preflight_service_name": "Nope"})
    run.assert_failed(3, "service_absent", message="Nope")


@pytest.mark.long
@NOT_TOUCHED
@pytest.mark.reaches("drive_missing")
def test_a_staging_folder_on_a_drive_the_node_does_not_have(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml", extra_vars={"alteryx_preflight_staging_directory": r"X:\AlteryxStaging"})
    run.assert_failed(3, "drive_missing", message="X:")


@pytest.fixture
def settings_file(lab: Lab) -> Iterator[Path]:
    """RuntimeSettings.xml, put back afterwards."""
    file = lab.node.path(SETTINGS)
    kept = file.rename(file.with_name("kept.xml"))
    yield file
    kept.replace(file)


@pytest.mark.long
@pytest.mark.reaches("settings_missing")
def test_the_settings_file_is_absent(settings_file: Path, untouched: object, run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml")
    run.assert_failed(3, "settings_missing", message="RuntimeSettings.xml")


_SETTINGS = "<SystemSettings><Controller><ControllerEnabled>True</ControllerEnabled></Controller></SystemSettings>"
_LAUGHS = "".join(f'<!ENTITY {name} "{f"&{inner};" * 10}">' for inner, name in zip("abcdefgh", "bcdefghi", strict=True))
UNREADABLE = {
    "breaks off": b"<SystemSettings><Controller><ControllerEnabled>True</Controller",
    "empty": b"",
    "no XML": b"\x00\x01\x02 ControllerEnabled=True",
    "UTF-16 by its declaration only": f'<?xml version="1.0" encoding="utf-16"?>{_SETTINGS}'.encode(),
    "DTD from elsewhere": f'<!DOCTYPE SystemSettings SYSTEM "file:///C:/Windows/win.ini">{_SETTINGS}'.encode(),
    "entities that explode": (
        f'<!DOCTYPE SystemSettings [<!ENTITY a "ha">{_LAUGHS}]>{_SETTINGS.replace("True", "&i;")}'.encode()
    ),
    "entity nobody declares": _SETTINGS.replace("True", "&nobody;").encode(),
    "over 10 MB": f"<!--{'x' * 10 * 1024**2}-->{_SETTINGS}".encode(),
    "another root": _SETTINGS.replace("SystemSettings", "configuration").encode(),
}


@pytest.fixture
def unreadable(settings_file: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """A settings file that cannot be read."""
    settings_file.write_bytes(request.param)
    yield
    settings_file.unlink()


@pytest.mark.long
@pytest.mark.parametrize(
    "unreadable",
    [pytest.param(content, id=name) for name, content in UNREADABLE.items()],
    indirect=True,
)
@pytest.mark.reaches("settings_malformed")
def test_a_settings_file_that_cannot_be_read(unreadable: None, untouched: object, run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml")
    run.assert_failed(3, "settings_malformed", message=rf"{SETTINGS} cannot be read: ")
    assert run.outcome["message"].rpartition("cannot be read: ")[2], "no cause"


@pytest.mark.long
def test_a_settings_file_in_utf_16_is_read_like_any_other(
    lab: Lab, settings_file: Path, run_playbook: PlaybookRunner
) -> None:
    text = settings_file.with_name("kept.xml").read_text(encoding="utf-8-sig")
    settings_file.write_bytes(re.sub(r"^<\?xml[^>]*\?>", "", text).encode("utf-16"))
    run = run_playbook("full_backup.yml", "--check")
    settings_file.unlink()
    run.assert_ok()
    assert run.node()["roles"] == ["controller", "worker", "ui"]


@NOT_TOUCHED
@pytest.mark.reaches("run_incomplete")
def test_a_run_of_which_tags_leave_out_everything_is_no_success(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml", "--tags", "archive")
    run.assert_failed(1, "run_incomplete")


PLAYBOOKS_THAT_REFUSE = sorted(file.name for file in PLAYBOOKS.glob("*.yml") if file.name != "recover.yml")
# `make test` shows other failures of these.
FAIL_ELSEWHERE = {
    *(f"{mode}_backup.yml" for mode in ("config", "database", "full", "verify")),
    *("list_backups.yml", "remove_from_nodes.yml", "restore.yml"),
}


@NOT_TOUCHED
@pytest.mark.parametrize(
    "playbook",
    [pytest.param(name, marks=[pytest.mark.long] if name in FAIL_ELSEWHERE else []) for name in PLAYBOOKS_THAT_REFUSE],
)
@pytest.mark.reaches("unknown_variable", exit_code=3)
def test_an_unknown_name_of_e_is_refused_by_every_playbook_but_recover(
    run_playbook: PlaybookRunner, playbook: str
) -> None:
    run = run_playbook(playbook, extra_vars={"alteryx_verify_backup": "Full_20260101_000000_0000"})
    assert run.rc == 3, run.output
    assert "-e sets what no role of this collection reads: alteryx_verify_backup" in run.text


WRONG, NEAREST = "alteryx_preflight_staging_dir", "alteryx_preflight_staging_directory"


@NOT_TOUCHED
@pytest.mark.parametrize("place", nightly.after_first(["inventory", "play", "command line", "role call"]))
@pytest.mark.reaches("unknown_variable")
def test_an_unknown_variable_is_refused_with_the_nearest_name(
    lab: Lab, run_playbook: PlaybookRunner, tmp_path: Path, place: str
) -> None:
    playbook: str | Path = "full_backup.yml"
    inventory = lab.inventory_content()
    sequence: dict[str, Any] = {"import_tasks": str(PLAYBOOKS / "tasks" / "backup.yml")}
    play: dict[str, Any] = {
        "hosts": "alteryx",
        "gather_facts": False,
        "vars": {"alteryx_preflight_mode": "full"},
        "tasks": [sequence],
    }
    if place == "inventory":
        inventory["alteryx"]["children"]["alteryx_lab"]["vars"][WRONG] = r"D:\Elsewhere"
    elif place == "play":
        play["vars"][WRONG] = r"D:\Elsewhere"
        playbook = _write(tmp_path, "play.yml", [play])
    elif place == "role call":
        play["tasks"] = [
            {"import_role": {"name": "alteryx_ops.server_backup.alteryx_preflight"}, "vars": {WRONG: r"D:\Elsewhere"}}
        ]
        playbook = _write(tmp_path, "play.yml", [play])
    extra_vars = {WRONG: r"D:\Elsewhere"} if place == "command line" else None
    run = run_playbook(playbook, inventory=[_write(tmp_path, "inventory.yml", inventory)], extra_vars=extra_vars)
    assert run.rc == 3, run.output
    assert f"no such variable: {WRONG} (did you mean {NEAREST}?)" in run.text
    if place != "role call":  # a play of one's own with that one role has no report
        run.assert_failed(3, "unknown_variable", message=WRONG)


@pytest.fixture
def file_for_a_folder(lab: Lab) -> Iterator[None]:
    """A file where the staging folder is to be."""
    file = lab.node.path(r"D:\Elsewhere")
    file.write_text("a file", encoding="ascii")
    yield
    file.unlink()


@pytest.mark.long
@pytest.mark.parametrize(
    "variable",
    ["alteryx_preflight_staging_directory", "alteryx_archive_directory"],
)
@pytest.mark.reaches("folder_invalid")
def test_a_file_where_a_folder_is_to_be(
    file_for_a_folder: None, untouched: object, run_playbook: PlaybookRunner, variable: str
) -> None:
    run = run_playbook("full_backup.yml", extra_vars={variable: r"D:\Elsewhere"})
    run.assert_failed(3, "folder_invalid", message=r"D:\Elsewhere is a file")


@pytest.fixture
def link(lab: Lab) -> Iterator[str]:
    """A junction on the data drive, as a mounted volume looks too."""
    (target := lab.node.path(r"D:\Elsewhere")).mkdir()
    lab.node.junction(r"D:\Link", r"D:\Elsewhere")
    yield r"D:\Link"
    assert not list(target.iterdir())
    lab.node.path(r"D:\Link").unlink()
    target.rmdir()


@pytest.mark.long
@pytest.mark.wine
@pytest.mark.reaches("folder_invalid")
def test_a_link_in_the_path_of_a_folder(link: str, untouched: object, run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml", extra_vars={"alteryx_archive_directory": rf"{link}\Backups"})
    message = rf"{link}, in the path of the archive directory {link}\Backups, is a link"
    run.assert_failed(3, "folder_invalid", message=message)


@pytest.mark.long
@NOT_TOUCHED
@pytest.mark.parametrize(
    ("recipient", "cause"),
    [
        pytest.param("README.md", "holds 0 certificates", id="a file of another kind"),
        pytest.param("nowhere.pem", "cannot be read", id="no file"),
        pytest.param(
            "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----",
            "is not a certificate",
            id="a text that is none",
        ),
    ],
)
@pytest.mark.reaches("recipient_invalid")
def test_a_recipient_that_is_no_certificate(run_playbook: PlaybookRunner, recipient: str, cause: str) -> None:
    named = str(layout.ROOT / recipient) if "BEGIN" not in recipient else recipient
    run = run_playbook("full_backup.yml", extra_vars={"alteryx_configuration_recipients": [named]})
    run.assert_failed(3, "recipient_invalid", message=cause)


@NOT_TOUCHED
@pytest.mark.reaches("no_recipient")
def test_secrets_without_a_recipient(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml", extra_vars={"alteryx_configuration_recipients": []})
    run.assert_failed(3, "no_recipient")
    assert "alteryx_configuration_secrets to skip" in run.outcome["hint"]


@pytest.mark.long
def test_secrets_left_out_on_purpose_are_said_to_be_missing(lab: Lab, run_playbook: PlaybookRunner) -> None:
    run = run_playbook(
        "config_backup.yml",
        extra_vars={"alteryx_configuration_recipients": [], "alteryx_configuration_secrets": "skip"},
    )
    run.assert_ok()
    match = run_id_pattern("Config").fullmatch(run.outcome["run_id"])
    assert match
    backup = Backup.of(lab, match.group(1), "Config")
    backup.assert_complete(secrets=False)
    told = backup.manifest()["secrets"]
    assert told["included"] is False
    assert "NOT in this backup" in told["why"]
    assert "no secrets file" in run.stdout
    assert any("not in this backup" in warning for warning in run.outcome["warnings"])


@NOT_TOUCHED
@pytest.mark.parametrize("playbook", nightly.after_first(["config_backup.yml", "list_backups.yml"]))
@pytest.mark.reaches("invalid_variable", exit_code=3)
def test_a_path_whose_backslash_ansible_has_read_as_a_control_character(
    run_playbook: PlaybookRunner, playbook: str
) -> None:
    run = run_playbook(playbook, "-e", r"alteryx_archive_directory=D:\backups")
    assert run.rc == 3, run.output
    assert r"alteryx_archive_directory contains a control character: \b in D:\backups was read as one" in run.text
    assert "Write D:/backups or " in run.text


@NOT_TOUCHED
@pytest.mark.reaches("invalid_mode", exit_code=6)
def test_a_mode_there_is_not(run_playbook: PlaybookRunner) -> None:
    run = run_playbook("full_backup.yml", extra_vars={"alteryx_preflight_mode": "everything"})
    run.assert_failed(6, "invalid_mode", message="everything")


@pytest.mark.long
@NOT_TOUCHED
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("alteryx_preflight_lock_stale", "abc"),
        ("alteryx_window_open_within", "soon"),
        ("alteryx_window_dump_timeout", -5),
        ("alteryx_archive_compression", "Best"),
        ("alteryx_report_directory", "{{ nowhere }}"),
    ],
)
def test_a_value_no_role_takes_is_refused_before_the_first_role_uses_one(
    run_playbook: PlaybookRunner, variable: str, value: Any
) -> None:
    run = run_playbook("full_backup.yml", extra_vars={variable: value})
    run.assert_failed(3, "invalid_variable", message=variable)
