# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dump counts only when the disk and the tool both show that it is whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _dump_evidence as de

NEEDED = ("AlteryxGallery/users", "AlteryxService/AS_Queue")
COLLECTIONS = st.sampled_from(
    ["AS_Queue", "AS_Results", "AS_Failed", "users", "fs.chunks", "system.version", "x", "appInfos", "locks_2"]
)
EXTRA = st.dictionaries(
    st.tuples(st.sampled_from(["AlteryxService", "AlteryxGallery", "AlteryxGallery_Lucene", "admin"]), COLLECTIONS).map(
        "/".join
    ),
    st.integers(0, 10**12),
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
    assert (
        {"AlteryxService", "AlteryxGallery"}
        <= set(evidence.databases)
        == {path.partition("/")[0] for path in collections}
    )
    assert evidence.bytes == sum(collections.values()) + 150 * len(collections)
    assert evidence.reported == {path.replace("/", ".", 1): -(-size // 100) for path, size in collections.items()}


@given(EXTRA, st.data())
def test_a_dump_that_lacks_any_one_file_of_a_reported_collection_does_not_count(
    extra: dict[str, int], data: st.DataObject
) -> None:
    collections = {path: size + 1 for path, size in {**extra, **WHOLE}.items()}
    files = dump(collections)
    del files[data.draw(st.sampled_from(sorted(files)))]
    assert de.judge(files, said(collections), 0).problems


@given(EXTRA, st.data())
def test_a_collection_emptied_after_the_tool_reported_documents_does_not_count(
    extra: dict[str, int], data: st.DataObject
) -> None:
    collections = {path: size + 1 for path, size in {**extra, **WHOLE}.items()}
    files = dump(collections)
    files[data.draw(st.sampled_from(sorted(collections))) + ".bson"] = 0
    assert any("empty or absent" in problem for problem in de.judge(files, said(collections), 0).problems)


@pytest.mark.parametrize(
    "line",
    [
        "EMongoDump failed", "emongodump FAILED: no such folder",
        "2026-09-01T02:00:00.000+0000\tFailed: error writing data for collection",
        "error connecting to host: could not connect to server", "2026\terror dumping metadata: x",
    ],
)  # fmt: skip
def test_failure_words_outrank_exit_code_and_files(line: str) -> None:
    evidence = de.judge(dump(WHOLE), f"{said(WHOLE)}\r\n{line}\r\nmore", 0)
    assert len(evidence.problems) == 1
    assert evidence.problems[0].startswith("the tool said: ")
    assert line.rpartition("\t")[2] in evidence.problems[0]
    assert "more" not in evidence.problems[0]


def test_a_collection_name_that_contains_failed_is_not_a_failure() -> None:
    collections = {**WHOLE, "AlteryxService/AS_Failed": 100, "AlteryxGallery/failedLogins": 100}
    assert de.judge(dump(collections), said(collections), 0).problems == ()


ODD_CODES = st.integers(-(2**31), 2**32 - 1).filter(bool)
LAST = de.LastDump("ServerBackup_Full_20260831_020000", {"AlteryxService.AS_Queue": 7, "AlteryxGallery.users": 3})


@given(ODD_CODES)
def test_a_bad_exit_code_is_named(code: int) -> None:
    assert de.judge(dump(WHOLE), "", code).problems == (f"the tool ended with exit code {code}",)
    assert de.judge(dump(WHOLE), said(WHOLE), code).problems == (f"the tool ended with exit code {code}",)


@given(EXTRA, ODD_CODES)
def test_an_odd_code_of_emongodump_beside_complete_evidence_is_a_remark(extra: dict[str, int], code: int) -> None:
    collections = {**extra, **WHOLE}
    evidence = de.judge(dump(collections), said(collections), code, vendor=True)
    assert evidence.problems == ()
    assert (evidence.proof, len(evidence.remarks)) == ("counts", 1)
    assert f"exit code {code}," in evidence.remarks[0]


@given(EXTRA, ODD_CODES, st.data())
def test_an_odd_code_of_emongodump_beside_anything_less_is_a_failed_dump(
    extra: dict[str, int], code: int, data: st.DataObject
) -> None:
    collections = {**extra, **WHOLE}
    uncounted = data.draw(st.sampled_from(sorted(collections)))
    counted = {path: size for path, size in collections.items() if path != uncounted}
    for output in ("", said(counted)):
        evidence = de.judge(dump(collections), output, code, vendor=True, last=LAST)
        assert evidence.problems == (f"the tool ended with exit code {code}",)
    listed = de.judge(dump(collections), "", code, vendor=True, accepted_exit_codes=[code], last=LAST)
    assert listed.problems == ()
    assert "alteryx_window_emongodump_exit_codes" in listed.remarks[0]


def test_an_odd_code_beside_half_a_dump_fails_for_both_reasons() -> None:
    half = {"AlteryxService/AS_Queue": 5000}
    problems = de.judge(dump(half), "", 2, vendor=True).problems
    assert problems[0] == "the tool ended with exit code 2"
    assert "the database AlteryxGallery is not in the dump" in problems


def test_without_counts_the_collections_of_the_last_backup_are_looked_for() -> None:
    whole = de.judge(dump(WHOLE), "", 0, vendor=True, last=LAST)
    assert (whole.problems, whole.proof, whole.remarks) == ((), "compared", ())
    assert LAST.name in whole.proof_text
    more = de.LastDump(
        LAST.name, {**LAST.collections, "AlteryxGallery.appInfos": 4, "Other.x": 1, "AlteryxService.gone": 0}
    )
    lacking = de.judge(dump(WHOLE), "", 0, vendor=True, last=more)
    assert lacking.problems == (
        f"the dump lacks the collection AlteryxGallery.appInfos, which had 4 documents in {LAST.name}",
    )
    empty = de.judge(dump({**WHOLE, "AlteryxGallery/appInfos": 0}), "", 0, vendor=True, last=more)
    assert empty.problems == lacking.problems
    removed = de.judge(dump(WHOLE), "", 0, vendor=True, last=more, removed=["AlteryxGallery.appInfos"])
    assert (removed.problems, removed.proof) == ((), "compared")


def test_without_counts_and_without_a_last_backup_nothing_is_proved() -> None:
    evidence = de.judge(dump(WHOLE), "", 0, vendor=True)
    assert (evidence.problems, evidence.proof) == ((), "none")
    assert evidence.remarks == (f"the dump is not proved: {evidence.proof_text}",)


def test_a_collection_that_was_counted_needs_no_last_backup() -> None:
    evidence = de.judge(dump(WHOLE), said(WHOLE), 0, vendor=True)
    assert (evidence.proof, evidence.remarks) == ("counts", ())


@pytest.mark.parametrize("files", [{}, {"AlteryxService/AS_Queue.metadata.json": 10}, {"prelude.json": 10}])
def test_a_folder_without_documents_is_no_dump(files: dict[str, int]) -> None:
    assert "there is no .bson file in the dump folder" in de.judge(files, "", 0).problems


@pytest.mark.parametrize("database", ["AlteryxService", "AlteryxGallery"])
def test_an_absent_database_is_named(database: str) -> None:
    files = {path: size for path, size in dump(WHOLE).items() if not path.startswith(database)}
    assert de.judge(files, "", 0).problems == (f"the database {database} is not in the dump",)


@pytest.mark.parametrize(
    ("path", "word"), [("AlteryxGallery/users.bson", "users"), ("AlteryxService/AS_Queue.bson", "AS_")]
)
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


IN_DATABASES = st.tuples(
    st.sampled_from(["AlteryxService/", "AlteryxGallery/", "x/", ""]),
    st.sampled_from(["users", "AS_Queue", "", "/", "é"]),
)
PATHS = st.tuples(IN_DATABASES.map("".join), st.sampled_from([".bson", ".metadata.json", ""])).map("".join)


@given(
    st.dictionaries(PATHS, st.integers(0, 100)),
    st.sampled_from(["", "noise", "done dumping x.y (1 document)"]),
    st.sampled_from([0, 1]),
)
def test_nothing_counts_without_users_and_service_collections(files: dict[str, int], output: str, code: int) -> None:
    evidence = de.judge(files, output, code)
    filled = {path for path, size in files.items() if size}
    if not evidence.problems:
        assert code == 0
        assert "AlteryxGallery/users.bson" in filled
        assert any(path.startswith("AlteryxService/AS_") for path in filled)


@pytest.mark.parametrize("code_page", ["cp850", "cp437", "cp1252", "latin-1"])
@pytest.mark.parametrize("name", ["AS_Größe", "Ümlaute", "AS_é", "AS_Preis€"])
def test_a_name_that_came_in_a_code_page_is_that_of_the_file_that_is_like_it(name: str, code_page: str) -> None:
    collections = {**WHOLE, f"AlteryxService/{name}": 300}
    # As Windows writes it, and as the node reads it.
    read = said(collections).encode(code_page, "replace").decode("utf-8", "replace")
    evidence = de.judge(dump(collections), read, 0, vendor=True)
    assert (evidence.problems, evidence.proof) == ((), "counts")
    assert evidence.reported[f"AlteryxService.{name}"] == 3


def test_a_count_whose_name_matches_two_files_is_assigned_to_neither() -> None:
    collections = {**WHOLE, "AlteryxService/AS_ä": 300, "AlteryxService/AS_ö": 300}
    read = said(collections).encode("cp850").decode("utf-8", "replace")
    assert any("AS_\ufffd" in problem for problem in de.judge(dump(collections), read, 0, vendor=True).problems)
    # A file that is not there is not found in another.
    files = {path: size for path, size in dump(collections).items() if not path.startswith("AlteryxService/AS_")}
    assert de.judge(files | dump({"AlteryxService/AS_Queue": 5000}), read, 0, vendor=True).problems
