.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run test check coverage bench faults lock clean

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=
SEEDS ?= 5000

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(UPGRADE)

help:  ## Show what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## Make .venv with the locked packages and the command `enroll`

$(STAMP): pyproject.toml requirements/dev.txt
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "There is no '$(PYTHON)' here. Name a Python of 3.11 or newer: make install PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1). Name another: make install PYTHON=python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' || { \
		echo "This Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

run: install  ## Start the whole service here (ARGS="--demo" loads samples)
	$(BIN)/enroll up $(ARGS)

test: install  ## Run all tests (ARGS="-k webhook" for some)
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

check: install  ## Judge style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: install  ## Run all tests and show which branches none went through
	$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=term-missing $(ARGS)

bench: install  ## Measure, and compare with the kept baselines
	$(BIN)/python -m bench $(ARGS)

faults: install  ## Break everything that can break, under load, for an hour (ARGS="--only F2" for one)
	$(BIN)/python -m tests.faults $(ARGS)
	$(BIN)/python -m tests.faults.simulator --seeds $(SEEDS)
	$(BIN)/python -m tests.faults.sabotage

lock: install  ## Write the locks anew (UPGRADE=--upgrade takes newer releases)
	$(LOCK) --output-file requirements/runtime.txt pyproject.toml
	$(LOCK) --output-file requirements/dev.txt --constraint requirements/runtime.txt --extra dev pyproject.toml
	printf 'setuptools>=80\n' | $(LOCK) --output-file requirements/build.txt --constraint requirements/dev.txt -

clean:  ## Remove what was built and cached (records in .enroll stay)
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
