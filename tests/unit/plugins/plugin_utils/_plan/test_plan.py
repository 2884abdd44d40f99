# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is decided about a node before anything is touched."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core import paths
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import StepFailed
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _dump, _persistence
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _node_facts
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _plan
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._server_api._schedules import Record, Schedule
from tests.unit.plugins import samples

MODES = ("full", "database", "config")


def plan_node(name: str, answer: dict[str, t.Any], *more: t.Any) -> _plan.NodePlan:
    """The plan of a node from what node_info has answered."""
    return _plan.plan_node(name, _node_facts.read(answer), *more)


def plan_fleet(answers: dict[str, dict[str, t.Any]], *more: t.Any, **named: t.Any) -> _plan.FleetPlan:
    """The plan of a fleet from what node_info has answered."""
    return _plan.plan_fleet(_node_facts.read_all(answers), *more, **named)


def planned(
    letter: str = "a", mode: str = "full", name: str = "node1", asked: dict[str, t.Any] | None = None, **changes: t.Any
) -> _plan.NodePlan:
    return plan_node(name, samples.facts(letter, **changes), samples.request(mode, **(asked or {})))


def refused(*arguments: t.Any, **changes: t.Any) -> StepFailed:
    with pytest.raises(StepFailed) as failure:
        planned(*arguments, **changes)
    return failure.value


def test_a_single_node_is_planned_with_every_path() -> None:
    node = planned()
    assert (node.roles, node.database_kind, node.version, node.computer) == (
        ("controller", "worker", "ui"),
        "embedded",
        "2024.2.1.14",
        "AYX01",
    )
    assert node.archive_root == samples.ARCHIVES
    assert node.archive_folder == rf"{samples.ARCHIVES}\node1"
    assert node.base_name == "ServerBackup_Full_20260901_020000"
    assert node.expected_bytes == 100_000_000
    assert node.warnings == []


@pytest.mark.parametrize("mode", MODES)
def test_modes_leave_out_what_they_do_not_take(mode: str) -> None:
    node = planned(mode=mode)
    assert bool(node.files) is bool(node.secrets) is (mode != "database")
    assert samples.request(mode).stops_services is (mode != "config")


@pytest.mark.parametrize(
    ("letter", "secrets"),
    [
        ("a", ["controller_token", "mongodb_passwords"]),
        ("b", ["controller_token", "mongodb_passwords"]),
        ("c", []),
        ("d", []),
        ("e", ["controller_token"]),
    ],
)
def test_secrets_are_taken_where_they_live(letter: str, secrets: list[str]) -> None:
    assert planned(letter, "config").secrets == secrets
    assert planned(letter, "config", asked={"secrets": "skip"}).secrets == []


def of_fleet(
    mode: str = "full", letter: str = "a", database: _plan.Database | None = None, **changes: t.Any
) -> _plan.FleetPlan:
    """The plan of a fleet of one node."""
    return plan_fleet({"node1": samples.facts(letter, **changes)}, samples.request(mode), database=database)


def refused_fleet(*arguments: t.Any, **changes: t.Any) -> StepFailed:
    with pytest.raises(StepFailed) as failure:
        of_fleet(*arguments, **changes)
    return failure.value


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("letter", ["a", "b"])
def test_the_embedded_database_is_dumped_in_the_modes_that_take_it(mode: str, letter: str) -> None:
    plan = of_fleet(mode, letter)
    (node,) = plan.nodes
    assert node.dumps is (mode != "config")
    assert node.dump["method"] == ("emongodump" if node.dumps else "")
    assert (plan.request.stops_services, node.dump["point_in_time"]) == ((True, True) if node.dumps else (False, None))


TOOL = {"path": r"C:\Tools\mongodump.exe", "version": "mongodump version: 100.9.4\n", "problem": ""}
LOGIN = {"connection": "mongodb://db1.example.test/?replicaSet=rs0", "user": "backup", "password": "s3cret",
         "auth_source": "", "tls": True, "tls_ca_file": "", "tls_certificate_key_file": "",
         "tls_certificate_key_password": ""}  # fmt: skip


def own(stop: bool = True, oplog: t.Literal["auto", "always", "never"] = "auto", **more: t.Any) -> _plan.Database:
    connections = _dump.read_connections({"service": {**LOGIN, **more}})
    return _plan.Database(options=_persistence.Options(stop=stop, oplog=oplog), connections=connections)


