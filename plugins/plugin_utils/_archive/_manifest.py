# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of an archive and of a backup set: JSON with a versioned schema."""

from __future__ import annotations

import json
import typing as t

SCHEMA = 1


def of_archive(
    run: t.Mapping[str, t.Any],
    node: t.Mapping[str, t.Any],
    window: t.Mapping[str, t.Any] | None,
    configuration: t.Mapping[str, t.Any] | None,
    tool_version: str,
    servers: t.Sequence[t.Mapping[str, t.Any]] = (),
    missing: t.Sequence[t.Mapping[str, str]] = (),
) -> str:
    """The text of a manifest, to which the node adds files, file_count, file_bytes, its end time and, for a dump, the
    collections that it has read. Only the node knows the versions of the embedded MongoDB.

    Args:
        run: the plan of the run (backup_plan).
        node: its part about this node.
        window: the result of database_window or database_dump, None if nothing was dumped here.
        configuration: the result of config_export, None when no files were taken here.
        tool_version: version of this collection.
        servers: the result of mongodb_info about the servers that were dumped.
        missing: the parts that the run was to back up on this node and did not: what, and why.
    """
    manifest: dict[str, t.Any] = {
        "schema": SCHEMA,
        "tool": f"alteryx_ops.server_backup {tool_version}",
        "run_id": run["run_id"],
        "mode": run["mode"],
        "fleet": run["fleet"],
        "node": node["name"],
        "computer": node["computer"],
        # The record of a dump that an older version has made does not have it.
        "machine_id": node.get("machine_id", ""),
        "roles": list(node["roles"]),
        "started": run["started"],
        "ended": "@@ended@@",
        "alteryx_version": node["version"],
        "service": {key: node["service"][key] for key in ("name", "account", "start_type", "state")},
        "database": _database(node, window, servers),
        "configuration": _configuration(configuration),
        "secrets": _secrets(run, configuration),
        "status": "partial" if missing else "complete",
        "missing": [dict(each) for each in missing],
        "file_count": "@@file_count@@",
        "file_bytes": "@@file_bytes@@",
        "files": "@@files@@",
    }
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def _database(
    node: t.Mapping[str, t.Any], window: t.Mapping[str, t.Any] | None, servers: t.Sequence[t.Mapping[str, t.Any]]
) -> dict[str, t.Any] | None:
    if window is None:
        return None
    return {
        "kind": node["database_kind"],
        "method": _method(node["dump"], "downtime" in window),
        "servers": [{key: server[key] for key in ("shown", "version")} for server in servers],
        **_versions(node, servers),
        **_folders(node),
        "point_in_time": node["dump"]["point_in_time"],
        "why": node["dump"]["why"],
        "proof": window["proof"],
        "proof_text": window["proof_text"],
        "remarks": window["remarks"],
        # Only for a dump that another run made.
        **{key: window[key] for key in ("dump_of_run", "data_as_of") if key in window},
        "databases": window["databases"],
        "documents": window["documents"],
        "collections": "@@collections@@",
        "bytes": window["dump_bytes"],
        "downtime_seconds": window["downtime"]["total"] if "downtime" in window else 0,
    }


def _versions(node: t.Mapping[str, t.Any], servers: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, str]:
    if node["database_kind"] == "embedded":
        return {"mongodb_version": "@@mongodb_version@@", "tool_version": "@@tool_version@@"}
    found = dict.fromkeys(server["version"] for server in servers)
    return {"mongodb_version": ", ".join(found), "tool_version": node["dump"]["tool_version"]}


def _folders(node: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The folder of the embedded MongoDB. A restore needs it if the settings of the server can no longer be read."""
    if node["database_kind"] != "embedded":
        return {}
    # The plan of a run of an earlier version does not have them.
    return {key: node.get(key, "") for key in ("data_folder", "bin_folder")}


def _method(dump: t.Mapping[str, t.Any], stopped: bool) -> str:
    tool = f"{dump['method']} {dump['tool_version']}".strip()
    return f"{tool}, service {'stopped' if stopped else 'running'}"


def _configuration(configuration: t.Mapping[str, t.Any] | None) -> list[dict[str, t.Any]] | None:
    if configuration is None:
        return None
    found = []
    for entry in configuration["files"]:
        kept = {key: entry[key] for key in ("id", "source", "present", "files", "bytes")}
        if entry["left_out"]:
            kept["left_out"] = [{key: left[key] for key in ("path", "why")} for left in entry["left_out"]]
        found.append(kept)
    return found


def _secrets(run: t.Mapping[str, t.Any], configuration: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    if configuration is None:
        taken = run["exports_configuration"]
        why = "the configuration is missing" if taken else "database mode takes no configuration"
        return {"included": False, "why": why}
    if run["secrets"] == "skip":
        return {
            "included": False,
            "why": (
                "alteryx_configuration_secrets is skip: controller token and MongoDB passwords are NOT in this backup"
            ),
        }
    if not configuration["secrets_file"]:
        return {"included": False, "why": "only a controller has them"}
    return {
        "included": True,
        "items": list(configuration["secrets"]),
        "recipients": [recipient["sha256"] for recipient in run["recipients"]],
    }


def of_set(run: t.Mapping[str, t.Any], outcome: t.Mapping[str, t.Any], verdict: str) -> str:
    """The text of the set manifest: the run over all nodes, with archives, hashes, downtime and verdicts."""
    manifest = {
        "schema": SCHEMA,
        "run_id": run["run_id"],
        "mode": run["mode"],
        "fleet": run["fleet"],
        "started": run["started"],
        "downtime": outcome["downtime"],
        "nodes": {
            name: {key: node[key] for key in ("roles", "archive", "archive_bytes", "archive_sha256", "verdict")}
            for name, node in outcome["nodes"].items()
        },
        "verdict": verdict,
    }
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
