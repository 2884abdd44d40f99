# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret is told: not by a run that passes, not by one that fails with the secret in the mouth of the tool that
failed; wherever one looks."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.background_run import BackgroundRun
from tests.lab import alteryx_install, layout

from . import canary_search, observer, recording
from .lab_of_tests import ARCHIVES, SETTINGS, STAGING, STATE_FOLDER, Lab
from .onlooker import Onlooker
from .playbook_run import Run

RUN_SECONDS = 900  # a run at which everything is recorded takes longer
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Scene:
    """What the node's doubles do wrong, and what the run must say of it; nothing for a run that passes."""

    behaviour: Mapping[str, str]
    code: int = 0
    reason: str = ""


SCENES = {
    "a run that passes": Scene({}),
    "a dump that fails and tells a password": Scene({"emongodump": "leak"}, 5, "dump_failed"),
    "a verb that fails and tells the token": Scene({"getserversecret": "leak"}, 1, "secret_unreadable"),
    "a run whose node records PowerShell": Scene(recording.BEHAVIOUR),
}


Hits = dict[str, dict[str, str]]
"""Place -> name of a secret -> in what it was found."""


@dataclass(frozen=True)
class Watched:
    """A full backup at the highest verbosity, all that was seen of it, and what a search of that has found."""

    run: Run
    began: float
    clear: dict[str, str]  # what may stand in clear text nowhere
    inside: dict[str, str]  # what stands in the settings of the node and may not leave it
    registry: dict[str, str]  # what stands in its registry and may lie nowhere else
    control: dict[str, bytes]
    wire: dict[str, bytes]
    seen: Onlooker
    recorded: dict[str, bytes]  # what Windows recorded of PowerShell; empty without policies
    hits_on_node: Hits
    hits_elsewhere: Hits


def _search(places: Mapping[str, bytes], wanted: Mapping[str, str]) -> Hits:
    """Hits by place; of what stands in several places one is named."""
    seen: set[bytes] = set()
    return {place: hits for place, content in places.items() if (hits := canary_search.find(content, wanted, seen))}


@pytest.fixture(scope="module")
def planted(lab: Lab) -> Iterator[dict[str, str]]:
    """Passwords in clear text in the settings, as the UI's own database and the search database have them (facts on
    RuntimeSettings.xml)."""
    file = lab.node.path(SETTINGS)
    before = file.read_bytes()
    found = {"web_connection": secrets.token_hex(12) + "+x/y", "search_connection": secrets.token_hex(12)}
    web = (
        f"<MongoDBWebConnection>mongodb://gallery:{found['web_connection'].replace('/', '%2F')}"
        "@db.example.test/AlteryxGallery</MongoDBWebConnection>"
    )
    search = (
        f"<MongoDBSearchConnection>Server=db;User Id=sa;Password={found['search_connection']}"
        ";Encrypt=True</MongoDBSearchConnection>"
    )
    file.write_bytes(re.sub(rb"<Gallery>", f"<Gallery>{web}{search}".encode(), before, count=1))
    yield found
    file.write_bytes(before)


