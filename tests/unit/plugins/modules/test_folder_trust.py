# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a folder of ours obeys, by its security descriptor in exactly the forms Windows writes."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.checks import powershell, sources

SCRIPT = Path(__file__).with_name("judge_sddl.ps1")
MODULE = sources.ROOT / "plugins" / "module_utils" / "NodeTrust.psm1"
USER = "S-1-5-21-1004336348-1177238915-682003330-1001"
OURS = "O:BAG:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"


def judge(folder: Path, texts: list[str]) -> list[str]:
    """What the node's code says of each, in one process."""
    (folder / "sddl.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return t.cast(list[str], json.loads(powershell.run(SCRIPT, MODULE, folder / "sddl.txt")))


TRUSTED = [
    OURS,
    "O:BAG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
    "O:BAG:DUD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
    f"O:BAG:{USER}D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
    "O:SYG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
    "O:SYG:SYD:PAI(A;OICI;FA;;;BA)",
    "O:S-1-5-32-544G:S-1-5-18D:PAI(A;OICI;FA;;;S-1-5-18)(A;OICI;FA;;;S-1-5-32-544)",
    # The group plays no part on Windows, and may be absent.
    "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
    # An entry that denies access does not grant anything.
    "O:BAG:SYD:PAI(D;OICI;FA;;;WD)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)",
]


def test_a_folder_only_administrators_and_system_can_write_to_is_trusted(tmp_path: Path) -> None:
    assert dict(zip(TRUSTED, judge(tmp_path, TRUSTED), strict=True)) == dict.fromkeys(TRUSTED, "")


REFUSED = [
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
]


def test_a_folder_that_another_account_could_have_prepared_is_refused_with_the_account(tmp_path: Path) -> None:
    found = judge(tmp_path, [sddl for sddl, _unused in REFUSED])
    wrong = [(sddl, said, answer) for (sddl, said), answer in zip(REFUSED, found, strict=True) if said not in answer]
    assert wrong == []


ACCOUNTS = st.sampled_from(
    ["SY", "BA", "S-1-5-18", "S-1-5-32-544", "BU", "WD", "AU", "CO", "IU", "DU", "LA", "S-1-5-11", "S-1-1-0", USER]
)
FLAGS = st.lists(st.sampled_from(["OI", "CI", "NP", "IO", "ID"]), unique=True).map("".join)
ENTRIES = st.lists(
    st.tuples(st.sampled_from(["A", "D", "OA", "XA"]), FLAGS, st.sampled_from(["FA", "0x1200a9", "GA"]), ACCOUNTS),
    max_size=5,
)


DESCRIPTORS = st.tuples(
    ACCOUNTS, ACCOUNTS, st.sampled_from(["P", "PAI", "PAR", "PARAI", "AI", "AR", "ARAI", ""]), ENTRIES
)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(DESCRIPTORS, min_size=100, max_size=200))
def test_trust_needs_owner_protection_and_every_entry(
    tmp_path_factory: pytest.TempPathFactory, descriptors: list[tuple[str, str, str, list[tuple[str, str, str, str]]]]
) -> None:
    texts, good = [], []
    trusted = {"SY", "BA", "S-1-5-18", "S-1-5-32-544"}
    for owner, group, flags, entries in descriptors:
        listed = "".join(f"({kind};{inherit};{rights};;;{account})" for kind, inherit, rights, account in entries)
        texts.append(f"O:{owner}G:{group}D:{flags}{listed}")
        good.append(
            owner in trusted and flags.startswith("P")
            and all("ID" not in inherit and (kind == "D" or account in trusted)
                    for kind, inherit, _unused, account in entries)
        )  # fmt: skip
    found = judge(tmp_path_factory.mktemp("sddl"), texts)
    assert [(text, not answer) for text, answer in zip(texts, found, strict=True)] == list(
        zip(texts, good, strict=True)
    )
