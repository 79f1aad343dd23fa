# The front door. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONPATH := operator:.

.PHONY: help demo test check lint type unit relay e2e faults bench crds lock up down clean setup

help: ## This list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/.installed: requirements/dev.txt
	@echo "Python environment: installing pinned packages into $(VENV)"
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.x")'
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@

setup: $(BIN)/.installed

demo: setup ## Two regions on this machine, the operator, a real mail flow; kills a relay, prints what happened
	@$(BIN)/python -m tests.demo

test: setup ## All set-up, then every test (what CI runs)
	@$(BIN)/python -m tests.run all

check: setup ## Lint, types and unit tests; under a minute
	@$(BIN)/python -m tests.run check

relay: setup ## Tests of the relay with real sockets and brokers
	@$(BIN)/python -m tests.run relay

e2e: setup ## Tests on the two clusters
	@$(BIN)/python -m tests.run e2e

bench: setup ## Benchmarks with their peers (BENCH=name for one); results in build/bench
	@$(BIN)/python -m tests.bench $(BENCH)

crds: setup ## Regenerate what is generated from the contract
	@$(BIN)/python tools/generate.py

lock: setup ## Resolve requirements/*.in to pinned versions with hashes
	@$(BIN)/python -m pip install --quiet uv
	for each in runtime dev; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url requirements/$$each.in -o requirements/$$each.txt; done

up: ## The two clusters, without anything in them
	@$(PYTHON) -m tests.testbed up

clean: ## Remove clusters and build results (images and caches stay)
	@$(PYTHON) -m tests.testbed down
	rm -rf build
