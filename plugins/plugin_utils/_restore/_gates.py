# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reasons to refuse a restore, as far as they are known before the server is changed.

A restore is usually needed for a broken server, so facts that cannot be read are not a reason to refuse.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from .._core.reasons import StepFailed
from .._database import _persistence
from .._fleet._node_facts import NodeFacts
from ._space import Need, find_shortages

EMBEDDED = "embedded"
"""The kind of database that this version can restore."""

_KINDS = {"mongodb": "a self-managed MongoDB", "sqlserver": "an SQL Server", EMBEDDED: "the embedded MongoDB"}


@dataclass(frozen=True)
class SavedNode:
    """The facts about its node that a backup contains; "" for those that it does not contain."""

    computer: str = ""
    alteryx_version: str = ""
    database_kind: str = ""
    data_folder: str = ""
    holds_database: bool = False
    machine_id: str = ""


@dataclass(frozen=True)
class NodeNow:
    """The facts about the node now; "" for unknown ones.

    Attributes:
        data_folder: of the embedded MongoDB.
        rename_problem: why that folder cannot be renamed, a sentence without its subject.
        settings_problem: why RuntimeSettings.xml of the node says nothing, with its path.
        machine_id: another one after Windows was installed anew.
    """

    computer: str = ""
    alteryx_version: str = ""
    database_kind: str = ""
    data_folder: str = ""
    settings_problem: str = ""
    rename_problem: str = ""
    machine_id: str = ""


@dataclass(frozen=True)
class Options:
    """The operator's options, and the figures of the plan.

    Attributes:
        restores_database: does the scope include the database?
        restores_files: does the scope include the files?
        force_version: another version of Alteryx Server is not a reason to refuse.
        reserve: bytes that must stay free on each volume.
        needs: host -> the space needed on its volumes.
    """

    restores_database: bool = True
    restores_files: bool = True
    force_version: bool = False
    reserve: int = 0
    needs: t.Mapping[str, t.Sequence[Need]] = field(default_factory=dict)


def read_saved(backup: t.Mapping[str, t.Any]) -> SavedNode:
    """Reads the facts that a backup contains about its node.

    Args:
        backup: an entry of a catalogue, or the result of backup_extract.
    """
    database = backup.get("database") or {}
    return SavedNode(
        computer=str(backup.get("computer", "")),
        alteryx_version=str(backup.get("alteryx_version", "")),
        database_kind=str(database.get("kind") or backup.get("database_kind", "")),
        data_folder=str(database.get("data_folder") or backup.get("data_folder", "")),
        holds_database=bool(database or backup.get("dumped")),
        machine_id=str(backup.get("machine_id", "")),
    )


def read_now(facts: NodeFacts) -> NodeNow:
    """Reads the facts about a node."""
    kind = ""
    if facts.readable_settings is not None and "controller" in facts.roles:
        try:
            kind = _persistence.resolve_kind(facts.readable_settings, "")[0]
        except StepFailed:
            # Settings that contradict each other are not used.
            kind = ""
    return NodeNow(
        computer=facts.system.computer,
        alteryx_version=facts.alteryx.version,
        database_kind=kind if kind in _KINDS else "",
        data_folder=facts.database.folder,
        settings_problem=_find_settings_problem(facts),
        rename_problem=facts.database.rename_problem,
        machine_id=facts.system.machine_id,
    )


def _find_settings_problem(facts: NodeFacts) -> str:
    try:
        _unused = facts.settings
    except StepFailed as failure:
        return failure.message
    file = facts.settings_files.overrides
    return "" if any(file.sections.values()) else f"{file.path} has no settings"


def find_refusals(
    saved: t.Mapping[str, SavedNode], now: t.Mapping[str, NodeNow], options: Options
) -> list[tuple[str, str]]:
    """Everything that refuses a restore: reason and message, node by node.

    Args:
        saved: host -> facts in its backup, for the nodes to restore.
        now: host -> present facts.
        options: of the plan.
    """
    found: list[tuple[str, str]] = []
    for host, before in saved.items():
        after = now.get(host, NodeNow())
        failures = [
            _find_other_host(before, after),
            None if options.force_version else _find_version(before, after),
            _find_kind(before, after) if options.restores_database else None,
            _find_folder(before, after) if options.restores_database else None,
            *(StepFailed("space_short", text) for text in find_shortages(options.needs.get(host, ()), options.reserve)),
        ]
        found += [(failure.reason.name, f"{host}: {failure.message}") for failure in failures if failure]
    return found


