# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the documentation as HTML: `python -m tests.docs_site` (make site). Needs no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.collection_link import link_collection
from tests.docs_site import ansible_docs, option_order, source
from tests.lab import layout

COLLECTION = "alteryx_ops.server_backup"
FOLDER = layout.ROOT / ".lab" / "site"
HERE = Path(__file__).resolve().parent


def main() -> int:
    """Write the sources of the site below .lab/site, and its pages from them; a warning is a failure."""
    pages, html = FOLDER / "source", FOLDER / "html"
    for folder in (pages, html):
        shutil.rmtree(folder, ignore_errors=True)
    reference = pages / "reference"
    reference.mkdir(parents=True)
    reference.chmod(0o700)  # antsibull-docs requires a folder that other accounts cannot write to
    source.lay_out(pages)
    ansible_docs.write_inventory(pages / "ansible.inv")
    options = ["--use-current", "--squash-hierarchy", "--fail-on-error", "--no-add-antsibull-docs-version"]
    status = _run("antsibull-docs", "collection", *options, "--dest-dir", reference, COLLECTION)
    if status == 0:
        option_order.order_pages(reference)
    status = status or _run(
        "sphinx-build", "-b", "html", "-c", HERE, "-d", FOLDER / "doctrees", "-q", "-W", "--keep-going", pages, html
    )
    if status == 0:
        print(f"the first page is {os.path.relpath(html / 'index.html')}")
    return status


def _run(program: str, *arguments: str | Path) -> int:
    binaries = Path(sys.executable).parent
    # antsibull-docs calls ansible and ansible-doc by name. conf.py imports from this project.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")} | {
        "ANSIBLE_COLLECTIONS_PATH": str(link_collection()),
        "PYTHONPATH": str(layout.ROOT),
        "PATH": os.pathsep.join([str(binaries), os.environ.get("PATH", os.defpath)]),
    }
    done = subprocess.run([binaries / program, *arguments], cwd=layout.ROOT, env=environment, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
