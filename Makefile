# Every verb works from a fresh clone with nothing but Python (3.11+), pip and make.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.setup

.DEFAULT_GOAL := help
.PHONY: help setup run test soak check format bench clean

help: ## list the verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## make .venv with everything a developer needs

# torch goes first and pinned: left to the resolver it brings gigabytes of CUDA.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

run: $(STAMP) ## serve on 127.0.0.1:8000 with the demo collection
	$(BIN)/qrerank serve --host 127.0.0.1 --port 8000 --demo

test: $(STAMP) ## run the tests
	$(BIN)/pytest

soak: $(STAMP) ## run the long tests as well
	$(BIN)/pytest -m "soak or not soak"

format: $(STAMP) ## rewrite the code in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: $(STAMP) ## format, lint, types, import contracts, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

bench: $(STAMP) ## print the tables in docs/, peers beside us in one run
	$(BIN)/python -m benchmarks.simulation
	$(BIN)/python -m benchmarks.fidelity
	$(BIN)/python -m benchmarks.rerank

clean: ## remove what make made (the prepared models in your cache folder stay)
	rm -rf .venv .venv-peers build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
