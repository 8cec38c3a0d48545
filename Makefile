# Every verb works from a fresh clone with nothing but Python (3.11+), pip and make.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.setup
CLIENTS := .venv-clients/.setup .node-clients/.setup
WIRE ?= ../shared/wire
# Set, as in many images, it would make each process that a test starts compile the application again.
export PYTHONDONTWRITEBYTECODE :=

TESTS := $(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder
SLOW := -m "not soak and not clients and not chart and not milvus and not browser"

.DEFAULT_GOAL := help
.PHONY: help setup run test browser steady soak load rehearse rollout clients milvus check format docs pages bench lines large monitoring chart chart-package image image-push wheel publish lock clean

help: ## list the verbs
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

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

test: $(STAMP) ## run the tests that are not slow
	$(TESTS)

BROWSER := $(BIN)/pytest -m browser tests/browser

browser: $(STAMP) ## try the pages in Debian's Chromium, which it installs where it is missing
	@command -v chromium >/dev/null || { echo "installing Chromium"; apt-get update -qq && apt-get install -y -qq chromium; } \
		|| { echo "Chromium is missing: install it, as root: apt-get install chromium"; exit 1; }
	$(BROWSER)

N ?= 10

steady: $(STAMP) ## run the tests N times, 10 unless said otherwise, beside busy loops, one for each core
	scripts/steady.sh $(N) make --no-print-directory test

soak: $(STAMP) ## run the long tests as well, then 20 minutes of load
	$(BIN)/pytest --hypothesis-profile soak -m "not clients and not milvus"
	$(BIN)/python -m loadtests --shape soak

clients: $(STAMP) $(CLIENTS) ## run every rerank client against a real server; WIRE is where their judges are
	WIRE=$(WIRE) $(BIN)/pytest -m clients --capture=no tests/clients

# infinity_client goes alone: it pins an httpx older than it needs.
.venv-clients/.setup: tests/clients/requirements.txt
	@echo "installing the Python clients"
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python -m pip install --requirement $<
	.venv-clients/bin/python -m pip install --no-deps infinity_client==0.0.78
	@touch $@

.node-clients/.setup: tests/clients/package.json
	@echo "installing the Node clients"
	@mkdir -p .node-clients
	cp $< .node-clients/
	cd .node-clients && npm install --no-audit --no-fund
	@touch $@

milvus: $(STAMP) .venv/.milvus ## hold both engines of collections to one contract, on a real Milvus, which is killed and stopped, too
	$(BIN)/pytest -m "milvus or not milvus" tests/retrieval/index/test_passage_index.py tests/retrieval/store/test_remote.py tests/faults/test_milvus.py

# 57 MB, and the program takes 300 MB where it is started: no other check needs it.
.venv/.milvus: $(STAMP)
	$(BIN)/python -m pip install --quiet --no-deps milvus==2.3.5
	@touch $@

rehearse: $(STAMP) ## back up, restore, upgrade and roll back real servers under load, as docs/operations says
	$(BIN)/python -m scripts.rehearse_operations

rollout: $(STAMP) ## replace two servers under load by a new version, behind haproxy, then kill one
	$(BIN)/python -m scripts.rehearse_rollout

format: $(STAMP) ## rewrite the code in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: $(STAMP) ## format, lint, types, import contracts, all tests but long ones; the pages, where there is Chromium
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(TESTS) $(SLOW)
	@if command -v chromium >/dev/null; then echo "$(BROWSER)"; $(BROWSER); else echo "no Chromium here: the pages are not tried; see make browser"; fi

docs: $(STAMP) .venv-docs/.setup build/mermaid.min.js ## write the generated pages, run the notebooks, and build the site into build/site; npm draws its pictures
	$(MAKE) pages
	PYTHONPATH=$(CURDIR) .venv-docs/bin/python -m scripts.site

build/mermaid.min.js:
	@mkdir -p build
	cd build && npm pack --silent mermaid@12.3.0 && tar xzf mermaid-12.3.0.tgz package/dist/mermaid.min.js
	mv build/package/dist/mermaid.min.js $@

pages: $(STAMP) ## write the generated pages alone: openapi.json, configuration.md, errors.md, commands.md in docs/
	$(BIN)/qrerank openapi > docs/openapi.json
	$(BIN)/python -m scripts.configuration > docs/configuration.md
	$(BIN)/python -m scripts.error_catalogue > docs/errors.md
	$(BIN)/typer app.cli.main utils docs --name qrerank --title Commands --output docs/commands.md

# Its packages lie beside those of .venv, which the notebooks use as well.
PURELIB := -c "import sysconfig; print(sysconfig.get_path('purelib'))"

.venv-docs/.setup: docs/requirements.txt $(STAMP)
	@echo "installing what builds the documentation"
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --requirement $<
	$(BIN)/python $(PURELIB) > $$(.venv-docs/bin/python $(PURELIB))/beside.pth
	@touch $@

bench: $(STAMP) ## print the tables in README and docs/: quality beside a cross-encoder, speed, Qiskit beside us
	$(BIN)/python -m benchmarks quality
	$(BIN)/python -m benchmarks rerank
	$(BIN)/python -m benchmarks simulation
	$(BIN)/python -m benchmarks overload
	$(BIN)/python -m benchmarks regressions

lines: ## count the lines around the product, and of their tests but for what is recorded: the targets are 7000 and 2500
	@echo "monitoring, scripts, benchmarks, loadtests: $$(git ls-files monitoring scripts benchmarks loadtests | xargs cat | wc -l)"
	@echo "their tests: $$(git ls-files tests/monitoring tests/scripts tests/benchmarks tests/loadtests tests/helm ':!*golden.yaml' | xargs cat | wc -l)"

PASSAGES ?= 100000

large: $(STAMP) .venv-peers/.setup ## print what a collection of 100 000 passages takes, beside ChromaDB and a cross-encoder; 10 to 25 minutes
	$(BIN)/python -m benchmarks large_collection --passages $(PASSAGES)

.venv-peers/.setup:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet chromadb==1.5.9 pennylane-lightning==0.45.0
	@touch $@

SHAPE ?= normal

load: $(STAMP) ## load the service with Locust for two minutes, and judge it; SHAPE: peak, spike, soak, stress, scaling
	$(BIN)/python -m loadtests --shape $(SHAPE)

monitoring: $(STAMP) ## write the dashboard from the metrics; with RUNBOOKS=URL, where runbooks are, it and the alert rules to build/monitoring
	$(BIN)/python -m monitoring $(if $(RUNBOOKS),--runbooks $(RUNBOOKS))

chart: $(STAMP) .venv-chart/.setup ## check the Helm chart; then dashboard and alert rules with Prometheus' own programs
	.venv-chart/bin/python -m pytest -p no:cloudcoil -m chart --confcutdir tests/helm tests/helm
	$(BIN)/python -m monitoring.check

chart-package: .venv-chart/.setup ## write the chart's archive to dist/
	.venv-chart/bin/python -m scripts.chart.engine

# Checkov pins many packages to what it was written with, and Helm's engine takes 75 MB.
.venv-chart/.setup: scripts/chart/requirements.txt
	@echo "installing what the chart is checked with"
	$(PYTHON) -m venv .venv-chart
	.venv-chart/bin/python -m pip install --quiet --requirement $<
	@touch $@

IMAGE ?= quantum-rerank:latest
TOOLS ?= ../shared/tools
IMAGE_OPTIONS = --tag $(IMAGE) --tools $(TOOLS) $(if $(ENGINE),--engine $(ENGINE)) $(if $(MODEL),--model $(MODEL)) \
	$(if $(BASE),--base $(BASE)) $(if $(SOURCE),--source $(SOURCE))

image: ## build the image, run it and judge it; MODEL, BASE, IMAGE=NAME:TAG, ENGINE=docker, podman or buildah
	$(PYTHON) -m scripts.image $(IMAGE_OPTIONS)

image-push: ## push the image that `make image` made to TO=REGISTRY/NAME:TAG, and print its digest
	$(PYTHON) -m scripts.image $(IMAGE_OPTIONS) --push $(TO)

wheel: $(STAMP) ## build the wheel that brings its model, into dist/, and serve it from an empty environment; FOR=python3.12
	$(BIN)/python -m scripts.wheel $(if $(FOR),--python $(FOR))

publish: ## make GitHub's release of the tag TAG with what is in dist/
	gh release create $(TAG) --verify-tag --generate-notes dist/*

LOCK = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock"

lock: ## write the locks of the image anew: requirements/*.txt; UPGRADE=1 takes the newest versions
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet uv==0.13.9
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra postgres --extra tracing --overrides requirements/serve.overrides pyproject.toml --output-file requirements/serve.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra prepare --overrides requirements/prepare.overrides pyproject.toml --output-file requirements/prepare.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) requirements/build.in --output-file requirements/build.txt

clean: ## remove what make made (the prepared models in your cache folder stay)
	rm -rf .venv .venv-clients .venv-chart .venv-lock .venv-docs .node-clients build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .tools
