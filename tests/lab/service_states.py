# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an observer sees of the service of a node.

On a Wine node it reads what labctl.exe notes there. To start a process for every look would load the machine, and so
lengthen what is measured.
"""

from __future__ import annotations

from .node import Node

NOTED = r"C:\AlteryxLab\service-states.txt"


class ServiceStates:
    """The states of a service, one look after the other."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._offset = -1

    def read(self) -> list[str]:
        """The states that the service was in since the last call, in order; the first call says the state there is.
        The one that the last call ended with may be repeated.

        Raises:
            RuntimeError, OSError, TimeoutError, ValueError: the node is off.
        """
        if self._node.kind != "wine":
            return [self._node.service().state]
        file = self._node.path(NOTED)
        if self._offset < 0:
            offset = file.stat().st_size if file.exists() else 0
            state = self._node.service().state
            self._offset = offset
            return [state]
        if not file.exists() or file.stat().st_size == self._offset:
            return []
        with file.open("rb") as stream:
            stream.seek(self._offset)
            noted = stream.read()
        # The rest of a line that is just being written is for the next look.
        whole = noted[: noted.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode("ascii").split()
