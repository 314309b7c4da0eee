# Two commands: `make demo` runs the main job on the embedded defaults, `make test` the tests.
# Each sets up its own virtual environment first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test fast lint types audit ui bench clean
.DEFAULT_GOAL := demo

$(VENV)/.installed: setup.cfg constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 10) and "promax needs Python 3.10 or newer, this is %d.%d; set PYTHON=" % v)'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing pinned dependencies into $(VENV) (a few minutes, once)"
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/promax train experiment=demo
	$(BIN)/promax compare --study demo

test: $(VENV)/.installed
	$(BIN)/pytest --numprocesses 2 --dist loadgroup

# All but the sweeps' processes: under five minutes on two cores.
fast: $(VENV)/.installed
	$(BIN)/pytest --numprocesses 2 --dist loadgroup -m "not slow"

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

# Known vulnerabilities in the pinned versions; says so in a line where the service doesn't answer.
audit: $(VENV)/.installed
	.ci/audit $(BIN)/pip-audit

ui: $(VENV)/.installed
	$(BIN)/promax ui

bench: $(VENV)/.installed
	$(BIN)/python experiments/speed/bench.py --out experiments/speed/bench.json

clean:
	rm -rf $(VENV) build dist *.egg-info
