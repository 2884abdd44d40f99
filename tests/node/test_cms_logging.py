# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event log gets no secret, even where a group policy has the arguments of every command logged."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.checks import powershell
from tests.lab import certificates, layout

MODULE = layout.ROOT / "plugins" / "modules" / "config_export.ps1"


def test_module_logging_is_off_when_the_secrets_are_encrypted(tmp_path: Path) -> None:
    recipient = certificates.write_operator(tmp_path, "operator")
    secret = "a secret text"
    before, during, message = powershell.run(Path(__file__).with_name("cms_logging.ps1"), MODULE, recipient.certificate, secret).split("\n", 2)
    assert (before, during) == ("before: logging=True", "during: logging=False")
    opened = subprocess.run(["openssl", "cms", "-decrypt", "-inform", "PEM", "-inkey", str(recipient.key), "-recip", str(recipient.certificate)],
                            input=message.encode(), capture_output=True, timeout=60, check=True)
    assert opened.stdout.decode() == secret