def find_warnings(saved: t.Mapping[str, SavedNode], now: t.Mapping[str, NodeNow], options: Options) -> list[str]:
    """Warnings for the operator about a restore that is not refused, node by node; arguments as of find_refusals."""
    found = []
    for host, before in saved.items():
        after = now.get(host, NodeNow())
        texts = [
            _version_warning(before, after, options.force_version),
            _machine_warning(before, after, options),
            _settings_warning(after, options),
        ]
        folder = after.data_folder or before.data_folder
        if options.restores_database and before.holds_database and needs_sibling(folder):
            texts.append(
                f"the data folder {folder} has a blank or a comma, which emongorestore does not take, so the database "
                "is restored into a folder beside it, which is then renamed"
            )
        found += [f"{host}: {text}" for text in texts if text]
    return found


def _machine_warning(before: SavedNode, after: NodeNow, options: Options) -> str:
    # Not a refusal: Windows can get a new identifier in other ways, and a restore can be rolled back.
    known = before.machine_id and after.machine_id
    if not known or before.machine_id == after.machine_id or not options.restores_files:
        return ""
    return (
        "the backup is of another Windows installation (MachineGuid). RuntimeSettings.xml holds values that were "
        "encrypted there, so Alteryx Server may not start with the restored file: see docs/runbooks/lost_node.md"
    )


def _settings_warning(after: NodeNow, options: Options) -> str:
    if not after.settings_problem:
        return ""
    if options.restores_files:
        return f"{after.settings_problem}; the restore replaces it with the file of the backup"
    return (
        f"{after.settings_problem}; a restore of the database alone does not replace it, so the service may not start. "
        "To replace it, set alteryx_restore_scope=full"
    )


def needs_sibling(folder: str) -> bool:
    """Must the database be restored into another folder first? emongorestore takes SOURCE,TARGET as one argument."""
    return re.search(r"[\s,]", folder) is not None


def _find_folder(before: SavedNode, after: NodeNow) -> StepFailed | None:
    if not before.holds_database or not after.rename_problem:
        return None
    return StepFailed("restore_folder_fixed", f"the data folder {after.data_folder} {after.rename_problem}")


def _find_other_host(before: SavedNode, after: NodeNow) -> StepFailed | None:
    # Names of computers are not case-sensitive.
    if not before.computer or not after.computer or before.computer.casefold() == after.computer.casefold():
        return None
    return StepFailed(
        "restore_other_host",
        f"the backup is of the computer {before.computer}, this is {after.computer}; "
        "this version restores on the same computer only",
    )


def _find_version(before: SavedNode, after: NodeNow) -> StepFailed | None:
    if not before.alteryx_version or not after.alteryx_version:
        return None
    if _release(before.alteryx_version) == _release(after.alteryx_version):
        return None
    return StepFailed(
        "restore_version",
        f"the backup is of Alteryx Server {before.alteryx_version}, {after.alteryx_version} is installed",
    )


def _version_warning(before: SavedNode, after: NodeNow, force_version: bool) -> str:
    if before.alteryx_version == after.alteryx_version and before.alteryx_version:
        return ""
    if not before.alteryx_version or not after.alteryx_version:
        return (
            f"the versions of Alteryx Server cannot be compared: backup {before.alteryx_version or 'not known'}, "
            f"node {after.alteryx_version or 'not known'}"
        )
    text = f"the backup is of Alteryx Server {before.alteryx_version}, {after.alteryx_version} is installed"
    if not _find_version(before, after):
        return f"{text}: another patch of the same release"
    return f"{text}, and the operator forces the restore" if force_version else ""


def _release(version: str) -> tuple[str, ...]:
    """Major and minor number."""
    return tuple(version.split(".")[:2])


def _find_kind(before: SavedNode, after: NodeNow) -> StepFailed | None:
    if not before.holds_database:
        return None
    for kind, whose in ((before.database_kind, "the backup holds"), (after.database_kind, "the node uses")):
        if kind and kind != EMBEDDED:
            return StepFailed(
                "restore_database_kind",
                f"{whose} {_KINDS.get(kind, kind)}; this version restores the embedded MongoDB only, "
                "a later version is to restore the others",
            )
    return None
