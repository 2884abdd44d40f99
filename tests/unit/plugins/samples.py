# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes and runs look like, as the code under test receives it: settings files, facts, plans, results of steps."""

from __future__ import annotations

import copy
import dataclasses
import typing as t
from xml.etree import ElementTree as ET

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet import _node_facts
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._fleet._node_facts import NodeFacts
from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _plan

STAMP = "20260901_020000"
RUN_ID = f"Full_{STAMP}_7f3a"
STAGING = r"D:\AlteryxStaging"
ARCHIVES = r"E:\AlteryxBackups"
BIN = r"C:\Program Files\Alteryx\bin"
EXECUTABLE = rf"{BIN}\AlteryxService.exe"
STATE_FOLDER = r"C:\ProgramData\AlteryxOps"
# What Windows says about a folder this collection has created.

# The synthetic settings files of the facts pages, by their letters; every value is invented.
SETTINGS = {
    "a single node, embedded": r"""
<SystemSettings>
  <Controller>
    <EmbeddedMongoDBEnabled>True</EmbeddedMongoDBEnabled><GalleryEnabled>True</GalleryEnabled>
    <EmbeddedMongoDBPasswordEncrypted>00SYNTHETIC01</EmbeddedMongoDBPasswordEncrypted>
    <EmbeddedMongoDBRootPath>D:\Alteryx\Service\Persistence\MongoDB</EmbeddedMongoDBRootPath>
    <LoggingEnabled>True</LoggingEnabled><LoggingPath>D:\Alteryx\Service\AlteryxServiceLog.log</LoggingPath>
    <ServerSecretEncrypted>00SYNTHETIC02</ServerSecretEncrypted>
    <StorageKeysEncrypted>00SYNTHETIC03</StorageKeysEncrypted>
    <WebInterfaceStagingPath>D:\Alteryx\Service\Staging</WebInterfaceStagingPath>
  </Controller>
  <Environment><Configured>True</Configured><WorkingPath>D:\Alteryx</WorkingPath></Environment>
  <Gallery>
    <BaseAddress>https://alteryx.example.test/gallery/</BaseAddress><SslEnabled>True</SslEnabled>
    <LoggingPath>D:\Alteryx\Gallery\Logs</LoggingPath>
    <SmtpServerName>mail.example.test</SmtpServerName><SmtpPasswordEncrypted>00SYNTHETIC04</SmtpPasswordEncrypted>
  </Gallery>
  <Worker>
    <ExecuteDomain>EXAMPLE</ExecuteDomain><ExecuteUserName>svc-ayx-run</ExecuteUserName>
    <ExecutePasswordEncrypted>00SYNTHETIC05</ExecutePasswordEncrypted><StagingPath>D:\Alteryx\Staging</StagingPath>
  </Worker>
</SystemSettings>""",
    "b controller, embedded": r"""
<SystemSettings>
  <Controller>
    <EmbeddedMongoDBEnabled>True</EmbeddedMongoDBEnabled>
    <EmbeddedMongoDBPasswordEncrypted>00SYNTHETIC11</EmbeddedMongoDBPasswordEncrypted>
    <EmbeddedMongoDBPort>27020</EmbeddedMongoDBPort><EmbeddedMongoDBRootPath>E:\AyxMongo</EmbeddedMongoDBRootPath>
    <ServerSecretEncrypted>00SYNTHETIC12</ServerSecretEncrypted>
    <StorageKeysEncrypted>00SYNTHETIC13</StorageKeysEncrypted>
  </Controller>
  <Environment><Configured>True</Configured><WorkerEnabled>False</WorkerEnabled></Environment>
</SystemSettings>""",
    "c worker": """
<SystemSettings>
  <Controller><ControllerEnabled>False</ControllerEnabled></Controller>
  <Environment><Configured>True</Configured></Environment>
  <Worker>
    <ServerName>ayx-ctl.example.test:80</ServerName><ServerSecretEncrypted>00SYNTHETIC22</ServerSecretEncrypted>
    <ThreadCount>4</ThreadCount><UseLocalServer>False</UseLocalServer>
  </Worker>
</SystemSettings>""",
    "d UI": """
<SystemSettings>
  <Controller><ControllerEnabled>False</ControllerEnabled><GalleryEnabled>True</GalleryEnabled></Controller>
  <Environment><Configured>True</Configured><WorkerEnabled>False</WorkerEnabled></Environment>
  <Gallery>
    <AuthenticationType>Windows</AuthenticationType><BaseAddress>http://ayx-ui.example.test/gallery/</BaseAddress>
  </Gallery>
  <Worker>
    <ServerName>ayx-ctl.example.test:80</ServerName><ServerSecretEncrypted>00SYNTHETIC32</ServerSecretEncrypted>
    <UseLocalServer>False</UseLocalServer>
  </Worker>
</SystemSettings>""",
    "e controller and UI, self-managed MongoDB": """
<SystemSettings>
  <Controller>
    <GalleryEnabled>True</GalleryEnabled>
    <MongoDBDatabaseName>AlteryxService</MongoDBDatabaseName><MongoDBEnabled>True</MongoDBEnabled>
    <MongoDBServerName>db1.example.test:27017</MongoDBServerName><MongoDBUserName>ayx_service</MongoDBUserName>
    <MongoDBPasswordEncrypted>00SYNTHETIC41</MongoDBPasswordEncrypted>
    <ServerSecretEncrypted>00SYNTHETIC42</ServerSecretEncrypted>
    <StorageKeysEncrypted>00SYNTHETIC43</StorageKeysEncrypted>
  </Controller>
  <Environment><Configured>True</Configured><WorkerEnabled>False</WorkerEnabled></Environment>
  <Gallery>
    <MongoDBWebOverride>True</MongoDBWebOverride>
    <MongoDBWebConnection>mongodb://ayx_ui:P%40ss@db1.example.test:27017/AlteryxGallery\
?replicaSet=rs0&amp;ssl=true</MongoDBWebConnection>
    <MongoDBSearchOverride>True</MongoDBSearchOverride>
    <MongoDBSearchConnection>mongodb://ayx_ui:P%40ss@db1.example.test:27017/AlteryxGallery_Lucene\
?replicaSet=rs0&amp;ssl=true</MongoDBSearchConnection>
  </Gallery>
</SystemSettings>""",
}

