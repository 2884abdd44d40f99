# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what is repeated from elsewhere: `python -m tests.generated_docs` (make docs).

From plugins/plugin_utils/_core/reasons.yml: docs/exit_codes.md and docs/after_the_stop.md whole, and the highest exit
code in the schema of outcome.json. From plugins/plugin_utils/_archive/_readme.py: docs/archive_readme.md. Options and
defaults: see generated_options.py. The list of files: see file_list.py. The pictures: see rooms.py, timeline.py and
retention_years.py.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from tests import file_list, generated_options, retention_years, rooms, timeline
from tests.collection_link import link_collection

ROOT = Path(__file__).resolve().parent.parent

_HEAD = """<!-- Written by `make docs` from plugins/plugin_utils/_core/reasons.yml. Do not edit. -->
# Exit codes and reasons

`ansible-playbook` ends with one of these codes if the callback `alteryx_ops.server_backup.exit_code` is enabled, as in
`playbooks/ansible.cfg`. Without the callback, Ansible's own codes apply, and 2 means that a host failed. `outcome.json`
contains the code in both cases.

Ansible's own codes also apply when Ansible itself stops: 1 if `--limit` matches no host, and 4 if a playbook cannot be
read.

A run has one code. Code 7 outranks all others. Otherwise the run has the code of its first failure. `outcome.json`,
the log and the last lines on the screen name the reason, the node, the step, what happened and what to do next.

Each code has its reasons below. A reason with the mark *after a stop* can occur after the run has stopped a service of
the fleet. That service is started again, except for the reasons of code 7: `restore_unproven` and `held_by_operator`
leave it stopped on purpose, and for the others something prevents the start.
"""


def documents() -> dict[Path, str]:
    """Every file that repeats something -> what it must hold."""
    schema = ROOT / "docs" / "schemas" / "outcome-1.schema.json"
    return {
        ROOT / "docs" / "exit_codes.md": _page(),
        ROOT / "docs" / "after_the_stop.md": _page_of_late_reasons(),
        ROOT / "docs" / "archive_readme.md": _page_of_archive_readme(),
        file_list.PAGE: file_list.page(),
        schema: _with_bound(schema.read_text(encoding="utf-8")),
        rooms.PICTURE: rooms.picture(),
        timeline.PICTURE: timeline.picture(),
        retention_years.PICTURE: retention_years.picture(),
        retention_years.PAGE: retention_years.with_table(retention_years.PAGE.read_text(encoding="utf-8")),
        **generated_options.documents(),
    }


def _table() -> tuple[dict[int, Any], dict[str, Any]]:
    # Inside: started by hand, the collection's name resolves only after the lines at the end.
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import EXIT_CODES, REASONS

    return EXIT_CODES, REASONS


def _page() -> str:
    codes, reasons = _table()
    lines = [_HEAD]
    for number, code in codes.items():
        lines += _wrapped(f"**{number}**: {code.meaning}. {code.when}", "- ")
    for number, code in codes.items():
        rows = [reason for reason in reasons.values() if reason.exit_code == number]
        if rows:
            lines += ["", f"## {number}: {code.meaning}", ""]
            for reason in rows:
                mark = " (*after a stop*)" if reason.why_late else ""
                lines += [
                    *_wrapped(f"`{reason.name}`{mark}: {reason.meaning}", "- "),
                    *_wrapped(f"Next: {reason.hint}", "  "),
                ]
    return "\n".join(lines) + "\n"


_LATE = """<!-- Written by `make docs` from plugins/plugin_utils/_core/reasons.yml. Do not edit. -->
# What can still fail after the stop

A run refuses before the stop whatever can be known then. These reasons can occur after it. Each entry says why it
could not be known before, and what becomes of a dump that has ended:

- **kept**: The dump is good. The run archives and verifies it at its end, and the manifest says what is missing. If
  that is not possible, the dump stays in the staging directory until `recover.yml` or the next run archives it.
- **removed**: The dump cannot be used. `recover.yml` or the next run removes it and says so.

The service is started again, except for the reasons of code 7: `restore_unproven` and `held_by_operator` leave it
stopped on purpose, and for the others something prevents the start.
"""


def _page_of_late_reasons() -> str:
    lines = [_LATE]
    for reason in _table()[1].values():
        if reason.why_late:
            fate = "removed" if reason.bad_dump else "kept"
            lines += _wrapped(f"`{reason.name}` (**{fate}**): {reason.why_late}", "- ")
    return "\n".join(lines) + "\n"


_ARCHIVE_README = """<!-- Written by `make docs` from plugins/plugin_utils/_archive/_readme.py. Do not edit. -->
# README.txt of the archive directory

Each run writes this text beside the archives of a node. It is repeated here because it is not copied to the
[destinations](copies.md): who has only a copy of a backup finds here how to check, unzip and restore it by hand, also
on a new machine (section 5).

```text
"""


def _page_of_archive_readme() -> str:
    # Inside: see _table.
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive._readme import TEXT

    return _ARCHIVE_README + TEXT.replace("\r\n", "\n") + "```\n"


def _wrapped(text: str, begin: str) -> list[str]:
    return textwrap.wrap(
        text, 120, initial_indent=begin, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _with_bound(schema: str) -> str:
    return re.sub(r'("exit_code": \{[^}]*"maximum": )\d+', rf"\g<1>{max(_table()[0])}", schema)


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(link_collection()))
    for file, text in documents().items():
        file.write_text(text, encoding="utf-8")
