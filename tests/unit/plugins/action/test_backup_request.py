# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked is judged before any node is touched."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.action import backup_request
from ansible_collections.alteryx_ops.server_backup.plugins.action.backup_request import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _variables
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._collection import ROOT
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import _names
from tests.lab import certificates
from tests.unit.plugins.action import harness

FLEETS = """
all:
  children:
    alteryx:
      children:
        alteryx_prod:
          children:
            prod_controllers: {hosts: {node1: {}}}
            prod_workers: {hosts: {node2: {}}}
        alteryx_lab: {hosts: {node3: {}}}
    others: {hosts: {node4: {}}}
"""
ARGUMENTS: dict[str, t.Any] = {
    "mode": "full",
    "staging_directory": "D:\\s",
    "archive_directory": "E:\\a",
    "secrets": "skip",
}


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificates.write_operator(tmp_path_factory.mktemp("operator"), "operator").certificate


def asked(
    folder: Path, hosts: list[str] | None = None, text: str = FLEETS, variables: dict[str, t.Any] | None = None,
    check_mode: bool = False, **changes: t.Any,
) -> dict[str, t.Any]:  # fmt: skip
    """The result of judging a request over these hosts; no node is called."""
    play = {
        **harness.inventory(folder, text),
        "ansible_play_hosts_all": hosts or ["node1", "node2"],
        **(variables or {}),
    }
    return harness.run(ActionModule, {**ARGUMENTS, **changes}, variables=play, check_mode=check_mode)


@pytest.mark.parametrize(("mode", "word"), [("full", "Full"), ("database", "DB"), ("config", "Config")])
def test_a_good_request_gets_an_identity(tmp_path: Path, mode: str, word: str) -> None:
    request = asked(tmp_path, mode=mode)["request"]
    assert request["run_id"].startswith(f"{word}_{request['stamp']}_")
    assert _names.windows_name_problem(request["run_id"]) is None
    assert (request["mode"], request["fleet"], request["hosts"], request["recipients"]) == (
        mode,
        "alteryx_prod",
        ["node1", "node2"],
        [],
    )
    assert request["space_factor"] == 2.0


def test_two_runs_of_one_second_differ(tmp_path: Path) -> None:
    assert len({asked(tmp_path)["request"]["run_id"] for _unused in range(3)}) == 3


@pytest.mark.parametrize("mode", ["fulll", "Full", "", "restore"])
def test_another_mode_is_6(tmp_path: Path, mode: str) -> None:
    result = asked(tmp_path, mode=mode)
    assert (result["failed"], result["reason"], result["exit_code"]) == (True, "invalid_mode", 6)


@pytest.mark.parametrize(
    ("hosts", "said"),
    [(["node1", "node3"], "alteryx_lab, alteryx_prod"), (["node1", "node4"], "node4"), (["node4"], "no child group")],
)
def test_a_run_is_over_exactly_one_fleet(tmp_path: Path, hosts: list[str], said: str) -> None:
    result = asked(tmp_path, hosts)
    assert (result["reason"], result["exit_code"]) == ("several_fleets", 3)
    assert said in result["message"]


def test_a_request_knows_the_nodes_that_a_limit_leaves_out(tmp_path: Path) -> None:
    request = asked(tmp_path, ["node2"])["request"]
    assert (request["hosts"], request["members"]) == (["node2"], ["node1", "node2"])


def test_an_inventory_without_our_group_is_refused(tmp_path: Path) -> None:
    assert asked(tmp_path, ["node1"], "all: {hosts: {node1: {}}}")["reason"] == "several_fleets"


@pytest.mark.parametrize(
    "pattern",
    [
        "{mode}", "x", "{stamp}/{mode}", "{stamp}:", "CON.{stamp}", "{stamp}{other}", "{stamp}{", "{stamp}}",
        "{stamp}{0}", "{stamp}{}", "{stamp}.", "{{stamp}}", "{stamp}{mode.x}", "{stamp}{mode[0]}", "",
    ],
)  # fmt: skip
@pytest.mark.reaches("invalid_variable")
def test_a_name_pattern_that_makes_no_good_name_is_refused(tmp_path: Path, pattern: str) -> None:
    result = asked(tmp_path, name_pattern=pattern)
    assert (result["reason"], result["exit_code"]) == ("invalid_variable", 3)
    assert repr(pattern) in result["message"]


def test_an_argument_of_the_wrong_kind_is_refused_by_name(tmp_path: Path) -> None:
    result = asked(tmp_path, space_factor="much")
    assert result["reason"] == "invalid_variable"
    assert "space_factor" in result["message"]


@pytest.mark.parametrize("factor", [0, 0.0, -1, -0.5, "-2"])
def test_a_space_factor_that_would_need_no_room_is_refused(tmp_path: Path, factor: float | str) -> None:
    result = asked(tmp_path, space_factor=factor)
    assert (result["failed"], result["reason"], result["exit_code"]) == (True, "invalid_variable", 3)
    assert "alteryx_preflight_space_factor" in result["message"]


