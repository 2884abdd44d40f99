# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump counts only when the disk and the tool both show that it is whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils import _dump_evidence as de

NEEDED = ("AlteryxGallery/users", "AlteryxService/AS_Queue")
COLLECTIONS = st.sampled_from(["AS_Queue", "AS_Results", "AS_Failed", "users", "fs.chunks", "system.version", "x", "appInfos", "locks_2"])
EXTRA = st.dictionaries(
    st.tuples(st.sampled_from(["AlteryxService", "AlteryxGallery", "AlteryxGallery_Lucene", "admin"]), COLLECTIONS).map("/".join), st.integers(0, 10**12)
)


def dump(collections: dict[str, int]) -> dict[str, int]:
    """Files of a dump with these collections."""
    files: dict[str, int] = {}
    for path, size in collections.items():
        files[f"{path}.bson"] = size
        files[f"{path}.metadata.json"] = 150
    return files


def said(collections: dict[str, int], quote: str = "") -> str:
    """What the tool prints about them, one document a hundred bytes."""
    lines = []
    for path, size in collections.items():
        count = -(-size // 100)
        name = quote + path.replace("/", ".", 1) + quote
        lines += [
            f"2026-09-01T02:00:01.000+0000\twriting {name} to out/{path}.bson",
            f"2026-09-01T02:00:02.000+0000\tdone dumping {name} ({count} {'document' if count == 1 else 'documents'})",
        ]
    return "\r\n".join(lines)


WHOLE = dict.fromkeys(NEEDED, 5000)


@given(EXTRA, st.integers(1, 10**12), st.sampled_from(["", "`"]))
def test_a_whole_dump_has_no_problem_and_is_counted(extra: dict[str, int], size: int, quote: str) -> None:
    collections = {**extra, **dict.fromkeys(NEEDED, size)}
    evidence = de.judge(dump(collections), said(collections, quote), 0)
    assert evidence.problems == ()
    assert {"AlteryxService", "AlteryxGallery"} <= set(evidence.databases) == {path.partition("/")[0] for path in collections}
    assert evidence.bytes == sum(collections.values()) + 150 * len(collections)
    assert evidence.reported == {path.replace("/", ".", 1): -(-size // 100) for path, size in collections.items()}


@given(EXTRA, st.data())
def test_a_dump_that_lacks_any_one_file_of_a_reported_collection_does_not_count(extra: dict[str, int], data: st.DataObject) -> None:
    collections = {path: size + 1 for path, size in {**extra, **WHOLE}.items()}
    files = dump(collections)
    del files[data.draw(st.sampled_from(sorted(files)))]
    assert de.judge(files, said(collections), 0).problems


@given(EXTRA, st.data())
def test_a_collection_emptied_after_the_tool_reported_documents_does_not_count(extra: dict[str, int], data: st.DataObject) -> None:
    collections = {path: size + 1 for path, size in {**extra, **WHOLE}.items()}
    files = dump(collections)
    files[data.draw(st.sampled_from(sorted(collections))) + ".bson"] = 0
    assert any("empty or absent" in problem for problem in de.judge(files, said(collections), 0).problems)


@pytest.mark.parametrize(
    "line",
    [
        "EMongoDump failed", "emongodump FAILED: no such folder", "2026-09-01T02:00:00.000+0000\tFailed: error writing data for collection",
        "error connecting to host: could not connect to server", "2026\terror dumping metadata: x",
    ],
)  # fmt: skip
def test_failure_words_outrank_exit_code_and_files(line: str) -> None:
    evidence = de.judge(dump(WHOLE), f"{said(WHOLE)}\r\n{line}\r\nmore", 0)
    assert len(evidence.problems) == 1
    assert evidence.problems[0].startswith("the tool said: ")
    assert line.rpartition("\t")[2] in evidence.problems[0]
    assert "more" not in evidence.problems[0]


def test_a_collection_named_like_a_failure_is_none() -> None:
    collections = {**WHOLE, "AlteryxService/AS_Failed": 100, "AlteryxGallery/failedLogins": 100}
    assert de.judge(dump(collections), said(collections), 0).problems == ()


@given(st.integers(-(2**31), 2**32 - 1).filter(bool))
def test_a_bad_exit_code_is_named(code: int) -> None:
    assert de.judge(dump(WHOLE), "", code).problems == (f"the tool ended with exit code {code}",)


@pytest.mark.parametrize("files", [{}, {"AlteryxService/AS_Queue.metadata.json": 10}, {"prelude.json": 10}])
def test_a_folder_without_documents_is_no_dump(files: dict[str, int]) -> None:
    assert "there is no .bson file in the dump folder" in de.judge(files, "", 0).problems


@pytest.mark.parametrize("database", de.REQUIRED_DATABASES)
def test_an_absent_database_is_named(database: str) -> None:
    files = {path: size for path, size in dump(WHOLE).items() if not path.startswith(database)}
    assert de.judge(files, "", 0).problems == (f"the database {database} is not in the dump",)


@pytest.mark.parametrize(("path", "word"), [("AlteryxGallery/users.bson", "users"), ("AlteryxService/AS_Queue.bson", "AS_")])
def test_a_server_without_users_or_service_collections_does_not_count(path: str, word: str) -> None:
    (problem,) = de.judge({**dump(WHOLE), path: 0}, "", 0).problems
    assert word in problem


def test_one_filled_service_collection_is_enough() -> None:
    assert de.judge(dump({**WHOLE, "AlteryxService/AS_Results": 0}), "", 0).problems == ()


def test_a_collection_without_metadata_is_named() -> None:
    files = dump(WHOLE)
    del files["AlteryxGallery/users.metadata.json"]
    assert de.judge(files, "", 0).problems == ("AlteryxGallery/users.bson has no metadata file",)


def test_the_oplog_beside_the_databases_needs_no_metadata() -> None:
    assert de.judge({**dump(WHOLE), "oplog.bson": 10}, "", 0).problems == ()


def test_a_collection_reported_empty_may_be_empty() -> None:
    collections = {**WHOLE, "AlteryxGallery/sessions": 0}
    assert de.judge(dump(collections), said(collections), 0).problems == ()


IN_DATABASES = st.tuples(st.sampled_from(["AlteryxService/", "AlteryxGallery/", "x/", ""]), st.sampled_from(["users", "AS_Queue", "", "/", "é"]))
PATHS = st.tuples(IN_DATABASES.map("".join), st.sampled_from([".bson", ".metadata.json", ""])).map("".join)


@given(st.dictionaries(PATHS, st.integers(0, 100)), st.sampled_from(["", "noise", "done dumping x.y (1 document)"]), st.sampled_from([0, 1]))
def test_nothing_counts_without_users_and_service_collections(files: dict[str, int], output: str, code: int) -> None:
    evidence = de.judge(files, output, code)
    filled = {path for path, size in files.items() if size}
    if not evidence.problems:
        assert code == 0
        assert "AlteryxGallery/users.bson" in filled
        assert any(path.startswith("AlteryxService/AS_") for path in filled)
