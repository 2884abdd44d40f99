# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transcripts are whole and give nobody away, and the lab's doubles answer as real Windows did.

While none from real Windows is committed, each test that needs one passes once under the name "no transcript yet", and
the end of the run says so (tests/conftest.py).
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from tests.windows import transcripts
from tests.windows.transcripts import Transcript

ALL = transcripts.committed()
SCRIPTS = {path.stem for path in Path(__file__).parent.glob("*.ps1")}

# Difference of a real transcript -> why it may stay: the collection does not depend on it. Beginning of its text.
KNOWN: dict[str, str] = {}

_OCTET = r"(25[0-5]|2[0-4]\d|1?\d?\d)"
IDENTIFYING = {
    "identifier of an account": r"S-1-5-21-\d+-\d+|S-1-12-1-\d+",
    "address": r"(?<![\d.])(?!127\.|0\.0\.0\.0|1\.1\.0\.1|255\.|[2-7]\.0\.0\.0|10\.0\.0\.0)"
    rf"({_OCTET}\.){{3}}{_OCTET}(?![\d.])",
    "network card": r"(?i)(?<![0-9a-f:-])([0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![0-9a-f:-])",
    "folder of a user": r"(?i)\\users\\(?!USER\b|public\b|default\b|all users\b|administrator\b)[^\\\"']+",
    "share": r"(?<!\\)\\\\(?!MACHINE\b|\.\\|\?\\)[A-Za-z0-9-]+\\",
    "mail address": r"[\w.+-]+@[\w-]+\.\w+",
}
# A secret as the Server prints it, or one of the lab's: no word of a transcript is that long and
# without a blank or a dot.
SECRET = r"(?<![\w-])[A-Za-z0-9+/]{40,}={0,2}(?![\w-])"


def real(script: str) -> list[Any]:
    """Parameters: the transcripts of a script from real Windows, or one that says that there is none."""
    found = [pytest.param(each, id=each.name) for each in ALL if each.is_real and each.folder.name == script]
    return found or [pytest.param(None, id="no transcript yet")]


def unknown(differences: list[str]) -> list[str]:
    """Differences that KNOWN does not explain."""
    return [each for each in differences if not each.startswith(tuple(KNOWN))]


def example(script: str) -> Transcript:
    """What a script has written on the lab's Wine node."""
    return Transcript(transcripts.EXAMPLE / script)


def giveaways(value: object) -> list[str]:
    """What in a JSON value tells whose machine it was."""
    return [
        f"{kind}: {match[0]}"
        for text in transcripts.texts(value)
        for kind, pattern in IDENTIFYING.items()
        for match in re.finditer(pattern, text)
    ]


# ---- every transcript


def test_there_is_an_example_of_every_script() -> None:
    assert {each.folder.name for each in ALL if each.folder.parent == transcripts.EXAMPLE} == SCRIPTS


@pytest.mark.parametrize("transcript", ALL, ids=lambda each: each.name)
def test_a_transcript_is_whole(transcript: Transcript) -> None:
    index = transcript.index
    assert index["format"] == 1
    assert index["script"] == f"{transcript.folder.name}.ps1"
    assert {subject["file"] for subject in index["subjects"]} | {"index.json"} == {
        file.name for file in transcript.folder.iterdir()
    }
    for subject in index["subjects"]:
        assert (transcript.folder / subject["file"]).read_bytes()[:3] != b"\xef\xbb\xbf"
        content = transcript.read(subject["file"])
        assert (content["subject"], content["recorded_on"], content["problem"]) == (
            subject["name"],
            index["recorded_on"],
            subject["problem"],
        )
        assert (subject["state"] == "failed") == bool(subject["problem"])


@pytest.mark.parametrize("transcript", ALL, ids=lambda each: each.name)
def test_only_what_is_not_from_windows_is_called_an_example(transcript: Transcript) -> None:
    is_example = transcript.folder.parent.name.startswith("example-")
    assert transcript.index["recorded_on"] == (transcripts.WINE if is_example else transcripts.WINDOWS)


@pytest.mark.parametrize("transcript", ALL, ids=lambda each: each.name)
def test_a_transcript_gives_nobody_away(transcript: Transcript) -> None:
    for file in transcript.folder.iterdir():
        assert not giveaways(transcript.read(file.name)), file.name


@pytest.mark.parametrize(
    "transcript", [each for each in ALL if each.folder.name == "record_alteryx"], ids=lambda each: each.name
)
def test_a_transcript_of_a_server_holds_no_secret(transcript: Transcript) -> None:
    for file in transcript.folder.iterdir():
        assert [text for text in transcripts.texts(transcript.read(file.name)) if re.search(SECRET, text)] == [], (
            file.name
        )
    secret_calls = [
        call
        for call in transcript.calls()
        if "problem" not in call and call["arguments"][:1] in (["getserversecret"], ["getemongopassword"])
    ]
    assert secret_calls
    assert all(call[stream]["removed"] is True for call in secret_calls for stream in ("stdout", "stderr"))
    elements = [
        element
        for file in transcript.subject("settings")["data"].values()
        for section in file.get("value", {}).get("sections", {}).values()
        for element in section
    ]
    assert elements
    assert {element["value"] for element in elements if re.search("Encrypted$|Password|Secret", element["name"])} <= {
        "",
        "REMOVED",
    }


