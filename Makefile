# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Everything a developer or a curious operator does here. Each target first makes .venv and, as root on Debian, installs
# the packages it needs (tests/lab/bootstrap says what it does).
#
#   make demo [NODE=wine|standin] [FLEET=n]     one lab node, or a fleet of n; one real full backup, what was seen from
#                                               outside, the summary
#   make test                                   every check and test; TESTS=... names files or adds pytest options
#   make test-lab                               the long ones; .lab/test-lab.jsonl gets a line for each: test, commit,
#                                               seconds, result
#   make lab-up [NODE=...] [COUNT=n]            nodes that stay, for playbooks run by hand; make lab-down ends them
#   make lab-engine                             build the lab's PowerShell from its sources with the .NET 10 SDK;
#                                               minutes
#   make test-awx                               the data for AWX against the modules of awx.awx; downloads
#                                               requirements-awx.txt first; minutes
#   make chaos                                  random damage to archives and dumps, judged by the node's verifier;
#                                               about a minute
#   make chaos-restore                          kills of restores, judged from outside; goes on where
#                                               .lab/chaos-restore.jsonl ends; two hours for all 40 runs
#   make bench                                  memory and throughput of the archive job; minutes, and 12 GB of disk
#   make bench-fleet                            a configuration backup of 100 stand-in nodes against as many module
#                                               calls that do nothing; minutes
#   make check                                  unit tests and quick checks, without the lab; a minute
#   make lint                                   the static checks alone, with ansible-test sanity and galaxy-importer
#   make docs                                   write what is repeated from elsewhere: exit codes, options, defaults
#   make site                                   the documentation as HTML in .lab/site/html, with a page for each module
#                                               and role; installs requirements-docs.txt first
#   make clean                                  forget everything made here (running nodes are ended first)

MAKEFLAGS += --no-print-directory --no-builtin-rules
# Images of containers often set it. Then each ansible-playbook compiles Ansible anew: 2 s of CPU time.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help

PYTHON_BIN := .venv/bin/python
# What was given, given on: `make demo NODE=standin` is `python -m tests.lab demo --node standin`.
LAB_OPTIONS = $(if $(NODE),--node $(NODE)) $(if $(COUNT),--count $(COUNT)) $(if $(FLEET),--fleet $(FLEET))
PYTEST = $(PYTHON_BIN) -m pytest -q --no-header

.PHONY: help bootstrap demo test test-lab test-awx chaos chaos-restore bench bench-fleet lab-engine lab-up lab-down \
    check lint docs site clean

help:
	@sed -n 's/^#   //p' Makefile

bootstrap:
	@tests/lab/bootstrap

# make itself knows only "failed" (2); the playbook's own exit status stands in its "Error n" line and is what
# `python -m tests.lab demo` exits with.
demo: bootstrap
	@$(PYTHON_BIN) -m tests.lab demo $(LAB_OPTIONS)

lab-up: bootstrap
	@$(PYTHON_BIN) -m tests.lab up $(LAB_OPTIONS)

lab-down: bootstrap
	@$(PYTHON_BIN) -m tests.lab down

test: bootstrap
	@$(PYTEST) $(if $(TESTS),$(TESTS),-n 2 --dist loadscope --no-loadscope-reorder)

test-lab: bootstrap
	@# 5: no test is long
	@ALTERYX_TEST_RECORD=$${ALTERYX_TEST_RECORD:-.lab/test-lab.jsonl} $(PYTEST) -m long $(TESTS) || [ $$? = 5 ]

test-awx: bootstrap
	@$(PYTHON_BIN) -m tests.awx fetch
	@$(PYTEST) tests/awx

lab-engine:
	@tests/lab/bootstrap engine

chaos: bootstrap
	@$(PYTHON_BIN) -m tests.chaos

chaos-restore: bootstrap
	@$(PYTHON_BIN) -m tests.chaos.restore

bench: bootstrap
	@$(PYTHON_BIN) -m tests.bench

bench-fleet: bootstrap
	@$(PYTHON_BIN) -m tests.bench.fleet

check: bootstrap
	@$(PYTEST) -n 2 --dist load tests/unit/plugins $(addprefix tests/unit/test_,schemas.py reasons.py schedule_files.py) \
	    tests/awx/test_data.py tests/awx/test_environment.py \
	    $(addprefix tests/checks/test_,columns.py rooms.py options.py docs.py reasons.py generated_docs.py \
	    requirements.py collection.py leaves_out.py prose.py python_lint.py)

lint: bootstrap
	@$(PYTEST) -m '' tests/checks

docs: bootstrap
	@$(PYTHON_BIN) -m tests.generated_docs

site: bootstrap
	@tests/lab/bootstrap site
	@$(PYTHON_BIN) -m tests.docs_site

clean:
	@if [ -e .lab/lab.json ] && [ -x $(PYTHON_BIN) ]; then $(PYTHON_BIN) -m tests.lab down; fi
	@rm -rf .lab .venv .venv.lock collections inventory/lab.yml .ansible .cache .hypothesis
	@rm -rf .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
