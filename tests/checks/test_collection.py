# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as a whole: documentation for every module, argument specs that tell the truth, licence
headers, a clean artifact."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_builder._target_scripts import introspect
from bindep.depends import Depends
from packaging.requirements import Requirement

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._plan import _recipients
from tests.checks import sources
from tests.collection_link import link_collection

BIN = Path(sys.executable).parent
COLLECTION = "alteryx_ops.server_backup"
LICENCE_LINES = ("GNU General Public License v3.0+", "SPDX-License-Identifier: GPL-3.0-or-later")
SOURCE_SUFFIXES = {".py", ".ps1", ".psm1", ".cs", ".c", ".h", ".sh"}
SHIPPED = {
    "CHANGELOG.rst", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "SECURITY.md",
    "changelogs", "docs", "extensions", "inventory", "meta", "playbooks", "plugins", "roles",
}  # fmt: skip
REQUIRED = {
    "CHANGELOG.rst", "LICENSE", "README.md", "changelogs/changelog.yaml", "meta/ee-bindep.txt",
    "meta/ee-requirements.txt", "meta/execution-environment.yml", "meta/runtime.yml",
}  # fmt: skip
NEVER_SHIPPED = re.compile(r"(^|/)(\.[^/]+|__pycache__|lab\.yml|[^/]+\.(pyc|exe|dll|zip|log|retry|key|pem))(/|$)")
# Ansible takes these out of results, or changes them.
RESERVED = {"ansible_facts", "deprecations", "exception", "invocation", "skipped", "unreachable", "warnings"}
MODULES = sources.ROOT / "plugins" / "modules"
ACTIONS = sources.ROOT / "plugins" / "action"
ROLES = sources.ROOT / "roles"


def stems(folder: Path, *suffixes: str) -> set[str]:
    """Names of the plugins in a folder, by the suffix of their files."""
    return {
        path.stem
        for path in sources.project_files()
        if path.parent == folder and path.suffix in suffixes and path.stem != "__init__"
    }


