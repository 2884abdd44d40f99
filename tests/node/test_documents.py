# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON that people read has the same form in every PowerShell and every run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.node.engine import Engine

pytestmark = pytest.mark.wine

# What Windows PowerShell makes of these letters; the lab's engine writes them as they are.
WINDOWS = (
    r'{"a":"R\u0026D \u0027x\u0027 \u003cy\u003e","b":"C:\\u0026\\","c":"say \"hi\": {[,]}\n","d":"gr\u00f6\u2028"}'
)


def text_of(engine: Engine, expression: str) -> str:
    """The document of a value of PowerShell."""
    return engine.run(f"ConvertTo-NodeDocument -InputObject ({expression})").replace("\r\n", "\n").removesuffix("\n")


def format_json(engine: Engine, text: str) -> str:
    """What Format-Json, which NodeFiles.psm1 keeps to itself, makes of a text."""
    compact, made = (engine.path(rf"C:\scripts\{name}.json") for name in ("compact", "made"))
    compact.parent.mkdir(exist_ok=True)
    compact.write_text(text, encoding="utf-8")
    engine.run(
        r"""$text = [IO.File]::ReadAllText('C:\scripts\compact.json')
        $made = & (Get-Module -Name NodeFiles) { Format-Json -Text $args[0] } $text
        [IO.File]::WriteAllText('C:\scripts\made.json', $made)"""
    )
    return made.read_text(encoding="utf-8")


def test_an_ordered_dictionary_keeps_its_order_and_any_other_is_sorted(engine: Engine) -> None:
    value = "[ordered]@{ z = 1; a = @{ c = $true; B = $null; a = 'x' }; m = @(@{ two = 2; one = 1 }) }"
    assert (
        text_of(engine, value)
        == """{
  "z": 1,
  "a": {
    "B": null,
    "a": "x",
    "c": true
  },
  "m": [
    {
      "one": 1,
      "two": 2
    }
  ]
}"""
    )


@pytest.mark.long
def test_lists_stay_lists_however_many_things_are_in_them(engine: Engine) -> None:
    value = "[ordered]@{ none = @(); one = @('a'); inner = @(, @(1)); empty = @{} }"
    expected = {"none": [], "one": ["a"], "inner": [[1]], "empty": {}}
    text = text_of(engine, value)
    assert json.loads(text) == expected
    assert text == json.dumps(expected, indent=2)


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"a": [], "b": {}, "c": [{}], "d": [[], [1, [2]]]},
        {"numbers": [0, -1.5, 1e30, 12345678901], "words": [True, False, None]},
        {"odd": 'quo"te \\ back\\\\ {[,]}: \n\t\u2028 größe', '"key": {': "x"},
        "only a text",
    ],
)
@pytest.mark.long
def test_a_text_says_the_same_with_lines_as_without(engine: Engine, value: Any) -> None:
    compact = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    assert format_json(engine, compact) == json.dumps(value, indent=2, ensure_ascii=False)


@pytest.mark.long
def test_letters_that_windows_powershell_spells_out_are_those_that_people_read(engine: Engine) -> None:
    text = format_json(engine, WINDOWS)
    assert json.loads(text) == json.loads(WINDOWS)
    assert '"a": "R&D \'x\' <y>"' in text
    assert r'"b": "C:\\u0026\\"' in text


@pytest.mark.long
def test_a_long_list_takes_no_time_to_speak_of(engine: Engine) -> None:
    value = {"packages": [{"name": f"package-{number}", "version": "1.0"} for number in range(3000)]}
    compact = json.dumps(value, separators=(",", ":"))
    assert json.loads(format_json(engine, compact)) == value
