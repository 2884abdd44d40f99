# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts that are recorded about a node besides its files: configuration/node.json
(docs/schemas/node-1.schema.json), for a person who rebuilds the node on another host.

Every item has a value or says that it is absent. Items from settings and facts are made here. Items that only the node
knows are made there (module_utils/NodeMetadata.psm1), in the same form. No item contains a secret.
"""

from __future__ import annotations

import re
import typing as t

from .._fleet import _runtime_settings
from .._fleet._node_facts import NodeFacts
from . import _critical_files

SCHEMA = 1
ARCHIVE_PATH = "configuration/node.json"

Item = dict[str, t.Any]
"""state (found, absent, unreadable), value (None unless found), why."""

# Elements that name a folder or a file, any of which may be on another drive.
_PLACES = (
    ("Environment", "WorkingPath"),
    ("Controller", "EmbeddedMongoDBRootPath"),
    ("Controller", "EmbeddedMongoDBLogPath"),
    ("Controller", "LoggingPath"),
    ("Controller", "WebInterfaceStagingPath"),
    ("Gallery", "LoggingPath"),
    ("Gallery", "WorkingPath"),
    ("Worker", "StagingPath"),
    ("Engine", "LogFilePath"),
    ("Engine", "PackageStagingPath"),
    ("Engine", "DefaultTempFilePath"),
)
_REGISTRY_VALUE = re.compile(r"HKLM:?\\(.+)\\([^\\]+)", re.IGNORECASE)
_NO_LICENCE = "not exported: Alteryx does not document where the key is stored; set alteryx_configuration_licence_value"


def to_collect(node: str, run_id: str, facts: NodeFacts, database_kind: str, licence_value: str) -> dict[str, t.Any]:
    """The data that the node needs to write node.json: the head of the file, the items that are known already, and the
    places of the others.

    Args:
        node: inventory_hostname.
        run_id: of the run.
        facts: of the node.
        database_kind: from the plan, "" if the node has no database.
        licence_value: the registry value with the licence key, HKLM\\KEY\\NAME; "" for none.
    """
    settings, roles = facts.settings, facts.roles
    program_data, bin_folder = facts.system.program_data, facts.alteryx.bin_folder
    items: dict[str, Item] = {
        "version": _text(facts.alteryx.version, "the registry names none"),
        "roles": found(list(roles)),
        "persistence": _text(database_kind, "only a controller keeps a database"),
        **_noted(roles, settings, facts.service.account),
    }
    licence = _REGISTRY_VALUE.fullmatch(licence_value)
    if licence is None:
        items["licence"] = absent(
            f"{licence_value} is not a registry value of the form HKLM\\KEY\\NAME" if licence_value else _NO_LICENCE
        )
    return {
        "archive_path": ARCHIVE_PATH,
        "head": {"schema": SCHEMA, "run_id": run_id, "node": node, "computer": facts.system.computer},
        "items": items,
        "bin_folder": bin_folder,
        "tools_folder": f"{_critical_files.data_folder(program_data)}\\Tools",
        "config_files": _critical_files.service_configuration(bin_folder),
        "places": [_place(name, path) for name, path in _places(settings, program_data, bin_folder)],
        "licence": {"key": licence[1], "name": licence[2]} if licence else {},
    }


def found(value: t.Any) -> Item:
    """An item with a value."""
    return {"state": "found", "value": value, "why": ""}


def absent(why: str) -> Item:
    """An item that is absent on this node."""
    return {"state": "absent", "value": None, "why": why}


def _text(value: str, why: str) -> Item:
    return found(value) if value else absent(why)


def _noted(roles: t.Sequence[str], settings: _runtime_settings.EffectiveSettings, account: str) -> dict[str, Item]:
    """The settings that a person must type again: an item for each, for all roles."""
    noted = _critical_files.to_note(roles, settings, account)
    items = {identity: _text(value, "it is not set") for identity, value in noted.items()}
    others = {
        identity: absent(f"only a node with the role {role} has it")
        for identity, role in _critical_files.NOTED.items()
        if identity not in noted
    }
    return items | others


def _places(settings: _runtime_settings.EffectiveSettings, program_data: str, bin_folder: str) -> list[tuple[str, str]]:
    named = [(f"{section}/{element}", settings.get(section, element)) for section, element in _PLACES]
    return [
        (name, path) for name, path in [("installation", bin_folder), ("program data", program_data), *named] if path
    ]


def _place(element: str, path: str) -> dict[str, str]:
    """drive is a letter with its colon, two backslashes for a share, "" for a path that is relative to an unknown
    folder."""
    drive = re.match(r"[A-Za-z]:(?=\\|$)|\\\\", path)
    return {"element": element, "path": path, "drive": drive[0].upper() if drive else ""}
