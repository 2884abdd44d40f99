# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of Sphinx (`make site`). Nothing is loaded from elsewhere, neither when it builds nor in a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.docs_site import ansible_docs, line_breaks

_HERE = Path(__file__).resolve().parent
_GALAXY = yaml.safe_load((_HERE.parents[1] / "galaxy.yml").read_text(encoding="utf-8"))

project = f"{_GALAXY['namespace']}.{_GALAXY['name']}"
release = version = str(_GALAXY["version"])
html_title = f"{project} {release}"

extensions = ["myst_parser", "sphinx.ext.intersphinx", "sphinx_antsibull_ext"]
root_doc = "index"
myst_heading_anchors = 4
# Written by tests.docs_site below the folder of the sources.
intersphinx_mapping = {"ansible": (ansible_docs.ADDRESS, "ansible.inv")}
# A caption of a block, or a shortened example, cannot be parsed as code.
highlight_language = "none"

html_theme = "furo"
html_static_path = [str(_HERE / "static")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


def setup(app: Any) -> None:
    """Leave out the tables of contents of antsibull-docs: the theme shows one beside each page. Make tables fit."""
    app.connect("source-read", _drop_contents)
    app.connect("html-page-context", _place_breaks)


def _drop_contents(_app: Any, _page: str, text: list[str]) -> None:
    text[0] = re.sub(r"(?m)^\.\. contents::.*\n(?:   .*\n)*", "", text[0])


def _place_breaks(_app: Any, _page: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    if "body" in context:
        context["body"] = line_breaks.place(context["body"])
