# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds out whether the controller answers, by a web address that is known to work, or else by its port."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from ._node_facts import Health

_SERVER_ERROR = 500


def answers(said: str) -> bool:
    """Is this an answer of the application? A server error, such as 503, comes from a program in front of the
    application, such as IIS."""
    return said.isdigit() and int(said) < _SERVER_ERROR


def usable_url(controller: Health, own: Health | None = None) -> tuple[str, str]:
    """The web address by which a node recognizes that the controller answers, and why it is not used; either may be "".

    Args:
        controller: the answer on the controller, before any service is stopped.
        own: the answer on the node itself, for another node of the fleet.
    """
    url = controller.url
    if not url:
        return "", ""
    if not answers(controller.answer):
        return "", f"{url} does not answer on the controller ({controller.answer})"
    if own is None:
        return url, ""
    if _is_loopback(url):
        # On the controller this address is correct, but on this node it would mean this node.
        return "", ""
    if not answers(own.answer):
        return "", f"{url} does not answer on the node ({own.answer})"
    return url, ""


def _is_loopback(url: str) -> bool:
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
