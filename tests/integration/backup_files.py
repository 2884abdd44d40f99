# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive and what belongs to it, opened with other people's tools: Python's zipfile, unzip, openssl."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import schemas
from tests.lab.certificates import KeyPair

from .lab_of_tests import ARCHIVES, Lab


def flip_bit(file: Path) -> None:
    """Make one bit in the middle of a file another one."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@contextlib.contextmanager
def flipped_bit(file: Path) -> Iterator[None]:
    """One bit of a file is another one meanwhile."""
    before = file.read_bytes()
    flip_bit(file)
    try:
        yield
    finally:
        file.write_bytes(before)


@dataclass(frozen=True)
class Backup:
    """The files of one archive on the node."""

    folder: Path
    base: str

    @classmethod
    def of(cls, lab: Lab, stamp: str, word: str, root: str = ARCHIVES) -> Backup:
        """The backup of the lab's node with this stamp below the archive directory root; word is Full, DB or Config."""
        return cls(lab.node.path(root) / lab.node.name, f"ServerBackup_{word}_{stamp}")

    def file(self, ending: str) -> Path:
        """One of its files."""
        return self.folder / f"{self.base}{ending}"

    @property
    def archive(self) -> Path:
        """The zip."""
        return self.file(".zip")

    def manifest(self) -> dict[str, Any]:
        """The manifest inside the archive, which must be the one beside it."""
        with zipfile.ZipFile(self.archive) as opened:
            inside = opened.read("BackupManifest.json")
        assert inside == self.file(".manifest.json").read_bytes()
        content: dict[str, Any] = json.loads(inside)
        return content

    def names(self) -> list[str]:
        """Paths of the files in the archive, without the manifest."""
        with zipfile.ZipFile(self.archive) as opened:
            return [name for name in opened.namelist() if name != "BackupManifest.json"]

    def node_metadata(self) -> dict[str, dict[str, Any]]:
        """The items of node.json in the archive: state, value and why of each."""
        content = json.loads(self.read("configuration/node.json"))
        schemas.assert_valid("node", content)
        items: dict[str, dict[str, Any]] = content["items"]
        return items

    def read(self, name: str) -> bytes:
        """A file of the archive."""
        with zipfile.ZipFile(self.archive) as opened:
            return opened.read(name)

    def verifications(self) -> list[dict[str, Any]]:
        """The verify files beside it."""
        pattern = re.compile(re.escape(self.base) + r"\.verify_\d{8}_\d{6}\.json")
        return [
            json.loads(file.read_text(encoding="utf-8"))
            for file in self.folder.iterdir()
            if pattern.fullmatch(file.name)
        ]

    def assert_complete(self, *, secrets: bool) -> None:
        """Everything of design section 7 that can be checked without knowing what was backed up."""
        unzip = subprocess.run(
            ["unzip", "-t", str(self.archive)], capture_output=True, text=True, timeout=60, check=False
        )
        assert unzip.returncode == 0, unzip.stdout + unzip.stderr
        listed = {entry["path"]: (entry["bytes"], entry["sha256"]) for entry in self.manifest()["files"]}
        assert listed == self._contents()
        assert self._sidecar() == {name: _sha256(self.folder / name) for name in self._final_names(secrets)}
        assert self.file(".secrets.pem").exists() == secrets
        assert [verification["verdict"] for verification in self.verifications()] == ["good"]

    def _final_names(self, secrets: bool) -> list[str]:
        return [f"{self.base}{ending}" for ending in (".zip", ".manifest.json", *([".secrets.pem"] if secrets else []))]

    def _sidecar(self) -> dict[str, str]:
        lines = self.file(".sha256").read_text(encoding="ascii").splitlines()
        return {name: digest for digest, name in (line.split(" *", 1) for line in lines)}

    def _contents(self) -> dict[str, tuple[int, str]]:
        found = {}
        with zipfile.ZipFile(self.archive) as opened:
            for entry in opened.infolist():
                if entry.filename != "BackupManifest.json":
                    content = opened.read(entry)
                    found[entry.filename] = (len(content), hashlib.sha256(content).hexdigest())
        return found

    def open_secrets(self, recipient: KeyPair) -> dict[str, Any]:
        """The content of the secrets file."""
        content: dict[str, Any] = json.loads(self.secrets_text(recipient))
        return content

    def secrets_text(self, recipient: KeyPair) -> str:
        """The secrets file, decrypted by openssl with the key of one recipient."""
        done = subprocess.run(
            [
                "openssl",
                "cms",
                "-decrypt",
                "-inform",
                "PEM",
                "-in",
                str(self.file(".secrets.pem")),
                "-inkey",
                str(recipient.key),
                "-recip",
                str(recipient.certificate),
            ],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


def published(lab: Lab) -> set[str]:
    """Paths of everything in the archive directory of the node."""
    top = lab.node.path(ARCHIVES)
    return {str(file.relative_to(top)) for file in top.rglob("*") if file.is_file()} if top.is_dir() else set()


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
