# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's certificates, inventory, state and control port."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.lab import __main__ as command_line
from tests.lab import control, host, inventory, lab_state
from tests.lab.certificates import DOCUMENT_ENCRYPTION, ensure, write_operator
from tests.lab.lab_state import LabState
from tests.lab.node import Node


def node(folder: Path) -> Node:
    return Node("alteryx-lab-1", "standin", "127.0.0.1", 23456, "ansible", 'p"w: #', folder, 1)


def read_certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def test_certificates_are_made_once(tmp_path: Path) -> None:
    made = ensure(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert ensure(tmp_path) == made
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert len(before) == 7  # the authority's key is kept nowhere
    assert [oct(pair.key.stat().st_mode & 0o777) for pair in (made.endpoint, made.operator)] == ["0o600", "0o600"]


def test_the_operators_certificate_decrypts_what_is_encrypted_for_it(tmp_path: Path) -> None:
    pair = ensure(tmp_path).operator
    usage = read_certificate(pair.certificate).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [DOCUMENT_ENCRYPTION]
    secret = subprocess.run(
        ["openssl", "cms", "-encrypt", "-aes256", "-outform", "PEM", str(pair.certificate)],
        input=b"secret",
        capture_output=True,
        check=True,
    ).stdout
    opened = subprocess.run(
        ["openssl", "cms", "-decrypt", "-inform", "PEM", "-inkey", str(pair.key)],
        input=secret,
        capture_output=True,
        check=True,
    )
    assert opened.stdout == b"secret"


def test_recipients_that_must_be_warned_of_or_refused(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    expired = read_certificate(write_operator(tmp_path, "expired", valid_from=-30, valid_days=29).certificate)
    assert expired.not_valid_after_utc < now
    elliptic = read_certificate(write_operator(tmp_path, "elliptic", algorithm="ec").certificate)
    assert isinstance(elliptic.public_key(), ec.EllipticCurvePublicKey)
    other = read_certificate(write_operator(tmp_path, "other", document_encryption=False).certificate)
    assert DOCUMENT_ENCRYPTION not in other.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value


def test_the_inventory_is_yaml_that_ansible_reads(tmp_path: Path) -> None:
    certificates = ensure(tmp_path / "certificates")
    file = inventory.write([node(tmp_path)], certificates, tmp_path / "inventory" / "lab.yml")
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    listed = subprocess.run(
        ["ansible-inventory", "-i", str(file), "--list"],
        capture_output=True,
        check=True,
        env={**os.environ, "PATH": f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"},
    )  # type: ignore[attr-defined]
    seen = json.loads(listed.stdout)
    assert seen["alteryx"]["children"] == ["alteryx_lab"]
    variables = seen["_meta"]["hostvars"]["alteryx-lab-1"]
    assert (variables["ansible_password"], variables["ansible_port"], variables["ansible_winrm_ca_trust_path"]) == (
        'p"w: #',
        23456,
        str(certificates.authority),
    )
    assert variables["alteryx_archive_directory"] == "D:\\AlteryxBackups"
    inventory.remove(file)
    assert not file.exists()


def test_the_state_reads_back_and_knows_its_daemon(tmp_path: Path) -> None:
    file = tmp_path / "lab.json"
    assert lab_state.read(file) is None
    state = LabState(
        os.getpid(),
        lab_state.process_start(os.getpid()),
        "standin",
        1,
        5,
        "up",
        nodes=[node(tmp_path)],
        ready={"alteryx-lab-1": 0.1},
    )
    state.write(file)
    assert lab_state.read(file) == state
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    assert state.daemon_lives()
    state.started = "1"  # the number belongs to another process now
    assert not state.daemon_lives()
    assert state.node("alteryx-lab-1").port == 23456
    with pytest.raises(KeyError, match="alteryx-lab-1"):
        state.node("other")


def test_a_process_that_ended_has_no_start() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert lab_state.process_start(ended.pid) == ""


def test_the_control_port() -> None:
    server = control.ControlServer(
        {
            "add": lambda request: {"sum": request["a"] + request["b"]},
            "fail": lambda _: 1 / 0,  # type: ignore[dict-item, return-value]
        }
    )
    try:
        assert control.ask(server.port, "add", a=1, b=2)["sum"] == 3
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            control.ask(server.port, "fail")
        with pytest.raises(RuntimeError, match="unknown verb"):
            control.ask(server.port, "other")
    finally:
        server.close()


@pytest.mark.parametrize(
    ("wanted", "missing", "kind"),
    [
        (None, [], "wine"),
        (None, ["wine"], "standin"),
        ("standin", [], "standin"),
        ("wine", [], "wine"),
    ],
)
def test_the_kind_of_node(
    wanted: str | None,
    missing: list[str],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(host, "missing_for_wine", lambda: missing)
    monkeypatch.setattr(command_line, "_can_install", lambda: False)
    assert command_line._kind(wanted) == kind
    assert bool(capsys.readouterr().err) == (wanted is None)  # what was chosen is said, with the reason


def test_a_wine_node_that_cannot_be_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "missing_for_wine", lambda: ["wine"])
    monkeypatch.setattr(command_line, "_can_install", lambda: False)
    with pytest.raises(RuntimeError, match="wine"):
        command_line._kind("wine")
