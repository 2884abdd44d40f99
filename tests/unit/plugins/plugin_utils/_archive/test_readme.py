# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""README.txt beside the archives: any editor of Windows shows it, and a change of it reaches the nodes."""

from __future__ import annotations

import hashlib
import re

from ansible_collections.alteryx_ops.server_backup.plugins.plugin_utils._archive import _readme
from tests.checks import sources

# Version of the text -> SHA-256 of the text. Add a line with the next version when you change the text: nodes replace
# a text only by one with a higher version.
TEXTS = {
    1: "e3659dafd061abc01d2ca88a2b7004e8d65d3d0e247d2fceab8a21680c7502ae",
    2: "1c14e0fde2877a264094a92091fd31b9176ac8ea8a31040b2e8d22cdefc59947",
    3: "a9e7167396872625a0f6a32fe4e3f78d69255663dfd1a889acc92aab8d9cccad",
}


def test_the_version_goes_up_with_every_change_of_the_text() -> None:
    assert TEXTS[_readme.VERSION] == hashlib.sha256(_readme.TEXT.encode()).hexdigest()
    assert max(TEXTS) == _readme.VERSION


def test_any_editor_shows_it() -> None:
    assert _readme.TEXT.isascii()
    assert _readme.TEXT.count("\n") == _readme.TEXT.count("\r\n") == _readme.TEXT.count("\r")
    assert max(map(len, _readme.TEXT.splitlines())) <= 80


def test_the_node_finds_the_version_in_the_first_line() -> None:
    job = (sources.ROOT / "plugins" / "module_utils" / "archive_job.ps1").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"\$Text -cmatch '(\^Backups of [^']+)'", job)
    found = re.match(pattern, _readme.TEXT)
    assert found
    assert int(found[1]) == _readme.VERSION


def test_it_says_what_a_person_needs_who_has_only_this_folder() -> None:
    for words in (
        "certutil -hashfile NAME.zip SHA256",
        "sha256sum -c NAME.sha256",
        "openssl cms -decrypt -inform PEM",
        "Unprotect-CmsMessage",
        "emongorestore=",
        "setserversecret=",
        "setremotesecret=",
        "--stopOnError",
        "restore.yml",
        "WHAT IS NOT IN A BACKUP",
    ):
        assert words in _readme.TEXT
    # The old files are kept first. The configuration comes before the database, as restore.yml does it: emongorestore
    # works with the settings and keys that it finds.
    order = [_readme.TEXT.index(words) for words in ("Keep what is", "Put the configuration back", "emongorestore=C:")]
    assert order == sorted(order)
