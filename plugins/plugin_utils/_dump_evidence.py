# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a dump what it claims to be? Judged by what lies on disk and by what the tool printed, never by an exit code alone."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from urllib.parse import unquote

# A dump of any Alteryx Server has these two; AlteryxGallery_Lucene may be empty or absent on new versions.
REQUIRED_DATABASES = ("AlteryxService", "AlteryxGallery")

_FAILURE = re.compile(
    r"(EMongoDump failed[^\r\n]*|^.*\bFailed:[^\r\n]*|^.*\berror (?:dumping|writing|connecting|reading)\b[^\r\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
# Tools before 100.x print the name bare, later ones in backticks, and one document in the singular.
_DONE = re.compile(r"done dumping [`']?(?P<name>[^\s`']+)[`']? \((?P<count>\d+) documents?\)")


@dataclass(frozen=True)
class DumpEvidence:
    """What a dump shows: problems (empty when it counts), databases found, documents the tool reported by namespace, sum of bytes."""

    problems: tuple[str, ...]
    databases: tuple[str, ...]
    reported: t.Mapping[str, int]
    bytes: int


def reported_counts(output: str) -> dict[str, int]:
    """Namespace -> documents, as mongodump printed it."""
    return {found["name"]: int(found["count"]) for found in _DONE.finditer(output)}


def judge(files: t.Mapping[str, int], output: str, exit_code: int, service: str = "AlteryxService", gallery: str = "AlteryxGallery") -> DumpEvidence:
    """Judges a dump.

    Args:
        files: path relative to the dump folder, with /, -> size in bytes.
        output: everything the tool printed.
        exit_code: of the tool; documented nowhere, so only one sign among others.
        service, gallery: names of the two databases that must be there; a self-managed MongoDB may name them otherwise.
    """
    problems: list[str] = []
    if found := _FAILURE.search(output):
        problems.append(f"the tool said: {found.group(0).strip()}")
    if exit_code != 0:
        problems.append(f"the tool ended with exit code {exit_code}")
    databases = sorted({path.split("/")[0] for path in files if "/" in path})
    total = sum(files.values())
    counts = reported_counts(output)
    files = dict(_plain(path, size, counts) for path, size in files.items())
    bson = {path: size for path, size in files.items() if path.endswith(".bson")}
    if not bson:
        problems.append("there is no .bson file in the dump folder")
    for database in (service, gallery):
        if bson and database not in databases:
            problems.append(f"the database {database} is not in the dump")
    for path in sorted(bson):
        # oplog.bson and the like stand beside the databases and have no metadata.
        if "/" in path and f"{path[: -len('.bson')]}.metadata.json" not in files:
            problems.append(f"{path} has no metadata file")
    if gallery in databases and not bson.get(f"{gallery}/users.bson"):
        problems.append(f"{gallery}/users.bson is empty or absent")
    if service in databases and not any(size for path, size in bson.items() if path.startswith(f"{service}/AS_")):
        problems.append(f"every AS_ collection of {service} is empty or absent")
    for namespace in sorted(counts):
        database, _, collection = namespace.partition(".")
        path = f"{database}/{collection}.bson"
        if counts[namespace] and not bson.get(path):
            problems.append(f"{counts[namespace]} documents of {namespace} were reported, but {path} is empty or absent")
    return DumpEvidence(tuple(problems), tuple(databases), counts, total)


def _plain(path: str, size: int, counts: t.Mapping[str, int]) -> tuple[str, int]:
    """Name and size that a file of the dump would have without percent-encoding and compression."""
    path = unquote(path)
    if not path.endswith(".gz"):
        return path, size
    path = path.removesuffix(".gz")
    # A compressed file shows by its size not even whether anything is in it. What it really holds is counted when it is archived.
    empty = path.endswith(".bson") and not counts.get(path.removesuffix(".bson").replace("/", ".", 1))
    return path, 0 if empty else size
