# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction, Result
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._restore import _perform


class ActionModule(NodeAction):
    """Restores or rolls back database and configuration of a controller."""

    def perform(self, arguments: Result, variables: dict[str, t.Any]) -> Result:
        """See plugins/modules/database_restore.yml."""
        return _perform.perform(self, arguments, variables)
