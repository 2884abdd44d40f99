# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of a destination: its backups, whether each of them is complete, and the result of the last
verification.

A node only reports facts (backup_info.ps1); they are interpreted here.
"""

from __future__ import annotations

import difflib
import re
import typing as t
from datetime import UTC, datetime

from .._core import _names, paths
from .._core.text import counted, duration, size
from . import _manifest

SCHEMA = 1

_MODES = {word: mode for mode, word in _names.MODES.items()}
# The columns fit a terminal. The reason why a backup is not complete is last and may be longer.
_COPIES = "COPIES"
# How far the clocks of two machines may differ.
_CLOCK_OFF_SECONDS = 60
_COLUMNS = ("BACKUP", "NODE", "STARTED (UTC)", "MODE", "SIZE", "DOCUMENTS", "DOWN", "VERIFIED", "STATE")


def name_expression(pattern: str) -> re.Pattern[str]:
    """The form of the names of backups for a pattern of names (see _names.base_name), with the groups mode and
    stamp."""
    fields = {"{mode}": f"(?P<mode>{'|'.join(_MODES)})", "{stamp}": r"(?P<stamp>\d{8}_\d{6})"}
    parts = re.split(r"(\{mode\}|\{stamp\})", pattern)
    seen: set[str] = set()
    text = ""
    for part in parts:
        field = fields.get(part)
        # A field that occurs twice must have the same value twice.
        text += re.escape(part) if field is None else f"(?P={part[1:-1]})" if part in seen else field
        seen.add(part)
    return re.compile(text)


def entries(facts: t.Mapping[str, t.Any], folder: str, pattern: str) -> tuple[list[dict[str, t.Any]], int]:
    """The catalogue, newest first, and the number of files that belong to no backup.

    Args:
        facts: the result of backup_info's part on the node.
        folder: the destination.
        pattern: of names of backups. A file with another name counts as a backup if a manifest of this collection is
            beside it.
    """
    expression = name_expression(pattern)
    runs = {fact["base"]: str(fact["verdict"]) for found in facts["folders"] for fact in found["sets"]}
    catalogue: list[dict[str, t.Any]] = []
    foreign = 0
    for found in facts["folders"]:
        foreign += int(found["others"])
        place = paths.archive_folder(folder, found["name"]).rstrip("\\")
        for fact in found["backups"]:
            name = expression.fullmatch(fact["base"])
            if name is None and fact["prune"] is None and not _is_ours(fact["manifest"]):
                foreign += len(fact["files"])
                continue
            entry = _entry(fact, found["name"], place, name.groupdict() if name else {}, runs)
            entry["files"] += _logs_of(found, entry["mode"], entry["stamp"])
            catalogue.append(entry)
    catalogue.sort(key=_by_age, reverse=True)
    return catalogue, foreign


def _by_age(entry: t.Mapping[str, t.Any]) -> tuple[str, str, str]:
    return entry["stamp"], entry["id"], entry["node"]


def identity(entry: t.Mapping[str, t.Any]) -> str:
    """The key that a backup and its copies share. Names of files in Windows are not case-sensitive."""
    return f"{entry['node']}\\{entry['id']}".casefold()


def add_copies(
    catalogue: t.Sequence[dict[str, t.Any]], places: t.Iterable[t.Mapping[str, t.Any]]
) -> list[dict[str, t.Any]]:
    """Says in each backup at which destinations it is (copies, see place_of). Returns those that are at destinations
    only, in the same form.

    Args:
        catalogue: of the archive directory.
        places: destination and catalogue of each destination.
    """
    copies: dict[str, list[dict[str, t.Any]]] = {}
    others: dict[str, dict[str, t.Any]] = {}
    known = {identity(entry) for entry in catalogue}
    for place in places:
        for entry in place["catalogue"]:
            copies.setdefault(identity(entry), []).append(place_of(entry, place["destination"]))
            if identity(entry) not in known:
                others.setdefault(identity(entry), entry)
    elsewhere = [{**entry, "only_copies": True} for entry in others.values()]
    for entry in (*catalogue, *elsewhere):
        entry["copies"] = copies.get(identity(entry), [])
    return elsewhere


def place_of(entry: t.Mapping[str, t.Any], destination: str) -> dict[str, t.Any]:
    """A copy, for the entry of the original: destination, folder, complete, archive_sha256, verified, pin."""
    return {
        "destination": destination,
        **{key: entry[key] for key in ("folder", "complete", "archive_sha256", "verified", "pin")},
    }


def sets(facts: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """The backup sets as the runs themselves recorded them: base, run_id, fleet, mode, verdict, nodes (those with an
    archive), error, and the files that are not of one node alone."""
    found = []
    for folder in facts["folders"]:
        if folder["name"]:
            # Only the top folder of a destination has these files.
            continue
        for fact in folder["sets"]:
            stamp = _stamp(fact["started"])
            file = {"name": f"{fact['base']}.set.json", "bytes": int(fact["bytes"])}
            found.append(
                {
                    **{key: fact[key] for key in ("base", "error", "run_id", "fleet", "mode", "verdict")},
                    "nodes": list(fact["nodes"]),
                    "files": [file, *_logs_of(folder, fact["mode"], stamp)],
                }
            )
    return found


def _logs_of(folder: t.Mapping[str, t.Any], mode: str, stamp: str) -> list[dict[str, t.Any]]:
    """The log of a run in a folder, as a list of one or none."""
    name = _names.log_name(mode, stamp) if mode in _names.MODES else ""
    return [{"name": log["name"], "bytes": int(log["bytes"])} for log in folder["logs"] if log["name"] == name]


def _is_ours(manifest: t.Mapping[str, t.Any] | None) -> bool:
    return (
        manifest is not None and not manifest["error"] and str(manifest["tool"]).startswith("alteryx_ops.server_backup")
    )


def _entry(
    fact: t.Mapping[str, t.Any], node: str, folder: str, name: t.Mapping[str, str], runs: t.Mapping[str, str]
) -> dict[str, t.Any]:
    manifest = fact["manifest"] or {}
    # When a backup is deleted, the manifest is deleted second to last. The last file names the run of the backup.
    told = (fact["prune"] or {}) if not manifest or manifest["error"] else manifest
    sizes = {str(file["name"]): int(file["bytes"]) for file in fact["files"]}
    base = fact["base"]
    stamp = name.get("stamp") or _stamp(told.get("started", ""))
    why = _why_incomplete(fact, sizes)
    return {
        "id": base,
        "node": node or told.get("node", ""),
        "folder": folder,
        "mode": _MODES.get(name.get("mode", ""), told.get("mode", "")),
        "stamp": stamp,
        "started": told.get("started") or _started(stamp),
        "run_id": told.get("run_id", ""),
        "run_verdict": runs.get(base, ""),
        "fleet": told.get("fleet", ""),
        "computer": told.get("computer", ""),
        "machine_id": told.get("machine_id", ""),
        "tool": told.get("tool", ""),
        "alteryx_version": told.get("alteryx_version", ""),
        "complete": not why,
        # Its run did not take all that it was to take from this node.
        "partial": told.get("status") == "partial",
        "why": why,
        "bytes": sizes.get(f"{base}.zip", sizes.get(f"{base}.zip.partial", 0)),
        "archive_sha256": (fact["sidecar"] or {}).get("archive_sha256", ""),
        "file_count": told.get("file_count", 0),
        "file_bytes": told.get("file_bytes", 0),
        "databases": list(told.get("databases", [])),
        "documents": told.get("documents", 0),
        "downtime_seconds": told.get("downtime_seconds", 0.0),
        "dumped": bool(told.get("dumped")),
        "roles": list(told.get("roles", [])),
        "database_kind": told.get("database_kind", ""),
        "data_folder": told.get("data_folder", ""),
        "proof": told.get("proof", ""),
        "secrets": bool(told.get("secrets")),
        "verified": _verified(fact),
        "sidecars": sorted(file for file in sizes if not file.endswith((".zip", ".zip.partial"))),
        "pin": fact["pin"],
        "pruning": fact["prune"] is not None,
        "sidecar_sha256": (fact["sidecar"] or {}).get("sha256", ""),
        "files": [{"name": name, "bytes": count} for name, count in sorted(sizes.items())],
    }


def _why_incomplete(fact: t.Mapping[str, t.Any], sizes: t.Mapping[str, int]) -> list[str]:
    """The parts of a complete backup that this one does not have. A backup about which nothing is known is not
    complete."""
    base, sidecar, manifest = fact["base"], fact["sidecar"], fact["manifest"]
    if sidecar is None:
        if fact["prune"] is not None:
            return ["its deletion has begun"]
        # The .sha256 file is written last.
        begun = f"{base}.zip.partial" in sizes and f"{base}.zip" not in sizes
        return ["only .zip.partial: it is being written, or its run died" if begun else "no .sha256"]
    if sidecar["error"]:
        return [f"its .sha256 cannot be used: {sidecar['error']}"]
    names = [str(name) for name in sidecar["names"]]
    present = {name.casefold() for name in sizes}
    why = [f"{name} is missing" for name in names if name.casefold() not in present]
    why += [
        f"its .sha256 does not name {needed}"
        for needed in (f"{base}.zip", f"{base}.manifest.json")
        if needed not in names
    ]
    if manifest is not None and manifest["error"]:
        why.append(f"its manifest cannot be read: {manifest['error']}")
    elif manifest is not None and manifest["schema"] != _manifest.SCHEMA:
        why.append(f"its manifest has the schema {manifest['schema']}, this version knows {_manifest.SCHEMA}")
    elif manifest is not None and manifest["secrets"] and f"{base}.secrets.pem" not in names:
        why.append("its secrets file is missing")
    return why


def _verified(fact: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The newest verification: verdict good, bad, not verified, or unreadable; at, method, problems, problem (the
    first), count (of verifications)."""
    count = sum(".verify_" in str(file["name"]) for file in fact["files"])
    newest = fact["verification"]
    if newest is None:
        return {"verdict": "not verified", "at": "", "method": "", "problems": 0, "problem": "", "count": count}
    readable = not newest["error"] and newest["verdict"] in ("good", "bad")
    return {
        "verdict": newest["verdict"] if readable else "unreadable",
        "at": newest["verified"],
        "method": newest["method"],
        "problems": newest["problems"],
        "problem": newest["problem"] or newest["error"],
        "count": count,
    }


