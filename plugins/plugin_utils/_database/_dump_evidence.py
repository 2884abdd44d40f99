# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks whether a dump is complete, by its files on the disk and by the output of the tool, never by an exit code
alone."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from urllib.parse import unquote

_FAILURE = re.compile(
    r"(EMongoDump failed[^\r\n]*|^.*\bFailed:[^\r\n]*|^.*\berror (?:dumping|writing|connecting|reading)\b[^\r\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
# Tools before 100.x print the name bare, later ones in backticks, and one document in the singular.
_DONE = re.compile(r"done dumping [`']?(?P<name>[^\s`']+)[`']? \((?P<count>\d+) documents?\)")
# The characters that replace letters that could not be decoded or encoded.
_UNREADABLE = re.compile("[\ufffd?]+")


@dataclass(frozen=True)
class LastDump:
    """The newest complete backup on the node that holds a dump.

    Args:
        name: of the backup.
        collections: namespace (database.collection) -> documents, counted when that backup was archived.
    """

    name: str
    collections: t.Mapping[str, int]


@dataclass(frozen=True)
class DumpEvidence:
    """The evidence about a dump.

    Args:
        problems: why the dump is not usable; empty if it is.
        remarks: warnings about a usable dump.
        databases: found on disk.
        reported: namespace -> documents, as the tool reported them.
        bytes: sum of the sizes of all files.
        proof: one of PROOFS.
        proof_text: the same in a sentence.
    """

    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    databases: tuple[str, ...]
    reported: t.Mapping[str, int]
    bytes: int
    proof: str
    proof_text: str


_UNCOUNTED = "the tool did not report the number of documents of every collection"

PROOFS = ("counts", "compared", "none")
"""counts: the tool reported the number of documents of every collection; each is compared with its file when the dump
is archived. compared: no counts; every collection of the last backup is there. none: no counts, and no backup to
compare with."""


def reported_counts(output: str) -> dict[str, int]:
    """Namespace -> documents, as mongodump printed it."""
    return {found["name"]: int(found["count"]) for found in _DONE.finditer(output)}


def _by_file(counts: t.Mapping[str, int], files: t.Collection[str]) -> dict[str, int]:
    """The same counts under the names of files.

    emongodump may print the text of its tools in a code page. Then some letters cannot be decoded, and the count
    belongs to the only file whose name matches the other letters.
    """
    plain = {unquote(path).removesuffix(".gz") for path in files}
    found = {_namespace(path) for path in plain if path.endswith(".bson")}
    unnamed = found - counts.keys()
    told = dict(counts)
    for namespace in [each for each in counts if each not in found and _UNREADABLE.search(each)]:
        like = re.compile(".+".join(re.escape(part) for part in _UNREADABLE.split(namespace)))
        alike = [each for each in unnamed if like.fullmatch(each)]
        if len(alike) == 1:
            told[alike[0]] = told.pop(namespace)
            unnamed.discard(alike[0])
    return told


def judge(
    files: t.Mapping[str, int],
    output: str,
    exit_code: int,
    service: str = "AlteryxService",
    gallery: str = "AlteryxGallery",
    *,
    vendor: bool = False,
    accepted_exit_codes: t.Collection[int] = (),
    last: LastDump | None = None,
    removed: t.Collection[str] = (),
) -> DumpEvidence:
    """Judges a dump.

    Args:
        files: path relative to the dump folder, with /, -> size in bytes.
        output: everything the tool printed, and the text of its logs in the dump folder.
        exit_code: of the tool.
        service, gallery: names of the two databases that must be there; they may have other names in a self-managed
            MongoDB.
        vendor: the tool is AlteryxService.exe emongodump. Neither its exit codes nor its output are documented, so
            another code than 0 does not count against complete evidence. The codes of mongodump are documented: 0 or
            failed.
        accepted_exit_codes: further codes of emongodump that the operator knows to mean success.
        last: the last backup with a dump, for a comparison if the tool reported no counts; None if there is no such
            backup.
        removed: namespaces of the last backup that were removed on purpose.
    """
    databases = sorted({path.split("/")[0] for path in files if "/" in path})
    total = sum(files.values())
    counts = _by_file(reported_counts(output), files)
    plain = dict(_plain(path, size, counts) for path, size in files.items())
    bson = {path: size for path, size in plain.items() if path.endswith(".bson")}
    problems = _lacking(plain, bson, databases, counts, service, gallery)
    uncounted = [path for path in bson if "/" in path and _namespace(path) not in counts]
    complete = bool(counts) and not uncounted and not problems
    said = [f"the tool said: {found.group(0).strip()}"] if (found := _FAILURE.search(output)) else []
    remarks = []
    if exit_code != 0:
        ended = f"the tool ended with exit code {exit_code}"
        if vendor and exit_code in accepted_exit_codes:
            remarks.append(f"{ended}, which alteryx_window_emongodump_exit_codes lists as success")
        elif vendor and complete and not said:
            remarks.append(f"{ended}, but it reported the documents of every collection, and the dump holds them")
        else:
            said.append(ended)
    proof, proof_text = "counts", "the tool reported the number of documents of every collection"
    if not complete and not problems:
        missing, proof, proof_text = _compare(bson, last, (service, gallery), removed)
        problems += missing
        if proof == "none":
            remarks.append(f"the dump is not proved: {proof_text}")
    return DumpEvidence((*said, *problems), tuple(remarks), tuple(databases), counts, total, proof, proof_text)


def _lacking(
    files: t.Mapping[str, int],
    bson: t.Mapping[str, int],
    databases: t.Collection[str],
    counts: t.Mapping[str, int],
    service: str,
    gallery: str,
) -> list[str]:
    """The missing parts: those that every dump of an Alteryx Server has, and those that the tool reported."""
    problems = [] if bson else ["there is no .bson file in the dump folder"]
    problems += [
        f"the database {database} is not in the dump"
        for database in (service, gallery)
        if bson and database not in databases
    ]
    # Files such as oplog.bson are beside the folders of the databases and have no metadata.
    problems += [
        f"{path} has no metadata file"
        for path in sorted(bson)
        if "/" in path and f"{path.removesuffix('.bson')}.metadata.json" not in files
    ]
    if gallery in databases and not bson.get(f"{gallery}/users.bson"):
        problems.append(f"{gallery}/users.bson is empty or absent")
    if service in databases and not any(size for path, size in bson.items() if path.startswith(f"{service}/AS_")):
        problems.append(f"every AS_ collection of {service} is empty or absent")
    for namespace in sorted(counts):
        path = _bson_file(namespace)
        if counts[namespace] and not bson.get(path):
            problems.append(
                f"{counts[namespace]} documents of {namespace} were reported, but {path} is empty or absent"
            )
    return problems


def _compare(
    bson: t.Mapping[str, int], last: LastDump | None, databases: t.Collection[str], removed: t.Collection[str]
) -> tuple[list[str], str, str]:
    """Compares a dump without counts with the last backup; returns problems, proof and the proof in a sentence."""
    if last is None:
        return [], "none", f"{_UNCOUNTED}, and there is no earlier backup to compare with"
    missing = [
        f"the dump lacks the collection {namespace}, which had {documents} documents in {last.name}"
        for namespace, documents in sorted(last.collections.items())
        if documents
        and namespace.partition(".")[0] in databases
        and namespace not in removed
        and not bson.get(_bson_file(namespace))
    ]
    return missing, "compared", f"{_UNCOUNTED}; every collection of {last.name} is in the dump"


def _bson_file(namespace: str) -> str:
    """The file of a dump with the documents of a namespace; the inverse of _namespace."""
    return f"{namespace.replace('.', '/', 1)}.bson"


def _namespace(bson_file: str) -> str:
    return bson_file.removesuffix(".bson").replace("/", ".", 1)


def _plain(path: str, size: int, counts: t.Mapping[str, int]) -> tuple[str, int]:
    """Name and size that a file of the dump would have without percent-encoding and compression."""
    path = unquote(path)
    if not path.endswith(".gz"):
        return path, size
    path = path.removesuffix(".gz")
    # The size of a compressed file does not show whether it has documents. They are counted when the file is archived.
    empty = path.endswith(".bson") and not counts.get(_namespace(path))
    return path, 0 if empty else size
