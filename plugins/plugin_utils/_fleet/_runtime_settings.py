# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RuntimeSettings.xml: the effective settings of one node, its roles, which controller it belongs to, and where its
database is.

Every file describes only its own node and contains only values that differ from the defaults file of the installation;
a missing element means "default", not "off". The element names are those of the defaults file of Alteryx Server 11.7,
confirmed in part up to 2024.2. Names are case-sensitive, as Alteryx reads them; the texts of switches are not.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

Sections = t.Mapping[str, t.Mapping[str, str]]

# Used if the defaults file cannot be read. Only elements on which this collection bases decisions.
FALLBACK: Sections = {
    "Controller": {
        "ControllerEnabled": "True",
        "GalleryEnabled": "False",
        "EmbeddedMongoDBEnabled": "False",
        "MongoDBEnabled": "False",
        "MongoDBDatabaseName": "AlteryxService",
        "ServicePort": "80",
    },
    "Environment": {"WorkerEnabled": "True"},
    "Gallery": {
        "MongoDBWebOverride": "False",
        "MongoDBWebDatabaseName": "AlteryxGallery",
        "MongoDBSearchOverride": "False",
        "MongoDBSearchDatabaseName": "AlteryxGallery_Lucene",
    },
    "Worker": {
        "QueueWorkerEnabled": "True",
        "RenderWorkerEnabled": "True",
        "UseLocalServer": "True",
        "ServerName": "localhost",
    },
}

_ROLE_SWITCHES = (
    ("Controller", "ControllerEnabled"),
    ("Controller", "GalleryEnabled"),
    ("Environment", "WorkerEnabled"),
    ("Worker", "QueueWorkerEnabled"),
    ("Worker", "RenderWorkerEnabled"),
    ("Worker", "UseLocalServer"),
)
_DATABASE_SWITCHES = (
    ("Controller", "EmbeddedMongoDBEnabled"),
    ("Controller", "MongoDBEnabled"),
    ("Gallery", "MongoDBWebOverride"),
    ("Gallery", "MongoDBSearchOverride"),
)
SWITCHES = (*_ROLE_SWITCHES, *_DATABASE_SWITCHES)
"""All elements with True or False on which this collection bases decisions."""
CONTRADICTION = "Controller/EmbeddedMongoDBEnabled and Controller/MongoDBEnabled are both True"
"""The meaning of the kind "contradictory"."""

# Texts of an element that mean "no".
_OFF = ("", "false", "0")


@dataclass(frozen=True)
class EffectiveSettings:
    """The effective settings of a node: overrides over the defaults file over FALLBACK."""

    overrides: Sections
    defaults: Sections
    fallback_used: bool

    def get(self, section: str, element: str) -> str:
        """The text of an element, "" if it is not known."""
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


def controller_address(settings: EffectiveSettings) -> str:
    """The address at which the node looks for its controller, "host:port" as written; "" for the node itself."""
    return "" if settings.enabled("Worker", "UseLocalServer") else settings.get("Worker", "ServerName")


def service_port(settings: EffectiveSettings) -> int:
    """The port at which a controller answers the other nodes of its fleet; 80, the vendor's default, if the element has
    no number."""
    text = settings.get("Controller", "ServicePort")
    return int(text) if text.isdigit() and 0 < int(text) < 65536 else 80


def database_kind(settings: EffectiveSettings) -> str:
    """Where a controller keeps its data: embedded, mongodb (self-managed), sqlserver, contradictory or unknown.

    SQLite elements are in every defaults file and do not indicate SQL Server. The names of the elements of SQL Server
    are not public, so any other element with SQL in its name counts, if it was set on this node: a defaults file may
    name it everywhere.
    """
    embedded, own = (
        settings.enabled("Controller", "EmbeddedMongoDBEnabled"),
        settings.enabled("Controller", "MongoDBEnabled"),
    )
    if embedded and own:
        return "contradictory"
    if embedded or own:
        return "embedded" if embedded else "mongodb"
    return "sqlserver" if sql_elements(settings) else "unknown"


def sql_elements(settings: EffectiveSettings) -> list[str]:
    """Elements of the controller, set on this node, that refer to SQL Server."""
    own = settings.overrides.get("Controller", {})
    return [
        name
        for name in own
        if "sql" in name.lower()
        and not name.lower().startswith("sqlite")
        and settings.get("Controller", name).lower() not in _OFF
    ]


def problems(settings: EffectiveSettings) -> list[str]:
    """Switches with a value other than True and False, by name. Settings with such a switch are not used for decisions.
    For contradictory databases see database_kind."""
    found = []
    is_controller = settings.enabled("Controller", "ControllerEnabled")
    for section, element in SWITCHES if is_controller else _ROLE_SWITCHES:
        text = settings.get(section, element)
        if text.lower() not in ("true", "false"):
            found.append(f"{section}/{element} is {text[:40]!r}, neither True nor False")
    return found


def warnings(settings: EffectiveSettings) -> list[str]:
    """Warnings about settings that may not have the intended effect: switches whose name is written in another case,
    which Alteryx does not read."""
    known = {(section.lower(), element.lower()): f"{section}/{element}" for section, element in SWITCHES}
    found = []
    for section, elements in settings.overrides.items():
        for element in elements:
            meant = known.get((section.lower(), element.lower()))
            if meant and meant != f"{section}/{element}":
                found.append(f"{section}/{element} is not {meant}: names are case-sensitive, so it is not read")
    if (
        settings.enabled("Controller", "ControllerEnabled")
        and settings.enabled("Controller", "EmbeddedMongoDBEnabled")
        and (left := sql_elements(settings))
    ):
        found.append(
            f"the embedded MongoDB is on, and so is what looks like SQL Server: Controller/{left[0]}; "
            "the embedded MongoDB counts"
        )
    return found