@pytest.mark.parametrize(
    ("stop", "oplog", "whole"),
    [(True, "auto", True), (False, "auto", True), (False, "never", False), (True, "always", True)],
)
def test_a_self_managed_mongodb_is_dumped_by_mongodump(
    stop: bool, oplog: t.Literal["auto", "always", "never"], whole: bool
) -> None:
    plan = of_fleet("database", "e", own(stop, oplog), mongodump=TOOL)
    (node,) = plan.nodes
    assert (plan.request.stops_services, node.dumps, node.dump["method"], node.dump["tool"]) == (
        stop,
        True,
        "mongodump",
        TOOL["path"],
    )
    assert (node.dump["tool_version"], node.dump["point_in_time"]) == ("100.9.4", whole)
    oplogs = {dump["oplog"] for dump in node.dump["dumps"]}
    assert oplogs == {oplog == "always" or (oplog == "auto" and not stop)}
    databases = [dump["database"] for dump in node.dump["dumps"]]
    assert databases == ([""] if oplogs == {True} else ["AlteryxService", "AlteryxGallery", "AlteryxGallery_Lucene"])


def test_a_plan_shows_no_password() -> None:
    assert "s3cret" not in repr(of_fleet("database", "e", own(), mongodump=TOOL))


def test_what_the_plan_shows_and_the_password_make_the_dump_again() -> None:
    entries = {"service": LOGIN}
    (node,) = of_fleet("database", "e", own(False), mongodump=TOOL).nodes
    told = _dump.build_mongodump_spec(node.dump, entries, paths.Staging(r"D:\s", samples.RUN_ID))
    (dump,) = told["dumps"]
    assert "s3cret" in dump["config"]
    assert "s3cret" not in " ".join(dump["arguments"])
    assert "--oplog" in dump["arguments"]


def test_a_mongodump_that_is_absent_or_too_old_is_refused_before_anything_is_touched() -> None:
    absent = refused_fleet(
        "full", "e", own(), mongodump={"path": "", "version": "", "problem": "There is no mongodump.exe at C:\\x"}
    )
    assert (absent.reason.name, absent.detail["node"]) == ("mongodump_unusable", "node1")
    old = refused_fleet("full", "e", own(), mongodump={**TOOL, "version": "mongodump version: 100.2.0\n"})
    assert "older than 100.3.0" in old.message


def test_a_mongodump_without_a_password_is_refused() -> None:
    assert refused_fleet("full", "e", mongodump=TOOL).reason.name == "mongodb_login_missing"
    assert of_fleet("config", "e").nodes[0].files


def sql_server() -> dict[str, t.Any]:
    return {"path": "x", "exists": True, "error": "", "sections": {"Controller": {"InventedSqlConnection": "db"}}}


def test_sql_server_is_refused_or_left_to_the_operator_as_he_says() -> None:
    assert refused_fleet("full", settings__overrides=sql_server()).reason.name == "sqlserver_not_dumped"
    assert refused_fleet("database", settings__overrides=sql_server()).reason.name == "sqlserver_not_dumped"
    hook = _plan.Database(options=_persistence.Options(sqlserver="hook"))
    plan = of_fleet("full", database=hook, settings__overrides=sql_server())
    (node,) = plan.nodes
    assert (plan.request.stops_services, node.dumps, node.dump["method"]) == (False, False, "hook")
    assert node.files
    assert (
        refused_fleet("database", database=hook, settings__overrides=sql_server()).reason.name == "sqlserver_not_dumped"
    )


def test_a_database_of_unknown_kind_is_refused_until_the_operator_declares_it() -> None:
    unknown = {"path": "x", "exists": True, "error": "", "sections": {"Controller": {"Other": "db"}}}
    assert refused_fleet("full", settings__overrides=unknown).reason.name == "database_unknown"
    assert (
        refused_fleet("full", database=_plan.Database(kind="sqlserver"), settings__overrides=unknown).reason.name
        == "sqlserver_not_dumped"
    )
    assert refused_fleet("full", database=_plan.Database(kind="mongodb")).reason.name == "database_kind_contradicts"


NO_SETTINGS = {"path": r"C:\s.xml", "exists": False, "error": "", "sections": {}}
BROKEN_SETTINGS = {"path": r"C:\s.xml", "exists": True, "error": "unexpected end of file", "sections": {}}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("changes", "reason", "names"),
    [
        ({"name": "con"}, "node_name_invalid", "con"),
        ({"system__is_administrator": False}, "not_administrator", r"EXAMPLE\backup"),
        ({"service__exists": False}, "service_absent", "AlteryxService"),
        ({"alteryx__executable_exists": False}, "installation_incomplete", samples.EXECUTABLE),
        (
            {"alteryx__executable_exists": False, "alteryx__executable": ""},
            "installation_incomplete",
            "AlteryxService.exe",
        ),
        ({"settings__overrides": NO_SETTINGS}, "settings_missing", r"C:\s.xml"),
        ({"settings__overrides": BROKEN_SETTINGS}, "settings_malformed", "unexpected end of file"),
    ],
)
@pytest.mark.reaches("installation_incomplete", when="installation_incomplete")
@pytest.mark.reaches("node_name_invalid", when="node_name_invalid")
def test_a_node_that_cannot_be_backed_up_is_refused_in_every_mode(
    mode: str, changes: dict[str, t.Any], reason: str, names: str
) -> None:
    failure = refused(mode=mode, **changes)
    assert failure.reason.name == reason
    assert failure.reason.exit_code == 3
    assert names in failure.message


