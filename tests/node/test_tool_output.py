# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tools of MongoDB print is UTF-8, whatever the code page of the node is."""

from __future__ import annotations

import json

import pytest

from tests.node.engine import CODE, JOBS, Engine
from tests.node.window import dump_spec

pytestmark = pytest.mark.wine

# Latin-1, which this engine knows by itself:
# like CP850 and every other code page of Windows it makes letters of any byte.
CODE_PAGE = 28591
PRINTED = "2026-09-01T02:00:00.000+0000\tdone dumping AlteryxService.AS_Größe€ (3 documents)\n"


def test_a_collection_beyond_ascii_is_counted_whatever_the_code_page_is(engine: Engine) -> None:
    # Here: conftest.py loads before the collection's name resolves.
    from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._database import _dump_evidence

    folder = engine.path(rf"{JOBS}\code-page")
    folder.mkdir(parents=True)
    engine.path(r"D:\printed.txt").parent.mkdir(exist_ok=True)
    engine.path(r"D:\printed.txt").write_text(PRINTED, encoding="utf-8")
    write = (
        r"$bytes = [IO.File]::ReadAllBytes('D:\printed.txt'); $to = [Console]::{0}(); "
        r"$to.Write($bytes, 0, $bytes.Length); $to.Flush()"
    )
    arguments = [
        "-NoProfile",
        "-Command",
        "; ".join(write.format(f"OpenStandard{stream}") for stream in ("Output", "Error")),
    ]
    spec = {**dump_spec("code-page"), "dumps": [{"config": "", "arguments": arguments}]}
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    said = engine.command(
        f"[Console]::OutputEncoding = [Text.Encoding]::GetEncoding({CODE_PAGE}); "
        "[Console]::Out.WriteLine([Console]::OutputEncoding.CodePage); "
        rf"& ([scriptblock]::Create([IO.File]::ReadAllText('{CODE}\job_host.ps1'))) "
        rf"'{JOBS}\code-page' '{CODE}' 'dump_job'"
    )
    assert said.strip() == str(CODE_PAGE)
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["state"] == "succeeded", result
    assert result["output"] == PRINTED * 2
    evidence = _dump_evidence.judge({}, result["output"], 0)
    assert evidence.reported["AlteryxService.AS_Größe€"] == 3
