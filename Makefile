# Each target sets up what it needs; `make run` and `make test` work on a bare machine with Python and make.
.DEFAULT_GOAL := help
# Allowed are 3.11 to 3.13, as requires-python says. An environment that is there keeps its interpreter, for the minor
# version is in every stage's key; `make setup PYTHON=…` makes it anew with another one.
PYTHON ?=
PYTHONS := python3.13 python3.12 python3.11 python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# From the command line only: WSL has a NAME in the environment.
NAME =
PORT =
JSON =
DOCS := docs/_build

export DO_NOT_TRACK = 1
# What is compiled is kept, or each process of the tests would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE
# Behind a company's proxy only the system knows the authority that signs for it.
export UV_SYSTEM_CERTS ?= true

.PHONY: help setup run test test-fast test-system lint check coverage docs bench ui lock upgrade clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: $(READY)  ## make the environment in .venv (nothing to do if it is current)

# Another PYTHON than the environment was made with makes it anew.
ifneq ($(PYTHON),)
ifneq ($(PYTHON),$(shell cat $(VENV)/.python 2>/dev/null))
$(shell rm -f $(READY))
endif
endif

# ensurepip is what Debian leaves out of python3 (it is in python3-venv); a shim of pyenv is found and does not run.
$(READY): requirements.lock pyproject.toml
	@allowed='import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; \
	shown='import importlib.util as u, platform, sys; print(sys.argv[1], "is", platform.python_version(), \
	  *[] if u.find_spec("ensurepip") else ["without venv"])'; \
	for python in $(if $(PYTHON),"$(PYTHON)",$(BIN)/python $(PYTHONS)); do \
	  "$$python" -c "$$allowed" >/dev/null 2>&1 && { chosen="$$python"; break; }; \
	done; \
	test -n "$$chosen" || { \
	  found=$$(for python in $(if $(PYTHON),"$(PYTHON)",$(PYTHONS)); do \
	    "$$python" -c "$$shown" "$$python" 2>/dev/null; done); \
	  echo "Python 3.11, 3.12 or 3.13 with its venv module is needed. Received:" \
	    "$${found:-$(or $(PYTHON),none of $(PYTHONS))}." \
	    "Next: install one (Debian, Ubuntu: python3-venv), or make setup PYTHON=/path/to/python3.13" >&2; exit 1; }; \
	version=$$("$$chosen" -c 'import platform; print(platform.python_version())'); \
	echo "setting up $(VENV) with $$chosen, Python $$version (a minute or two the first time)" >&2; \
	test "$$chosen" = $(BIN)/python || { "$$chosen" -m venv --clear $(VENV) && echo "$$chosen" > $(VENV)/.python; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
	@VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)

run: $(READY)  ## retrain end to end on the embedded default: demo faces, embedded store, no account
	@$(BIN)/fer retrain --source demo --recipe demo

PYTEST = $(BIN)/pytest --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --durations=10

test: $(READY)  ## all tests but those of whole installations, their modules in three processes: some wait for servers
	@$(PYTEST) -n 3 -m "not system"

test-fast: $(READY)  ## the tests without a Prefect server, a store or a training, in two processes: none waits
	@$(PYTEST) -n 2 -m "not slow and not end_to_end and not system"

test-system: $(READY)  ## whole installations: server, workers, PostgreSQL, a browser; what is not there is skipped
	@$(PYTEST) -n 2 -m system tests/system

lint: $(READY)  ## style, types, direction of imports, declared dependencies
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports && $(BIN)/deptry .

check: lint docs test-fast  ## lint, docs and the fast tests: before each commit

coverage: $(READY)  ## branch coverage of the whole test suite, as a table and as pages in htmlcov/
	@$(PYTEST) -n 3 -m "not system" --cov --cov-report=term:skip-covered --cov-report=html

docs: $(READY)  ## the documentation as pages in docs/_build/html; a broken link or an undocumented function fails
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky -d $(DOCS)/doctrees docs $(DOCS)/html
	@echo "$(DOCS)/html/index.html"

bench: $(READY)  ## the quick benchmarks; NAME=… for one, NAME=all for all, JSON=1 for one JSON object a line
	@$(BIN)/python -m benchmarks $(NAME) $(if $(JSON),--json)

ui: $(READY)  ## the Prefect server and UI on loopback, with all runs so far; PORT=… for another than 4200
	@$(BIN)/fer ui $(if $(PORT),--port $(PORT))

LOCK = $(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --quiet --output-file requirements.lock

lock: $(READY)  ## resolve requirements.lock from pyproject.toml for Python 3.11 to 3.13; what is pinned stays
	@$(LOCK)

upgrade: $(READY)  ## the same with the newest version of each dependency
	@$(LOCK) --upgrade

clean:  ## remove the environment and caches; the workspace and the store in .fer stay
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage* htmlcov $(DOCS)