@pytest.mark.parametrize("factor", [0.01, 1, 20.5])
def test_any_space_factor_above_0_is_the_operators_choice(tmp_path: Path, factor: float) -> None:
    assert asked(tmp_path, space_factor=factor)["request"]["space_factor"] == factor


@pytest.mark.parametrize(
    ("options", "wanted"),
    [({"retention_room": True}, True), ({"retention_room": False}, False), ({}, False),
     ({"retention_room": True, "retention_policy": {}}, False)],
)  # fmt: skip
def test_backups_are_deleted_for_room_only_by_a_policy_and_where_that_is_asked_for(
    tmp_path: Path, options: dict[str, t.Any], wanted: bool
) -> None:
    request = asked(tmp_path, **{"retention_policy": {"full": {"days": 30}}, **options})["request"]
    assert request["prunes_for_room"] is wanted


@pytest.mark.parametrize("trust", ["enforce", "warn"])
def test_what_to_do_about_untrusted_folders_is_part_of_the_request(tmp_path: Path, trust: str) -> None:
    assert asked(tmp_path)["request"]["folder_trust"] == "enforce"
    assert asked(tmp_path, folder_trust=trust)["request"]["folder_trust"] == trust
    assert asked(tmp_path, folder_trust="ignore")["reason"] == "invalid_variable"


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_report_folder_that_cannot_be_written_to_is_refused(tmp_path: Path, check_mode: bool) -> None:
    file = tmp_path / "file"
    file.touch()
    result = asked(tmp_path, report_directory=str(file / "runs"), check_mode=check_mode)
    assert (result["reason"], result["exit_code"]) == ("invalid_variable", 3)
    assert f"alteryx_report_directory is {file / 'runs'}" in result["message"]
    runs = tmp_path / "a" / "runs"
    assert not asked(tmp_path, report_directory=str(runs), check_mode=check_mode).get("failed")
    assert list(runs.iterdir()) == [] if runs.exists() else check_mode


def test_a_file_of_tasks_that_is_absent_is_refused_and_a_relative_one_is_left_to_ansible(tmp_path: Path) -> None:
    (tmp_path / "there.yml").touch()
    assert not asked(tmp_path, task_files=["", "hooks/before.yml", str(tmp_path / "there.yml")]).get("failed")
    result = asked(tmp_path, task_files=[str(tmp_path / "nowhere.yml")])
    assert (result["reason"], result["exit_code"]) == ("invalid_variable", 3)
    assert "nowhere.yml" in result["message"]


def test_a_misspelled_variable_of_any_host_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    text = FLEETS.replace("node2: {}", "node2: {alteryx_archive_directry: x}")
    result = asked(tmp_path, text=text)
    assert (result["reason"], result["exit_code"]) == ("unknown_variable", 3)
    assert "alteryx_archive_directry (did you mean alteryx_archive_directory?)" in result["message"]


def test_a_misspelled_variable_of_the_play_is_refused(tmp_path: Path) -> None:
    assert asked(tmp_path, variables={"alteryx_window_fource": True})["reason"] == "unknown_variable"


def test_a_name_near_ours_is_refused_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_request, "load_extra_vars", lambda _loader: {"alteryx_drain_timeout": 10})
    result = asked(tmp_path)
    assert (result["reason"], result["exit_code"]) == ("unknown_variable", 3)
    assert "alteryx_drain_timeout (did you mean alteryx_window_drain_timeout?)" in result["message"]
    assert not asked(tmp_path, other_variables=["alteryx_drain_timeout"]).get("failed")


def test_a_name_near_ours_is_a_warning_in_the_inventory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = FLEETS.replace("node2: {}", "node2: {alteryx_archive_dir: x, alteryx_drain_timeout: 10}")
    assert asked(tmp_path, text=text)["reason"] == "unknown_variable"
    text = FLEETS.replace("node2: {}", "node2: {alteryx_drain_timeout: 10}")
    assert not asked(tmp_path, text=text).get("failed")
    assert "reads the variable alteryx_drain_timeout" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("alteryx_window_open_within", "soon", "unable to convert to int"),
        ("alteryx_archive_compression", "Best", "must be one of: Optimal, Fastest, NoCompression, got: Best"),
        ("alteryx_window_stop_timeout", -1, "is -1; it must not be negative"),
        ("alteryx_window_force", "perhaps", "unable to convert to bool"),
        ("alteryx_configuration_recipients", {"a": 1}, "unable to convert to list"),
    ],
)
def test_a_value_that_no_role_takes_is_refused_before_the_first_role_uses_one(
    tmp_path: Path, name: str, value: t.Any, said: str
) -> None:
    result = asked(tmp_path, variables={name: value, "alteryx_window_drain_timeout": "60"})
    assert (result["reason"], result["exit_code"]) == ("invalid_variable", 3)
    assert name in result["message"]
    assert said in result["message"]
    assert "alteryx_window_drain_timeout" not in result["message"]


