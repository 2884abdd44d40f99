# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the sanity tests of ansible-test over a copy of the project, without containers. Only pip downloads."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.checks import powershell, sources
from tests.lab import cache, layout

BIN = Path(sys.executable).parent
POWERSHELL_TESTS = ("pslint", "validate-modules")
"""The sanity tests that need a pwsh in the PATH."""
TIMEOUT = 1800
"""Seconds; the first run makes five virtual environments."""

# Here ansible-test keeps the virtual environments of its tests; other files in this folder are not used.
_HOME = layout.CACHE / "ansible-test"
_MODULES = Path(__file__).with_name("pslint")
# What ansible-test says of a test that it leaves out, for instance because a program is missing.
_LEFT_OUT = re.compile(r"^WARNING: (?:Skipping sanity test|Required program).*", re.MULTILINE)
_OF_PIP = re.compile(
    r"^(?:Installing|Using cached|Looking in|Processing|Collecting|Downloading|Successfully| ).*\n", re.MULTILINE
)


def tree(folder: Path) -> Path:
    """A copy of the project below the folder, at the path that ansible-test demands of a collection."""
    root = folder / "ansible_collections" / "alteryx_ops" / "server_backup"
    for path in sources.project_files():
        target = root / path.relative_to(sources.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    return root


def complaints(root: Path, *options: str, with_powershell: bool) -> str:
    """What the sanity tests say against a collection, and which they have left out; empty when they are content."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [BIN / "ansible-test", "sanity", "--color", "no", "--python", python, *options]
    with cache.lock("ansible-test"):  # two at a time would make the same virtual environments
        done = subprocess.run(
            command, cwd=root, env=_environment(with_powershell), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
    output = done.stdout + done.stderr
    if done.returncode:
        return _OF_PIP.sub("", output)
    return "\n".join(_LEFT_OUT.findall(output))


def _environment(with_powershell: bool) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    kept["HOME"] = str(_HOME)
    _write_pip_bootstrap()
    path = [str(BIN), kept.get("PATH", os.defpath)]
    if with_powershell:
        path.insert(0, str(powershell.pwsh().parent))
        _install_modules()
    kept["PATH"] = os.pathsep.join(path)
    return kept


def _install_modules() -> None:
    """Puts what pslint needs where a pwsh looks for the modules of its user: ansible-test passes no PSModulePath on."""
    folder = _HOME / ".local" / "share" / "powershell" / "Modules"
    folder.mkdir(parents=True, exist_ok=True)
    # The first is NAME/VERSION/NAME.psd1.
    for module in (powershell.script_analyzer().parents[1], *_MODULES.iterdir()):
        link = folder / module.name
        link.unlink(missing_ok=True)
        link.symlink_to(module, target_is_directory=True)


def _write_pip_bootstrap() -> None:
    bootstrap = _HOME / ".ansible" / "test" / "cache" / f"get_pip_{_pip_version().replace('.', '_')}.py"
    # ansible-test would download this script to get pip into a virtual environment. The pip that
    # Python brings is enough.
    bootstrap.parent.mkdir(parents=True, exist_ok=True)
    bootstrap.write_text("import ensurepip\n\nensurepip.bootstrap()\n", encoding="ascii")


def _pip_version() -> str:
    """The version whose bootstrap script this ansible-test looks for."""
    package = importlib.util.find_spec("ansible_test")
    assert package is not None
    assert package.submodule_search_locations
    source = Path(package.submodule_search_locations[0]) / "_internal" / "python_requirements.py"
    text = source.read_text(encoding="utf-8")
    found = re.search(r"default_packages = dict\(\s*pip='([\d.]+)'", text)
    assert found, "ansible-test does not say which pip it wants; see get_venv_packages"
    return found[1]
