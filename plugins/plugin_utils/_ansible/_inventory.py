# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data of Ansible's inventory: untemplated variables of other hosts, and the tree of groups."""

from __future__ import annotations

import typing as t

from .._core.reasons import StepFailed


def raw_variables(variables: t.Mapping[str, t.Any], host: str) -> t.Mapping[str, t.Any]:
    """The untemplated variables of a host, including registered results. hostvars[host] would template each value.

    Results of modules do not contain templates, and searching them in the results of 100 hosts takes longer than a
    backup.
    """
    return t.cast(t.Mapping[str, t.Any], variables["hostvars"].raw_get(host))


def direct_child_groups(variables: t.Mapping[str, t.Any], parent: str) -> dict[str, set[str]]:
    """Name -> hosts of the groups directly below a group of the inventory."""
    # No variable contains the tree of the inventory, but HostVars has it.
    inventory = variables["hostvars"]._inventory
    group = inventory.groups.get(parent)
    if group is None:
        return {}
    return {child.name: {host.name for host in child.get_hosts()} for child in group.child_groups}


def fleet_of(host: str, variables: t.Mapping[str, t.Any]) -> str:
    """The fleet of one host; "" if the host is in no fleet or in several."""
    found = [name for name, members in direct_child_groups(variables, "alteryx").items() if host in members]
    return found[0] if len(found) == 1 else ""


def find_fleet(hosts: t.Sequence[str], variables: t.Mapping[str, t.Any]) -> tuple[str, list[str]]:
    """Name and all members of the one fleet of these hosts, those that --limit leaves out included.

    Raises:
        StepFailed: several_fleets; the hosts are in no fleet, or in several.
    """
    fleets = {
        name: members for name, members in direct_child_groups(variables, "alteryx").items() if members & set(hosts)
    }
    if len(fleets) != 1:
        which = ", ".join(sorted(fleets)) or "no child group of alteryx"
        raise StepFailed("several_fleets", f"the hosts of this run belong to {which}")
    name, members = next(iter(fleets.items()))
    if stray := sorted(set(hosts) - members):
        raise StepFailed("several_fleets", f"{', '.join(stray)} do not belong to the fleet {name}")
    return name, sorted(members)