@pytest.mark.parametrize(
    ("value", "said"),
    [("soon", "unable to convert to int"), ("'{{ nowhere }}'", "cannot be evaluated: 'nowhere' is undefined")],
)
def test_a_value_of_another_host_is_refused_with_its_name(tmp_path: Path, value: str, said: str) -> None:
    result = asked(tmp_path, text=FLEETS.replace("node2: {}", f"node2: {{alteryx_window_stop_timeout: {value}}}"))
    assert (result["reason"], result["node"]) == ("invalid_variable", "node2")
    assert said in result["message"]


def test_a_template_of_another_host_is_evaluated_with_its_variables(tmp_path: Path) -> None:
    text = FLEETS.replace("node2: {}", "node2: {alteryx_window_stop_timeout: '{{ patience }}', patience: 60}")
    assert not asked(tmp_path, text=text).get("failed")


def test_what_the_specs_give_as_defaults_is_allowed(tmp_path: Path) -> None:
    public = _variables.read(ROOT / "roles").public
    given = {name: option["default"] for name, option in public.items() if "default" in option}
    assert len(given) > 40
    assert not asked(tmp_path, variables=given).get("failed")


@pytest.mark.parametrize("mode", ["full", "config"])
def test_secrets_without_a_recipient_are_refused(tmp_path: Path, mode: str) -> None:
    assert asked(tmp_path, mode=mode, secrets="encrypt")["reason"] == "no_recipient"


def test_database_mode_takes_no_secrets_and_needs_no_recipient(tmp_path: Path) -> None:
    assert asked(tmp_path, mode="database", secrets="encrypt")["request"]["recipients"] == []


def test_recipients_are_read_from_files_and_from_text(tmp_path: Path, operator: Path) -> None:
    request = asked(tmp_path, secrets="encrypt", recipients=[str(operator), operator.read_text()])["request"]
    one, other = request["recipients"]
    assert one == other
    assert one["pem"].startswith("-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize("name", ["absent.pem", "operator.key", "binary"])
def test_a_recipient_that_is_none_is_refused_by_name(tmp_path: Path, operator: Path, name: str) -> None:
    (operator.parent / "binary").write_bytes(b"\xff\xfe\x00")
    result = asked(tmp_path, secrets="encrypt", recipients=[str(operator.parent / name)])
    assert (result["reason"], result["exit_code"]) == ("recipient_invalid", 3)
    assert name in result["message"]


def test_an_expired_recipient_is_a_loud_warning_and_no_refusal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expired = certificates.write_operator(tmp_path, "expired", valid_from=-30, valid_days=29).certificate
    request = asked(tmp_path, secrets="encrypt", recipients=[str(expired)])["request"]
    assert "has expired" in request["recipients"][0]["warning"]
    assert "has expired" in " ".join("".join(capsys.readouterr()).split())


def test_a_value_that_is_refused_is_named_by_the_variable_it_comes_from(tmp_path: Path) -> None:
    result = asked(tmp_path, secrets="maybe", variables={"alteryx_configuration_secrets": "maybe"})
    assert (result["reason"], result["exit_code"]) == ("invalid_variable", 3)
    assert result["message"] == "value of alteryx_configuration_secrets must be one of: encrypt, skip, got: maybe"
    # An operator who calls the module in their own tasks knows the option.
    assert asked(tmp_path, secrets="maybe")["message"].startswith("module backup_request: value of secrets must be")


@pytest.mark.reaches("run_incomplete")
def test_a_run_that_would_skip_its_report_is_refused_before_it_begins(tmp_path: Path) -> None:
    result = asked(tmp_path, variables={"ansible_skip_tags": ["always"]})
    assert (result["reason"], result["exit_code"]) == ("run_incomplete", 1)
    assert "--skip-tags always leaves out the report" in result["message"]
    assert "request" in asked(tmp_path, variables={"ansible_skip_tags": ["mine"]})


def test_destinations_are_part_of_the_request_and_passwords_are_not(tmp_path: Path) -> None:
    accounts = {"nas": {"user": "svc", "password": "S3cret-of-the-share"}}
    wanted = [{"name": "nas", "path": "//nas1/ayx", "credential": "nas"}]
    result = asked(tmp_path, destinations=wanted, credentials=accounts)
    assert (result["request"]["copies"], result["request"]["destinations"][0]["path"]) == (True, r"\\nas1\ayx")
    assert "S3cret-of-the-share" not in str(result)
    assert asked(tmp_path)["request"]["copies"] is False


def test_the_archive_directory_as_its_own_copy_is_refused(tmp_path: Path) -> None:
    wanted = [{"name": "near", "path": r"d:\alteryxBACKUPS\copies"}]
    result = asked(tmp_path, destinations=wanted, archive_directory=r"D:\AlteryxBackups")
    assert (result["reason"], "archive directory" in result["message"]) == ("invalid_variable", True)
