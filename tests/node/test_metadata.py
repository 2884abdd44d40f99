# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written down of a machine: everything that is there, nothing that is secret, and whatever it is, no error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.lab import layout
from tests.node.engine import Engine

pytestmark = pytest.mark.wine


@pytest.fixture(scope="module")
def answer(engine: Engine) -> dict[str, Any]:
    target = engine.path(r"C:\inventory\NodeMetadata.psm1")
    target.parent.mkdir()
    shutil.copyfile(layout.ROOT / "plugins" / "module_utils" / "NodeMetadata.psm1", target)
    content: dict[str, Any] = json.loads(
        engine.run(Path(__file__).with_name("metadata.ps1").read_text(encoding="utf-8"))
    )
    return content


def test_a_machine_without_any_of_the_items_is_not_an_error(answer: dict[str, Any]) -> None:
    states = {name: item["state"] for name, item in answer["nothing"].items()}
    # WMI of the lab's engine does not know groups, and the folder bin is not there at all.
    absent = ("odbc_drivers", "odbc_data_sources", "connectors", "tls_bindings", "alteryx_config", "places")
    unreadable = ("ad_groups", "python_packages")
    assert states == dict.fromkeys(absent, "absent") | dict.fromkeys(unreadable, "unreadable")
    assert all(item["value"] is None and item["why"] for item in answer["nothing"].values())


def test_of_a_licence_key_only_the_end_is_told(answer: dict[str, Any]) -> None:
    assert answer["something"]["licence"] == {"state": "found", "value": "****9TX2", "why": ""}
    assert answer["short"]["value"] == "****"
    assert answer["none"]["state"] == "absent"


def test_of_a_data_source_no_value_is_told_that_may_hold_a_password(answer: dict[str, Any]) -> None:
    assert "Pa55word" not in json.dumps(answer)
    sources = {
        source["name"]: (source["server"], source["database"])
        for source in answer["something"]["odbc_data_sources"]["value"]
    }
    assert sources == {
        "Named": (r"db\instance", "Sales (old)"),
        "Text": ("db.example.test:1433", ""),
        "Empty": ("", ""),
    }


def test_a_driver_has_the_version_of_its_file_if_the_file_is_local(answer: dict[str, Any]) -> None:
    versions = {driver["name"]: driver["version"] for driver in answer["something"]["odbc_drivers"]["value"]}
    assert versions["There"].count(".") == 3
    assert versions["Share"] == ""


def test_bindings_of_addresses_and_host_names_are_told_even_if_half_of_one_is_odd(answer: dict[str, Any]) -> None:
    bindings = {
        binding["address"]: (binding["certificate"], binding["application_id"])
        for binding in answer["something"]["tls_bindings"]["value"]
    }
    assert bindings == {"0.0.0.0:444": ("", ""), "alteryx.example.test:443": ("01fe", "")}


def test_a_long_list_is_cut_and_says_so(answer: dict[str, Any]) -> None:
    connectors = answer["something"]["connectors"]
    assert (len(connectors["value"]), connectors["why"]) == (1000, "only the first 1000 of 1001 entries")
    assert {"name": "Tool1_v1_1", "version": "1.1"} in connectors["value"]


def test_a_list_of_one_stays_a_list(answer: dict[str, Any]) -> None:
    assert answer["something"]["python_packages"]["value"] == [
        {"name": "no_version", "version": "", "python": "Miniconda3"}
    ]


def test_a_share_counts_as_another_drive_and_is_not_accessed(answer: dict[str, Any]) -> None:
    places = {
        place["element"]: (place["other_drive"], place["exists"]) for place in answer["something"]["places"]["value"]
    }
    assert places == {"a": (True, True), "b": (True, None), "c": (False, None)}


def test_domain_groups_are_told_from_users_and_from_local_groups(answer: dict[str, Any]) -> None:
    groups = [(each["local_group"], each["domain_group"]) for each in answer["domain"]["value"]]
    assert groups == [("Administrators", r"EXAMPLE\Domain Admins"), ("People's", r"EXAMPLE\Domain Admins")]
    # Each question names one group: one about all of them would walk through the domain.
    assert len(answer["asked"]) == 2
    assert r"Win32_Group.Domain='NODE',Name='People\'s'" in answer["asked"][1]


def test_nothing_is_waited_for(answer: dict[str, Any]) -> None:
    # Measured 0.4 s with a thousand connectors; a share that is not there would take longer than this.
    assert answer["seconds"] < 15