def ansible(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs with this checkout as the only place for collections."""
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(link_collection()), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(
        [BIN / program, *arguments],
        env=environment,
        cwd=sources.ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=180,
        stdin=subprocess.DEVNULL,
    )


# --- modules --------------------------------------------------------------------------------------------------------


def missing_documentation(code: set[str], actions: set[str], documented: set[str]) -> list[str]:
    """Modules and actions without a documentation file, and documentation files without code."""
    return (
        [f"plugins/modules/{name}.yml is missing" for name in sorted((code | actions) - documented)]
        + [f"plugins/modules/{name}.yml documents nothing" for name in sorted(documented - code)]
        + [f"plugins/action/{name}.py has no module file of its name" for name in sorted(actions - code)]
        + [f"plugins/action/{name}.py is missing" for name in sorted(code - actions)]
    )


def documentation_problems(name: str, doc: dict[str, Any]) -> list[str]:
    """What is missing in one module's documentation as ansible-doc returns it."""
    problems = []
    examples: object = None
    try:
        examples = yaml.safe_load(doc.get("examples") or "")
    except yaml.YAMLError as error:
        problems.append(f"{name}: EXAMPLES is no YAML: {error}")
    else:
        if not isinstance(examples, list) or not all(isinstance(task, dict) for task in examples):
            problems.append(f"{name}: EXAMPLES is no list of tasks")
        elif f"{COLLECTION}.{name}" not in {key for task in sources.tasks(examples) for key in task}:
            problems.append(f"{name}: no example calls {COLLECTION}.{name}")
    if not isinstance(doc.get("return"), dict):
        problems.append(f"{name}: RETURN is missing")
    else:
        problems += [
            f"{name}: RETURN has {key}, which Ansible keeps for itself"
            for key in sorted(RESERVED & doc["return"].keys())
        ]
    body = doc.get("doc") or {}
    problems += [
        f"{name}: DOCUMENTATION lacks {key}"
        for key in ("short_description", "description", "author", "version_added")
        if not body.get(key)
    ]
    problems += [
        f"{name}: option {key} has no description"
        for key, option in (body.get("options") or {}).items()
        if not option.get("description")
    ]
    return problems


def test_every_module_and_action_has_documentation() -> None:
    problems = missing_documentation(stems(MODULES, ".ps1", ".py"), stems(ACTIONS, ".py"), stems(MODULES, ".yml"))
    assert not problems, "\n".join(problems)


def test_documentation_parses_and_is_complete() -> None:
    names = sorted(stems(MODULES, ".yml"))
    if not names:
        return
    done = ansible("ansible-doc", "--type", "module", "--json", *(f"{COLLECTION}.{name}" for name in names))
    assert done.returncode == 0, done.stderr
    docs = json.loads(done.stdout)
    problems = [
        f"{name}: ansible-doc does not find it: {done.stderr}" for name in names if f"{COLLECTION}.{name}" not in docs
    ]
    problems += [
        problem for name in names for problem in documentation_problems(name, docs.get(f"{COLLECTION}.{name}", {}))
    ]
    assert not problems, "\n".join(problems)


def test_planted_documentation_faults_are_found() -> None:
    assert missing_documentation({"a"}, {"b"}, {"c"}) == [
        "plugins/modules/a.yml is missing",
        "plugins/modules/b.yml is missing",
        "plugins/modules/c.yml documents nothing",
        "plugins/action/b.py has no module file of its name",
        "plugins/action/a.py is missing",
    ]
    assert len(documentation_problems("a", {})) == 6
    body = {
        "short_description": "s",
        "description": ["d"],
        "author": ["x"],
        "version_added": "0.1.0",
        "options": {"b": {"description": "d"}},
    }
    good = {"examples": f"- name: A\n  {COLLECTION}.a:\n", "return": {}, "doc": body}
    assert documentation_problems("a", good) == []
    assert documentation_problems("a", {**good, "return": {"warnings": {}}}) == [
        "a: RETURN has warnings, which Ansible keeps for itself"
    ]
    assert documentation_problems("a", {**good, "examples": "a: ["})[0].startswith("a: EXAMPLES is no YAML")
    assert documentation_problems("a", {**good, "doc": {**body, "options": {"b": {}}}}) == [
        "a: option b has no description"
    ]


# --- roles ----------------------------------------------------------------------------------------------------------


def role_problems(
    role: str, entry_points: dict[str, Any], defaults: dict[str, Any], variables: dict[str, Any]
) -> list[str]:
    """Where a role's argument specs, defaults and variables contradict each other or the naming rule."""
    options = {
        name: spec for entry in entry_points.values() for name, spec in ((entry or {}).get("options") or {}).items()
    }
    promised = {name: spec["default"] for name, spec in options.items() if "default" in spec}
    public = {name: value for name, value in defaults.items() if not name.startswith("__")}
    problems = [
        f"{role}: {name} does not begin with {role}_"
        for name in sorted({*options, *public})
        if not name.startswith(f"{role}_")
    ]
    problems += [
        f"{role}: {name} is internal and does not begin with __{role}_"
        for name in sorted({*variables, *(set(defaults) - set(public))})
        if not name.startswith((f"__{role}_", f"{role}_"))
    ]
    problems += [
        f"{role}: {name} is in defaults/main.yml but in no argument spec" for name in sorted(set(public) - set(options))
    ]
    problems += [
        f"{role}: {name} has a default in the argument spec but none in defaults/main.yml"
        for name in sorted(set(promised) - set(public))
    ]
    unsaid = sorted(set(public) & set(options) - set(promised))
    problems += [f"{role}: {name} has a default in defaults/main.yml but none in the argument spec" for name in unsaid]
    problems += [
        f"{role}: the default of {name} is {public[name]!r}, the argument spec says {promised[name]!r}"
        for name in sorted(set(public) & set(promised))
        if (type(public[name]), public[name]) != (type(promised[name]), promised[name])
    ]
    problems += [
        f"{role}: {name} has no description" for name, spec in sorted(options.items()) if not spec.get("description")
    ]
    problems += [
        f"{role}: {name} is required and has a default"
        for name, spec in sorted(options.items())
        if spec.get("required") and "default" in spec
    ]
    return problems


def _load(path: Path) -> dict[str, Any]:
    loaded = sources.load_yaml(path)
    return loaded if isinstance(loaded, dict) else {}


def test_roles_say_what_they_take() -> None:
    roles = {
        path.relative_to(ROLES).parts[0]
        for path in sources.project_files()
        if path.is_relative_to(ROLES) and path.parent != ROLES
    }
    problems = []
    for role in sorted(roles):
        folder = ROLES / role
        if not (folder / "meta" / "argument_specs.yml").is_file():
            problems.append(f"{role}: meta/argument_specs.yml is missing")
        specs = _load(folder / "meta" / "argument_specs.yml").get("argument_specs") or {}
        problems += role_problems(
            role, specs, _load(folder / "defaults" / "main.yml"), _load(folder / "vars" / "main.yml")
        )
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("option", "default", "problem"),
    [
        ({"default": 5}, {"r_a": 5}, None),
        ({"default": True}, {"r_a": 1}, "the default of r_a is 1, the argument spec says True"),
        ({"default": 5}, {}, "r_a has a default in the argument spec but none in defaults/main.yml"),
        ({}, {"r_a": 5}, "r_a has a default in defaults/main.yml but none in the argument spec"),
        ({"default": 5}, {"r_a": 5, "r_b": 1}, "r_b is in defaults/main.yml but in no argument spec"),
        ({"default": 5, "required": True}, {"r_a": 5}, "r_a is required and has a default"),
        ({"default": 5}, {"r_a": 5, "__other": 1}, "__other is internal and does not begin with __r_"),
    ],
)
def test_planted_role_faults_are_found(option: dict[str, Any], default: dict[str, Any], problem: str | None) -> None:
    specs = {"main": {"options": {"r_a": {"description": "d", **option}}}}
    assert role_problems("r", specs, default, {}) == ([f"r: {problem}"] if problem else [])


