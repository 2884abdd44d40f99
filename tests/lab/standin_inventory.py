# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NodeInventory.psm1 finds on a node, of a stand-in node: its files, and the registry of every node of the lab."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import alteryx_install
from .node import Node

_MAXIMUM = 1000
_VIEWS = {64: "Software", 32: r"Software\Wow6432Node"}
_PLAIN = re.compile(r"[\w.,:\\/\-\[\]() ]{1,128}")
_PACKAGE = re.compile(r"([^-]+)(?:-([^-]+))?(?:-py[\d.]+.*)?\.(?:dist|egg)-info")
_BINDINGS = r"System\CurrentControlSet\Services\HTTP\Parameters\SslBindingInfo"


def inventory(node: Node, wanted: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Items by their names: state, value, why."""
    readers: dict[str, tuple[Callable[[], Iterator[Any]], str]] = {
        "odbc_drivers": (_drivers, "no driver is registered"),
        "odbc_data_sources": (_data_sources, "no system data source is registered"),
        "connectors": (lambda: _connectors(node.path(wanted["tools_folder"])), f"there is none in {wanted['tools_folder']}"),
        "python_packages": (lambda: _packages(node.path(wanted["bin_folder"])), "there is no Lib\\site-packages with packages"),
        "ad_groups": (lambda: iter(()), "no local group that was looked at has a domain group in it"),
        "tls_bindings": (_bindings, "HTTP.sys has none"),
        "alteryx_config": (lambda: (path for path in wanted["config_files"] if node.path(path).is_file()), "it is in neither of its places"),
        "places": (lambda: (_place(node, place) for place in wanted["places"]), "no path is known"),
    }
    items = {"licence": _item(_licence(wanted["licence"]), "the registry does not have this value")} if wanted["licence"] else {}
    for name, (reader, none) in readers.items():
        entries = list(reader())
        items[name] = _item(entries[:_MAXIMUM], none, f"only the first {_MAXIMUM} of {len(entries)} entries" if len(entries) > _MAXIMUM else "")
    return items


def _item(value: Any, none: str, why: str = "") -> dict[str, Any]:
    return {"state": "found", "value": value, "why": why} if value else {"state": "absent", "value": None, "why": none}


def _key(path: str) -> Mapping[str, Any]:
    return next((values for key, values in alteryx_install.REGISTRY.items() if key.casefold() == path.casefold()), {})


def _licence(wanted: Mapping[str, str]) -> str:
    text = str(_key(wanted["key"]).get(wanted["name"], ""))
    return f"****{text[-4:]}" if len(text) >= 16 else "****" if text else ""


def _drivers() -> Iterator[dict[str, Any]]:
    for bits, view in _VIEWS.items():
        for name in _key(rf"{view}\ODBC\ODBCINST.INI\ODBC Drivers"):
            file = str(_key(rf"{view}\ODBC\ODBCINST.INI\{name}").get("Driver", ""))
            yield {"name": name, "bits": bits, "file": file.replace("System32", "SysWOW64") if bits == 32 else file, "version": ""}


def _data_sources() -> Iterator[dict[str, Any]]:
    for bits, view in _VIEWS.items():
        for name, driver in _key(rf"{view}\ODBC\ODBC.INI\ODBC Data Sources").items():
            values = _key(rf"{view}\ODBC\ODBC.INI\{name}")
            yield {"name": name, "bits": bits, "driver": driver, "server": _plain(values, "Server", "ServerName", "Host", "HostName"),
                   "database": _plain(values, "Database", "DatabaseName")}


def _plain(values: Mapping[str, Any], *names: str) -> str:
    return next((text for name in names if _PLAIN.fullmatch(text := str(values.get(name, "")))), "")


def _connectors(folder: Path) -> Iterator[dict[str, str]]:
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        versions = [match[1] for file in path.glob("*Config.xml") if (match := re.search(r"<ToolVersion>\s*([\w.-]{1,40})\s*<", file.read_text("utf-8")))]
        named = re.search(r"_v?(\d+(?:[._]\d+)+)$", path.name)
        yield {"name": path.name, "version": versions[-1] if versions else named[1].replace("_", ".") if named else ""}


def _packages(bin_folder: Path) -> Iterator[dict[str, str]]:
    for library in sorted([*bin_folder.glob("*/Lib/site-packages"), *bin_folder.glob("*/envs/*/Lib/site-packages")]):
        python = str(library.parents[1].relative_to(bin_folder)).replace("/", "\\")
        for entry in sorted(library.glob("*-info")):
            if match := _PACKAGE.fullmatch(entry.name):
                yield {"name": match[1], "version": match[2] or "", "python": python}


def _bindings() -> Iterator[dict[str, str]]:
    for key, values in alteryx_install.REGISTRY.items():
        if key.startswith(f"{_BINDINGS}\\"):
            yield {"address": key.removeprefix(f"{_BINDINGS}\\"), "certificate": values["SslCertHash"].hex(),
                   "application_id": f"{{{uuid.UUID(bytes_le=values['AppId'])}}}", "store": values["SslCertStoreName"]}


def _place(node: Node, place: Mapping[str, str]) -> dict[str, Any]:
    drive = place["drive"]
    return {"element": place["element"], "path": place["path"], "other_drive": drive not in ("", "C:"),
            "exists": node.path(place["path"]).exists() if ":" in drive else None}