# A defaults file of our own, after the table of elements in the facts pages.
DEFAULTS = """
<SystemSettings>
  <Controller>
    <ControllerEnabled>True</ControllerEnabled><GalleryEnabled>False</GalleryEnabled>
    <EmbeddedMongoDBEnabled>False</EmbeddedMongoDBEnabled><EmbeddedMongoDBPort>27018</EmbeddedMongoDBPort>
    <EmbeddedMongoDBRootPath></EmbeddedMongoDBRootPath><MongoDBEnabled>False</MongoDBEnabled>
    <SQLitePath>C:\\ProgramData\\Alteryx\\Service\\Persistence\\SQLite</SQLitePath><ServicePort>80</ServicePort>
  </Controller>
  <Environment>
    <Configured>False</Configured><SetupType>SchedulerOnly</SetupType><WorkerEnabled>True</WorkerEnabled>
  </Environment>
  <Gallery>
    <AuthenticationType>BuiltIn</AuthenticationType><MongoDBWebDatabaseName>AlteryxGallery</MongoDBWebDatabaseName>
  </Gallery>
  <Worker>
    <QueueWorkerEnabled>True</QueueWorkerEnabled><RenderWorkerEnabled>True</RenderWorkerEnabled>
    <UseLocalServer>True</UseLocalServer>
  </Worker>
</SystemSettings>"""


def sections(xml: str) -> dict[str, dict[str, str]]:
    """A settings file as node_info reports it."""
    root = ET.fromstring(xml.strip())  # noqa: S314 - our own text
    return {section.tag: {element.tag: element.text or "" for element in section} for section in root}


def settings_named(letter: str) -> dict[str, dict[str, str]]:
    """The sample whose name begins with this letter."""
    return sections(next(xml for name, xml in SETTINGS.items() if name.startswith(letter)))


