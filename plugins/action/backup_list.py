# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _catalogue
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._action import NodeAction, Result, _display, raw_variables, utc_text
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._outcome import StepFailed


class ActionModule(NodeAction):
    """Prints what backup_info has found on every node of the play; writes it as JSON when asked."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/backup_list.yml."""
        hosts = list(variables["ansible_play_hosts_all"])
        listed = _catalogue.listing({host: raw_variables(variables, host).get(arguments["catalogues"]) or {} for host in hosts}, utc_text())
        _display.display(_catalogue.listing_text(listed))
        return {"changed": self._write(arguments["file"], listed), "listing": listed}

    def _write(self, name: str, listed: dict[str, t.Any]) -> bool:
        if not name:
            return False
        file = Path(name).expanduser()
        if not self.check_mode:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                draft = file.with_name(f".{file.name}.new")
                draft.write_text(json.dumps(listed, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
                draft.replace(file)
            except OSError as error:
                raise StepFailed("report_failed", f"the list cannot be written to {file}: {error}") from error
        _display.display(f"\nlist     {file}")
        return True
