# Each target sets up what it needs; `make run` and `make test` work on a bare machine with Python 3.11.
.DEFAULT_GOAL := help
PYTHON ?= python3.11
BOOTSTRAP := $(shell command -v $(PYTHON) || command -v python3)
BIN := .venv/bin
# Of `make bench`, from its command line only: WSL has a NAME in the environment.
NAME =
JSON =
READY := .venv/.ready

export DO_NOT_TRACK = 1
# Behind a company's proxy only the system knows the authority that signs for it.
export UV_SYSTEM_CERTS ?= true

.PHONY: help setup run test lint bench ui lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(READY)  ## make the environment in .venv (nothing to do if it is current)

$(READY): requirements.lock pyproject.toml
	@echo "setting up .venv (a minute or two the first time)" >&2
	@"$(BOOTSTRAP)" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || \
	  { echo "Python 3.11 or 3.12 is needed. Received: PYTHON=$(PYTHON). Next: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(BOOTSTRAP)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)

run: $(READY)  ## retrain end to end on the embedded default: demo faces, embedded store, no account
	@$(BIN)/fer retrain --source demo --recipe demo

test: $(READY)  ## the whole test suite, its modules in two processes
	@$(BIN)/pytest -n 2 --dist loadfile

lint: $(READY)  ## ruff, mypy, import contracts
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: $(READY)  ## the benchmarks; NAME=… for one, JSON=1 for one JSON object a line
	@$(BIN)/python -m benchmarks $(NAME) $(if $(JSON),--json)

ui: $(READY)  ## the Prefect server and UI on loopback, with all runs so far
	@$(BIN)/fer ui

lock: $(READY)  ## resolve requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --quiet --output-file requirements.lock

clean:  ## remove the environment and caches; the workspace and the store in .fer stay
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