def _stamp(started: str) -> str:
    try:
        return _names.stamp(datetime.fromisoformat(started))
    except ValueError:
        return ""


def _started(stamp: str) -> str:
    try:
        moment = datetime.strptime(stamp, "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return ""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def chosen(
    catalogue: t.Iterable[t.Mapping[str, t.Any]], wanted: str = "", mode: str = "", all_backups: bool = False
) -> list[t.Mapping[str, t.Any]]:
    """The backups that are to be read back, newest first.

    Args:
        catalogue: of one node, newest first.
        wanted: name of a backup or id of its run: this one, complete or not.
        mode: only complete backups of this mode; of every mode if empty.
        all_backups: all of these instead of the newest of each mode.
    """
    if wanted:
        # Names of files in Windows are not case-sensitive.
        return [one for one in catalogue if wanted == one["run_id"] or wanted.casefold() == one["id"].casefold()]
    complete = [one for one in catalogue if one["complete"] and mode in ("", one["mode"])]
    newest: dict[str, t.Mapping[str, t.Any]] = {}
    for one in complete:
        newest.setdefault(one["mode"], one)
    return complete if all_backups else list(newest.values())


def unknown_text(catalogue: t.Sequence[t.Mapping[str, t.Any]], wanted: str) -> str:
    """The message for a name that no backup has: the nearest names or run IDs, else the newest backup."""
    if not catalogue:
        return f"there is no backup {wanted}; the folder has no backups"
    names = {one[key].casefold(): one["id"] for one in catalogue for key in ("run_id", "id") if one[key]}
    near = dict.fromkeys(names[name] for name in difflib.get_close_matches(wanted.casefold(), names, n=6, cutoff=0.75))
    if near:
        return f"there is no backup {wanted}; did you mean {' or '.join(list(near)[:3])}?"
    return f"there is no backup {wanted}; the newest is {catalogue[0]['id']}"