@pytest.mark.parametrize("state", ["StartPending", "StopPending", "Paused", "ContinuePending", "PausePending"])
@pytest.mark.reaches("service_in_transition")
def test_a_service_on_its_way_is_refused_only_where_it_would_be_stopped(state: str) -> None:
    for mode in ("full", "database"):
        failure = refused(mode=mode, service__state=state)
        assert failure.reason.name == "service_in_transition"
        assert state in failure.message
    assert planned(mode="config", service__state=state).warnings == []


def test_a_service_that_is_stopped_already_is_said() -> None:
    (warning,) = planned(service__state="Stopped").warnings
    assert "will be left Stopped" in warning


@pytest.mark.parametrize("mode", MODES)
def test_a_node_that_another_run_holds_is_8_in_every_mode_and_the_run_is_named(mode: str) -> None:
    lock = samples.lock()
    failure = refused(mode=mode, lock=lock)
    assert (failure.reason.name, failure.reason.exit_code) == ("run_locked", 8)
    for what in (
        lock["run_id"],
        lock["holder"],
        lock["started"],
        "12 s ago",
        "stale in 168 s, at 2026-09-01 02:03:00 UTC",
    ):
        assert what in failure.message
    assert failure.detail == {"lock": lock}
    # Another program locks it, so its content is not known.
    assert "stale" not in refused(mode=mode, lock=samples.lock(stale_at="", stale_in=0.0)).message


@pytest.mark.parametrize(
    "lock",
    [samples.lock(fresh=False, age=181.0), samples.lock(fresh=False, age=-1.0, run_id="", holder="unknown"), None],
)
def test_a_stale_lock_does_not_block_another_run(lock: dict[str, t.Any] | None) -> None:
    assert planned(lock=lock).warnings == []


def test_a_held_node_is_said_before_anything_else_is_looked_at() -> None:
    assert refused(lock=samples.lock(), service__exists=False, hold=True).reason.name == "run_locked"


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"hold": True}, "hold_present", "HOLD"),
        ({"cluster_resource": "Alteryx on CLU1"}, "cluster_resource", "Alteryx on CLU1"),
        ({"service__dependants": ["ReportFeed", "Watcher"]}, "dependants_running", "ReportFeed, Watcher"),
    ],
)
@pytest.mark.reaches("cluster_resource", when="cluster_resource")
@pytest.mark.reaches("dependants_running", when="dependants_running")
@pytest.mark.reaches("hold_present", when="hold_present")
def test_what_forbids_a_stop_is_refused_only_where_something_would_be_stopped(
    changes: dict[str, t.Any], reason: str, said: str
) -> None:
    for mode in ("full", "database"):
        failure = refused(mode=mode, **changes)
        assert (failure.reason.name, failure.reason.exit_code) == (reason, 3)
        assert said in failure.message
    assert planned(mode="config", **changes).warnings == []


@pytest.mark.parametrize("mode", MODES)
def test_a_pending_reboot_is_a_warning_a_sign(mode: str) -> None:
    warnings = planned(mode=mode, reboot_pending=["Windows Update", "Windows servicing"]).warnings
    assert warnings == ["Windows wants a reboot: Windows Update", "Windows wants a reboot: Windows servicing"]


def recording(
    mode: str,
    letter: str,
    database: _plan.Database | None = None,
    policies: t.Sequence[str] = ("ModuleLogging", "Transcription"),
    **request: t.Any,
) -> list[str]:
    facts = samples.facts(letter, mongodump=TOOL, recorded_by=list(policies))
    plan = plan_fleet({"node1": facts}, samples.request(mode, **request), database=database)
    return [text for text in plan.nodes[0].warnings if "records what PowerShell does" in text]


def test_a_policy_that_records_passwords_is_a_warning_where_there_are_any() -> None:
    (warning,) = recording("full", "a")
    assert "by the group policy ModuleLogging and Transcription" in warning
    assert "keeps its passwords out of that" in warning
    assert recording("full", "a", policies=()) == []
    # No secrets are taken, and emongodump needs no password.
    assert recording("database", "a") == []


def test_the_password_of_a_mongodb_reaches_the_event_log_before_the_collection_does() -> None:
    (warning,) = recording("database", "e", own())
    assert "event 4103 of Ansible's own wrapper then holds the password of MongoDB" in warning
    assert "keeps its passwords out" in recording("database", "e", own(), ["ScriptBlockLogging"])[0]


