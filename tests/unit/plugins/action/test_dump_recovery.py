# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a dump that a dead run has left: archived, removed, or kept and named."""

from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.action.dump_recovery import ActionModule
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import paths
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import REASONS, Reason, StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _dump_record
from tests.unit.plugins import samples
from tests.unit.plugins.action import harness

ENDED = "2026-09-01T02:04:11.000Z"
NOW = "2026-09-01T03:04:11.000Z"
ARGUMENTS = {"runs": [samples.RUN_ID], "staging_directory": samples.STAGING}
FILES = {
    "AlteryxGallery/users.bson": 100, "AlteryxGallery/users.metadata.json": 10, "AlteryxService/AS_Queue.bson": 50,
    "AlteryxService/AS_Queue.metadata.json": 10,
}  # fmt: skip
OUTPUT = "done dumping AlteryxGallery.users (3 documents)\ndone dumping AlteryxService.AS_Queue (1 document)"


def record(reason: str = "", *, output: str = OUTPUT, mode: str = "full", **changes: t.Any) -> str:
    """What a window job leaves, as text."""
    detail = {
        "exit_code": 0,
        "output": output,
        "marks": {},
        "files": [{"path": path, "bytes": size} for path, size in FILES.items()],
    }
    memo = _dump_record.write_memo(samples.plan(mode), [], {"required": {}})
    return json.dumps({"schema": 1, "memo": memo, "reason": reason, "detail": detail, "ended": ENDED, **changes})


