# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills a restore at a boundary, and judges from outside what has become of the server.

A boundary is what the observer sees on the node: files, renamed folders, processes, lines of the job's log. Where one
is too short to be hit, a double takes longer (tests/lab/README.md). The moment of the kill within a boundary is a
matter of the seed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration import restore_scene as scene
from tests.integration.lab_of_tests import Lab
from tests.integration.playbook_run import PlaybookRunner, Run

from . import watch
from .background_run import BackgroundRun
from .conftest import MINUTE
from .scenes import wait_for_stale_lock

RESTORE_JOB = "restore_job"
WORK = r"C:\AlteryxOps.r"
CONFIRMED = {"alteryx_restore_confirm": "alteryx_lab"}
VICTIMS = ("control", "job", "both", "reboot")
# The firings after the end of a run: three with the service Running, one before, and what a busy Wine needs.
GUARD_SECONDS = 6 * MINUTE + 120
_LOOK_SECONDS = 0.002


class Sight:
    """What can be seen of a restore that is on, without asking the node."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._folders = [lab.node.path(place) for place in (scene.PERSISTENCE, scene.SERVER, scene.ENGINE)]
        self._folders += [lab.node.path(scene.KEYS).parent, lab.node.path(scene.SERVER) / "config"]

    def log(self) -> str:
        """The log of the restore job; empty while there is none."""
        with contextlib.suppress(OSError):
            for file in watch.state_file(self._lab, "jobs").glob("*/job.log"):
                if "Restore_" in file.parent.name:
                    return file.read_text(encoding="utf-8", errors="replace")
        return ""

    def journal(self) -> str:
        """prepared, begun, committed, undone; empty for none."""
        if state := watch.read_state(self._lab, "restore.json").get("state"):
            return str(state)
        newest = max(self._records(), key=lambda file: file.stat().st_mtime_ns, default=None)
        return newest.name.split(".")[1] if newest else ""

    def committed(self) -> set[str]:
        """Runs whose restore is complete."""
        return {file.name.split(".")[0] for file in self._records() if ".committed." in file.name}

    def moved(self, word: str) -> list[str]:
        """Names that a restore has given, such as MongoDB.before_RUN."""
        found = []
        for folder in self._folders:
            with contextlib.suppress(OSError):
                found += [path.name for path in folder.iterdir() if f".{word}_Restore_" in path.name]
        return found

    def runs(self, text: str) -> bool:
        """Does a process with this in its command line run?"""
        return bool(watch.host_processes(self._lab.node, text))

    def _records(self) -> list[Path]:
        folder = watch.state_file(self._lab, "restores")
        return list(folder.glob("*.json")) if folder.is_dir() else []


Look = Callable[[Sight, random.Random], Callable[[], object]]


@dataclass(frozen=True)
class Boundary:
    """When to kill. look: makes of a seed what has to become true. wait: seconds after that, at most."""

    look: Look
    behaviour: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    rolls_back: bool = False


def _said(words: str) -> Look:
    return lambda sight, _chance: lambda: words in sight.log()


def _journal(state: str) -> Look:
    return lambda sight, _chance: lambda: sight.journal() == state


def _moved(word: str, text: str = "") -> Look:
    return lambda sight, _chance: lambda: any(text in name for name in sight.moved(word))


def _some_moved(word: str, most: int) -> Look:
    def look(sight: Sight, chance: random.Random) -> Callable[[], object]:
        count = chance.randint(1, most)
        return lambda: len(sight.moved(word)) >= count

    return look


def _proving(sight: Sight, _chance: random.Random) -> Callable[[], object]:
    return lambda: "emongorestore has ended" in sight.log() and sight.runs("mongod.exe")


def _newly_committed(sight: Sight, _chance: random.Random) -> Callable[[], object]:
    before = sight.committed()
    return lambda: sight.committed() - before


def _restoring(sight: Sight, _chance: random.Random) -> Callable[[], object]:
    return lambda: sight.runs(scene.RESTORE)


def _undoing(sight: Sight, chance: random.Random) -> Callable[[], object]:
    """The new data folder is moved aside, and some of the files are back."""
    back = chance.randint(0, 4)

    def look() -> bool:
        aside = [name for name in sight.moved("failed") if name.startswith("MongoDB.")]
        return bool(aside) and len(sight.moved("new")) >= back

    return look


BOUNDARIES: Mapping[str, Boundary] = {
    "stopped": Boundary(_said("is Stopped")),
    "begun": Boundary(_journal("begun")),
    "some_files": Boundary(_some_moved("before", 4)),
    "data_away": Boundary(_moved("before", "MongoDB.")),
    "emongorestore": Boundary(_restoring, {"emongorestore_delay_ms": "3000"}, 6.0),
    "proof": Boundary(_proving, wait=2.0),
    "before_commit": Boundary(_said("as in the backup")),
    "after_commit": Boundary(_newly_committed),
    "start_requested": Boundary(_said("starting Alteryx"), {"start_delay_ms": "4000"}, 4.0),
    "running": Boundary(_said("is Running")),
    "undo": Boundary(_undoing, {"emongorestore": "partial"}),
    "rollback_some": Boundary(_some_moved("rolled_back", 5), rolls_back=True),
    "rollback_committed": Boundary(_newly_committed, rolls_back=True),
}


@dataclass(frozen=True)
class Kill:
    """One run of the campaign."""

    boundary: str
    victim: str
    seed: int


@dataclass(frozen=True)
class Ending:
    """What has become of a restore. verdict: old, new, or what is wrong; journal: at the kill and at the end."""

    verdict: str
    journal: str
    seconds: float
    problems: list[str]


@dataclass
class Bench:
    """A damaged server of which there is a good full backup, and copies of it to begin with again and again."""

    lab: Lab
    run_playbook: PlaybookRunner
    folder: Path
    golden: scene.GoldenState
    damaged: scene.GoldenState
    whole: scene.ColdCopy
    copy: scene.ColdCopy
    restored: scene.ColdCopy | None = None
    restored_by: str = ""
    count: int = 0

    @classmethod
    def of(cls, lab: Lab, folder: Path) -> Bench:
        """Back the server up, then damage it."""
        lab.recover()
        run_playbook = PlaybookRunner(lab)
        run_playbook("full_backup.yml").assert_ok()
        whole = scene.ColdCopy.of(lab.node, folder / "whole")
        golden = scene.take_golden_state(lab.node)
        scene.damage_server(lab.node, 24)
        copy = scene.ColdCopy.of(lab.node, folder / "damaged")
        return cls(lab, run_playbook, folder, golden, scene.take_golden_state(lab.node), whole, copy)

    def end(self) -> None:
        """The server as it was before the damage."""
        self.clean()
        self.whole.put_back(self.lab.node)

    def begin(self, kill: Kill) -> None:
        """The server as it was damaged, or as it was restored, with nothing of an earlier run."""
        self.clean()
        if not BOUNDARIES[kill.boundary].rolls_back:
            self.copy.put_back(self.lab.node)
        elif self.restored is None:
            self.copy.put_back(self.lab.node)
            run = self.run_playbook("restore.yml", extra_vars=CONFIRMED, timeout=400)
            run.assert_ended_well()
            self.restored_by = str(run.outcome["run_id"])
            self.restored = scene.ColdCopy.of(self.lab.node, self.folder / "restored")
        else:
            self.restored.put_back(self.lab.node)

    def clean(self) -> None:
        """No job or guard is left, and no file outside of the folders that a copy resets."""
        self.lab.node.behave()
        watch.signal_processes(self.lab.node, "job_host.ps1", signal.SIGKILL)
        for name in self.lab.tasks():
            with contextlib.suppress(RuntimeError):
                self.lab.run_program("schtasks.exe", "/Delete", "/TN", name, "/F")
        shutil.rmtree(self.lab.node.path(WORK), ignore_errors=True)

    def carry_out(self, kill: Kill) -> Ending:
        """Restore, kill, wait for what the node does about it, recover, judge."""
        self.begin(kill)
        boundary = BOUNDARIES[kill.boundary]
        old, new = (self.golden, self.damaged) if boundary.rolls_back else (self.damaged, self.golden)
        self.lab.minute(MINUTE)
        self.count += 1
        begun = time.monotonic()
        with scene.ServedStates(self.lab, old, new) as served:
            run = self._start(boundary)
            try:
                journal = self._kill(run, kill)
                ended = run.finish() if kill.victim in ("job", "reboot") else None
            finally:
                run.kill_everything()
            self.lab.node.behave()
            problems = self._settle()
            recovered = self._recover()
        verdict = scene.judge_server(self.lab.node, old, new)
        state = self.lab.node.service().state
        problems += self._judge(verdict, {"old": old, "new": new}, ended, recovered)
        problems += [f"served: {each}" for each in served.verdicts if each not in ("old", "new")]
        print(f"{kill}: {verdict}, {state}; {served.watching.history()}")  # noqa: T201
        return Ending(verdict, f"{journal} -> {Sight(self.lab).journal()}", time.monotonic() - begun, problems)

    def _start(self, boundary: Boundary) -> BackgroundRun:
        self.lab.node.behave(**boundary.behaviour)
        playbook = "roll_back_restore.yml" if boundary.rolls_back else "restore.yml"
        more = {"alteryx_restore_run": self.restored_by} if boundary.rolls_back else {}
        return BackgroundRun(self.lab, playbook, self.folder / f"run{self.count}", extra_vars={**CONFIRMED, **more})

    def _kill(self, run: BackgroundRun, kill: Kill) -> str:
        """Kill the victims at the boundary; what the journal said then."""
        chance, sight = random.Random(kill.seed), Sight(self.lab)
        boundary = BOUNDARIES[kill.boundary]
        is_there = boundary.look(sight, chance)
        job: list[int] = []

        def job_begun() -> bool:
            job[:] = watch.host_processes(self.lab.node, RESTORE_JOB)
            return bool(job) or run.ended

        watch.until(job_begun, 300, "the restore job", pause=0.01)
        assert not run.ended, run.output[-4000:]
        watch.until(lambda: is_there() or run.ended, 300, kill.boundary, pause=_LOOK_SECONDS)
        assert not run.ended, run.output[-4000:]
        time.sleep(chance.uniform(0, boundary.wait))  # the moment within the boundary is chance
        journal = sight.journal()
        if kill.victim in ("job", "both"):
            for pid in job:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if kill.victim in ("control", "both"):
            run.kill_everything()
        if kill.victim == "reboot":
            self.lab.node.reboot()
        return journal

    def _settle(self) -> list[str]:
        """Wait until guard and job have done what they do; what is wrong."""
        limit = time.monotonic() + GUARD_SECONDS
        while self.lab.tasks() or self.lab.node.service().state != "Running":
            if "stays down" in watch.guard_log(self.lab):
                return [f"left down: {watch.guard_log(self.lab)[-600:]}"]
            if time.monotonic() > limit:
                return [f"not Running, or a task is left: {self.lab.tasks()}; {watch.guard_log(self.lab)[-600:]}"]
            time.sleep(0.5)
        return []

    def _recover(self) -> Run:
        lock = watch.state_file(self.lab, "run.json")
        if lock.exists():
            wait_for_stale_lock(self.lab)
        return self.run_playbook("recover.yml", timeout=300)

    def _judge(
        self, verdict: str, states: Mapping[str, scene.GoldenState], ended: Run | None, recovered: Run
    ) -> list[str]:
        problems = []
        if recovered.rc:
            problems.append(f"recover.yml: {recovered.rc}: {recovered.text[-600:]}")
        if verdict in states:
            problems += scene.compare(states[verdict], scene.take_golden_state(self.lab.node))
            problems += self._said_wrongly(verdict, ended, recovered)
        else:
            problems.append(verdict)
        work = self.lab.node.path(WORK)
        problems += [f"left: {path}" for path in self.lab.leftovers()]
        problems += [f"left: {path}" for path in (work.iterdir() if work.is_dir() else ())]
        if watch.state_file(self.lab, "restore.json").exists():
            problems.append("left: restore.json")
        problems += [f"left: {path}" for path in scene.kept(self.lab.node) if not self._is_recorded(path)]
        if verdict == "new":
            problems += [f"left: {path}" for path in scene.kept(self.lab.node) if re.search(r"\.new_Restore_", path)]
        for program, count in ((scene.RESTORE, 0), ("job_host.ps1", 0), ("mongod.exe", 1)):
            if len(watch.host_processes(self.lab.node, program)) != count:
                problems.append(f"not {count} times: {program}")
        return problems

    def _is_recorded(self, path: str) -> bool:
        """Does the record of its restore name it? Then accept_restore.yml deletes it."""
        found = re.fullmatch(r"(.+)\.\w+_(Restore_\d+_\d+_[0-9a-f]{4})(?:\.\d+)?", Path(path).name)
        assert found
        name, run_id = found.groups()
        for file in watch.state_file(self.lab, "restores").glob(f"{run_id}.*.json"):
            entries = json.loads(file.read_text(encoding="utf-8"))["entries"]
            if name in [entry["path"].rpartition("\\")[2] for entry in entries]:
                return True
        return False

    def _said_wrongly(self, verdict: str, ended: Run | None, recovered: Run) -> list[str]:
        """Report and recover.yml say which server it is now."""
        words = {"old": "was undone", "new": "is complete"}
        if words[verdict] in recovered.text:
            return []
        said = ended.node()["server"] if ended and ended.outcome else "nothing"
        if said == verdict:
            return []
        shown = f"; {ended.rc}: {ended.text[-600:]}" if ended else ""
        return [f"recover.yml does not say {words[verdict]!r}, the report says {said}{shown}"]


def campaign_kills(seed: int = 24) -> Iterator[Kill]:
    """All boundaries with all victims, in an order of chance, again and again; the seed of each is its number."""
    chance = random.Random(seed)
    number = 0
    while True:
        pairs = [(boundary, victim) for boundary in BOUNDARIES for victim in VICTIMS]
        chance.shuffle(pairs)
        for boundary, victim in pairs:
            number += 1
            yield Kill(boundary, victim, number)


def as_line(kill: Kill, ending: Ending, commit: str) -> dict[str, object]:
    """A line of the ledger."""
    return {
        **dataclasses.asdict(kill),
        "commit": commit,
        "verdict": ending.verdict if not ending.problems else "bad",
        "seconds": round(ending.seconds),
        "journal": ending.journal,
        "problems": ending.problems,
    }
