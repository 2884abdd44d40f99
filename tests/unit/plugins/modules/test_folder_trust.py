# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a folder of ours obeys, by its security descriptor in exactly the forms Windows writes."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _folder_trust
from tests.unit.plugins import samples

FOLDER = r"C:\ProgramData\AlteryxOps"
USER = "S-1-5-21-1004336348-1177238915-682003330-1001"


def problem(sddl: str, **changes: t.Any) -> str | None:
    return _folder_trust.problem(samples.trust(FOLDER, sddl=sddl, **changes))


@pytest.mark.parametrize(
    "sddl",
    [
        samples.OURS,
        "O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
        "O:BAG:DUD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
        f"O:BAG:{USER}D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
        "O:SYG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
        "O:SYG:SYD:PAI(A;OICI;FA;;;BA)",
        "O:S-1-5-32-544G:S-1-5-18D:PAI(A;OICI;FA;;;S-1-5-18)(A;OICI;FA;;;S-1-5-32-544)",
        # The group plays no part on Windows, and may be absent.
        "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
        # To be denied something gives nobody anything.
        "O:BAG:SYD:PAI(D;OICI;FA;;;WD)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
    ],
)
def test_a_folder_only_administrators_and_system_can_write_to_is_trusted(sddl: str) -> None:
    assert problem(sddl) is None


@pytest.mark.parametrize(
    ("sddl", "said"),
    [
        (f"O:{USER}G:DUD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", f"belongs to {USER}"),
        ("O:BUG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", "belongs to BU"),
        ("O:S-1-5-32-5445G:SYD:PAI(A;OICI;FA;;;SY)", "belongs to S-1-5-32-5445"),
        ("G:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", "belongs to nobody"),
        ("", "belongs to nobody"),
        # Inherited entries: the folder above decides, and in ProgramData users may create.
        ("O:BAG:SYD:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)", "inherits"),
        ("O:BAG:SYD:(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", "inherits"),
        ("O:BAG:SYD:AI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)", "inherits"),
        ("O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICIID;FA;;;BA)", "inherited entry for BA"),
        ("O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)", "grants access to BU"),
        (f"O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;{USER})", f"grants access to {USER}"),
        ("O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICIIO;GA;;;CO)", "grants access to CO"),
        ("O:BAG:SYD:PAI(A;;FA;;;WD)", "grants access to WD"),
        ("O:BAG:SYD:PAI(OA;OICI;FA;;;WD)(A;OICI;FA;;;SY)", "grants access to WD"),
        ("O:BAG:SYD:PAI(XA;OICI;FA;;;WD)(A;OICI;FA;;;SY)", "grants access to WD"),
        # A condition has brackets of its own; nothing behind it may be overlooked.
        ("O:BAG:SYD:PAI(XA;;FA;;;SY;(@User.Project Any_of {1}))(A;OICI;FA;;;WD)", "not understood"),
        ("O:BAG:SYD:PAI(A;OICI;FA)", "grants access to "),
        ("O:BAG:SY", "no access list"),
        ("O:BAG:SYD:NO_ACCESS_CONTROL", "no access list"),
        ("O:BAG:SYD:PNO_ACCESS_CONTROL", "no access list"),
        ("O:BAG:SYD:PAINO_ACCESS_CONTROL", "no access list"),
    ],
)
def test_a_folder_somebody_else_could_have_prepared_is_refused_by_name(sddl: str, said: str) -> None:
    found = problem(sddl)
    assert found is not None
    assert said in found
    assert FOLDER in found


def test_a_link_in_the_path_is_refused_even_where_nothing_is_yet() -> None:
    for exists in (True, False):
        found = problem(samples.OURS, link=r"C:\ProgramData", exists=exists)
        assert found == r"C:\ProgramData is a link to somewhere else"


def test_a_folder_that_is_not_there_yet_is_no_problem() -> None:
    assert problem("", exists=False) is None


ACCOUNTS = st.sampled_from(["SY", "BA", "S-1-5-18", "S-1-5-32-544", "BU", "WD", "AU", "CO", "IU", "DU", "LA", "S-1-5-11", "S-1-1-0", USER])
FLAGS = st.lists(st.sampled_from(["OI", "CI", "NP", "IO", "ID"]), unique=True).map("".join)
ENTRIES = st.lists(st.tuples(st.sampled_from(["A", "D", "OA", "XA"]), FLAGS, st.sampled_from(["FA", "0x1200a9", "GA"]), ACCOUNTS), max_size=5)


@given(ACCOUNTS, ACCOUNTS, st.sampled_from(["P", "PAI", "PAR", "PARAI", "AI", "AR", "ARAI", ""]), ENTRIES)
def test_trust_needs_owner_protection_and_every_entry(owner: str, group: str, flags: str, entries: list[tuple[str, str, str, str]]) -> None:
    sddl = f"O:{owner}G:{group}D:{flags}" + "".join(f"({kind};{inherit};{rights};;;{account})" for kind, inherit, rights, account in entries)
    trusted = {"SY", "BA", "S-1-5-18", "S-1-5-32-544"}
    good = (
        owner in trusted and flags.startswith("P")
        and all("ID" not in inherit and (kind == "D" or account in trusted) for kind, inherit, _, account in entries)
    )  # fmt: skip
    assert (problem(sddl) is None) is good
