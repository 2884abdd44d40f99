# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For every test: the collection's name resolves, Wine tests run where Wine is, and the end says what ran and what did not."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import reasons
from tests.collection_link import link_collection
from tests.lab import host, layout

COUNTED_MARKERS = ("wine", "standin", "windows")
COUNTS_FILE = layout.LAB / "test-counts.json"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let ``ansible_collections.alteryx_ops.server_backup`` resolve, whatever the current folder and with or without pytest-ansible."""
    collections = link_collection()
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
    _install_collection_finder(collections)
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        config.pluginmanager.register(RunCounter(), "run-counter")


def _install_collection_finder(collections: Path) -> None:
    # Inside the function: unit tests of pure Python need no Ansible, so its absence is no error here.
    try:
        from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
    except ImportError:
        return
    _AnsibleCollectionFinder(paths=[str(collections)])._install()


@pytest.hookimpl(tryfirst=True)  # before xdist looks for lanes
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip Wine tests where a Wine node cannot run, with the reason; put tests that share a node into one lane of `make test LANES=n`."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_lane(item)))
    wine_items = [item for item in items if item.get_closest_marker("wine")]
    missing = host.missing_for_wine() if wine_items else []
    if missing:
        skip = pytest.mark.skip(reason=f"no Wine node on this machine; missing: {', '.join(missing)}")
        for item in wine_items:
            item.add_marker(skip)


def _lane(item: pytest.Item) -> str:
    """What must not run in two processes at once: the tests of one lab, of the engine, of one file."""
    parameters = getattr(item, "callspec", None)
    for fixture in ("lab", "fleet"):
        if parameters and fixture in parameters.params:
            return f"{fixture} {parameters.params[fixture]}"
    return next((name for name in ("session_lab", "engine") if name in getattr(item, "fixturenames", ())), item.nodeid.partition("::")[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that is named for a reason or an exit code it does not reach."""
    reasons.begin()
    result = yield
    if missing := reasons.missing(item):
        pytest.fail(f"tests/reasons.py names this test for what it has not seen: {', '.join(missing)}", pytrace=False)
    return result


class RunCounter:
    """Counts outcomes by marker and by folder; prints them at the end and leaves them as JSON for ``.ci/run``."""

    def __init__(self) -> None:
        self.outcomes: dict[str, tuple[str, str, frozenset[str]]] = {}  # test -> outcome, folder, markers
        self.not_run: Counter[str] = Counter()
        self.deselected = 0

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count what was left out by name or marker."""
        self.deselected += len(items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep one outcome per test: a failure in any phase outranks the rest."""
        if report.when == "call" or report.outcome != "passed":
            before = self.outcomes.get(report.nodeid)
            if before and before[0] == "failed":
                return
            markers = frozenset(marker for marker in COUNTED_MARKERS if marker in report.keywords)
            self.outcomes[report.nodeid] = (report.outcome, _folder(report.nodeid), markers)
            if report.outcome == "skipped":
                self.not_run[_reason(report)] += 1

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
        return {"total": total, "folders": by_folder, "markers": by_marker, "not_run": self.not_run, "deselected": self.deselected}

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
                write(f"{title + name:<22} " + ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items())))
        if "wine" not in {marker for _, _, markers in self.outcomes.values() for marker in markers}:
            write(f"{'of these wine':<22} none selected")
        for reason, number in sorted(self.not_run.items()):
            write(f"did not run: {number}, {reason}")
        if self.deselected:
            write(f"did not run: {self.deselected}, deselected (`make test-lab` runs the long ones)")


def _folder(nodeid: str) -> str:
    parts = nodeid.split("::", 1)[0].split("/")
    return parts[1] if len(parts) > 2 else parts[0]


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