class Node:
    """A node with the record of one dump; its jobs end as they are told."""

    def __init__(self, text: str, verdicts: t.Sequence[str] = ("backup_unknown", "good"), archive: str = "") -> None:
        self.text, self.verdicts, self.archive = text, list(verdicts), archive
        self.jobs: list[tuple[str, dict[str, t.Any]]] = []
        self.removed: list[str] = []
        self.adopted: list[tuple[str, str]] = []

    def __call__(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        operation = arguments["_operation"]
        if operation == "read":
            return {"record": self.text, "now": NOW}
        if operation == "adopt":
            self.adopted.append((arguments["_staging"], arguments["run_id"]))
        if operation == "remove":
            self.removed.append(arguments["_staging"])
            return {"changed": True}
        if operation == "start":
            self.jobs.append((arguments["_job"], json.loads(arguments["_spec"])))
        if operation == "poll":
            status = {"state": "ended", "phase": "end", "done_bytes": 0, "total_bytes": 0, "message": ""}
            return {"status": status, "log": "", "log_offset": 0, "result": json.dumps(self._ended())}
        return {}

    def _ended(self) -> dict[str, t.Any]:
        if self.jobs[-1][0] == "archive_job":
            return {"state": "failed", "reason": self.archive, "msg": "no"} if self.archive else {"state": "succeeded"}
        verdict = self.verdicts.pop(0)
        good = verdict == "good"
        return {"state": "succeeded"} if good else {"state": "failed", "reason": verdict, "msg": "no"}


def test_a_good_dump_is_archived_with_its_run_id_and_missing_parts_are_named() -> None:
    node = Node(record())
    result = harness.run(ActionModule, ARGUMENTS, node)
    assert [job for job, _spec in node.jobs] == ["verify_job", "archive_job", "verify_job"]
    archive, verify = node.jobs[1][1], node.jobs[2][1]
    manifest = json.loads(archive["manifest"])
    assert (manifest["run_id"], manifest["status"]) == (samples.RUN_ID, "partial")
    assert [each["what"] for each in manifest["missing"]] == ["configuration"]
    assert (archive["again"], archive["set_aside"], archive["only_dump"]) == (True, False, True)
    assert verify["staging"] == rf"{samples.STAGING}\{samples.RUN_ID}"
    archived = rf"{samples.ARCHIVES}\node1\ServerBackup_Full_{samples.STAMP}.zip"
    as_of = f"data as of {ENDED}"
    assert result["did"] == [f"archived the dump of the run {samples.RUN_ID} ({as_of}) in {archived}"]
    assert (result["changed"], result["left_behind"]) == (True, [])


@pytest.mark.parametrize(("stopped", "words"), [(True, "service stopped"), (False, "service running")])
def test_the_manifest_says_whether_the_service_was_stopped_for_the_dump(stopped: bool, words: str) -> None:
    left = json.loads(record())
    if not stopped:
        del left["detail"]["marks"]
    node = Node(json.dumps(left))
    harness.run(ActionModule, ARGUMENTS, node)
    assert json.loads(node.jobs[1][1]["manifest"])["database"]["method"].endswith(words)


def test_an_archive_that_is_there_and_good_is_not_written_again() -> None:
    node = Node(record(), ["good"])
    assert harness.run(ActionModule, ARGUMENTS, node)["changed"] is True
    assert [job for job, _spec in node.jobs] == ["verify_job"]


def test_an_archive_that_is_bad_is_set_aside() -> None:
    node = Node(record(), ["archive_bad", "good"])
    harness.run(ActionModule, ARGUMENTS, node)
    assert node.jobs[1][1]["set_aside"] is True


@pytest.mark.parametrize(
    "text",
    [
        record("dump_timeout"),
        record("service_started_during_dump"),
        record(output="Failed: error connecting"),
    ],
)
def test_a_dump_that_cannot_be_used_is_removed_and_said_so(text: str) -> None:
    node = Node(text)
    result = harness.run(ActionModule, ARGUMENTS, node)
    assert node.removed == [rf"{samples.STAGING}\{samples.RUN_ID}"]
    assert result["did"][0].startswith(f"removed the dump of the run {samples.RUN_ID}, which cannot be used: ")
    assert node.jobs == []


@pytest.mark.parametrize(
    "reason", [reason for reason in REASONS.values() if reason.why_late], ids=lambda each: each.name
)
def test_every_late_reason_keeps_a_good_dump_or_has_bad_dump(reason: Reason) -> None:
    node = Node(record(reason.name))
    result = harness.run(ActionModule, ARGUMENTS, node)
    assert (bool(result["archives"]), bool(node.removed)) == (not reason.bad_dump, reason.bad_dump)


def test_a_good_dump_is_archived_after_its_window_has_failed() -> None:
    node = Node(record("service_not_restored"))
    assert harness.run(ActionModule, ARGUMENTS, node)["archives"]


@pytest.mark.parametrize("required", [False, True])
def test_a_dump_that_cannot_be_archived_stays_and_is_named(required: bool) -> None:
    node = Node(record(), archive="archive_failed")
    result = harness.run(ActionModule, {**ARGUMENTS, "required": required}, node)
    (text,) = (result["detail"] if required else result)["left_behind"]
    assert text.startswith(f"the dump of the run {samples.RUN_ID} is in no archive: no. It stays in ")
    assert (result.get("failed", False), result.get("reason", "")) == (required, "archive_failed" if required else "")
    assert node.removed == []


def test_a_rehearsal_reads_and_predicts() -> None:
    node = Node(record())
    result = harness.run(ActionModule, ARGUMENTS, node, check_mode=True)
    assert result["did"][0].startswith(f"would have archived the dump of the run {samples.RUN_ID}")
    assert node.jobs == []


OTHER_RUN = "Full_20260901_030000_11aa"


def ask_to_adopt(plan: dict[str, t.Any] | None = None, **changes: t.Any) -> dict[str, t.Any]:
    """The arguments of a run that may continue with a dump that is an hour old."""
    return {
        **ARGUMENTS,
        "run_id": OTHER_RUN,
        "plan": {**(plan or samples.plan()), "run_id": OTHER_RUN},
        "adopt_within": 3600,
        **changes,
    }


def test_a_dump_that_is_young_enough_is_chosen_and_left_where_it_is() -> None:
    node = Node(record())
    result = harness.run(ActionModule, ask_to_adopt(), node)
    assert (result["kept"], result["changed"], result["archives"]) == (samples.RUN_ID, False, [])
    assert result["did"] == [f"goes on with the dump of the run {samples.RUN_ID} (data as of {ENDED})"]
    assert (node.jobs, node.removed, node.adopted) == ([], [], [])


def with_service(name: str) -> dict[str, t.Any]:
    """The plan of a run for another service."""
    plan = samples.plan()
    node = plan["nodes"]["node1"]
    return {**plan, "nodes": {"node1": {**node, "service": {**node["service"], "name": name}}}}


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        pytest.param(record(), ask_to_adopt(adopt_within=3599), id="too old"),
        pytest.param(record(), ask_to_adopt(adopt_within=0), id="not allowed"),
        pytest.param(record(ended="2026-09-01T03:04:12.000Z"), ask_to_adopt(), id="of the future"),
        pytest.param(record(ended="at night"), ask_to_adopt(), id="without a time"),
        pytest.param(record(), ask_to_adopt(samples.plan("database")), id="of another mode"),
        pytest.param(record(), ask_to_adopt(samples.plan("config")), id="for a run that dumps nothing"),
        pytest.param(record(), ask_to_adopt(with_service("Other")), id="of another service"),
        pytest.param(record(), {**ask_to_adopt(), "plan": {}}, id="without a plan"),
    ],
)
def test_any_other_dump_is_archived_for_its_own_run(text: str, arguments: dict[str, t.Any]) -> None:
    node = Node(text)
    result = harness.run(ActionModule, arguments, node)
    assert (result["kept"], len(result["archives"])) == ("", 1)


