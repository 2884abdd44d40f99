# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which settings are in force on a node, and what follows from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _runtime_settings as rs
from tests.unit.plugins import samples

NAMES = st.sampled_from(["ControllerEnabled", "GalleryEnabled", "WorkerEnabled", "MongoDBEnabled", "Other"])
SECTIONS = st.dictionaries(
    st.sampled_from(["Controller", "Environment", "Worker"]),
    st.dictionaries(NAMES, st.sampled_from(["True", "False", "true", " FALSE ", "", "x"])),
)
DEFAULTS = samples.sections(samples.DEFAULTS)

EXPECTED = [
    ("a", ("controller", "worker", "ui"), "embedded"),
    ("b", ("controller",), "embedded"),
    ("c", ("worker",), "unknown"),
    ("d", ("ui",), "unknown"),
    ("e", ("controller", "ui"), "mongodb"),
]


@pytest.mark.parametrize(("letter", "roles", "kind"), EXPECTED)
def test_roles_and_database_of_the_sample_settings(letter: str, roles: tuple[str, ...], kind: str) -> None:
    settings = rs.effective(samples.settings_named(letter), DEFAULTS)
    assert rs.roles(settings) == roles
    assert rs.database_kind(settings) == kind
    assert not settings.fallback_used


@pytest.mark.parametrize(("letter", "roles", "kind"), EXPECTED)
@pytest.mark.parametrize("defaults", [None, {}])
def test_without_the_defaults_file_the_answer_is_the_same_and_the_fallback_is_said(
    letter: str, roles: tuple[str, ...], kind: str, defaults: rs.Sections | None
) -> None:
    settings = rs.effective(samples.settings_named(letter), defaults)
    assert (rs.roles(settings), rs.database_kind(settings), settings.fallback_used) == (roles, kind, True)


@given(SECTIONS, SECTIONS)
def test_an_override_wins_then_the_defaults_file_then_what_is_known(
    overrides: rs.Sections, defaults: rs.Sections
) -> None:
    settings = rs.effective(overrides, defaults)
    for section in ("Controller", "Environment", "Worker"):
        for element in ("ControllerEnabled", "GalleryEnabled", "WorkerEnabled", "MongoDBEnabled", "Other"):
            layers = [
                layer[section][element]
                for layer in (overrides, defaults, rs.FALLBACK)
                if element in layer.get(section, {})
            ]
            assert settings.get(section, element) == (layers[0].strip() if layers else "")


@given(SECTIONS, SECTIONS)
def test_roles_are_always_in_the_order_of_the_sequence(overrides: rs.Sections, defaults: rs.Sections) -> None:
    roles = rs.roles(rs.effective(overrides, defaults))
    assert list(roles) == [role for role in ("controller", "worker", "ui") if role in roles]


@pytest.mark.parametrize(
    ("text", "on"),
    [("True", True), ("true", True), (" TRUE\n", True), ("False", False), ("", False), ("1", False), ("yes", False)],
)
def test_booleans_are_compared_without_case(text: str, on: bool) -> None:
    assert (
        rs.effective({"Controller": {"GalleryEnabled": text}}, DEFAULTS).enabled("Controller", "GalleryEnabled") is on
    )


@pytest.mark.parametrize(
    ("queue", "render", "works"), [("True", "False", True), ("False", "True", True), ("False", "False", False)]
)
def test_a_worker_that_takes_no_jobs_is_none(queue: str, render: str, works: bool) -> None:
    settings = rs.effective({"Worker": {"QueueWorkerEnabled": queue, "RenderWorkerEnabled": render}}, DEFAULTS)
    assert ("worker" in rs.roles(settings)) is works


def test_a_node_with_nothing_enabled_has_no_role() -> None:
    off = {"Controller": {"ControllerEnabled": "False"}, "Environment": {"WorkerEnabled": "False"}}
    assert rs.roles(rs.effective(off, DEFAULTS)) == ()


def test_the_sqlite_path_of_every_defaults_file_is_no_sql_server() -> None:
    assert rs.database_kind(rs.effective({}, DEFAULTS)) == "unknown"


def test_a_filled_sql_element_of_the_controller_is_sql_server() -> None:
    assert (
        rs.database_kind(rs.effective({"Controller": {"InventedSqlConnection": "Server=db"}}, DEFAULTS)) == "sqlserver"
    )


@pytest.mark.parametrize("emptied", ["", "  "])
def test_an_emptied_sql_element_is_no_sql_server_whatever_the_defaults_say(emptied: str) -> None:
    defaults = {"Controller": {"InventedSqlConnection": "Server=localhost"}}
    assert rs.database_kind(rs.effective({"Controller": {"InventedSqlConnection": emptied}}, defaults)) == "unknown"


def test_the_embedded_database_outranks_leftovers_of_sql_server_and_that_is_said() -> None:
    left = rs.effective(
        {"Controller": {"EmbeddedMongoDBEnabled": "True", "InventedSqlConnection": "Server=db"}}, DEFAULTS
    )
    assert rs.database_kind(left) == "embedded"
    assert rs.problems(left) == []
    (said,) = rs.warnings(left)
    assert "Controller/InventedSqlConnection" in said
    assert "Server=db" not in said


