# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Critical files of a node by its roles: the files to back up, whether each is required, and the facts that can only be
recorded.

Source: Alteryx, "Critical Server Files and Settings to Backup", "Server Host Recovery Guide". The UI has no file of its
own. Aliases of single users and the folder of connector tools are not backed up: aliases are private, and connector
tools are installed again.
"""

from __future__ import annotations

import typing as t

from .._fleet._runtime_settings import EffectiveSettings

_SEPARATOR = "\\"

# Settings that a person must type again on a new host: id -> role that has them, elements. Their passwords are
# encrypted and bound to the machine.
_NOTES: t.Mapping[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "run_as_user": ("worker", (("Worker", "ExecuteDomain"), ("Worker", "ExecuteUserName"))),
    "smtp_server": ("ui", (("Gallery", "SmtpServerName"),)),
    "smtp_user": ("ui", (("Gallery", "SmtpUserName"),)),
    "authentication": ("ui", (("Gallery", "AuthenticationType"),)),
    "base_address": ("ui", (("Gallery", "BaseAddress"),)),
}
NOTED: t.Mapping[str, str] = {identity: role for identity, (role, _unused) in _NOTES.items()}
"""The items of to_note by role: id -> role."""

ARCHIVE_PATHS: t.Mapping[str, str] = {
    "runtime_settings": "RuntimeSettings.xml",
    "keys": "Keys",
    "alteryx_config": "bin/server/config/alteryx.config",
    "alteryx_config_old": "bin/config/alteryx.config",
    "system_alias": "Engine/SystemAlias.xml",
    "system_connections": "Engine/SystemConnections.xml",
}
"""id -> path below the folder configuration of an archive. A restore finds the files of older archives by it, too, so a
path that was published stays as it is."""

WITH_PERMISSIONS = frozenset({"keys"})
"""ids of folders whose permissions are recorded in a file beside the folder. A restore of keys also needs the
permissions of the keys."""

PERMISSIONS_ENDING = ".sddl"
"""The ending of the name of that file (config_export)."""


def of_node(roles: t.Sequence[str], program_data: str, bin_folder: str) -> list[dict[str, t.Any]]:
    """The files and folders to back up, in the form of the option files of config_export: id, source, archive_path,
    required, permissions."""
    data = data_folder(program_data)
    config, config_old = service_configuration(bin_folder)
    files = [
        _item("runtime_settings", f"{data}\\RuntimeSettings.xml", required=True),
        # Keys of DCM and shared connections. A node that never used them may have none.
        _item("keys", f"{data}\\Keys"),
        _item("alteryx_config", config),
        _item("alteryx_config_old", config_old),
    ]
    if "worker" in roles:
        files += [
            _item("system_alias", f"{data}\\Engine\\SystemAlias.xml"),
            _item("system_connections", f"{data}\\Engine\\SystemConnections.xml"),
        ]
    return files


def data_folder(program_data: str) -> str:
    """The data folder of Alteryx, below the node's own ProgramData, which may be on any drive."""
    return f"{program_data.rstrip(_SEPARATOR)}\\Alteryx"


def service_configuration(bin_folder: str) -> list[str]:
    """Where alteryx.config may be. Version 2020.1 moved it from the second place to the first. Both are copied, because
    that is simpler than comparing versions."""
    return [f"{bin_folder.rstrip(_SEPARATOR)}\\{folder}\\alteryx.config" for folder in ("server\\config", "config")]


def to_note(roles: t.Sequence[str], settings: EffectiveSettings, service_account: str) -> dict[str, str]:
    """Values that a person needs for a restore on another host, by id; "" if absent on this node. None of them is a
    secret."""
    found = {"service_account": service_account}
    for identity, (role, elements) in _NOTES.items():
        if role in roles:
            found[identity] = _SEPARATOR.join(
                text for section, element in elements if (text := settings.get(section, element))
            )
    return found


def _item(identity: str, source: str, required: bool = False) -> dict[str, t.Any]:
    return {
        "id": identity,
        "source": source,
        "archive_path": f"configuration/{ARCHIVE_PATHS[identity]}",
        "required": required,
        "permissions": identity in WITH_PERMISSIONS,
    }
