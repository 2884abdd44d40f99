# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sources of the site: which pages it has, where their links lead, what the sidebar shows. Building it needs
Sphinx, which `make site` installs."""

from __future__ import annotations

from tests.docs_site import line_breaks, option_order, source
from tests.documents import Page
from tests.lab import layout

TREE = source.Tree(
    children={source.INDEX: ["README.md", "docs/operating.md"], "README.md": [], "docs/operating.md": []},
    files={"docs/timeline.svg"},
)


def translated(name: str, text: str) -> str:
    return source.translate(Page(layout.ROOT / name, text), name, TREE)


def test_every_page_that_the_index_leads_to_is_part_of_the_site() -> None:
    tree = source.read_tree()
    assert {"README.md", "SECURITY.md", "docs/quickstart.md", "docs/decisions/a-guard.md"} <= tree.children.keys()
    assert {"docs/timeline.svg", "inventory/example.yml"} <= tree.files
    below = [child for children in tree.children.values() for child in children]
    assert sorted(below) == sorted(set(tree.children) - {source.INDEX})


def test_links_lead_to_the_places_of_pages_in_the_site() -> None:
    text = (
        "[a](operating.md#variables) [b](../README.md) ![c](timeline.svg) [d](#here) [e](https://example.com/README.md)"
    )
    assert translated(source.INDEX, text) == (
        "[a](docs/operating.md#variables) [b](README.md) ![c](docs/timeline.svg) [d](#here) "
        "[e](https://example.com/README.md)"
    )
    assert translated("docs/operating.md", "[a](README.md) [b](operating.md)") == "[a](../index.md) [b](operating.md)"


def test_links_to_what_is_not_in_the_site_lead_to_the_repository() -> None:
    assert translated("docs/operating.md", "[a](../Makefile) [b](schemas)") == (
        f"[a]({source.REPOSITORY}/blob/main/Makefile) [b]({source.REPOSITORY}/tree/main/docs/schemas)"
    )


def test_the_sidebar_has_the_sections_of_the_index_and_each_page_once() -> None:
    text = (
        "# Docs\n\n## You begin\n\n- [Overview](../README.md): all\n\n## You operate\n\n- [Overview](../README.md)\n"
        "- [Operating it](operating.md): all\n\n## You read\n\n- [Operating](operating.md)\n"
    )
    assert source.sidebar(Page(layout.ROOT / source.INDEX, text), source.INDEX, TREE) == (
        "\n```{toctree}\n:hidden:\n:caption: You begin\n\nOverview <README>\n```\n"
        "\n```{toctree}\n:hidden:\n:caption: You operate\n\nOperating it <docs/operating>\n```\n"
    )


def test_the_first_page_leads_to_modules_and_roles() -> None:
    assert "(reference/index.rst)" in source.texts()["index.md"]


def test_long_names_in_tables_can_be_broken_at_their_parts() -> None:
    code = '<code><span class="pre">{}</span></code>'
    names = ("alteryx_archive_directory", r"C:\ProgramData\x", "LocalAccount", "_plan")
    page = "".join(f"<td>a_b {code.format(name)}</td>" for name in names) + code.format("alteryx_outside")
    broken = ("alteryx_<wbr>archive_<wbr>directory", r"C:\<wbr>Program<wbr>Data\<wbr>x", "Local<wbr>Account", "_plan")
    assert line_breaks.place(page) == (
        "".join(f"<td>a_b {code.format(name)}</td>" for name in broken) + code.format("alteryx_outside")
    )


def test_options_are_never_broken() -> None:
    assert line_breaks.place('<p><code><span class="pre">--start-at</span> <span class="pre">a-b</span></code>') == (
        '<p><code><span class="pre option">--start-at</span> <span class="pre">a-b</span></code>'
    )


def row(name: str, text: str = "") -> str:
    return (
        "  * - .. raw:: html\n\n"
        f'        <div class="ansibleOptionAnchor" id="parameter-{name}"></div>\n\n    - {text}\n\n'
    )


def test_options_that_must_be_set_come_first_and_internal_ones_last() -> None:
    head = "Parameters\n\n.. list-table::\n  :width: 100%\n\n  * - Parameter\n    - Comments\n\n"
    required = ":ansible-option-required:`required`"
    page = (
        head
        + row("_job_id")
        + row("api")
        + row("api/base", required)
        + row("kept", "Set by the playbooks.")
        + row("state")
        + row("run_id", required)
        + ".. Attributes\n\n"
    )
    ordered = option_order.order_options(page, ["run_id", "state", "api", "kept"])
    names = [part.partition('"')[0] for part in ordered.split('id="parameter-')[1:]]
    assert names == ["run_id", "state", "api", "api/base", "kept", "_job_id"]
    assert (ordered.startswith(head), ordered.endswith(".. Attributes\n\n")) == (True, True)
    assert sorted(ordered) == sorted(page)


def test_options_are_read_in_the_order_of_their_documentation() -> None:
    assert option_order.read_documented("backup_set_module.rst")[:2] == ["folder", "files"]
    assert option_order.read_documented("alteryx_archive_role.rst")[0] == "alteryx_archive_plan"
    assert option_order.read_documented("exit_code_callback.rst") == []