def test_both_switches_of_mongodb_are_a_contradiction_that_names_them() -> None:
    both = rs.effective({"Controller": {"EmbeddedMongoDBEnabled": "True", "MongoDBEnabled": "true"}}, DEFAULTS)
    assert rs.database_kind(both) == "contradictory"
    assert all(f"Controller/{element}" in rs.CONTRADICTION for element in ("EmbeddedMongoDBEnabled", "MongoDBEnabled"))


def test_what_a_defaults_file_says_of_sql_everywhere_is_no_sql_server() -> None:
    defaults = {"Controller": {"InventedSqlPort": "1433"}}
    assert rs.database_kind(rs.effective({}, defaults)) == "unknown"
    assert rs.database_kind(rs.effective({"Controller": {"InventedSqlEnabled": "False"}}, defaults)) == "unknown"


@pytest.mark.parametrize(("section", "element"), rs.SWITCHES)
@pytest.mark.parametrize("text", ["", "yes", "1", "Truee", "T rue", "-"])
def test_a_switch_that_is_neither_true_nor_false_is_named_and_not_guessed(
    section: str, element: str, text: str
) -> None:
    (problem,) = rs.problems(
        rs.effective({section: {element: text}}, {**DEFAULTS, section: {**DEFAULTS[section], element: "True"}})
    )[:1]
    assert f"{section}/{element}" in problem


def test_database_settings_of_a_worker_are_ignored() -> None:
    worker = rs.effective(
        {"Controller": {"ControllerEnabled": "False", "EmbeddedMongoDBEnabled": "yes", "MongoDBEnabled": ""}}, DEFAULTS
    )
    assert rs.problems(worker) == []


def test_a_switch_in_another_case_is_not_read_and_that_is_said() -> None:
    settings = rs.effective(
        {"Controller": {"embeddedMongoDBEnabled": "True"}, "environment": {"WorkerEnabled": "False"}}, DEFAULTS
    )
    assert (rs.database_kind(settings), rs.roles(settings)) == ("unknown", ("controller", "worker"))
    assert ["embeddedMongoDBEnabled" in said or "environment" in said for said in rs.warnings(settings)] == [True, True]


@pytest.mark.parametrize(
    ("letter", "address"),
    [("a", ""), ("b", ""), ("c", "ayx-ctl.example.test:80"), ("d", "ayx-ctl.example.test:80"), ("e", "")],
)
def test_where_a_node_looks_for_its_controller(letter: str, address: str) -> None:
    assert rs.controller_address(rs.effective(samples.settings_named(letter), None)) == address


def test_a_remote_controller_without_a_name_is_the_default() -> None:
    assert rs.controller_address(rs.effective({"Worker": {"UseLocalServer": "False"}}, None)) == "localhost"


SWITCH = st.sampled_from(["True", "False", "TRUE", "false", " True ", None, "yes", ""])


@given(st.tuples(*(SWITCH for _unused in rs.SWITCHES)), st.tuples(*(SWITCH for _unused in rs.SWITCHES)), st.booleans())
def test_any_pair_of_files_is_read_as_a_table_of_its_own_would(
    overrides: tuple[str | None, ...], defaults: tuple[str | None, ...], readable: bool
) -> None:
    """The rules a second time, as a truth table over the texts in force."""

    def layer(texts: tuple[str | None, ...]) -> rs.Sections:
        found: dict[str, dict[str, str]] = {}
        for (section, element), text in zip(rs.SWITCHES, texts, strict=True):
            if text is not None:
                found.setdefault(section, {})[element] = text
        return found

    settings = rs.effective(layer(overrides), layer(defaults) if readable else None)
    force: dict[str, str] = {}
    for (section, element), own, default in zip(rs.SWITCHES, overrides, defaults, strict=True):
        known = [
            text for text in (own, default if readable else None, rs.FALLBACK[section][element]) if text is not None
        ]
        force[element] = known[0].strip().lower()
    on = {element for element, text in force.items() if text == "true"}
    expected = [
        role
        for role, there in (
            ("controller", "ControllerEnabled" in on),
            ("worker", "WorkerEnabled" in on and bool({"QueueWorkerEnabled", "RenderWorkerEnabled"} & on)),
            ("ui", "GalleryEnabled" in on),
        )
        if there
    ]
    mongo = {"EmbeddedMongoDBEnabled", "MongoDBEnabled"} & on
    kind = (
        "contradictory"
        if len(mongo) == 2
        else {"EmbeddedMongoDBEnabled": "embedded", "MongoDBEnabled": "mongodb"}.get("".join(mongo), "unknown")
    )
    assert (list(rs.roles(settings)), rs.database_kind(settings)) == (expected, kind)
    judged = list(force)[: None if "controller" in expected else 6]
    unreadable = [element for element in judged if force[element] not in ("true", "false")]
    assert len(rs.problems(settings)) == len(unreadable)
    assert rs.controller_address(settings) == ("" if "UseLocalServer" in on else "localhost")
