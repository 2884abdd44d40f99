# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A misspelled variable of our roles is found, and the name that was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _values, _variables
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed

ROLES = Path(_variables.__file__).resolve().parents[3] / "roles"
KNOWN = _variables.read(ROLES)


def test_every_role_and_its_public_variables_are_known() -> None:
    assert {"alteryx_preflight", "alteryx_window", "alteryx_configuration", "alteryx_archive", "alteryx_report"} <= set(
        KNOWN.roles
    )
    assert {
        "alteryx_preflight_mode",
        "alteryx_archive_directory",
        "alteryx_configuration_recipients",
        "alteryx_window_force",
    } <= KNOWN.public.keys()
    assert {"alteryx_preflight_plan", "alteryx_window_restore", "alteryx_archive_verified"} <= KNOWN.results


def test_public_variables_begin_with_the_name_of_a_role() -> None:
    assert [name for name in KNOWN.public if not name.startswith(tuple(f"{role}_" for role in KNOWN.roles))] == []


def test_what_exists_is_no_mistake() -> None:
    assert _variables.unknown([*KNOWN.public, *KNOWN.results], KNOWN) == []


def test_a_name_of_an_earlier_version_is_read_and_leads_to_a_warning() -> None:
    assert set(_variables.RENAMED.values()) <= KNOWN.public.keys()
    assert not _variables.RENAMED.keys() & KNOWN.public.keys()
    assert _variables.unknown(_variables.RENAMED, KNOWN) == []
    tasks = "".join(file.read_text(encoding="utf-8") for file in ROLES.glob("*/tasks/*.yml"))
    assert [old for old, new in _variables.RENAMED.items() if f"{new} or {old} |" not in tasks] == []
    (words,) = _values.variable_warnings([{"alteryx_archive_list_file": "x"}], ())
    assert "alteryx_archive_list_file has the new name alteryx_catalogue_list_file" in words


@pytest.mark.parametrize(
    "name",
    [
        "ansible_host",
        "alteryx_archiv_directory",
        "alteryx_archived",
        "alteryx",
        "__alteryx_window_node",
        "my_alteryx_window_x",
    ],
)
def test_names_of_others_are_left_alone(name: str) -> None:
    assert _variables.unknown([name], KNOWN) == []


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("alteryx_archive_directry", "alteryx_archive_directory"),
        ("alteryx_archive_dir", "alteryx_archive_directory"),
        ("alteryx_configuration_recipient", "alteryx_configuration_recipients"),
        ("alteryx_window_drain_time_out", "alteryx_window_drain_timeout"),
        ("alteryx_preflight_mod", "alteryx_preflight_mode"),
        ("alteryx_window_Force", "alteryx_window_force"),
    ],
)
def test_the_nearest_name_is_offered(wrong: str, meant: str) -> None:
    assert _variables.unknown([wrong], KNOWN) == [(wrong, meant)]


@given(st.sampled_from(sorted(KNOWN.public)), st.data())
def test_one_letter_too_few_leads_back_to_the_name(name: str, data: st.DataObject) -> None:
    role = max((role for role in KNOWN.roles if name.startswith(f"{role}_")), key=len)
    position = data.draw(st.integers(len(role) + 1, len(name) - 1))
    wrong = name[:position] + name[position + 1 :]
    # Where the letter tells two names apart, the other one is as near.
    as_near = [other for other in KNOWN.public if len(other) == len(name) and other[:position] == name[:position]]
    as_near = [other for other in as_near if other[position + 1 :] == name[position + 1 :]]
    ((found, nearest),) = _variables.unknown([wrong], KNOWN)
    assert found == wrong
    assert nearest in as_near


EXISTING = sorted(KNOWN.public.keys() | KNOWN.results)


@given(
    st.lists(
        st.one_of(
            st.text(), st.tuples(st.sampled_from(KNOWN.roles), st.text()).map("_".join), st.sampled_from(EXISTING)
        )
    )
)
def test_every_unknown_name_of_ours_is_reported_once_with_a_real_name(names: list[str]) -> None:
    answer = _variables.unknown(iter(names), KNOWN)
    assert [wrong for wrong, _unused in answer] == sorted(
        {name for name in names if any(name.startswith(f"{role}_") for role in KNOWN.roles)}
        - KNOWN.public.keys()
        - KNOWN.results
    )
    assert all(near in KNOWN.public for _unused, near in answer)


def test_specs_and_registered_results_are_read_from_the_files(tmp_path: Path) -> None:
    role = tmp_path / "alteryx_demo"
    (role / "meta").mkdir(parents=True)
    (role / "tasks").mkdir()
    (role / "meta" / "argument_specs.yml").write_text(
        "argument_specs:\n  main:\n    options:\n      alteryx_demo_one: {type: str}\n"
        "  other:\n    options:\n      alteryx_demo_two: {type: int}\n  bare: {}\n"
    )
    (role / "tasks" / "main.yml").write_text(
        "- name: x\n  debug:\n  register: alteryx_demo_result\n# register: alteryx_demo_not\n"
    )
    (tmp_path / "no_role").mkdir()
    known = _variables.read(tmp_path)
    public = {"alteryx_demo_one": {"type": "str"}, "alteryx_demo_two": {"type": "int"}}
    assert known == _variables.KnownVariables(("alteryx_demo",), public, frozenset({"alteryx_demo_result"}))
    assert _variables.unknown(["alteryx_demo_three", "alteryx_demo_not"], known)[0][0] == "alteryx_demo_not"


def test_without_any_public_name_nothing_is_offered() -> None:
    assert _variables.unknown(["r_x"], _variables.KnownVariables(("r",), {}, frozenset())) == [("r_x", "")]


def test_the_default_of_a_variable_comes_from_its_spec() -> None:
    assert KNOWN.public["alteryx_configuration_secrets"]["default"] == "encrypt"
    assert "default" not in KNOWN.public["alteryx_window_plan"]


def test_every_path_on_a_node_among_the_arguments_is_read() -> None:
    arguments = {
        "staging_directory": "D:/Staging",
        "folders": ["D:/a", "E:/b"],
        "archive_directory": None,
        "report_directory": "/srv/reports",
        "mongodb_connections": {"service": {"tls_ca_file": "D:/ca.pem", "user": "a/b"}, "web": None},
    }
    _values.read_node_paths(arguments)
    assert arguments == {
        "staging_directory": r"D:\Staging",
        "folders": [r"D:\a", r"E:\b"],
        "archive_directory": None,
        "report_directory": "/srv/reports",
        "mongodb_connections": {"service": {"tls_ca_file": r"D:\ca.pem", "user": "a/b"}, "web": None},
    }


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        ({"folder": "D:\backups"}, "alteryx_archive_directory"),
        ({"staging_directory": "D:\temp"}, "alteryx_preflight_staging_directory"),
        ({"folders": ["D:/a", "D:\new"]}, "folders"),
        ({"mongodb_connections": {"service": {"tls_ca_file": "D:\r"}}}, "alteryx_preflight_mongodb_connections"),
    ],
)
@pytest.mark.reaches("invalid_variable")
def test_a_path_that_came_with_a_control_character_is_refused_by_the_name_of_its_variable(
    arguments: dict[str, object], variable: str
) -> None:
    with pytest.raises(StepFailed, match=f"^{variable} contains a control character") as raised:
        _values.read_node_paths(arguments)
    assert raised.value.reason.name == "invalid_variable"