def test_what_gives_somebody_away_is_found() -> None:
    assert not giveaways(
        [
            "C:\\Users\\USER\\x",
            "10.0.17763.1",
            "4.8.4161.0",
            "127.0.0.1",
            "S-1-5-18",
            "\\\\MACHINE\\share\\x",
            "C:\\windows\\x",
        ]
    )
    planted = [
        "C:\\Users\\somebody\\x",
        "10.20.30.40",
        "S-1-5-21-1-2-3-500",
        "00-15-5D-01-02-03",
        "\\\\files01\\share",
        "a@example.test",
    ]
    assert len(giveaways({"a": planted})) == len(planted)
    assert re.search(SECRET, "x: " + "0a" * 20)


# ---- the doubles against real Windows


@pytest.mark.parametrize("transcript", real("record_windows"))
def test_the_double_of_schtasks_answers_as_windows_did(transcript: Transcript | None, tmp_path: Path) -> None:
    if transcript:
        assert unknown(transcripts.schtasks_differences(transcript.calls(), tmp_path)) == []


@pytest.mark.parametrize("transcript", real("record_windows"))
def test_the_engine_of_the_lab_writes_json_as_windows_did(transcript: Transcript | None) -> None:
    if transcript:
        lab = example("record_windows").subject("json")["data"]
        assert unknown(transcripts.json_differences(transcript.subject("json")["data"], lab)) == []


@pytest.mark.parametrize("transcript", real("record_windows"))
def test_our_folders_have_the_access_list_we_ask_for(transcript: Transcript | None) -> None:
    if transcript:
        folder = transcript.subject("folders")["data"]["state_folder"]["value"]
        assert folder == {"sddl": transcripts.protected_sddl(), "problem": ""}


@pytest.mark.parametrize("transcript", real("record_windows"))
def test_a_service_that_windows_does_not_know_is_unknown(transcript: Transcript | None) -> None:
    if transcript:
        assert transcript.subject("services")["data"]["absent_our_state"] == "Unknown"


@pytest.mark.parametrize("transcript", real("try_window"))
def test_window_job_and_guard_passed_on_windows(transcript: Transcript | None) -> None:
    if transcript:
        assert [scene["scene"] for scene in transcript.index["scenes"] if not scene["passed"]] == []


@pytest.mark.parametrize("transcript", real("record_alteryx"))
def test_the_verbs_end_as_those_of_the_double(transcript: Transcript | None) -> None:
    if transcript:
        # Exit codes of these verbs are documented nowhere; NodeMetadata and AlteryxNode judge by the text.
        ours, theirs = (
            {
                call["arguments"][0]: call["exit_code"]
                for call in each.subject("verbs")["calls"]
                if "problem" not in call
            }
            for each in (example("record_alteryx"), transcript)
        )
        assert (
            unknown(
                [
                    f"verb {verb}: exit code {code}, the double's is {ours.get(verb)}"
                    for verb, code in theirs.items()
                    if code != ours.get(verb)
                ]
            )
            == []
        )


# ---- the judges


def test_the_double_of_schtasks_agrees_with_its_own_example(tmp_path: Path) -> None:
    calls = example("record_windows").calls()
    assert len([call for call in calls if "xml" in call]) >= 5
    assert transcripts.schtasks_differences(calls, tmp_path) == []


def test_another_exit_code_and_another_definition_are_differences(tmp_path: Path) -> None:
    calls = copy.deepcopy(example("record_windows").calls())
    run = next(call for call in calls if call["arguments"][:1] == ["/Run"])
    run["exit_code"] = 7
    printed = next(
        call
        for call in calls
        if "/Query" in call["arguments"] and "/XML" in call["arguments"] and call["exit_code"] == 0
    )
    printed["stdout"] = printed["stdout"].replace("<Priority>7<", "<Priority>5<")
    found = transcripts.schtasks_differences(calls, tmp_path)
    assert [("exit code 7" in each, "/Settings/Priority: ['5']" in each) for each in found] == [
        (True, False),
        (False, True),
    ]


def test_other_json_is_a_difference() -> None:
    lab = example("record_windows").subject("json")["data"]
    other = copy.deepcopy(lab)
    other["made"]["null"] = {"value": "{}"}
    other["read"][0]["answer"] = {"error": "System.ArgumentException", "message": "in other words"}
    assert transcripts.json_differences(lab, lab) == []
    assert [each.split(":")[0] for each in transcripts.json_differences(other, lab)] == [
        "ConvertTo-Json, null",
        "ConvertFrom-Json, '[]'",
    ]


def test_the_access_list_we_ask_for_is_understood() -> None:
    assert transcripts.protected_sddl() == "O:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
