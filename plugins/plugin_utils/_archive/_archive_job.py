# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The specs of the jobs of an archive (archive_job.ps1, verify_job.ps1, extract_job.ps1)."""

from __future__ import annotations

import secrets
import typing as t

from .._core import paths
from . import _manifest, _readme

Mapping = t.Mapping[str, t.Any]


def read_window(result: Mapping | None) -> Mapping | None:
    """The part of a window's result that an archive needs; None if there is no usable dump.

    If a window failed after a usable dump, that part is in its detail.
    """
    if not result:
        return None
    found = result.get("detail", {}) if result.get("failed") else result
    return found if found.get("is_usable") else None


def build_archive_spec(
    run: Mapping,
    node: Mapping,
    staging: paths.Staging,
    window: Mapping | None,
    configuration: Mapping | None,
    tool_version: str,
    mongodb: t.Sequence[Mapping] = (),
    **options: t.Any,
) -> dict[str, t.Any]:
    """The spec of an archive job.

    Args:
        run: the plan of the run (backup_plan).
        node: its part about this node.
        staging: the folder of its files.
        window: see read_window; None if nothing was dumped here.
        configuration: the result of config_export, which may have failed; None if that step did not run.
        tool_version: of this collection.
        mongodb: the result of mongodb_info about the servers that were dumped.
        options: compression, stored_extensions, on_change, again, set_aside of backup_archive.
    """
    taken = configuration if configuration and not configuration.get("failed") else None
    return {
        "run_id": run["run_id"],
        "source": staging.files,
        "staging": staging.folder,
        "folder": node["archive_folder"],
        "base_name": node["base_name"],
        "manifest": _manifest.of_archive(
            run, node, window, taken, tool_version, mongodb, missing=_missing(run, taken, configuration)
        ),
        "secrets_file": taken["secrets_file"] if taken else "",
        "readme": _readme.TEXT,
        # The folder of the programs that report versions; a record of an earlier version does not have this field.
        "mongodb_folder": node.get("bin_folder", "") if window and node["database_kind"] == "embedded" else "",
        "only_dump": window is not None and taken is None,
        "dump_prefix": paths.DUMP_PREFIX,
        # A list, because names of collections may differ by case alone, and on the node the keys of an object cannot.
        "reported": [{"namespace": name, "documents": count} for name, count in sorted(window["documents"].items())]
        if window
        else [],
        **options,
    }


def build_verify_spec(
    folder: str,
    base_name: str,
    stamp: str,
    run_id: str = "",
    staging: str = "",
    keep_staging: bool = False,
    place: Mapping | None = None,
) -> dict[str, t.Any]:
    """The spec of a job that verifies an archive.

    Args:
        folder, base_name: of the archive.
        stamp: of the verdict.
        run_id: of the run that verifies it, "" for none.
        staging: the folder with the files of the archive, which is deleted if the archive is good; "" for none.
        keep_staging: staging is not deleted.
        place: the destination of the archive, with its account; None for the archive directory.
    """
    return {
        "run_id": run_id,
        "folder": folder,
        "base_name": base_name,
        "stamp": stamp,
        "staging": staging,
        "keep_staging": keep_staging,
        "place": dict(place) if place else None,
    }


def verify_job_id(base_name: str) -> str:
    """A name for a job that verifies an archive. Several may run at the same time."""
    return f"{base_name}-verify-{secrets.token_hex(2)}"


def build_extract_spec(
    folder: str,
    base_name: str,
    target: str,
    free_reserve: int,
    run_id: str = "",
    *,
    accept_access: bool = False,
    place: Mapping | None = None,
) -> dict[str, t.Any]:
    """The spec of a job that extracts an archive.

    Args:
        folder, base_name: of the archive.
        target: the folder for its files; new, or of an earlier extraction.
        free_reserve: bytes that stay free on the drive of the target.
        run_id: of the run that extracts it, "" for none.
        accept_access: access lists of others on the target are accepted (alteryx_preflight_folder_trust).
        place: as of build_verify_spec.
    """
    return {
        "run_id": run_id,
        "folder": folder,
        "base_name": base_name,
        "target": target,
        "free_reserve": free_reserve,
        "accept_access": accept_access,
        "place": dict(place) if place else None,
    }


def extract_job_id(base_name: str) -> str:
    """A name for a job that extracts an archive."""
    return f"{base_name}-extract-{secrets.token_hex(2)}"


def _missing(run: Mapping, taken: Mapping | None, configuration: Mapping | None) -> list[dict[str, str]]:
    """The parts that the run was to back up on this node and that are not in its archive: what, and why."""
    if not run["exports_configuration"] or taken:
        return []
    why = configuration.get("message", "it failed") if configuration else "the run ended before it was taken"
    return [{"what": "configuration", "why": str(why)}]
