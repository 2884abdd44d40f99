# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _command


@pytest.mark.parametrize(
    ("asked", "inventories", "command"),
    [
        (
            "alteryx_ops.server_backup.restore",
            ["/etc/ansible/hosts"],
            "ansible-playbook alteryx_ops.server_backup.accept_restore -i /etc/ansible/hosts",
        ),
        ("playbooks/restore.yml", [], "ansible-playbook playbooks/accept_restore.yml"),
        ("restore.yml", ["node1,node2"], "ansible-playbook accept_restore.yml -i node1,node2"),
        ("", [], "ansible-playbook accept_restore.yml"),
        ("/my projects/restore.yml", [], "ansible-playbook '/my projects/accept_restore.yml'"),
    ],
)
def test_another_playbook_is_named_as_this_one_was(asked: str, inventories: list[str], command: str) -> None:
    assert _command.build_command("accept_restore", asked, inventories) == command


def test_an_inventory_below_the_working_directory_is_named_by_its_short_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = _command.build_command("recover", "restore.yml", [str(tmp_path / "inventory.yml")])
    assert command == "ansible-playbook recover.yml -i inventory.yml"
