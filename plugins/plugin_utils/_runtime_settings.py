# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RuntimeSettings.xml: the effective settings of one node, its roles, and where its database lives.

Every file describes only its own node and holds only what differs from the defaults file of the installation; a missing element means
"default", not "off". The element names are those of the defaults file of Alteryx Server 11.7, confirmed in part up to 2024.2.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

Sections = t.Mapping[str, t.Mapping[str, str]]

# Used where the defaults file cannot be read. Only what this collection decides on.
FALLBACK: Sections = {
    "Controller": {
        "ControllerEnabled": "True",
        "GalleryEnabled": "False",
        "EmbeddedMongoDBEnabled": "False",
        "MongoDBEnabled": "False",
    },
    "Environment": {"WorkerEnabled": "True"},
    "Worker": {"QueueWorkerEnabled": "True", "RenderWorkerEnabled": "True"},
}


@dataclass(frozen=True)
class EffectiveSettings:
    """The settings in force on a node: overrides over the defaults file over FALLBACK."""

    overrides: Sections
    defaults: Sections
    fallback_used: bool

    def get(self, section: str, element: str) -> str:
        """The text of an element, "" where nothing is known of it."""
        for layer in (self.overrides, self.defaults, FALLBACK):
            value = layer.get(section, {}).get(element)
            if value is not None:
                return value.strip()
        return ""

    def enabled(self, section: str, element: str) -> bool:
        """A boolean element; Alteryx writes True and False, case does not matter here."""
        return self.get(section, element).lower() == "true"


def effective(overrides: Sections, defaults: Sections | None) -> EffectiveSettings:
    """Lays overrides over defaults; defaults is None where the defaults file could not be read."""
    return EffectiveSettings(overrides, defaults or {}, fallback_used=not defaults)


def roles(settings: EffectiveSettings) -> tuple[str, ...]:
    """The roles of a node in the order controller, worker, ui; empty when it has none."""
    worker = settings.enabled("Environment", "WorkerEnabled") and (
        settings.enabled("Worker", "QueueWorkerEnabled") or settings.enabled("Worker", "RenderWorkerEnabled")
    )
    found = {
        "controller": settings.enabled("Controller", "ControllerEnabled"),
        "worker": worker,
        "ui": settings.enabled("Controller", "GalleryEnabled"),
    }
    return tuple(role for role, there in found.items() if there)


def database_kind(settings: EffectiveSettings) -> str:
    """Where a controller keeps its data: embedded, mongodb (self-managed), sqlserver, or unknown.

    SQLite elements stand in every defaults file and are no sign of SQL Server.
    """
    if settings.enabled("Controller", "EmbeddedMongoDBEnabled"):
        return "embedded"
    if settings.enabled("Controller", "MongoDBEnabled"):
        return "mongodb"
    elements = {element for layer in (settings.overrides, settings.defaults) for element in layer.get("Controller", {})}
    if any("sql" in element.lower() and not element.lower().startswith("sqlite") and settings.get("Controller", element) for element in elements):
        return "sqlserver"
    return "unknown"