def test_so_does_the_password_of_a_share() -> None:
    (warning,) = recording("config", "a", copies_with_password=True)
    assert "event 4103 of Ansible's own wrapper then holds the password of a share" in warning
    (warning,) = recording("database", "e", own(), copies_with_password=True)
    assert "the password of MongoDB and of a share" in warning


@given(st.floats(-(10**7), 10**7))
def test_a_clock_far_off_is_a_warning_and_no_refusal(seconds: float) -> None:
    warnings = planned(clock_off=seconds).warnings
    assert bool(warnings) is (abs(seconds) > 60)
    assert all(f"{seconds:.0f} s" in warning for warning in warnings)


def test_a_clock_is_off_in_both_directions() -> None:
    assert planned(clock_off=60.0).warnings == planned(clock_off=-60.0).warnings == []
    assert "3600 s" in planned(clock_off=3600.0).warnings[0]
    assert "-3600 s" in planned(clock_off=-3600.0).warnings[0]


LEFT = {"run_id": "Full_20260831_020000_0001", "prior_state": "Running", "deadline": "2026-08-31 08:00:00 UTC"}


@pytest.mark.parametrize("state", ["Stopped", "StartPending", "StopPending"])
def test_a_service_that_a_dead_run_has_left_down_will_be_started_first(state: str) -> None:
    (warning,) = planned(lease=LEFT, service__state=state).warnings
    assert LEFT["run_id"] in warning
    assert state in warning
    assert "started first" in warning
    assert "left Stopped" not in warning


def test_a_lease_without_a_stopped_service_is_not_a_problem() -> None:
    assert planned(lease=LEFT).warnings == []
    (warning,) = planned(lease={**LEFT, "prior_state": "Stopped"}, service__state="Stopped").warnings
    assert "will be left Stopped" in warning
    assert (
        refused(lease={**LEFT, "prior_state": "Stopped"}, service__state="StopPending").reason.name
        == "service_in_transition"
    )


FOREIGN = samples.trust(
    samples.STATE_FOLDER, access=rf"{samples.STATE_FOLDER} belongs to BU, not to Administrators or SYSTEM"
)
LINKED = samples.trust(r"C:\Program Files\AlteryxOps", link=r"C:\Program Files is a link to somewhere else")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("folders", "said"), [([FOREIGN, LINKED], samples.STATE_FOLDER), ([LINKED], r"C:\Program Files is a link")]
)
@pytest.mark.reaches("folder_untrusted")
def test_a_folder_that_somebody_could_have_prepared_is_refused_by_name(
    mode: str, folders: list[dict[str, t.Any]], said: str
) -> None:
    failure = refused(mode=mode, trust=folders)
    assert (failure.reason.name, failure.reason.exit_code) == ("folder_untrusted", 3)
    assert said in failure.message


def test_whoever_only_wants_to_be_warned_is_warned_of_access_and_still_refused_for_a_link() -> None:
    (warning,) = planned(asked={"folder_trust": "warn"}, trust=[FOREIGN]).warnings
    assert samples.STATE_FOLDER in warning
    assert refused(asked={"folder_trust": "warn"}, trust=[FOREIGN, LINKED]).reason.name == "folder_untrusted"


@pytest.mark.reaches("database_missing")
def test_a_database_folder_that_is_absent_is_named() -> None:
    failure = refused(database__exists=False)
    assert failure.reason.name == "database_missing"
    assert r"D:\Alteryx\Service\Persistence\MongoDB" in failure.message
    assert "(not set)" in refused(database__exists=False, database__folder="").message


@pytest.mark.reaches("no_role")
def test_a_node_without_any_role_is_refused() -> None:
    nothing = {"Controller": {"ControllerEnabled": "False"}, "Environment": {"WorkerEnabled": "False"}}
    assert (
        refused(settings__overrides={"path": "x", "exists": True, "error": "", "sections": nothing}).reason.name
        == "no_role"
    )


@pytest.mark.parametrize(
    "defaults", [{**NO_SETTINGS}, {**BROKEN_SETTINGS, "sections": {"Controller": {"GalleryEnabled": "True"}}}]
)
def test_an_unreadable_defaults_file_is_a_warning_and_not_trusted(defaults: dict[str, t.Any]) -> None:
    node = planned("b", settings__defaults=defaults)
    assert node.roles == ("controller",)
    (warning,) = node.warnings
    assert defaults["path"] in warning


