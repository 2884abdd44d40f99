# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May a folder of ours on a node be trusted? Judged by its security descriptor as SDDL text.

Users may create folders in ProgramData, and workers run users' code; so a folder of ours that somebody else could have prepared is refused by name.
SDDL: Microsoft, "Security Descriptor String Format" and "ACE Strings".
"""

from __future__ import annotations

import re
import typing as t

SYSTEM = {"SY", "S-1-5-18"}
ADMINISTRATORS = {"BA", "S-1-5-32-544"}
TRUSTED = SYSTEM | ADMINISTRATORS


def problem(facts: t.Mapping[str, t.Any]) -> str | None:
    """Why a folder is not to be trusted, or None.

    Args:
        facts: path, exists, sddl (owner and DACL), link (a part of the path that leads elsewhere, or "").
    """
    if facts["link"]:
        return f"{facts['link']} is a link to somewhere else"
    if not facts["exists"]:
        return None
    sddl = str(facts["sddl"])
    owner = re.match(r"O:(S-[0-9-]+|[A-Z]{2})", sddl)
    if owner is None or owner.group(1) not in TRUSTED:
        return f"{facts['path']} belongs to {owner.group(1) if owner else 'nobody'}, not to Administrators or SYSTEM"
    found = _access_problem(sddl)
    return f"{facts['path']} {found}" if found else None


def _access_problem(sddl: str) -> str:
    """What is wrong with the access list; "" when only Administrators and SYSTEM are granted anything."""
    dacl = re.search(r"D:([A-Z_]*)((?:\([^()]*\))*)(.*)", sddl, re.DOTALL)
    # Windows writes NO_ACCESS_CONTROL for a list that is absent although its place is there.
    if dacl is None or "NO_ACCESS_CONTROL" in dacl.group(1):
        return "has no access list, so everybody may write to it"
    if dacl.group(3):
        return f"has an access list that is not understood: {dacl.group(3)}"
    if "P" not in dacl.group(1):
        return "inherits access from the folder above it"
    for entry in re.findall(r"\(([^)]*)\)", dacl.group(2)):
        kind, flags, _rights, _object, _inherited, account = (entry.split(";") + [""] * 6)[:6]
        if "ID" in flags:
            return f"has an inherited entry for {account}"
        # Besides A there are kinds with conditions and objects that grant, too.
        if kind not in ("D", "OD", "XD") and account not in TRUSTED:
            return f"grants access to {account}"
    return ""
