.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help install run test check coverage bench faults lock sbom clean

PYTHON ?= python3
# more than cores: the tests of whole services mostly wait
WORKERS ?= 3
ARGS ?=
SEEDS ?= 5000

VENV := .venv
BIN := $(VENV)/bin
# which packages there are: those of the developers, once they are there, else what `enroll up` needs
KIND = $(if $(wildcard $(VENV)/.locked-dev),dev,local)
PIP := $(BIN)/python -m pip --disable-pip-version-check
# a build resolves what it builds with; where a package has no wheel, `WHEELS=` lets it be built
WHEELS ?= --only-binary :all:
# the files of the locks and no others: nothing is resolved, so that later releases change nothing
PIP_LOCKED := $(PIP) install --quiet --no-deps --require-hashes $(WHEELS)
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
	--no-emit-index-url --custom-compile-command "make lock" $(UPGRADE)

help:  ## Show what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.ready-dev  ## Make .venv with the packages for development and the command `enroll`

# anew whenever a lock changes: no package stays that is locked no more
$(VENV)/.python: requirements/build.txt requirements/local.txt requirements/dev.txt
	@command -v "$(PYTHON)" >/dev/null || { \
		echo "There is no '$(PYTHON)' here. Name a Python of 3.11 or newer: make install PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1). Name another: make install PYTHON=python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' || { \
		echo "This Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	@touch $@

$(VENV)/.locked-local $(VENV)/.locked-dev: $(VENV)/.locked-%: $(VENV)/.python
	$(PIP_LOCKED) -r requirements/build.txt -r requirements/$*.txt
	@touch $@

$(VENV)/.ready-local $(VENV)/.ready-dev: $(VENV)/.ready-%: $(VENV)/.locked-% pyproject.toml
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@$(PIP) check || { echo "The locked packages do not fit pyproject.toml: make lock" >&2; exit 1; }
	@touch $@

run: $(VENV)/.ready-$(KIND)  ## Start the whole service here (ARGS="--demo" loads samples)
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

faults: install  ## Run the fault laboratory, more than an hour (ARGS="--seeds 1" for less)
	$(BIN)/python -m tests.fault_lab $(ARGS)
	$(BIN)/python -m tests.fault_lab.simulator --seeds $(SEEDS)
	$(BIN)/python -m tests.fault_lab.mutants

lock: $(VENV)/.locked-dev  ## Write the locks anew (UPGRADE=--upgrade takes newer releases)
	$(LOCK) --output-file requirements/runtime.txt pyproject.toml
	$(LOCK) --output-file requirements/local.txt --constraint requirements/runtime.txt --extra local pyproject.toml
	$(LOCK) --output-file requirements/otel.txt --constraint requirements/runtime.txt --extra otel pyproject.toml
	$(LOCK) --output-file requirements/dev.txt --constraint requirements/local.txt --constraint requirements/otel.txt --extra dev pyproject.toml
	printf 'setuptools>=80\n' | $(LOCK) --output-file requirements/build.txt --constraint requirements/dev.txt -

sbom:  ## Print what production is made of (CycloneDX 1.5; LOCK_FILE=requirements/local.txt: of another lock)
	@"$(PYTHON)" requirements/sbom.py $(LOCK_FILE)

clean:  ## Remove what was built and cached (records in .enroll stay)
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