def table(catalogue: t.Sequence[t.Mapping[str, t.Any]], elsewhere: t.Sequence[t.Mapping[str, t.Any]] = ()) -> str:
    """The catalogue for people: fixed width, one line a backup.

    Args:
        catalogue: of a folder.
        elsewhere: see add_copies.
    """
    if not catalogue and not elsewhere:
        return "no backups"
    if elsewhere:
        catalogue = sorted((*catalogue, *elsewhere), key=_by_age, reverse=True)
    columns: tuple[str, ...] = _COLUMNS
    cells = [_row(entry) for entry in catalogue]
    if any("copies" in entry for entry in catalogue):
        columns = (*_COLUMNS[:-1], _COPIES, _COLUMNS[-1])
        cells = [(*row[:-1], _describe_copies(entry), row[-1]) for row, entry in zip(cells, catalogue, strict=True)]
    rows = [columns, *(tuple(_printable(cell) for cell in row) for row in cells)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(entry: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    verified = entry["verified"]
    return (
        entry["id"],
        entry["node"],
        _minute(entry["started"], seconds=True),
        entry["mode"],
        size(entry["bytes"]),
        str(entry["documents"]) if entry["dumped"] else "-",
        f"{entry['downtime_seconds']:.0f} s" if entry["dumped"] else "-",
        # A backup that was good when it was verified is not good any more if files are missing.
        f"{verified['verdict']} {_minute(verified['at'])}".strip()
        if entry["complete"] or verified["verdict"] != "good"
        else "-",
        _state(entry),
    )


def _describe_copies(entry: t.Mapping[str, t.Any]) -> str:
    """The copies of a backup outside the archive directory, and the problems of copies."""
    return ", ".join(_describe_place(place, entry) for place in entry.get("copies", ())) or "-"


def _describe_place(place: t.Mapping[str, t.Any], entry: t.Mapping[str, t.Any]) -> str:
    told = _judge_place(place, entry)
    # A pin of the backup itself is in its state.
    if place["pin"] is not None and entry["pin"] is None:
        told = [*told, "pinned"]
    return f"{place['destination']} ({', '.join(told)})" if told else str(place["destination"])


def _judge_place(place: t.Mapping[str, t.Any], entry: t.Mapping[str, t.Any]) -> list[str]:
    if not place["complete"]:
        return ["not complete"]
    if place["archive_sha256"] != entry["archive_sha256"]:
        return ["another archive"]
    verdict = place["verified"]["verdict"]
    return [] if verdict == "good" else [str(verdict)]


def _state(entry: t.Mapping[str, t.Any]) -> str:
    pinned = _pinned(entry["pin"])
    if entry.get("only_copies"):
        # What is wrong with a copy is said beside its destination.
        return f"not in the archive directory{pinned}"
    if not entry["complete"]:
        return f"NOT COMPLETE: {'; '.join(entry['why'])}{pinned}"
    verified = entry["verified"]
    if verified["verdict"] == "bad":
        more = f" (and {verified['problems'] - 1} more)" if verified["problems"] > 1 else ""
        return f"BAD: {verified['problem']}{more}{pinned}"
    if entry["partial"]:
        return f"complete, but its run did not take all that it was to take{pinned}"
    return f"complete, dump not proved{pinned}" if entry["proof"] == "none" else f"complete{pinned}"


def _pinned(pin: t.Mapping[str, t.Any] | None) -> str:
    if pin is None:
        return ""
    return f", pinned until {pin['until'][:10]}" if pin["until"] else ", pinned"


def _minute(time: str, *, seconds: bool = False) -> str:
    return time.replace("T", " ")[: 19 if seconds else 16]


def _printable(text: str) -> str:
    # Names and texts come from files that any account may have written, so control characters for a terminal are
    # removed.
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def listing(nodes: t.Mapping[str, t.Mapping[str, t.Any]], now: str) -> dict[str, t.Any]:
    """The catalogues of a fleet, JSON-able.

    Args:
        nodes: host -> result of backup_info.
        now: UTC text.
    """
    return {
        "schema": SCHEMA,
        "listed": now,
        "nodes": {
            host: {
                "folder": result.get("folder", ""),
                "exists": bool(result.get("exists")),
                "error": str(result.get("message") or result.get("msg") or "no answer") if _went_wrong(result) else "",
                "foreign_files": result.get("foreign_files", 0),
                "backups": result.get("catalogue", []),
                "elsewhere": result.get("elsewhere", []),
            }
            for host, result in nodes.items()
        },
    }


def problems(
    listed: t.Mapping[str, t.Any],
    now: datetime,
    mode: str = "",
    max_age: int = 0,
    fleets: t.Mapping[str, t.Collection[str]] | None = None,
) -> list[tuple[str, str]]:
    """Alarms for the operator: (node or fleet, text) for bad backups, and for missing or too old ones.

    Args:
        listed: see listing. A node that did not answer is left out.
        mode: only backups of this mode; any when empty.
        max_age: seconds that the newest complete backup that is not bad may be old; any age when 0.
        fleets: name -> nodes, where one backup in a fleet is enough; else every node needs its own.
    """
    asked = {
        host: [one for one in node["backups"] if mode in ("", one["mode"])]
        for host, node in listed["nodes"].items()
        if not node["error"]
    }
    found = [
        (host, f"{one['id']} is bad: {one['verified']['problem']}")
        for host, backups in asked.items()
        for one in backups
        if one["verified"]["verdict"] == "bad"
    ]
    units = {host: [host] for host in asked} if fleets is None else fleets
    for unit, hosts in units.items():
        if not all(host in asked for host in hosts):
            continue
        fit = [
            one
            for host in hosts
            for one in asked[host]
            if one["complete"] and not one["partial"] and one["verified"]["verdict"] != "bad"
        ]
        what = f"{mode} backup" if mode else "backup"
        if not fit:
            found.append((unit, f"there is no good {what}: every one is incomplete or was found to be bad"))
        elif max_age:
            # After a run with a wrong clock, one that is dated in the future would be the newest one for as long.
            past = [one for one in fit if (_age(one["started"], now) or 0) >= -_CLOCK_OFF_SECONDS]
            if not past:
                found.append((unit, f"every good {what} is dated in the future"))
                continue
            newest = max(past, key=lambda one: str(one["started"]))
            age = _age(newest["started"], now)
            if age is None or age > max_age:
                old = "of an unknown age" if age is None else f"{duration(age)} old"
                found.append((unit, f"the newest {what}, {newest['id']}, is {old}; {duration(max_age)} are allowed"))
    return found


def _age(started: str, now: datetime) -> float | None:
    try:
        return (now - datetime.fromisoformat(started)).total_seconds()
    except (ValueError, TypeError):
        return None


def _went_wrong(result: t.Mapping[str, t.Any]) -> bool:
    return "catalogue" not in result or bool(result.get("failed") or result.get("unreachable"))


def listing_text(listed: t.Mapping[str, t.Any]) -> str:
    """The catalogues of a fleet for people, node by node."""
    blocks = []
    for host, node in listed["nodes"].items():
        backups, elsewhere = node["backups"], node["elsewhere"]
        if node["error"]:
            blocks.append(f"{host}: could not be asked: {_printable(' '.join(node['error'].split()))}")
            continue
        if not node["exists"] and not elsewhere:
            blocks.append(f"{host}  {node['folder']}: there is no such folder on this node, so no backup")
            continue
        good = sum(entry["complete"] and entry["verified"]["verdict"] == "good" for entry in backups)
        head = f"{host}  {node['folder']}: {counted(len(backups), 'backup')}, {good} of them complete and verified good"
        if node["foreign_files"]:
            head += f"; {node['foreign_files']} files that belong to no backup"
        if elsewhere:
            head += f"; {len(elsewhere)} at destinations only"
        blocks.append(f"{head}\n{table(backups, elsewhere)}")
    return "\n\n".join(blocks)
