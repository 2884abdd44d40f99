# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Critical files of a node by its roles: what to take and whether it must be there (Alteryx, "Critical Server Files and Settings to Backup")."""

from __future__ import annotations

import typing as t


def of_node(roles: t.Sequence[str], program_data: str, bin_folder: str) -> list[dict[str, t.Any]]:
    """The files and folders to take, as the option files of config_export wants them: id, source, archive_path, required."""
    data = f"{program_data}\\Alteryx"
    files = [
        _item("runtime_settings", f"{data}\\RuntimeSettings.xml", "configuration/RuntimeSettings.xml", required=True),
        # Keys of DCM and shared connections. A node that never used them may have none.
        _item("keys", f"{data}\\Keys", "configuration/Keys"),
        # 2020.1 moved the file; both places, because copying is cheaper than judging versions.
        _item("alteryx_config", f"{bin_folder}\\server\\config\\alteryx.config", "configuration/bin/server/config/alteryx.config"),
        _item("alteryx_config_old", f"{bin_folder}\\config\\alteryx.config", "configuration/bin/config/alteryx.config"),
    ]
    if "worker" in roles:
        files += [
            _item("system_alias", f"{data}\\Engine\\SystemAlias.xml", "configuration/Engine/SystemAlias.xml"),
            _item("system_connections", f"{data}\\Engine\\SystemConnections.xml", "configuration/Engine/SystemConnections.xml"),
        ]
    return files


def _item(identity: str, source: str, archive_path: str, required: bool = False) -> dict[str, t.Any]:
    return {"id": identity, "source": source, "archive_path": archive_path, "required": required}
