# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Committed transcripts, and how the lab's doubles differ from them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring

from tests.lab import layout
from tests.lab.executor import CommandOutput
from tests.lab.schtasks import Answer, Call, answer
from tests.lab.task_scheduler import TaskScheduler

FOLDER = Path(__file__).resolve().parent / "transcripts"
EXAMPLE = FOLDER / "example-wine"
WINDOWS = "Windows"
WINE = "Wine (example, not Windows)"

_FILE_NOT_FOUND = 0x80070002

# What depends on the moment or the account, not on the Task Scheduler.
_OF_THE_MOMENT = ("/RegistrationInfo/Date", "/RegistrationInfo/Author", "/RegistrationInfo/SecurityDescriptor")


@dataclass(frozen=True)
class Transcript:
    """What one script has written on one machine: index.json and a file for each subject."""

    folder: Path

    @property
    def name(self) -> str:
        """As the folder of transcripts names it, for instance server-2022/record_windows."""
        return self.folder.relative_to(FOLDER).as_posix()

    @property
    def index(self) -> dict[str, Any]:
        """What index.json says."""
        return self.read("index.json")

    @property
    def is_real(self) -> bool:
        """Whether it is from Windows itself."""
        return bool(self.index["recorded_on"] == WINDOWS)

    def read(self, file: str) -> dict[str, Any]:
        """One of its files."""
        content: dict[str, Any] = json.loads((self.folder / file).read_text(encoding="utf-8"))
        return content

    def subject(self, name: str) -> dict[str, Any]:
        """What was recorded of a subject: data, and calls of programs."""
        return self.read(f"{name}.json")

    def calls(self) -> list[dict[str, Any]]:
        """The calls of programs of all subjects, in order."""
        return [call for subject in self.index["subjects"] for call in self.read(subject["file"])["calls"]]


def committed() -> list[Transcript]:
    """Every transcript in the folder, the example included."""
    return [Transcript(index.parent) for index in sorted(FOLDER.glob("*/*/index.json"))]


def texts(value: object) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


# ---- the Task Scheduler


class _Node:
    """Runs the tasks' programs: not at all, and until they are told to end."""

    def start(
        self,
        command_line: str,
        *,
        user: str,
        environment: Mapping[str, str],
        working_directory: str | None,
        output: CommandOutput,
    ) -> _Program:
        return _Program(output)


@dataclass
class _Program:
    output: CommandOutput

    def write(self, data: bytes, *, end: bool, timeout: float) -> None:
        """Nobody writes to it."""

    def kill_tree(self) -> None:
        self.output.finish(1)


def schtasks_differences(calls: list[dict[str, Any]], folder: Path) -> list[str]:
    """Where the double of schtasks.exe answers these calls otherwise: exit code, or the definition
    that /Query /XML prints."""
    scheduler = TaskScheduler(
        _Node(),
        path=lambda path: folder / path[3:].replace("\\", "/"),
        state_file=folder / "state.json",
        behaviour=dict,
    )
    scheduler.start()
    calls = [call for call in calls if call["program"].casefold() == "schtasks.exe" and "problem" not in call]
    found = []

    def repeat(call: dict[str, Any]) -> Answer:
        xml = call.get("xml")
        return answer(
            scheduler, dict, Call(call["arguments"], xml=None if xml is None else b"\xff\xfe" + xml.encode("utf-16-le"))
        )

    try:
        if calls and calls[0]["exit_code"] & 0xFFFFFFFF == _FILE_NOT_FOUND:
            # The folder of the tasks was there already, from an earlier run of the script.
            create = next(call for call in calls if "/Create" in call["arguments"] and call["exit_code"] == 0)
            repeat(create)
            repeat({"arguments": ["/Delete", "/TN", create["arguments"][2], "/F"]})
        for call in calls:
            said = repeat(call)
            words = " ".join(call["arguments"])
            if said.rc & 0xFFFFFFFF != call["exit_code"] & 0xFFFFFFFF:
                found.append(f"{words}: exit code {call['exit_code']}, the double's is {said.rc}")
            elif call["exit_code"] == 0 and "/XML" in call["arguments"] and "/Query" in call["arguments"]:
                found += [f"{words}: {difference}" for difference in _xml_differences(call["stdout"], said.stdout)]
    finally:
        scheduler.stop()
    return found


def _xml_differences(recorded: str, doubled: str) -> list[str]:
    theirs, ours = _parts(recorded), _parts(doubled)
    return [
        f"{part}: {theirs.get(part)}, the double's is {ours.get(part)}"
        for part in sorted({*theirs, *ours})
        if theirs.get(part) != ours.get(part)
    ]


def _parts(text: str) -> dict[str, list[str]]:
    """Path of an element or attribute -> its texts, in order."""
    found: dict[str, list[str]] = {}

    def walk(element: Element, path: str) -> None:
        for name, value in element.attrib.items():
            found.setdefault(f"{path}@{name}", []).append(value)
        if path not in _OF_THE_MOMENT:
            found.setdefault(path or "/", []).append((element.text or "").strip())
            for inner in element:
                walk(inner, f"{path}/{inner.tag.rpartition('}')[2]}")

    walk(fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text)), "")
    return {path: values for path, values in found.items() if path not in _OF_THE_MOMENT}


# ---- JSON


def json_differences(recorded: dict[str, Any], lab: dict[str, Any]) -> list[str]:
    """Which samples of ConvertTo-Json and ConvertFrom-Json differ between two machines, by name. Failures are compared
    as such, not in their words."""
    found = []
    for name in sorted({*recorded["made"], *lab["made"]}):
        theirs, ours = (_outcome(side["made"].get(name, {})) for side in (recorded, lab))
        if theirs != ours:
            found.append(f"ConvertTo-Json, {name}: {theirs}, the lab's is {ours}")
    answers = [{entry["text"]: _outcome(entry["answer"]) for entry in side["read"]} for side in (recorded, lab)]
    for text in sorted({*answers[0], *answers[1]}):
        theirs, ours = (side.get(text, "absent") for side in answers)
        if theirs != ours:
            found.append(f"ConvertFrom-Json, {text!r}: {theirs}, the lab's is {ours}")
    return found


def _outcome(tried: Mapping[str, Any]) -> str:
    return "fails" if "error" in tried else str(tried.get("value", "absent"))


# ---- access lists


def protected_sddl() -> str:
    """Owner and access list of a folder as NodeFiles.psm1 makes it, without the group, which nobody reads."""
    source = (layout.ROOT / "plugins" / "module_utils" / "NodeFiles.psm1").read_text(encoding="utf-8")
    match = re.search(r"\$script:ProtectedSddl = '([^']+)'", source)
    assert match
    return re.sub(r"(?<=O:BA)G:BA(?=D:)", "", match[1])
