# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugins run as ansible-core runs them, but for the transport: the node is a function, and
time is what it says."""

from __future__ import annotations

import typing as t
from pathlib import Path
from types import SimpleNamespace

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._action import NodeAction
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible._collection import NAME as COLLECTION

Node = t.Callable[[dict[str, t.Any]], dict[str, t.Any]]


def no_node(arguments: dict[str, t.Any]) -> dict[str, t.Any]:
    """For what must not touch a node."""
    raise AssertionError(f"the node was called: {arguments}")


def run(
    plugin: type[NodeAction],
    arguments: t.Mapping[str, t.Any],
    node: Node = no_node,
    variables: t.Mapping[str, t.Any] | None = None,
    check_mode: bool = False,
) -> dict[str, t.Any]:
    """The result of one task."""
    name = plugin.__module__.rpartition(".")[2]

    class OnNode(plugin):  # type: ignore[misc, valid-type]
        def _execute_module(
            self, module_name: str, module_args: dict[str, t.Any], task_vars: dict[str, t.Any]
        ) -> dict[str, t.Any]:
            assert module_name == f"{COLLECTION}.{name}"
            return node(module_args)

    task = SimpleNamespace(
        action=f"{COLLECTION}.{name}", args=dict(arguments), check_mode=check_mode, async_val=0, environment=None
    )
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/nowhere"))
    action = OnNode(task, connection, play_context=None, loader=None, templar=None, shared_loader_obj=None)
    return t.cast(dict[str, t.Any], action.run(task_vars={"inventory_hostname": "node1", **(variables or {})}))


class HostVariables(dict[str, dict[str, t.Any]]):
    """What Ansible calls hostvars, of hosts whose variables hold no templates."""

    raw_get = dict.__getitem__
    _inventory: t.Any = None


class Time:
    """Replaces the module time: a clock that moves only in sleep."""

    def __init__(self) -> None:
        self.now = 5000.0

    def monotonic(self) -> float:
        """As in time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """As in time, but without waiting."""
        self.now += seconds


def inventory(folder: Path, text: str) -> dict[str, t.Any]:
    """The variables of a play over all hosts of an inventory, as ansible-core makes them."""
    file = folder / "inventory.yml"
    file.write_text(text, encoding="utf-8")
    loader = DataLoader()
    manager = InventoryManager(loader=loader, sources=[str(file)])
    hostvars = HostVars(manager, VariableManager(loader=loader, inventory=manager), loader)
    return {"hostvars": hostvars, "ansible_play_hosts_all": sorted(host.name for host in manager.get_hosts())}
