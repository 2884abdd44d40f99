# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of Ansible's own documentation that the pages of modules link to, as an inventory of Sphinx, so that the site
can be built without asking for theirs."""

from __future__ import annotations

import zlib
from pathlib import Path

ADDRESS = "https://docs.ansible.com/projects/ansible/latest/"
_LABELS = {
    "action_plugins": ("plugins/action.html#action-plugins", "Action plugins"),
    "ansible_configuration_settings": (
        "reference_appendices/config.html#ansible-configuration-settings",
        "Ansible Configuration Settings",
    ),
    "callback_plugins": ("plugins/callback.html#callback-plugins", "Callback plugins"),
    "common_return_values": ("reference_appendices/common_return_values.html#common-return-values", "Return Values"),
}
_HEAD = """# Sphinx inventory version 2
# Project: Ansible
# Version: latest
# The remainder of this file is compressed using zlib.
"""


def write_inventory(file: Path) -> None:
    """Write the inventory that conf.py names."""
    lines = "".join(f"{label} std:label -1 {where} {title}\n" for label, (where, title) in _LABELS.items())
    file.write_bytes(_HEAD.encode() + zlib.compress(lines.encode()))
