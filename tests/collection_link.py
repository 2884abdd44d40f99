# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's own name, resolvable from a plain checkout: one link,
``collections/ansible_collections/NAMESPACE/NAME``.

pytest-ansible makes a folder with one link per top-level entry at the same place, which is stale as soon as a new entry
appears; it leaves an existing path alone. So in either order, the one link remains.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = Path("collections", "ansible_collections", "alteryx_ops", "server_backup")


def link_collection(root: Path = ROOT) -> Path:
    """Make the link if it is not there yet, in place of what pytest-ansible may have made; safe in parallel.

    Returns:
        The folder to name in ``ANSIBLE_COLLECTIONS_PATH``.
    """
    link = root / LINK
    target = Path(*[".."] * (len(LINK.parts) - 1))
    if not (link.is_symlink() and link.readlink() == target):
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_dir() and not link.is_symlink():
            _remove_folder_of_links(link)
        draft = link.with_name(f".{link.name}.{os.getpid()}")
        draft.symlink_to(target, target_is_directory=True)
        draft.replace(link)
    return root / LINK.parts[0]


def _remove_folder_of_links(folder: Path) -> None:
    for entry in folder.iterdir():
        if not entry.is_symlink():
            raise FileExistsError(f"{entry} is not a link: move {folder} away, a link to this checkout belongs there")
        entry.unlink()
    folder.rmdir()