def folders(number: int, **changes: t.Any) -> list[dict[str, t.Any]]:
    """Facts of both folders; changes apply to one of them: 0 the staging directory, 1 the archive directory."""
    answer = samples.facts()["folders"]
    answer[number].update(changes)
    return t.cast(list[dict[str, t.Any]], answer)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("number", "name"), [(0, f"staging directory {samples.STAGING}"), (1, f"archive directory {samples.ARCHIVES}")]
)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"absolute": False}, "folder_invalid"),
        ({"drive_exists": False}, "drive_missing"),
        ({"is_file": True}, "folder_invalid"),
        ({"link": r"D:\Mounts"}, "folder_invalid"),
    ],
)
def test_a_folder_that_cannot_be_written_is_refused_by_its_purpose(
    mode: str, number: int, name: str, changes: dict[str, t.Any], reason: str
) -> None:
    facts = {**samples.facts(), "folders": folders(number, **changes)}
    with pytest.raises(StepFailed) as failure:
        plan_node("node1", facts, samples.request(mode))
    assert failure.value.reason.name == reason
    assert name in failure.value.message


def test_a_database_that_no_playbook_can_restore_is_a_warning_of_its_backup() -> None:
    facts = samples.facts(database={**samples.facts()["database"], "rename_problem": "is the root of a drive"})
    found = [text for text in plan_node("node1", facts, samples.request()).warnings if "restore.yml" in text]
    assert len(found) == 1
    assert "is the root of a drive" in found[0]
    assert not [t for t in plan_node("node1", facts, samples.request("config")).warnings if "restore.yml" in t]


@given(
    data=st.integers(0, 10**13),
    factor=st.floats(0.1, 20),
    staging_free=st.integers(0, 10**14),
    archive_free=st.integers(0, 10**14),
    same_drive=st.booleans(),
)
def test_space_is_judged_a_drive_at_a_time(
    data: int, factor: float, staging_free: int, archive_free: int, same_drive: bool
) -> None:
    facts = samples.facts(database__bytes=data)
    staging, archive = r"D:\s", r"d:\a" if same_drive else r"E:\a"
    free = {staging: staging_free, archive: staging_free if same_drive else archive_free}
    facts["folders"] = [
        {**fact, "path": path, "volume": path[:3], "free_bytes": free[path]}
        for path, fact in zip(free, facts["folders"], strict=True)
    ]
    asked = samples.request(staging_directory=staging, archive_directory=archive, space_factor=factor)
    dump = int(data * factor)
    enough = staging_free >= dump + data if same_drive else staging_free >= dump and archive_free >= data
    if enough:
        assert plan_node("node1", facts, asked).expected_bytes == data
        return
    with pytest.raises(StepFailed) as failure:
        plan_node("node1", facts, asked)
    assert failure.value.reason.name == "space_short"
    # Need and have, in bytes.
    assert str(dump + data if same_drive else dump) in failure.value.message or str(data) in failure.value.message
    assert "bytes free" in failure.value.message


@pytest.mark.reaches("space_short")
def test_one_folder_for_both_purposes_needs_room_for_both() -> None:
    facts = samples.facts(database__bytes=100)
    facts["folders"] = [{**facts["folders"][0], "path": r"D:\both", "volume": "D:\\", "free_bytes": 299}]
    asked = samples.request(staging_directory=r"D:\both", archive_directory=r"D:\both")
    with pytest.raises(StepFailed, match="needed are 300 bytes"):
        plan_node("node1", facts, asked)
    facts["folders"][0]["free_bytes"] = 300
    assert plan_node("node1", facts, asked).expected_bytes


@pytest.mark.parametrize("short", range(2))
def test_one_byte_decides_on_each_drive(short: int) -> None:
    facts = samples.facts(database__bytes=100)
    paths = (r"D:\s", r"E:\a")
    needed = (200, 100)
    asked = samples.request(staging_directory=paths[0], archive_directory=paths[1])
    facts["folders"] = [
        {**facts["folders"][0], "path": path, "volume": path[:3], "free_bytes": need}
        for path, need in zip(paths, needed, strict=True)
    ]
    assert plan_node("node1", facts, asked).expected_bytes
    facts["folders"][short]["free_bytes"] -= 1
    with pytest.raises(
        StepFailed, match=f"{needed[short] - 1} bytes free, needed are {needed[short]} bytes"
    ) as failure:
        plan_node("node1", facts, asked)
    assert (failure.value.reason.name, failure.value.reason.exit_code) == ("space_short", 3)


