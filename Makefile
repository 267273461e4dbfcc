# Two commands: `make run` starts the server, `make test` runs the suite.
# Everything is set up in the checkout, in .venv; nothing outside it is touched.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
DATA ?= $(CURDIR)/data
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
PYTEST := $(BIN)/pytest
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

export POSTANE_DATA := $(DATA)
export PIP_NO_WARN_SCRIPT_LOCATION := 1
# A virtual environment that happens to be active is not ours.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

.PHONY: help run setup test check soak bench clean
.DEFAULT_GOAL := help

help: ## what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 14

run: $(RUNTIME) ## set up what is needed and start the server (data in ./data)
	@exec $(BIN)/postane serve $(ARGS)

setup: $(DEV) ## only prepare: the server, and all that tests and checks need

test: $(DEV) ## the suite
	$(PYTEST) -n auto -rs $(ARGS)

check: $(DEV) ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

soak: $(DEV) ## the long versions of tests
	$(PYTEST) -m slow -n auto -rs --timeout 3600 $(ARGS)

bench: $(DEV) ## measure beside Debian's Dovecot (docs/performance.md)
	$(BIN)/python bench/run.py $(ARGS)

clean: ## remove the environment and what tools left; ./data stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@.ci/venv $(VENV)

$(RUNTIME): pyproject.toml | $(VENV)/bin/python
	@echo "Setting up Postane in $(VENV) ..."
	@$(PIP) install -e .
	@touch $@

# The pip of Debian 12 knows no dependency groups.
$(DEV): pyproject.toml | $(VENV)/bin/python
	@echo "Setting up the tools for tests and checks in $(VENV) ..."
	@$(PIP) install --upgrade "pip>=25.1"
	@$(PIP) install -e . --group dev
	@touch $(RUNTIME) $@
