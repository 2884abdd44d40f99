# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of settings files (overrides, defaults) as on a node, byte for byte, and what they mean."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from tests.unit.plugins import samples

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
ALL, CONTROLLER_WORKER, CONTROLLER = ("controller", "worker", "ui"), ("controller", "worker"), ("controller",)


@dataclass(frozen=True)
class Pair:
    """overrides, defaults: content of the files, None where there is none. roles, kind: what they mean; unreadable: the
    overrides must be refused."""

    name: str
    overrides: bytes
    defaults: bytes | None
    roles: tuple[str, ...]
    kind: str
    problems: int = 0
    unreadable: bool = False
    values: t.Mapping[str, str] | None = None


DEFAULTS = samples.DEFAULTS.strip().encode()


def _file(controller: str = "", other: str = "") -> str:
    return f"{DECLARATION}<SystemSettings><Controller>{controller}</Controller>{other}</SystemSettings>"


def _on(*elements: str, word: str = "True") -> str:
    return "".join(f"<{element}>{word}</{element}>" for element in elements)


def _pair(
    name: str, text: str | bytes, roles: tuple[str, ...], kind: str, defaults: bytes | None = DEFAULTS, **more: t.Any
) -> Pair:
    return Pair(name, text if isinstance(text, bytes) else text.encode(), defaults, roles, kind, **more)


_EMBEDDED = _file(_on("EmbeddedMongoDBEnabled"))
_SAMPLE = {
    letter: next(xml for name, xml in samples.SETTINGS.items() if name.startswith(letter)).strip() for letter in "abcde"
}
_OFF = {
    element: _on(element, word="False")
    for element in ("ControllerEnabled", "WorkerEnabled", "QueueWorkerEnabled", "RenderWorkerEnabled")
}

