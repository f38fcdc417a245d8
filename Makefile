# Everything runs from here: `make demo` to see it work, `make test` to check it.
# Needs Python 3.11 or newer, make and a C compiler; all else goes into $(VENV), locked by hash.
#
#   PYTHON=/path/to/python3   the Python to build $(VENV) from
#   VENV=.venv                where it is put
#   ARGS="..."                passed on to `synchub demo`, or to pytest

VENV ?= .venv
PYTHON ?=
ARGS ?=
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --progress-bar off
SUITABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# A stamp says that a step is complete. Where an install was interrupted (.unfinished is left), or
# the environment's Python is gone, the stamps go too, and the environment is built anew.
ifneq ($(wildcard $(VENV)/.stamp-venv),)
  ifneq ($(shell test ! -e $(VENV)/.unfinished && $(PY) -c 'print("fine")' 2>/dev/null),fine)
    $(info ==> $(VENV) is damaged or half-built: building it anew)
    $(shell rm -f $(VENV)/.stamp-*)
  endif
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-test demo test test-all fetch services lint format lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.stamp-runtime $(VENV)/.stamp-project ## make the environment with what synchub needs to run

setup-test: $(VENV)/.stamp-test $(VENV)/.stamp-project ## the same, with what its tests need

demo: setup ## see it work: synchub demo $(ARGS)
	@$(VENV)/bin/synchub demo $(ARGS)

test: lint fetch ## lint, then the tests
	@echo "==> pytest"
	@$(PY) -m pytest -n 3 $(ARGS)

test-all: export HUB_TEST_LONG = 1
test-all: lint fetch ## lint, then the tests with the long ones
	@echo "==> pytest, the long ones too"
	@$(PY) -m pytest -n 3 -o timeout=3600 $(ARGS)

fetch: setup-test ## what Kafka and the registry of the tests are made of, and tools that check deploy/, once
	@$(PY) -m deploy.local --fetch

services: setup-test ## Kafka, a schema registry and PostgreSQL, until Ctrl-C
	@$(PY) -m deploy.local

lint: setup-test ## ruff, mypy and the import contracts
	@echo "==> ruff check"
	@$(PY) -m ruff check .
	@echo "==> ruff format --check"
	@$(PY) -m ruff format --check .
	@echo "==> mypy"
	@$(PY) -m mypy
	@echo "==> lint-imports"
	@$(VENV)/bin/lint-imports --no-logo

format: setup-test ## put the code in form, and mend what ruff can mend
	@$(PY) -m ruff check --fix-only .
	@$(PY) -m ruff format .

lock: $(VENV)/.stamp-venv ## resolve the newest versions again and write both lock files
	@echo "==> resolving for Python 3.11 and newer, on every platform"
	@$(PIP) --quiet --upgrade uv
	@$(LOCK) --output-file requirements.lock
	@$(LOCK) --extra test --constraints requirements.lock --output-file requirements-test.lock

LOCK = $(PY) -m uv pip compile pyproject.toml --group build --quiet --upgrade \
	--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	--custom-compile-command "make lock"

clean: ## remove the environment, caches and build products
	rm -rf $(VENV) build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.stamp-venv:
	@found=; for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11 python3.14); do \
	    if "$$python" -c '$(SUITABLE)' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "synchub needs Python 3.11 or newer with its venv module, and found none." >&2; \
	    echo "Install it (on Debian: python3 and python3-venv), or say make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	fi; \
	echo "==> creating $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear "$(VENV)"
	@touch $@

$(VENV)/.stamp-runtime: requirements.lock $(VENV)/.stamp-venv
	@echo "==> installing what synchub needs to run (about a minute the first time)"
	@touch $(VENV)/.unfinished
	@$(PIP) --require-hashes -r requirements.lock
	@rm $(VENV)/.unfinished
	@touch $@

# The test lock holds the runtime lock whole.
$(VENV)/.stamp-test: requirements-test.lock requirements.lock $(VENV)/.stamp-venv
	@echo "==> installing what synchub and its tests need (about a minute the first time)"
	@touch $(VENV)/.unfinished
	@$(PIP) --require-hashes -r requirements-test.lock
	@rm $(VENV)/.unfinished
	@touch $(VENV)/.stamp-runtime $@

$(VENV)/.stamp-project: pyproject.toml $(VENV)/.stamp-runtime
	@echo "==> installing synchub itself, as this very tree"
	@touch $(VENV)/.unfinished
	@$(PIP) --quiet --no-deps --no-build-isolation --editable .
	@rm $(VENV)/.unfinished
	@touch $@