def facts(letter: str = "a", **changes: t.Any) -> dict[str, t.Any]:
    """The result of node_info of a healthy node with one of the sample settings.

    Args:
        letter: which settings.
        changes: group__key=value changes one value, e.g. service__state="Stopped"; group=value all of it.
    """
    service = {
        "exists": True, "name": "AlteryxService", "state": "Running", "start_type": "Automatic",
        "account": "LocalSystem", "process_id": 4711, "started": "2026-08-01T06:00:00.000Z", "executable": EXECUTABLE,
        "dependants": [],
    }  # fmt: skip
    folder = {
        "absolute": True, "drive_exists": True, "exists": False, "is_file": False, "link": "",
        "free_bytes": 500_000_000,
    }  # fmt: skip
    answer: dict[str, t.Any] = {
        "changed": False,
        "system": {
            "computer": "AYX01", "utc": "2026-09-01T02:00:00.000Z", "program_data": r"C:\ProgramData",
            "state_folder": STATE_FOLDER, "user": r"EXAMPLE\backup", "is_administrator": True,
        },
        "alteryx": {
            "bin_folder": BIN, "executable": EXECUTABLE, "executable_exists": True, "version": "2024.2.1.14",
            "processes": [],
        },
        "service": service,
        "settings": {
            "overrides": {
                "path": r"C:\ProgramData\Alteryx\RuntimeSettings.xml", "exists": True, "error": "",
                "sections": settings_named(letter),
            },
            "defaults": {
                "path": rf"{BIN}\RuntimeData\RuntimeSettings.xml", "exists": True, "error": "",
                "sections": sections(DEFAULTS),
            },
        },
        "database": {
            "folder": r"D:\Alteryx\Service\Persistence\MongoDB", "exists": True, "bytes": 100_000_000, "skipped": [],
            "skipped_count": 0, "rename_problem": "",
        },
        "mongodump": {"path": "", "version": "", "problem": ""},
        "folders": [{"path": path, "volume": path[:3], **folder} for path in (STAGING, ARCHIVES)],
        "lease": None,
        "lock": None,
        "hold": False,
        "schedules_left": "",
        "cluster_resource": "",
        "reboot_pending": [],
        "recorded_by": [],
        "trust": [trust(STATE_FOLDER), trust(r"C:\Program Files\AlteryxOps")],
        "health": {"url": "", "answer": ""},
        "clock_off": 0.1,
    }  # fmt: skip
    for key, value in changes.items():
        group, _unused, name = key.partition("__")
        if name:
            answer[group][name] = value
        else:
            answer[group] = value
    return answer


def node_facts(letter: str = "a", **changes: t.Any) -> NodeFacts:
    """The same as decisions get it."""
    return _node_facts.read(facts(letter, **changes))


def trust(path: str, **changes: t.Any) -> dict[str, t.Any]:
    """What node_info says about who may write into a folder of ours."""
    return {"path": path, "link": "", "access": "", **changes}


def lock(**changes: t.Any) -> dict[str, t.Any]:
    """The lock of another run, as node_info reports it."""
    return {
        "run_id": "Full_20260831_020000_0001",
        "holder": "ops@ctl2 process 42",
        "started": "2026-08-31 02:00:00 UTC",
        "age": 12.4,
        "fresh": True,
        "stale_in": 167.6,
        "stale_at": "2026-09-01 02:03:00 UTC",
        **changes,
    }


def lease(**changes: t.Any) -> dict[str, t.Any]:
    """The lease of this run as maintenance_lease returns it."""
    return {
        "run_id": RUN_ID, "generation": 1, "service": "AlteryxService", "prior_state": "Running",
        "start_type": "Automatic", "boot": "900@x", "deadline_monotonic": 99999.0,
        "deadline": "2026-09-01 08:00:00 UTC", "heartbeat_stale": 180, "drilled": True, "guard_account": "S-1-5-18",
        **changes,
    }  # fmt: skip


def request_fields(mode: str = "full", **changes: t.Any) -> dict[str, t.Any]:
    """The result "request" of backup_request."""
    return {
        "run_id": RUN_ID, "stamp": STAMP, "started": "2026-09-01T02:00:00.000Z", "begun": 1000.0, "mode": mode,
        "fleet": "alteryx_prod", "hosts": ["node1"], "members": ["node1"],
        "secrets": "encrypt", "recipients": [{"pem": "PEM", "sha256": "ab" * 32, "subject": "CN=ops", "warning": ""}],
        "service_name": "AlteryxService", "archive_directory": ARCHIVES, "staging_directory": STAGING,
        "name_pattern": "ServerBackup_{mode}_{stamp}", "space_factor": 2.0, "folder_trust": "enforce",
        "prunes": False, **changes,
    }  # fmt: skip


def request(mode: str = "full", **changes: t.Any) -> _plan.Request:
    """What the operator asked for."""
    fields = request_fields(mode, **changes)
    return _plan.Request(**{name: fields[name] for name in _plan.Request.__dataclass_fields__ if name in fields})


