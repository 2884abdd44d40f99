# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For every test: the collection's name resolves, Wine tests run where Wine is, and the end says what
ran and what did not."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests import lab_faults, proofs, reasons
from tests.collection_link import link_collection
from tests.lab import host, layout

COUNTED_MARKERS = ("wine", "standin", "windows")
COUNTS_FILE = layout.LAB / "test-counts.json"
# Names a file that gets a line of JSON for each test: test, commit, seconds, result, faults of the lab.
RECORD = "ALTERYX_TEST_RECORD"
FAULT = "fault of the lab"
PROOF = "seen on a Wine node"
LONGEST_LANES = (
    "engine",
    "no node",
    "fleet",
    *(
        f"tests/integration/test_{name}.py"
        for name in ("restore", "full_backup", "paid_dump", "each_playbook", "failures")
    ),
)
_ON_A_FLEET = tuple(
    f"tests/integration/test_{name}.py" for name in ("fleet", "fleet_restore", "fleet_scene", "schedules", "topology")
)
NO_TRANSCRIPT = "[no transcript yet]"  # as in tests/windows/test_transcripts.py


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let ``ansible_collections.alteryx_ops.server_backup`` resolve, whatever the current folder and with or
    without pytest-ansible."""
    collections = link_collection()
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
    _install_collection_finder(collections)
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        config.pluginmanager.register(RunCounter(), "run-counter")


def _install_collection_finder(collections: Path) -> None:
    # Inside the function: unit tests of pure Python need no Ansible, so it may be absent here.
    try:
        from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
    except ImportError:
        return
    _AnsibleCollectionFinder(paths=[str(collections)])._install()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip Wine tests where a Wine node cannot run, with the reason; put the lanes in order where there are any."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(_lane(item.nodeid)))
    wine_items = [item for item in items if item.get_closest_marker("wine")]
    missing = host.missing_for_wine() if wine_items else []
    if missing:
        skip = pytest.mark.skip(reason=f"no Wine node on this machine; missing: {', '.join(missing)}")
        for item in wine_items:
            item.add_marker(skip)


class Lanes(LoadScopeScheduling):
    """Gives whole lanes to the workers of `make test`. Each worker has a node of its own. The engine and the fleet are
    in one lane each, so that only one worker starts them."""

    def _split_scope(self, nodeid: str) -> str:
        return _lane(nodeid)


def _lane(nodeid: str) -> str:
    if nodeid.startswith(_ON_A_FLEET):
        return "fleet"
    folder = _folder(nodeid)
    if folder in ("integration", "faults"):
        return nodeid.split("::", 1)[0]
    return "engine" if folder == "node" else "no node"


def _rank(lane: str) -> int:
    """The long lanes come first, so that no worker is left with one of them at the end."""
    return LONGEST_LANES.index(lane) if lane in LONGEST_LANES else len(LONGEST_LANES)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Lanes | None:
    """Name the scheduler. Not `--dist loadgroup`: pytest-xdist 3.8 writes a group into a field that
    pytest 9.2 no longer reads."""
    return Lanes(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that claims a reason or an exit code it does not reach."""
    reasons.begin()
    result = yield
    if missing := reasons.missing(item):
        pytest.fail(f"its marker `reaches` claims what it has not seen: {', '.join(missing)}", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the report of a test carry what went wrong with the lab meanwhile, and what ran on a Wine node."""
    report = yield
    if report.when == "call" or report.failed:
        report.user_properties += [(FAULT, fault) for fault in lab_faults.of(item, failed=report.failed)]
    report.user_properties += [(PROOF, seen) for seen in proofs.take()]
    return report


class RunCounter:
    """Counts outcomes by marker and by folder; prints them at the end and leaves them as JSON for ``.ci/run``."""

    def __init__(self) -> None:
        self.outcomes: dict[str, tuple[str, str, frozenset[str]]] = {}  # test -> outcome, folder, markers
        self.not_run: Counter[str] = Counter()
        self.deselected = 0
        self.seconds: dict[str, float] = {}
        self.faults: dict[str, list[str]] = {}
        self.proofs: dict[str, set[str]] = {}  # what was seen on a Wine node -> tests
        self.workers: dict[str, set[str]] = {}  # lane -> workers of pytest-xdist

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count what was left out by name or marker."""
        self.deselected += len(items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep one outcome per test: a failure in any phase outranks the rest."""
        self.workers.setdefault(_lane(report.nodeid), set()).add(getattr(report, "worker_id", ""))
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if faults := [str(value) for name, value in report.user_properties if name == FAULT]:
            self.faults[report.nodeid] = faults
        for name, value in report.user_properties:
            if name == PROOF:
                self.proofs.setdefault(str(value), set()).add(report.nodeid)
        before = self.outcomes.get(report.nodeid, ("",))[0]
        if before != "failed" and (report.when == "call" or report.outcome != "passed"):
            # The folder of a test is one of its keywords, too: tests/windows.
            folder = _folder(report.nodeid)
            markers = frozenset(marker for marker in COUNTED_MARKERS if marker in report.keywords and marker != folder)
            self.outcomes[report.nodeid] = (report.outcome, folder, markers)
            if report.outcome == "skipped":
                self.not_run[_reason(report)] += 1
        if report.when == "teardown":
            self._record(report.nodeid)

    def _record(self, test: str) -> None:
        file = os.environ.get(RECORD)
        if not file:
            return
        line = {
            "test": test,
            "commit": _commit(),
            "seconds": round(self.seconds[test], 1),
            "result": self.outcomes.get(test, ("passed",))[0],
            "lab_faults": self.faults.get(test, []),
        }
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        with Path(file).open("a", encoding="utf-8") as record:
            record.write(json.dumps(line) + "\n")

    def counts(self) -> dict[str, object]:
        """All counts, ready for JSON."""
        by_folder: dict[str, Counter[str]] = {}
        by_marker: dict[str, Counter[str]] = {}
        total: Counter[str] = Counter()
        for outcome, folder, markers in self.outcomes.values():
            total[outcome] += 1
            by_folder.setdefault(folder, Counter())[outcome] += 1
            for marker in markers:
                by_marker.setdefault(marker, Counter())[outcome] += 1
        return {
            "total": total,
            "folders": by_folder,
            "markers": by_marker,
            "not_run": self.not_run,
            "deselected": self.deselected,
            "on_wine": {seen: sorted(tests) for seen, tests in self.proofs.items()},
            "lacking_on_wine": proofs.lacking(self.proofs),
        }

    def pytest_sessionfinish(self) -> None:
        """Leave the counts where ``.ci/run`` finds them."""
        COUNTS_FILE.parent.mkdir(parents=True, exist_ok=True)
        COUNTS_FILE.write_text(json.dumps(self.counts(), indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what ran, Wine apart, and what did not and why."""
        counts = self.counts()
        write = terminalreporter.write_line
        terminalreporter.section("what ran", sep="-")
        for title, group in (("", counts["folders"]), ("of these ", counts["markers"])):
            assert isinstance(group, dict)
            for name, outcomes in sorted(group.items()):
                write(
                    f"{title + name:<22} "
                    + ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
                )
        for lane, workers in self.workers.items():
            if len(workers) > 1:
                write(f"lane '{lane}' ran on more than one worker: {', '.join(sorted(workers))}", red=True)
        if "wine" not in {marker for _unused, _unused, markers in self.outcomes.values() for marker in markers}:
            write(f"{'of these wine':<22} none selected")
        if self.proofs:
            names = set(proofs.names())
            whole = names - {each.partition(":")[0] for each in proofs.lacking(self.proofs)}
            write(f"{'good run and failure':<22} on Wine of {len(whole)} of {len(names)} playbooks and roles")
        write(f"{'faults of the lab':<22} {sum(map(len, self.faults.values())) or 'none'}")
        for test, faults in sorted(self.faults.items()):
            for fault in faults:
                write(f"  {self.outcomes.get(test, ('passed',))[0]} {test}: {fault}")
        for reason, number in sorted(self.not_run.items()):
            write(f"did not run: {number}, {reason}")
        if unjudged := sum(test.endswith(NO_TRANSCRIPT) for test in self.outcomes):
            write(
                f"judged nothing: {unjudged} tests of the doubles; no transcript of real Windows yet "
                "(tests/windows/README.md)"
            )
        if self.deselected:
            write(f"did not run: {self.deselected}, deselected (`make test-lab` runs the long ones)")


@cache
def _commit() -> str:
    """The commit of the checkout, with a + where files are changed."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=7", "--exclude=*"],
        cwd=layout.ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout.strip()


def _folder(nodeid: str) -> str:
    parts = nodeid.split("::", 1)[0].split("/")
    return parts[1] if len(parts) > 2 else parts[0]


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
