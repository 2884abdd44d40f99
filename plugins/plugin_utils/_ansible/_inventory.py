# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible's inventory knows: variables of other hosts as they are, and the tree of groups."""

from __future__ import annotations

import typing as t


def raw_variables(variables: t.Mapping[str, t.Any], host: str) -> t.Mapping[str, t.Any]:
    """The variables of a host as they are, registered results among them.

    hostvars[host] would template what is read. Results of modules are no templates, and looking for some in those of
    100 hosts takes longer than a backup.
    """
    return t.cast(t.Mapping[str, t.Any], variables["hostvars"].raw_get(host))


def direct_child_groups(variables: t.Mapping[str, t.Any], parent: str) -> dict[str, set[str]]:
    """Name -> hosts of the groups directly below a group of the inventory."""
    # The inventory's tree is in no variable; HostVars carries it.
    inventory = variables["hostvars"]._inventory
    group = inventory.groups.get(parent)
    if group is None:
        return {}
    return {child.name: {host.name for host in child.get_hosts()} for child in group.child_groups}