def test_a_dump_that_cannot_be_used_is_not_chosen() -> None:
    node = Node(record("dump_timeout"))
    assert harness.run(ActionModule, ask_to_adopt(), node)["kept"] == ""
    assert node.removed == [rf"{samples.STAGING}\{samples.RUN_ID}"]


def test_of_two_dumps_the_newer_is_chosen_and_the_other_archived() -> None:
    newer = "Full_20260901_021000_0001"
    result = harness.run(ActionModule, ask_to_adopt(runs=[samples.RUN_ID, newer]), Node(record()))
    assert (result["kept"], len(result["archives"])) == (newer, 1)


def test_an_adopted_dump_is_judged_and_says_whose_it_is() -> None:
    node = Node(record())
    result = harness.run(ActionModule, {**ask_to_adopt(), "state": "adopted"}, node)
    assert node.adopted == [(rf"{samples.STAGING}\{samples.RUN_ID}", OTHER_RUN)]
    assert (result["dump_of_run"], result["data_as_of"]) == (samples.RUN_ID, ENDED)
    assert (result["is_usable"], result["dump_bytes"]) == (True, sum(FILES.values()))


def test_a_dump_that_has_become_unusable_is_not_adopted() -> None:
    node = Node(record("dump_timeout"))
    result = harness.run(ActionModule, {**ask_to_adopt(), "state": "adopted"}, node)
    assert (result["reason"], node.adopted) == ("dump_record_unusable", [])


@pytest.mark.reaches("dump_record_unusable")
@pytest.mark.parametrize("text", ["", "{}", "[]", record(schema=2), record(memo="x"), record(detail=[])])
def test_a_record_that_cannot_be_read_leaves_the_dump_alone(text: str) -> None:
    node = Node(text)
    result = harness.run(ActionModule, {**ARGUMENTS, "required": True}, node)
    assert (result["reason"], result["exit_code"]) == ("dump_record_unusable", 4)
    assert node.removed == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(changes=st.dictionaries(st.sampled_from(["schema", "memo", "reason", "detail", "ended"]), JSON))
def test_no_record_breaks_the_reader(changes: dict[str, t.Any]) -> None:
    staging = paths.Staging(samples.STAGING, samples.RUN_ID)
    reason = ""
    try:
        found = _dump_record.read_record(record(**changes), "node1", staging)
        assert (found.window is None) == bool(found.why)
    except StepFailed as failure:
        reason = failure.reason.name
    assert reason in ("", "dump_record_unusable")
