# One way to do each thing: demo, test, lint, bench. Every target sets up .venv from scratch when it has to.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SET_UP := $(VENV)/.set-up

.PHONY: demo test lint format bench clean

# Pinned by constraints.txt; `dev` brings the build, training and test tools. torch first: its CPU build is pinned there.
$(SET_UP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(SET_UP)
	$(BIN)/python -m harmonyrt.cli.demo

test: $(SET_UP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

lint: $(SET_UP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python tests/house/typecheck.py

clean:
	rm -rf $(VENV) build dist *.egg-info engines demo .pytest_cache .mypy_cache .ruff_cache