@pytest.mark.parametrize(
    ("archive", "free", "needed"),
    [("E:\\a", (200, 99), 100), ("D:\\a", (299, 299), 300), ("E:\\a", (199, 99), 0), ("E:\\a", (200, 100), None)],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_retention_may_find_room_where_the_archives_are_and_nowhere_else(
    archive: str, free: tuple[int, int], needed: int | None, allowed: bool
) -> None:
    facts = samples.facts(database__bytes=100)
    paths = (r"D:\s", archive)
    facts["folders"] = [
        {**facts["folders"][0], "path": path, "volume": path[:3], "free_bytes": each}
        for path, each in zip(paths, free, strict=True)
    ]
    asked = samples.request(staging_directory=paths[0], archive_directory=archive, prunes_for_room=allowed)
    if needed is None:
        assert plan_node("node1", facts, asked).room == {}
    elif needed and allowed:
        assert plan_node("node1", facts, asked).room == {"volume": archive[:3], "bytes": needed}
    else:
        with pytest.raises(StepFailed, match="bytes free, needed are"):
            plan_node("node1", facts, asked)


def test_a_volume_mounted_in_a_folder_is_judged_on_its_own() -> None:
    facts = samples.facts(database__bytes=100)
    mounted, beside = r"D:\Mounted\s", r"D:\a"
    asked = samples.request(staging_directory=mounted, archive_directory=beside)
    fact = facts["folders"][0]
    facts["folders"] = [
        {**fact, "path": mounted, "volume": "D:\\Mounted\\", "free_bytes": 200},
        {**fact, "path": beside, "volume": "D:\\", "free_bytes": 100},
    ]
    assert plan_node("node1", facts, asked).expected_bytes
    facts["folders"][0]["free_bytes"] = 199
    with pytest.raises(StepFailed, match=r"the volume D:\\Mounted\\ of the staging directory has 199 bytes free"):
        plan_node("node1", facts, asked)


def test_a_volume_that_does_not_tell_its_free_space_is_a_warning() -> None:
    facts = samples.facts(database__bytes=100)
    facts["folders"][1]["free_bytes"] = -1
    assert [text for text in plan_node("node1", facts, samples.request()).warnings if "does not tell" in text]


def test_what_the_size_of_the_database_lacks_is_a_warning_where_it_is_dumped() -> None:
    skipped = [
        r"D:\Mongo\journal is a link to another folder or a mounted volume",
        r"D:\Mongo\x cannot be listed: Access is denied",
    ]
    facts = samples.facts(database__skipped=skipped, database__skipped_count=9)
    (said,) = [text for text in plan_node("node1", facts, samples.request()).warnings if "may be larger" in text]
    assert "; ".join(skipped) in said
    assert said.endswith("and 7 more")
    assert not [
        text for text in plan_node("node1", facts, samples.request("config")).warnings if "may be larger" in text
    ]


def test_configuration_mode_needs_no_room_for_a_dump() -> None:
    facts = samples.facts()
    for fact in facts["folders"]:
        fact["free_bytes"] = 0
    assert plan_node("node1", facts, samples.request("config")).files


BOTH_MONGO = {"Controller": {"EmbeddedMongoDBEnabled": "True", "MongoDBEnabled": "True"}}
UNREADABLE = {"Controller": {"EmbeddedMongoDBEnabled": "True"}, "Environment": {"WorkerEnabled": "perhaps"}}


@pytest.mark.parametrize(
    ("sections", "said"),
    [(BOTH_MONGO, "Controller/MongoDBEnabled"), (UNREADABLE, "Environment/WorkerEnabled is 'perhaps'")],
)
@pytest.mark.reaches("settings_contradict")
def test_settings_that_contradict_themselves_are_refused_where_something_stops_and_said_elsewhere(
    sections: dict[str, t.Any], said: str
) -> None:
    overrides = {**samples.facts()["settings"]["overrides"], "sections": sections}
    for mode in ("full", "database"):
        failure = refused(mode=mode, settings__overrides=overrides)
        assert (failure.reason.name, failure.reason.exit_code) == ("settings_contradict", 3)
        assert said in failure.message
    assert any(said in warning for warning in planned(mode="config", settings__overrides=overrides).warnings)


def fleet_facts(**letters: str) -> dict[str, dict[str, t.Any]]:
    """Facts of nodes by the letters of their settings; the controller is the one the samples name."""
    return {
        host: samples.facts(letter, system__computer="AYX-CTL" if letter in "abe" else host.upper())
        for host, letter in letters.items()
    }


def planned_fleet(mode: str = "full", fleet: _plan.Fleet | None = None, **letters: str) -> _plan.FleetPlan:
    return plan_fleet(fleet_facts(**letters), samples.request(mode), fleet)


def test_the_controller_of_a_fleet_is_found() -> None:
    assert planned_fleet("config", worker1="c", controller1="b", ui1="d").controller == "controller1"
    assert planned_fleet("config", worker1="c").controller == ""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.reaches("several_fleets")
def test_two_controllers_are_two_fleets(mode: str) -> None:
    with pytest.raises(StepFailed) as failure:
        planned_fleet(mode, one="a", two="b")
    assert failure.value.reason.name == "several_fleets"
    assert "one, two" in failure.value.message


def test_the_plan_of_a_fleet_has_tiers() -> None:
    plan = planned_fleet(worker1="c", worker2="c", controller1="b", ui1="d")
    assert plan.stop_tiers == (("ui1",), ("worker1", "worker2"), ("controller1",))
    assert plan.start_tiers == (("controller1",), ("worker1", "worker2"), ("ui1",))
    assert [node.name for node in plan.nodes if node.dumps] == ["controller1"]
    assert all(node.files for node in plan.nodes)
    assert [node.warnings for node in plan.nodes] == [[], [], [], []]


def test_modes_leave_out_files_or_database() -> None:
    database = planned_fleet("database", worker1="c", controller1="b")
    assert {node.name: (node.dumps, bool(node.files)) for node in database.nodes} == {
        "worker1": (False, False),
        "controller1": (True, False),
    }
    assert database.request.stops_services
    config = planned_fleet("config", worker1="c", controller1="b")
    assert {(node.dumps, bool(node.files)) for node in config.nodes} == {(False, True)}
    assert not config.request.stops_services
    assert (config.stop_tiers, config.start_tiers) == ((), ())


@pytest.mark.reaches("topology_contradicts")
def test_a_worker_of_another_controller_is_refused_where_services_stop_and_said_elsewhere() -> None:
    facts = fleet_facts(worker1="c", controller1="b")
    facts["controller1"]["system"]["computer"] = "OTHER"
    with pytest.raises(StepFailed) as failure:
        plan_fleet(facts, samples.request())
    assert (failure.value.reason.name, failure.value.detail["node"]) == ("topology_contradicts", "worker1")
    (worker, _unused) = plan_fleet(facts, samples.request("config")).nodes
    assert "Worker/ServerName is ayx-ctl.example.test:80" in worker.warnings[0]
    # Each of these says that it is the same machine.
    for fleet in (
        _plan.Fleet(controller_names=("ayx-ctl",)),
        _plan.Fleet(addresses={"controller1": "ayx-ctl.example.test"}),
    ):
        assert plan_fleet(facts, samples.request(), fleet).controller == "controller1"
    facts["controller1"]["system"]["fqdn"] = "AYX-CTL.example.test"
    assert plan_fleet(facts, samples.request()).controller == "controller1"


def test_every_node_of_a_fleet_knows_by_what_the_controller_answers() -> None:
    url = "https://alteryx.example.test/webapi"
    facts = fleet_facts(worker1="c", controller1="b", ui1="d")
    for host, answer in {"worker1": "200", "controller1": "200", "ui1": "timed out"}.items():
        facts[host]["health"] = {"url": url, "answer": answer}
    nodes = {node.name: node for node in plan_fleet(facts, samples.request()).nodes}
    assert {name: node.controller_url for name, node in nodes.items()} == {
        "worker1": url,
        "controller1": url,
        "ui1": "",
    }
    assert "the port of the controller tells whether it answers" in nodes["ui1"].warnings[0]
    facts["controller1"]["health"]["answer"] = "503"
    assert {node.controller_url for node in plan_fleet(facts, samples.request()).nodes} == {""}


def test_a_standby_controller_takes_part_with_its_configuration_alone() -> None:
    facts = fleet_facts(controller1="b", controller2="b")
    facts["controller2"]["service"]["state"] = "Stopped"
    plan = plan_fleet(facts, samples.request())
    assert (plan.controller, plan.stop_tiers) == ("controller1", (("controller1",),))
    standby = plan.nodes[1]
    assert (standby.standby, standby.dumps, bool(standby.files)) == (True, False, True)
    # A controller whose service an interrupted run has left stopped is not on standby.
    facts["controller2"]["lease"] = LEFT
    with pytest.raises(StepFailed) as failure:
        plan_fleet(facts, samples.request())
    assert failure.value.reason.name == "several_fleets"


@pytest.mark.reaches("fleet_partial")
def test_a_part_of_a_fleet_is_refused_before_anything_else_is_said() -> None:
    fleet = _plan.Fleet("alteryx_prod", ("controller1", "worker1"))
    with pytest.raises(StepFailed) as failure:
        planned_fleet("full", fleet, controller1="b")
    assert failure.value.reason.name == "fleet_partial"
    assert "worker1" in planned_fleet("config", fleet, controller1="b").warnings[0]
    assert planned_fleet(
        "full", _plan.Fleet("alteryx_prod", ("controller1", "worker1"), partial_wanted=True), controller1="b"
    ).warnings


def test_a_ui_with_a_database_of_its_own_is_not_in_a_dump_of_the_embedded_one() -> None:
    facts = fleet_facts(controller1="b")
    facts["controller1"]["settings"]["overrides"]["sections"]["Gallery"] = {"MongoDBWebOverride": "True"}
    with pytest.raises(StepFailed) as failure:
        plan_fleet(facts, samples.request())
    assert failure.value.reason.name == "database_split"
    assert plan_fleet(facts, samples.request("config")).controller == "controller1"


def test_the_node_that_is_refused_is_named() -> None:
    facts = fleet_facts(controller1="b", worker1="c")
    facts["worker1"]["system"]["is_administrator"] = False
    with pytest.raises(StepFailed) as failure:
        plan_fleet(facts, samples.request("config"))
    assert failure.value.detail["node"] == "worker1"


SCHEDULES_LEFT = Record(
    "Full_20260831_020000_0001",
    "https://ayx.example.test/webapi",
    (Schedule("a", "Daily sales", True), Schedule("b", "", True)),
).text()


@pytest.mark.parametrize("mode", ["full", "database", "config"])
def test_schedules_that_a_dead_run_has_left_paused_are_named_and_enabled_by_any_mode_that_can(mode: str) -> None:
    for knows_api, words in ((True, "this run enables them again"), (False, "alteryx_window_schedules_api")):
        node = plan_node(
            "node1", samples.facts(schedules_left=SCHEDULES_LEFT), replace(samples.request(mode), knows_api=knows_api)
        )
        (warning,) = [text for text in node.warnings if "schedules" in text]
        assert node.resumes_schedules is knows_api
        assert all(what in warning for what in ("Full_20260831_020000_0001", "2 schedules", "Daily sales, b", words))
    assert (
        plan_node("node1", samples.facts(), replace(samples.request(mode), knows_api=True)).resumes_schedules is False
    )


def test_an_unreadable_record_only_refuses_runs_that_would_overwrite_it() -> None:
    node = plan_node("node1", samples.facts(schedules_left="{"), samples.request())
    assert any("cannot be read" in text for text in node.warnings)
    assert node.resumes_schedules is False
    pausing = replace(samples.request(), pauses_schedules=True)
    with pytest.raises(StepFailed) as failure:
        plan_node("node1", samples.facts(schedules_left="{"), pausing)
    assert failure.value.reason.name == "schedules_record_bad"
    config = replace(samples.request("config"), pauses_schedules=True)
    assert plan_node("node1", samples.facts(schedules_left="{"), config).warnings


ALL_PARTS = {
    "others",
    "stop",
    "dump",
    "mongodb",
    "schedules",
    "resume",
    "before",
    "after",
    "database_hook",
    "distribution",
    "retention",
    "room",
}


def test_a_plain_backup_of_a_single_node_uses_only_what_a_single_node_needs() -> None:
    plan = plan_fleet({"node1": samples.facts()}, samples.request())
    assert set(_plan.list_unused(plan, (), pauses=False)) == ALL_PARTS - {"stop", "dump"}


def test_copies_are_made_where_the_operator_wants_them() -> None:
    plan = plan_fleet({"node1": samples.facts()}, samples.request(copies=True))
    assert "distribution" not in _plan.list_unused(plan, (), pauses=False)


def test_a_policy_of_retention_is_used() -> None:
    plan = plan_fleet({"node1": samples.facts()}, samples.request(prunes=True))
    assert "retention" not in _plan.list_unused(plan, (), pauses=False)


def test_room_is_made_where_it_is_short_and_the_operator_wants_it() -> None:
    facts = samples.facts(database__bytes=100)
    facts["folders"] = [{**folder, "volume": "D:\\", "free_bytes": 299} for folder in facts["folders"]]
    plan = plan_fleet({"node1": facts}, samples.request(prunes=True, prunes_for_room=True))
    assert "room" not in _plan.list_unused(plan, (), pauses=False)


@pytest.mark.parametrize("hook", _plan.HOOKS)
def test_tasks_of_the_operator_are_used_where_they_are_given(hook: str) -> None:
    plan = plan_fleet({"node1": samples.facts()}, samples.request())
    unused = _plan.list_unused(plan, [hook], pauses=False)
    # Those for the database are for a database that nothing else dumps.
    assert (hook in unused) is False
    assert "database_hook" in unused


def test_paused_schedules_are_enabled_again_also_those_of_a_dead_run() -> None:
    plan = plan_fleet({"node1": samples.facts()}, samples.request())
    assert not {"schedules", "resume"} & set(_plan.list_unused(plan, (), pauses=True))
    plan.nodes[0].resumes_schedules = True
    assert {"schedules", "resume"} & set(_plan.list_unused(plan, (), pauses=False)) == {"schedules"}


def test_the_configuration_alone_stops_and_dumps_nothing_and_pauses_no_schedules() -> None:
    plan = plan_fleet({"node1": samples.facts()}, samples.request("config"))
    assert set(_plan.list_unused(plan, (), pauses=True)) == ALL_PARTS


def test_a_fleet_has_others() -> None:
    plan = planned_fleet(controller1="b", worker1="c")
    assert not {"others", "stop", "dump"} & set(_plan.list_unused(plan, (), pauses=False))


def test_a_node_that_is_not_stopped_by_itself_is_treated_like_a_fleet() -> None:
    plan = plan_fleet({"node1": samples.facts()}, samples.request())
    plan.nodes[0].standby = True
    assert "others" not in _plan.list_unused(plan, (), pauses=False)
