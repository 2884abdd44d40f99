# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may open the secrets of a backup, what is said of them, and what a run that died leaves of them."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.background_run import BackgroundRun
from tests.faults.scenes import wait_for_stale_lock
from tests.lab import certificates, layout
from tests.lab.certificates import KeyPair

from .backup_files import Backup
from .lab_of_tests import STAGING, Lab, run_id_pattern
from .playbook_run import PlaybookRunner, Run

PAGE = layout.ROOT / "docs" / "certificates.md"
LOCK_STALE = 3


def backup_of(lab: Lab, run: Run) -> Backup:
    """What a config backup has left."""
    match = run_id_pattern("Config").fullmatch(run.outcome["run_id"])
    assert match
    return Backup.of(lab, match.group(1), "Config")


@pytest.mark.long
def test_recipients_near_or_past_their_end_are_told_loudly_and_open_the_secrets(
    lab: Lab, run_playbook: PlaybookRunner, tmp_path: Path
) -> None:
    expired = certificates.write_operator(tmp_path, "expired", valid_from=-30, valid_days=29)
    ending = certificates.write_operator(tmp_path, "ending", valid_from=-1, valid_days=50)
    recipients = [str(expired.certificate), str(ending.certificate)]
    run = run_playbook(
        "config_backup.yml",
        extra_vars={"alteryx_configuration_recipients": recipients, "alteryx_configuration_expiry_warning_days": 60},
    )
    run.assert_ok()
    summary = run.stdout[run.stdout.index("BACKUP OK") :]
    for recipient, words in ((expired, "has expired on"), (ending, "expires on")):
        warning = f"the recipient {recipient.certificate} {words}"
        assert any(told.startswith(warning) for told in run.outcome["warnings"])
        assert f" warning  {warning}" in summary
        assert warning in run.log
        assert backup_of(lab, run).open_secrets(recipient)["controller_token"] == lab.secrets()["controller_token"]


def _pair(folder: Path) -> str:
    pair = certificates.write_operator(folder, "pair")
    return pair.certificate.read_text() + pair.key.read_text()


def _text(folder: Path) -> str:
    file = folder / "text.pem"
    file.write_text("no certificate", encoding="ascii")
    return str(file)


BAD: dict[str, tuple[Callable[[Path], str], str]] = {
    "no RSA": (
        lambda folder: str(certificates.write_operator(folder, "ec", algorithm="ec").certificate),
        "has no RSA key",
    ),
    "for another purpose": (
        lambda folder: str(certificates.write_operator(folder, "mail", document_encryption=False).certificate),
        "Document Encryption",
    ),
    "no key usage": (
        lambda folder: str(certificates.write_operator(folder, "usage", key_usage=False).certificate),
        "key usage",
    ),
    "no certificate": (_text, "holds 0 certificates"),
    "absent": (lambda folder: str(folder / "absent.pem"), "cannot be read"),
    "with its key": (_pair, "holds a private key"),
}


@pytest.mark.long
@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("bad", BAD)
def test_a_recipient_of_no_use_is_refused_before_anything_is_touched(
    lab: Lab, run_playbook: PlaybookRunner, tmp_path: Path, bad: str
) -> None:
    make, said = BAD[bad]
    recipients = [str(lab.recipient("operator").certificate), make(tmp_path)]
    run = run_playbook("full_backup.yml", extra_vars={"alteryx_configuration_recipients": recipients})
    run.assert_failed(3, "recipient_invalid", message=said)
    assert "docs/certificates.md" in run.outcome["hint"]


@pytest.fixture
def secrets_left(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """The encrypted secrets in the staging folder of a run that was killed as soon as they were there."""
    staging = lab.node.path(STAGING)
    run = BackgroundRun(
        lab, "config_backup.yml", tmp_path / "killed", extra_vars={"alteryx_preflight_lock_stale": LOCK_STALE}
    )
    limit = time.monotonic() + 300
    while not (found := list(staging.glob("*/secrets.pem"))):
        assert not run.ended, run.output
        assert time.monotonic() < limit, run.output
        time.sleep(0.002)
    run.kill_everything()
    assert found[0].exists(), "the run was over before it was killed"
    assert found[0].read_text(encoding="ascii").startswith("-----BEGIN CMS-----")
    wait_for_stale_lock(lab, LOCK_STALE)
    yield staging
    lab.recover()


@pytest.mark.long
@pytest.mark.parametrize(
    "playbook",
    ["recover.yml", "config_backup.yml", "database_backup.yml"],
)
def test_secrets_of_a_run_that_died_are_gone_after_the_next(
    lab: Lab, run_playbook: PlaybookRunner, secrets_left: Path, playbook: str
) -> None:
    run = run_playbook(playbook)
    run.assert_ended_well()
    assert list(secrets_left.rglob("secrets*")) == []
    assert lab.leftovers() == []


def commands() -> list[str]:
    """The shell commands of the page about certificates."""
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.long
def test_the_page_about_certificates_makes_a_recipient_and_opens_its_secrets(
    lab: Lab, run_playbook: PlaybookRunner, tmp_path: Path
) -> None:
    make, read = commands()
    subprocess.run(
        ["sh", "-euc", make], cwd=tmp_path, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=120
    )
    made = KeyPair(tmp_path / "backup-recipient.pem", tmp_path / "backup-recipient.key")
    assert made.key.stat().st_mode & 0o077 == 0
    recipients = [str(lab.recipient("deputy").certificate), str(made.certificate)]
    run = run_playbook("config_backup.yml", extra_vars={"alteryx_configuration_recipients": recipients})
    run.assert_ok()
    assert run.outcome["warnings"] == [warning for warning in run.outcome["warnings"] if "recipient" not in warning]
    (tmp_path / "NAME.secrets.pem").write_bytes(backup_of(lab, run).file(".secrets.pem").read_bytes())
    done = subprocess.run(
        ["sh", "-euc", read],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert lab.secrets()["controller_token"] in done.stdout