PAIRS = (
    # The five samples of the facts pages, with the defaults file and without.
    *(
        _pair(f"sample {letter}{'' if defaults else ', no defaults file'}", _SAMPLE[letter], roles, kind, defaults)
        for letter, roles, kind in (
            ("a", ALL, "embedded"),
            ("b", CONTROLLER, "embedded"),
            ("c", ("worker",), "unknown"),
            ("d", ("ui",), "unknown"),
            ("e", ("controller", "ui"), "mongodb"),
        )
        for defaults in (DEFAULTS, None)
    ),
    # Absent means default.
    _pair("every switch absent", _file(), CONTROLLER_WORKER, "unknown"),
    _pair("every switch absent, no defaults file", _file(), CONTROLLER_WORKER, "unknown", None),
    _pair("no section at all", "<SystemSettings/>", CONTROLLER_WORKER, "unknown"),
    _pair("an empty defaults file", _EMBEDDED, CONTROLLER_WORKER, "embedded", b"<SystemSettings/>"),
    _pair("a broken defaults file", _EMBEDDED, CONTROLLER_WORKER, "embedded", b"<SystemSettings><Contr"),
    _pair(
        "defaults of a later version that turn a role off",
        _EMBEDDED,
        CONTROLLER,
        "embedded",
        b"<SystemSettings><Environment><WorkerEnabled>False</WorkerEnabled></Environment></SystemSettings>",
    ),
    _pair(
        "an override against such defaults",
        _file(_on("EmbeddedMongoDBEnabled"), f"<Environment>{_on('WorkerEnabled')}</Environment>"),
        CONTROLLER_WORKER,
        "embedded",
        b"<SystemSettings><Environment><WorkerEnabled>False</WorkerEnabled></Environment></SystemSettings>",
    ),
    # Roles.
    _pair(
        "nothing enabled",
        _file(_OFF["ControllerEnabled"], f"<Environment>{_OFF['WorkerEnabled']}</Environment>"),
        (),
        "unknown",
    ),
    _pair(
        "a worker that takes no jobs",
        _file(_OFF["ControllerEnabled"], f"<Worker>{_OFF['QueueWorkerEnabled']}{_OFF['RenderWorkerEnabled']}</Worker>"),
        (),
        "unknown",
    ),
    _pair(
        "a worker for maps only",
        _file(_OFF["ControllerEnabled"], f"<Worker>{_OFF['QueueWorkerEnabled']}</Worker>"),
        ("worker",),
        "unknown",
    ),
    _pair("worker and UI", _file(_OFF["ControllerEnabled"] + _on("GalleryEnabled")), ("worker", "ui"), "unknown"),
    _pair(
        "roles in the wrong sections",
        _file(_on("WorkerEnabled", word="False"), f"<Gallery>{_on('GalleryEnabled')}</Gallery>"),
        CONTROLLER_WORKER,
        "unknown",
    ),
    # Databases.
    _pair(
        "both Mongo switches",
        _file(_on("EmbeddedMongoDBEnabled", "MongoDBEnabled")),
        CONTROLLER_WORKER,
        "contradictory",
    ),
    _pair(
        "both Mongo switches off",
        _file(_on("EmbeddedMongoDBEnabled", "MongoDBEnabled", word="False")),
        CONTROLLER_WORKER,
        "unknown",
    ),
    _pair("self-managed", _file(_on("MongoDBEnabled")), CONTROLLER_WORKER, "mongodb"),
    _pair(
        "leftovers of a server that is off",
        _file(_on("EmbeddedMongoDBEnabled") + "<MongoDBServerName>db:27017</MongoDBServerName>"),
        CONTROLLER_WORKER,
        "embedded",
    ),
    _pair("SQLitePath set", _file("<SQLitePath>D:\\x.db</SQLitePath>"), CONTROLLER_WORKER, "unknown"),
    _pair(
        "SQLite and embedded",
        _file("<SQLitePath>D:\\x.db</SQLitePath>" + _on("EmbeddedMongoDBEnabled")),
        CONTROLLER_WORKER,
        "embedded",
    ),
    _pair(
        "an element of SQL",
        _file("<InventedSqlConnection>Server=db</InventedSqlConnection>"),
        CONTROLLER_WORKER,
        "sqlserver",
    ),
    _pair("an element of SQL, emptied", _file("<InventedSqlConnection/>"), CONTROLLER_WORKER, "unknown"),
    _pair("an element of SQL, off", _file(_on("InventedSQLEnabled", word="False")), CONTROLLER_WORKER, "unknown"),
    _pair(
        "SQL outside the controller",
        _file("", "<Gallery><InventedSqlConnection>x</InventedSqlConnection></Gallery>"),
        CONTROLLER_WORKER,
        "unknown",
    ),
    _pair(
        "a switch nobody can read",
        _file(_on("EmbeddedMongoDBEnabled", word="yes")),
        CONTROLLER_WORKER,
        "unknown",
        problems=1,
    ),
    _pair("an emptied switch", _file("<EmbeddedMongoDBEnabled/>"), CONTROLLER_WORKER, "unknown", problems=1),
    # How it is written.
    _pair("TRUE", _file(_on("EmbeddedMongoDBEnabled", word="TRUE")), CONTROLLER_WORKER, "embedded"),
    _pair("true with space", _file(_on("EmbeddedMongoDBEnabled", word="\n  true\t")), CONTROLLER_WORKER, "embedded"),
    _pair("an element in another case", _file(_on("embeddedMongoDBEnabled")), CONTROLLER_WORKER, "unknown"),
    _pair("a section in another case", _EMBEDDED.replace("Controller>", "controller>"), CONTROLLER_WORKER, "unknown"),
    _pair("byte order mark", b"\xef\xbb\xbf" + _EMBEDDED.encode(), CONTROLLER_WORKER, "embedded"),
    _pair(
        "UTF-16, little end first", _EMBEDDED.replace("UTF-8", "UTF-16").encode("utf-16"), CONTROLLER_WORKER, "embedded"
    ),
    _pair(
        "UTF-16, big end first",
        b"\xfe\xff" + _EMBEDDED.replace("UTF-8", "UTF-16").encode("utf-16-be"),
        CONTROLLER_WORKER,
        "embedded",
    ),
    _pair(
        "Latin-1, declared",
        _file(_on("EmbeddedMongoDBEnabled") + "<LoggingPath>D:\\M\xfcller</LoggingPath>")
        .replace("UTF-8", "ISO-8859-1")
        .encode("latin-1"),
        CONTROLLER_WORKER,
        "embedded",
        values={"Controller/LoggingPath": "D:\\M\xfcller"},
    ),
    _pair(
        "Windows line ends, no declaration",
        _EMBEDDED.removeprefix(DECLARATION).replace("><", ">\r\n<"),
        CONTROLLER_WORKER,
        "embedded",
    ),
    _pair(
        "comments everywhere",
        _file(
            "<!-- <MongoDBEnabled>True</MongoDBEnabled> -->"
            "<EmbeddedMongoDBEnabled><!-- off: False -->Tr<!-- -->ue</EmbeddedMongoDBEnabled>"
        ),
        CONTROLLER_WORKER,
        "embedded",
    ),
    _pair(
        "entities and CDATA",
        _file(
            "<EmbeddedMongoDBEnabled>&#84;r<![CDATA[ue]]></EmbeddedMongoDBEnabled>"
            "<LoggingPath>a &amp; b &lt;c&gt;</LoggingPath>"
        ),
        CONTROLLER_WORKER,
        "embedded",
        values={"Controller/LoggingPath": "a & b <c>"},
    ),
    _pair(
        "processing instructions",
        _EMBEDDED.replace("<Controller>", "<?x y?><Controller><?x y?>"),
        CONTROLLER_WORKER,
        "embedded",
    ),
    _pair(
        "attributes",
        _EMBEDDED.replace("<EmbeddedMongoDBEnabled>", '<EmbeddedMongoDBEnabled note="False">'),
        CONTROLLER_WORKER,
        "embedded",
    ),
    _pair(
        "unknown sections and elements",
        _file(
            _on("EmbeddedMongoDBEnabled", "Zz"),
            "<Authentication><ServiceProviderEntityID>x</ServiceProviderEntityID></Authentication>"
            "<Future><MongoDBEnabled>True</MongoDBEnabled></Future>",
        ),
        CONTROLLER_WORKER,
        "embedded",
    ),
    _pair(
        "a section twice",
        _file(_on("EmbeddedMongoDBEnabled"), f"<Controller>{_on('GalleryEnabled')}</Controller>"),
        ALL,
        "embedded",
    ),
    _pair("text between elements", _EMBEDDED.replace("<Controller>", "x<Controller>y"), CONTROLLER_WORKER, "embedded"),
    _pair(
        "deeper levels",
        _file(_on("EmbeddedMongoDBEnabled") + "<Deep><MongoDBEnabled>True</MongoDBEnabled></Deep>"),
        CONTROLLER_WORKER,
        "embedded",
    ),
    # What must be refused, not half read.
    _pair("cut off", _EMBEDDED[:-20], (), "", unreadable=True),
    _pair("empty", b"", (), "", unreadable=True),
    _pair(
        "a document type",
        _EMBEDDED.replace(DECLARATION, '<!DOCTYPE SystemSettings [<!ENTITY t "True">]>'),
        (),
        "",
        unreadable=True,
    ),
    _pair("another root", _EMBEDDED.replace("SystemSettings", "Settings"), (), "", unreadable=True),
    _pair("the root in another case", _EMBEDDED.replace("SystemSettings", "systemsettings"), (), "", unreadable=True),
    _pair("broken UTF-8", _EMBEDDED.encode().replace(b"True", b"Tr\xffue"), (), "", unreadable=True),
)
