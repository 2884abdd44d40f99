# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated texts are equal to their sources."""

from __future__ import annotations

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._core.reasons import EXIT_CODES
from tests import generated_docs, generated_options
from tests.checks import sources


def test_the_documents_are_current() -> None:
    old = [
        str(file.relative_to(sources.ROOT))
        for file, text in generated_docs.documents().items()
        if file.read_text(encoding="utf-8") != text
    ]
    assert old == [], "run `make docs`"


def test_a_document_that_is_not_current_is_found() -> None:
    assert f'"maximum": {max(EXIT_CODES)}' in generated_docs._with_bound(
        '"exit_code": {"type": "integer", "maximum": 3}'
    )


def test_options_that_are_not_current_are_replaced_and_nothing_else() -> None:
    script = """$spec = @{
    options = @{
        # Written by `make docs` from mongodb_info.yml.
        old = @{
            type = 'dict'
        }
        _tool = @{ type = 'str' }
    }
}
$module.Params.timeout
"""
    lines = generated_options.with_options(script, "mongodb_info").splitlines()
    assert lines[:4] == [*script.splitlines()[:3], "        dump = @{ type = 'dict'; required = $true }"]
    assert lines[-4:] == script.splitlines()[6:]
    # Its parts are checked on the control node; the script reads none.
    assert "        mongodb_connections = @{ type = 'dict'; default = @{} }" in lines


def test_a_value_is_a_literal_of_powershell() -> None:
    assert generated_options.powershell(["it's", True, 2.5, {}]) == "@('it''s', $true, 2.5, @{})"