def plan(mode: str = "full", **changes: t.Any) -> dict[str, t.Any]:
    """The result "plan" of backup_plan for one single-node fleet."""
    asked = request(mode, **changes)
    (node,) = _plan.plan_fleet({"node1": node_facts()}, asked).nodes
    return {
        **request_fields(mode, **changes),
        "stops_services": asked.stops_services,
        "stop_tiers": [["node1"]],
        "start_tiers": [["node1"]],
        "exports_configuration": asked.exports_configuration,
        "controller": "node1",
        "warnings": [],
        "nodes": {"node1": {**dataclasses.asdict(node), "dumps": node.dumps}},
    }


DOWNTIME = {"total": 41.0, "stop": 3.0, "dump": 30.0, "start": 7.8, "rest": 0.2}


def steps(mode: str = "full", **changes: t.Any) -> dict[str, dict[str, t.Any]]:
    """The results of every step of a run that went well, in the order of the sequence.

    Args:
        mode: of the run.
        changes: further fields of the request.
    """
    the_plan = plan(mode, **changes)
    service = facts()["service"]
    answer: dict[str, dict[str, t.Any]] = {
        "request": {"request": request_fields(mode, **changes)},
        "facts": facts(),
        "plan": {"plan": the_plan},
        "lock": {"changed": True, "did": [], "left_behind": [], "adopted": "", "inherited": "", "pending": []},
    }
    if the_plan["stops_services"]:
        answer["drain"] = {"found": [], "running": [], "forced": False}
        answer["lease"] = {"changed": True, "lease": lease()}
        answer["gate"] = {"changed": False, "open": True}
        answer["window"] = {
            "changed": True, "prior_state": "Running", "restored": True, "states": [], "downtime": DOWNTIME,
            "dump_bytes": 12_800_000, "proof": "counts", "is_usable": True,
            "proof_text": "the tool reported the number of documents of every collection", "remarks": [],
            "databases": ["AlteryxGallery", "AlteryxService"], "documents": {"AlteryxGallery.users": 120},
            "events": [{"at": "2026-09-01T02:00:05.500Z", "level": "INFO", "text": "AlteryxService is Stopped"}],
        }  # fmt: skip
        answer["restore"] = {
            "changed": False,
            "before": "Running",
            "goal": "Running",
            "service": {**service, "process_id": 4812},
        }
        answer["release"] = {"changed": True}
    if the_plan["exports_configuration"]:
        answer["configuration"] = {
            "changed": True,
            "files": [
                {
                    "id": "keys",
                    "source": r"C:\Keys",
                    "present": True,
                    "files": 2,
                    "bytes": 300,
                    "permissions": 3,
                    "left_out": [],
                }
            ],
            "metadata": [
                {"id": "version", "state": "found", "why": ""},
                {"id": "odbc_drivers", "state": "found", "why": ""},
                {"id": "licence", "state": "absent", "why": "it is not set"},
                {"id": "ad_groups", "state": "unreadable", "why": "Invalid class"},
            ],
            "secrets": the_plan["nodes"]["node1"]["secrets"],
            "secrets_file": r"D:\AlteryxStaging\secrets.pem" if the_plan["nodes"]["node1"]["secrets"] else "",
        }
    answer["archive"] = {
        "changed": True, "archive": rf"{ARCHIVES}\node1\ServerBackup_Full_{STAMP}.zip", "archive_bytes": 5_100_000,
        "archive_sha256": "9c1e" * 16, "file_count": 45, "file_bytes": 12_900_000,
        "secrets": bool(answer.get("configuration", {}).get("secrets_file")),
    }  # fmt: skip
    answer["verify"] = {"changed": True, "verdict": "good"}
    answer["set"] = {"changed": True}
    answer["unlock"] = {"changed": True, "did": [], "left_behind": [], "adopted": "", "inherited": "", "pending": []}
    for second, result in enumerate(answer.values()):
        result.update(
            node="node1",
            started=f"2026-09-01T02:00:{second:02}.000Z",
            ended=f"2026-09-01T02:00:{second:02}.900Z",
            seconds=0.9,
        )
    return copy.deepcopy(answer)


def failed(reason: str, exit_code: int, message: str = "it went wrong", **more: t.Any) -> dict[str, t.Any]:
    """What a step of ours registers when it fails."""
    return {
        "failed": True, "msg": f"node1: {message}. Do something", "reason": reason, "exit_code": exit_code,
        "message": message, "hint": "Do something", "detail": {}, "node": "node1",
        "started": "2026-09-01T02:00:20.000Z", "ended": "2026-09-01T02:00:21.000Z", "seconds": 1.0, **more,
    }  # fmt: skip
