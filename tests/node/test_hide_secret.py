# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What settings and tools may tell of passwords, and what is left of it."""

from __future__ import annotations

from pathlib import Path

from tests.checks import powershell
from tests.lab import layout

MODULE = layout.ROOT / "plugins" / "module_utils" / "NodeSecret.psm1"
HIDDEN = {
    "mongodb://user:Pa55word@db:27018/AlteryxService?ssl=true": (
        "mongodb://user:(redacted)@db:27018/AlteryxService?ssl=true"
    ),
    "mongodb+srv://user:Pa55@word@db.example.test/AlteryxGallery": (
        "mongodb+srv://user:(redacted)@db.example.test/AlteryxGallery"
    ),
    "Server=db;User Id=sa;Password=Pa55word;Encrypt=True": "Server=db;User Id=sa;Password=(redacted);Encrypt=True",
    'Server=db;PWD="Pa55;word";Encrypt=True': "Server=db;PWD=(redacted);Encrypt=True",
    "Password = 'Pa55 word'; x": "Password = (redacted); x",
    '{"user": "u", "password": "Pa55word"}': '{"user": "u", "password": (redacted)}',
    "password: Pa55word": "password: (redacted)",
    "mongodump.exe --username user --password Pa55word --db x": (
        "mongodump.exe --username user --password (redacted) --db x"
    ),
    "mongodump.exe --password=Pa55word --db x": "mongodump.exe --password=(redacted) --db x",
    "AccountKey=Pa55word==;EndpointSuffix=core": "AccountKey=(redacted);EndpointSuffix=core",
}
KEPT = [
    "", "True", "https://alteryx.example.test/gallery/", "http://localhost:80/gallery/",
    r"D:\Alteryx\Service\Persistence\MongoDB",
    "2026-09-01T02:00:00.123+0000\tdone dumping `AlteryxGallery.users` (25 documents)", "EMongoDump failed",
    "Failed: error connecting to db server: no reachable servers", "mongodb://db.example.test:27017/AlteryxService",
    "ops@example.test",
]  # fmt: skip


def test_passwords_are_hidden_and_nothing_else(tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("".join(f"{text}\n" for text in [*HIDDEN, *KEPT]), encoding="utf-8")
    said = powershell.run(Path(__file__).with_name("hide_secret.ps1"), MODULE, lines).splitlines()
    assert said == [*HIDDEN.values(), *KEPT]