def test_a_planted_foreign_variable_is_found() -> None:
    assert role_problems("r", {"main": {"options": {"x_a": {"description": "d"}}}}, {}, {"y": 1}) == [
        "r: x_a does not begin with r_",
        "r: y is internal and does not begin with __r_",
    ]


# --- licence --------------------------------------------------------------------------------------------------------


def lacks_licence(name: str, text: str) -> bool:
    """Is this a source without the licence in its first lines? YAML of roles and playbooks needs only the SPDX line."""
    head = "\n".join(text.splitlines()[:20])
    path = Path(name)
    if path.suffix in SOURCE_SUFFIXES or text.startswith("#!") or path.parts[:2] == ("plugins", "modules"):
        return bool(text.strip()) and not all(line in head for line in LICENCE_LINES)
    if path.suffix in {".yml", ".yaml", ".j2"} and path.parts[0] in {"plugins", "roles", "playbooks"}:
        return LICENCE_LINES[1] not in head
    return False


def test_every_source_names_its_licence() -> None:
    missing = []
    for path in sources.project_files():
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            continue
        if lacks_licence(sources.shown(path), text):
            missing.append(sources.shown(path))
    assert not missing, f"no licence header ({' / '.join(LICENCE_LINES)}) in: {', '.join(missing)}"


def test_planted_sources_without_licence_are_found() -> None:
    header = "# GNU General Public License v3.0+ (see LICENSE)\n# SPDX-License-Identifier: GPL-3.0-or-later\n"
    assert lacks_licence("tests/x.py", "import os\n")
    assert lacks_licence(".ci/run", "#!/bin/sh\n")
    assert lacks_licence("plugins/modules/x.yml", "# SPDX-License-Identifier: GPL-3.0-or-later\n")
    assert lacks_licence("roles/r/tasks/main.yml", "---\n")
    assert not lacks_licence("tests/x.py", header)
    assert not lacks_licence("tests/__init__.py", "")
    assert not lacks_licence("roles/r/tasks/main.yml", "---\n# SPDX-License-Identifier: GPL-3.0-or-later\n")


# --- artifact and changelog -----------------------------------------------------------------------------------------


def unwanted(names: Iterable[str]) -> list[str]:
    """Entries that have no place in the artifact."""
    return sorted(name for name in names if name.split("/")[0] not in SHIPPED or NEVER_SHIPPED.search(name))


def test_artifact_holds_what_it_should_and_nothing_else(artifact: Path) -> None:
    with tarfile.open(artifact) as tar:
        members = tar.getmembers()
    names = {member.name for member in members if member.name}
    assert unwanted(names) == []
    assert REQUIRED - names == set()
    assert [member.name for member in members if member.issym() or member.islnk()] == []
    assert [member.name for member in members if member.size > 400_000] == []


def test_execution_environment_files_say_what_the_control_node_needs() -> None:
    python, system = introspect.process_collection(str(sources.ROOT))
    assert {Requirement(line).name for line in python} == {"pywinrm", "cryptography"}
    # The same line in the message that says what is missing.
    (cryptography,) = [line for line in python if line.startswith("cryptography")]
    assert f"pip install '{cryptography}'" == _recipients.PIP_LINE
    rules = Depends("\n".join(system))
    assert [rule[0] for rule in rules.active_rules(["platform:rpm"])] == ["krb5-workstation"]
    assert {"gcc", "krb5-devel"} <= {rule[0] for rule in rules.active_rules(["platform:rpm", "compile"])}


def test_planted_artifact_entries_are_found() -> None:
    names = [
        "plugins/modules/x.ps1",
        "tests/x.py",
        ".lab/x",
        "inventory/lab.yml",
        "plugins/__pycache__",
        "Makefile",
        "playbooks/ansible.cfg",
        "docs/a.log",
    ]
    assert unwanted(names) == [
        ".lab/x",
        "Makefile",
        "docs/a.log",
        "inventory/lab.yml",
        "plugins/__pycache__",
        "tests/x.py",
    ]


def test_changelog_is_valid() -> None:
    done = ansible("antsibull-changelog", "lint")
    assert done.returncode == 0, done.stdout + done.stderr