@pytest.fixture(scope="module", params=SCENES)
def watched(
    request: pytest.FixtureRequest, lab: Lab, planted: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    scene, folder = SCENES[request.param], tmp_path_factory.mktemp("canaries")
    is_recorded = scene.behaviour == recording.BEHAVIOUR
    if is_recorded and lab.kind != "wine":
        pytest.skip("policies are set on Wine nodes only")
    transcript = layout.transcript(lab.node.folder)
    shutil.rmtree(transcript, ignore_errors=True)
    transcript.mkdir()
    lab.node.behave(**scene.behaviour)
    began = time.time()
    # On a real Windows there is no double of the API.
    api = lab.inventory_content()["alteryx"]["children"]["alteryx_lab"]["vars"].get("alteryx_window_schedules_api", {})
    environment = {
        "ANSIBLE_VERBOSITY": "5",
        "ANSIBLE_LOG_PATH": str(folder / "ansible.log"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "temp"),
    }
    policies = contextlib.ExitStack()
    try:
        if is_recorded:
            policies.enter_context(recording.everything_recorded(lab))
        with Onlooker([lab.node.path(path) for path in (STAGING, STATE_FOLDER)]) as seen:
            extra = {
                "alteryx_window_schedules": bool(api),
                "alteryx_configuration_licence_value": alteryx_install.LICENCE_VALUE,
            }
            background = BackgroundRun(
                lab, "full_backup.yml", folder / "run", environment=environment, extra_vars=extra
            )
            try:
                run = background.finish(RUN_SECONDS)
            finally:
                background.kill_everything()
        wire = {file.name: file.read_bytes() for file in transcript.iterdir()}
        control = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        # The transcript is the test's own and is searched by itself.
        shutil.rmtree(transcript)
        assert (run.rc, run.outcome.get("reason")) == (scene.code, scene.reason), run.output[-4000:]
        encrypted = {
            element.tag: element.text
            for element in lab.settings().iter()
            if element.tag.endswith("Encrypted") and element.text
        }
        clear = {
            **lab.secrets(),
            "connection": lab.node.password,
            **{name: api[name] for name in ("client_id", "client_secret") if name in api},
            **{f"of {tag}": alteryx_install.decrypt(text) for tag, text in encrypted.items()},
        }
        inside = planted | encrypted
        # Searched event by event: as one file it takes many times as long.
        told = recording.recorded(lab) if is_recorded else {}
        policies.close()
        registry = {"data source": alteryx_install.DATA_SOURCE_PASSWORD, "licence": alteryx_install.LICENCE_KEY}
        on_node = dict(canary_search.find_in_files(observer.files(lab.node, began), clear | inside | registry))
        on_node |= _search(told, clear | inside | registry)
        elsewhere = _search(
            {
                **control,
                **{f"wire: {name}": content for name, content in wire.items()},
                "command lines": b"\n".join(seen.command_lines),
            },
            clear | inside | registry,
        )
        elsewhere |= _search({"for a moment": b"\n".join(seen.contents())}, clear | registry)
        yield Watched(run, began, clear, inside, registry, control, wire, seen, told, on_node, elsewhere)
    finally:
        policies.close()
        shutil.rmtree(transcript, ignore_errors=True)
        lab.recover()


def test_the_secrets_are_worth_looking_for(watched: Watched, lab: Lab) -> None:
    assert all(
        len(secret) >= 16 for secret in (*watched.clear.values(), *watched.inside.values(), *watched.registry.values())
    )
    assert {"controller_token", "admin", "non_admin", "connection", "of SmtpPasswordEncrypted"} <= watched.clear.keys()
    if lab.kind != "windows":
        assert {"client_id", "client_secret"} <= watched.clear.keys()
        assert watched.run.outcome["schedules"]["paused"] > 0


def test_the_search_looks_everywhere(watched: Watched, lab: Lab) -> None:
    # The run ID is not a secret. It must be found in every place where a secret would be found.
    wanted = {"run": watched.run.outcome["run_id"]}

    def found_in(name: str, places: Mapping[str, bytes]) -> bool:
        return any(
            canary_search.find(content, wanted) for place, content in places.items() if re.fullmatch(name, place)
        )

    for place in ("ansible.log", "run/output.txt", "run/reports/.*/outcome.json", r"run/reports/.*\.log"):
        assert found_in(place, watched.control), place
    for place in (r".*\.stdin", r".*\.stdout"):
        assert found_in(place, watched.wire), place
    assert {"requests.xml", "responses.xml"} <= watched.wire.keys()
    assert any(canary_search.find(content, wanted) for content in watched.seen.contents())
    assert any(b"full_backup.yml" in line for line in watched.seen.command_lines)
    assert next(canary_search.find_in_files(observer.files(lab.node, watched.began), wanted), None)


def test_what_windows_records_is_there_to_be_searched(watched: Watched) -> None:
    if not watched.recorded:
        pytest.skip("nothing is recorded")
    events = [content for place, content in watched.recorded.items() if place.startswith("event ")]
    scripts = b"".join(content for place, content in watched.recorded.items() if place.startswith("event 4104"))
    transcripts = [content for place, content in watched.recorded.items() if not place.startswith("event ")]
    assert any(b"CommandInvocation(Import-Module)" in event for event in events)
    run_id = watched.run.outcome["run_id"].encode()
    for contents in (events, transcripts):
        assert any(run_id in content for content in contents)
    # The text of modules and of jobs.
    for script in (b"function Export-Secret", b"function Write-Beat"):
        assert script in scripts
    (warning,) = [words for words in watched.run.outcome["warnings"] if "Windows records" in words]
    assert "ModuleLogging and ScriptBlockLogging and Transcription" in warning


def test_no_secret_lies_on_the_node(watched: Watched) -> None:
    assert {place: hits for place, hits in watched.hits_on_node.items() if watched.clear.keys() & hits.keys()} == {}


def test_what_the_settings_hold_lies_in_the_settings_and_their_copies_alone(watched: Watched, lab: Lab) -> None:
    # A drive of a node may be a link.
    found = {Path(path).resolve() for path, hits in watched.hits_on_node.items() if watched.inside.keys() & hits.keys()}
    settings = lab.node.path(SETTINGS).resolve()
    copies = [lab.node.path(path).resolve() for path in (ARCHIVES, STAGING)]  # for SYSTEM and Administrators only
    assert settings in found
    assert {path for path in found - {settings} if not any(path.is_relative_to(copy) for copy in copies)} == set()
    assert {path.suffix for path in found} <= {".xml", ".zip"}


def test_what_the_registry_holds_lies_in_the_registry_alone(watched: Watched) -> None:
    # Drivers and licences are written down of a node (node.json), passwords of data sources and whole keys are not.
    assert {
        Path(path).name for path, hits in watched.hits_on_node.items() if watched.registry.keys() & hits.keys()
    } <= {"system.reg"}


def test_no_secret_is_in_output_logs_reports_messages_or_command_lines(watched: Watched) -> None:
    # Nothing of it goes into the node either, so far: what is needed there is made there.
    assert watched.hits_elsewhere == {}
