# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer of node_info on a node, read and checked once. Every field is checked for its type.

The fields are those of plugins/modules/node_info.yml that decisions need.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from .._core.reasons import StepFailed
from . import _runtime_settings
from ._runtime_settings import EffectiveSettings, Sections


@dataclass(frozen=True)
class System:
    """The machine, and the account of the connection. machine_id: another one after Windows was installed anew."""

    computer: str
    program_data: str
    user: str
    is_administrator: bool
    fqdn: str = ""
    machine_id: str = ""


@dataclass(frozen=True)
class Alteryx:
    """The installation."""

    bin_folder: str
    executable: str
    executable_exists: bool
    version: str


@dataclass(frozen=True)
class Service:
    """The Windows service. dependants: services that need it and run."""

    exists: bool
    name: str
    state: str
    start_type: str
    account: str
    dependants: tuple[str, ...]


@dataclass(frozen=True)
class SettingsFile:
    """One of the two settings files. error: why it could not be read."""

    path: str
    exists: bool
    error: str
    sections: Sections


@dataclass(frozen=True)
class SettingsFiles:
    """RuntimeSettings.xml of the node, and that of the installation with the defaults."""

    overrides: SettingsFile
    defaults: SettingsFile


@dataclass(frozen=True)
class Database:
    """The folder of the embedded MongoDB. skipped: what was not counted, some of skipped_count, in words.
    rename_problem: why a restore cannot exchange the folder by renaming it, as a sentence without its subject."""

    folder: str
    exists: bool
    bytes: int
    skipped: tuple[str, ...]
    skipped_count: int
    rename_problem: str


@dataclass(frozen=True)
class Mongodump:
    """The tool. version: as the tool reports it. problem: why there is no usable tool."""

    path: str
    version: str
    problem: str


@dataclass(frozen=True)
class Folder:
    """A requested folder. free_bytes: negative if Windows does not report it. link: the part of the path that is a
    junction, a link or a mounted volume, or empty."""

    path: str
    absolute: bool
    drive_exists: bool
    is_file: bool
    free_bytes: int
    volume: str
    link: str


@dataclass(frozen=True)
class Lease:
    """The lease of a run that was not released. deadline: UTC text."""

    run_id: str
    prior_state: str
    deadline: str


@dataclass(frozen=True)
class Lock:
    """The lock of a run.

    age: seconds since its last heartbeat. stale_in: seconds until it is stale without another heartbeat; stale_at: the
    same as text, "" if it is not known.
    """

    run_id: str
    holder: str
    started: str
    age: float
    fresh: bool
    stale_in: float
    stale_at: str


@dataclass(frozen=True)
class Trust:
    """Why a folder of this collection cannot be trusted: a link in its path, or an account that may write there; "" for
    neither."""

    path: str
    link: str
    access: str


@dataclass(frozen=True)
class Health:
    """The answer of the web address of the controller: the status as text, or why there was no answer. url: "" for
    none."""

    url: str
    answer: str


@dataclass(frozen=True)
class NodeFacts:
    """All facts of a node."""

    system: System
    alteryx: Alteryx
    service: Service
    settings_files: SettingsFiles
    database: Database
    mongodump: Mongodump
    folders: tuple[Folder, ...]
    lease: Lease | None
    lock: Lock | None
    hold: bool
    schedules_left: str
    cluster_resource: str
    reboot_pending: tuple[str, ...]
    recorded_by: tuple[str, ...]
    trust: tuple[Trust, ...]
    health: Health
    clock_off: float

    @functools.cached_property
    def readable_settings(self) -> EffectiveSettings | None:
        """The effective settings; None if they cannot be read."""
        overrides, defaults = self.settings_files.overrides, self.settings_files.defaults
        if not overrides.exists or overrides.error:
            return None
        known = defaults.exists and not defaults.error
        return _runtime_settings.effective(overrides.sections, defaults.sections if known else None)

    @property
    def settings(self) -> EffectiveSettings:
        """The effective settings.

        Raises:
            StepFailed: settings_missing, settings_malformed.
        """
        if self.readable_settings is not None:
            return self.readable_settings
        file = self.settings_files.overrides
        if not file.exists:
            raise StepFailed("settings_missing", f"{file.path} does not exist")
        raise StepFailed("settings_malformed", f"{file.path} cannot be read: {file.error}")

    @functools.cached_property
    def roles(self) -> tuple[str, ...]:
        """See _runtime_settings.roles; empty if the settings cannot be read."""
        return _runtime_settings.roles(self.readable_settings) if self.readable_settings else ()


def read(answer: Mapping[str, t.Any]) -> NodeFacts:
    """The facts of a node from the result of node_info.

    Raises:
        StepFailed: facts_invalid, naming the first field that is missing or of another type.
    """
    return t.cast(NodeFacts, _read(NodeFacts, {**answer, "settings_files": answer.get("settings")}, ""))


def read_all(answers: Mapping[str, Mapping[str, t.Any]]) -> dict[str, NodeFacts]:
    """The facts of several nodes, by name.

    Raises:
        StepFailed: facts_invalid; detail names the node.
    """
    found = {}
    for name, answer in answers.items():
        try:
            found[name] = read(answer)
        except StepFailed as failure:
            failure.detail["node"] = name
            raise
    return found


_hints = functools.cache(t.get_type_hints)


def _read(kind: t.Any, value: t.Any, where: str) -> t.Any:
    """Converts a value to a type: a dataclass of this file, a tuple, a mapping of texts, or a simple type."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        given, found = _of_type(Mapping, value, where), {}
        for field in dataclasses.fields(kind):
            path = f"{where}.{field.name}".lstrip(".")
            if field.name in given:
                found[field.name] = _read(_hints(kind)[field.name], given[field.name], path)
            elif field.default is dataclasses.MISSING:
                raise StepFailed("facts_invalid", f"the answer of the node lacks {path}")
        return kind(**found)
    origin, arguments = t.get_origin(kind), t.get_args(kind)
    if origin is types.UnionType:
        return None if value is None else _read(arguments[0], value, where)
    if origin is tuple:
        return tuple(_read(arguments[0], each, f"{where}[]") for each in _of_type(list | tuple, value, where))
    if origin is Mapping:
        items = _of_type(Mapping, value, where).items()
        return {str(name): _read(arguments[1], each, f"{where}.{name}") for name, each in items}
    if kind is bool:
        return _of_type(bool, value, where)
    if kind in (int, float) and not isinstance(value, bool):
        # PowerShell 5.1 writes a whole double without its point, and other writers an integer with one.
        return kind(_of_type(int | float, value, where))
    return str(_of_type(str, value, where))


def _of_type(kind: t.Any, value: t.Any, where: str) -> t.Any:
    if not isinstance(value, kind):
        message = f"in the answer of the node, {where or 'all of it'} is of the type {type(value).__name__}"
        raise StepFailed("facts_invalid", message)
    return value
