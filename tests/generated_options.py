# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options in every place that repeats them; `make docs` writes it (see generated_docs.py).

The options of a module come from its documentation and stand in the spec of its PowerShell, those of the window in
tests/windows/try_window.ps1 too. The variables of a role come from its argument specs and stand in its defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
MODULES = ROOT / "plugins" / "modules"
TRY_WINDOW = ROOT / "tests" / "windows" / "try_window.ps1"

_WIDTH = 120
_MARK = "# Written by `make docs` from "
_DEFAULTS = """# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Written by `make docs` from meta/argument_specs.yml.
---
"""


def documents() -> dict[Path, str]:
    """Every file that repeats options -> what it must hold."""
    found = {}
    for script in sorted(MODULES.glob("*.ps1")):
        found[script] = with_options(script.read_text(encoding="utf-8"), script.stem)
    found[TRY_WINDOW] = _with_defaults(TRY_WINDOW.read_text(encoding="utf-8"))
    for role in sorted((ROOT / "roles").iterdir()):
        specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
        if text := "".join(role_defaults(specs)):
            found[role / "defaults" / "main.yml"] = _DEFAULTS + text
    return found


def _argument_spec(module: str) -> dict[str, Any]:
    # Inside: started by hand, the collection's name resolves only after the lines at the end of generated_docs.py.
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._ansible import _collection

    return _collection.argument_spec(module)


def with_options(script: str, module: str) -> str:
    """The PowerShell of a module with the options of its documentation."""
    lines = [f"{_MARK}{module}.yml."]
    for name, option in _argument_spec(module).items():
        # Of what the script does not read it gets nothing: the control node has looked at its parts.
        reads = re.search(rf"Params\.{name}\b", script) is not None
        lines += _option(name, option if reads else {key: part for key, part in option.items() if key != "options"})
    return _replaced(script, lines)


def _with_defaults(script: str) -> str:
    lines = [f"{_MARK}database_window.yml."]
    for name, option in _argument_spec("database_window").items():
        # The job hears of these in another form, or not at all.
        if "default" in option and name not in ("dump", "mongodb_connections", "plan", "mongodb", "last_run"):
            lines.append(f"{name} = {powershell(option['default'])}")
    return _replaced(script, lines)


def _replaced(script: str, lines: list[str]) -> str:
    """The script with these lines from the mark on, up to what is written by hand.

    That is a comment, what begins with _, or the end of the table.
    """
    old = script.splitlines()
    (begin,) = (number for number, line in enumerate(old) if line.lstrip().startswith(_MARK))
    indent = old[begin].partition("#")[0]
    by_hand = (f"{indent}_", f"{indent}#", f"{indent[4:]}}}")
    end = next(number for number, line in enumerate(old) if number > begin and line.startswith(by_hand))
    return "\n".join([*old[:begin], *(indent + line for line in lines), *old[end:]]) + "\n"


def _option(name: str, option: Mapping[str, Any]) -> Iterator[str]:
    """The lines of one option in a spec of Ansible.Basic."""
    parts = [
        f"{key} = {powershell(option[key])}"
        for key in ("type", "elements", "required", "choices", "default", "no_log")
        if key in option
    ]
    line = f"{name} = @{{ {'; '.join(parts)} }}"
    if "options" not in option and len(line) <= _WIDTH - 8:
        yield line
        return
    yield f"{name} = @{{"
    yield from (f"    {part}" for part in parts)
    if "options" in option:
        yield "    options = @{"
        for inner, suboption in option["options"].items():
            yield from (f"        {line}" for line in _option(inner, suboption))
        yield "    }"
    yield "}"


def powershell(value: Any) -> str:
    """A value as a literal of PowerShell."""
    if isinstance(value, bool):
        return "$true" if value else "$false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, list):
        return f"@({', '.join(map(powershell, value))})"
    if isinstance(value, dict):
        assert not value, "no option has such a default"
        return "@{}"
    return repr(value)


def role_defaults(specs: Mapping[str, Any]) -> Iterator[str]:
    """The lines of defaults/main.yml for the argument specs of a role."""
    said = set()
    for entry_point in specs.values():
        for name, option in (entry_point.get("options") or {}).items():
            if "default" in option and name not in said:
                said.add(name)
                yield f"{name}: {_yaml(option['default'])}\n"


def _yaml(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return yaml.safe_dump(value, default_flow_style=True, width=_WIDTH).removesuffix("\n").removesuffix("\n...")
