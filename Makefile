# Two commands matter: `make demo` and `make test`. Both install what they need and ask nothing.

SHELL := /bin/bash
PYTHON := .venv/bin/python
LOCAL := $(PYTHON) -m signalbox_local

.PHONY: help demo test check up down status bench-edge format install constraints clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: install ## Make real calls through a real cluster on this machine and show what happens
	@exec setpriv --pdeathsig TERM $(LOCAL) demo

test: install check ## Lint, types, import contracts, and all tests: what CI runs

check: ## As test, without installing anything
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	PYTHON=$(PYTHON) proto/generate --check
	$(PYTHON) -m signalbox settings-doc --check docs/configuration.md
	$(PYTHON) -m pytest

up: install ## Start the cluster and leave it running
	@$(LOCAL) up

down: ## End the cluster that `make up` started
	@[ ! -x $(PYTHON) ] || $(LOCAL) down

status: install ## Show processes, rule versions and calls of the running cluster
	@$(LOCAL) status

bench-edge: install ## Measure what asking the routing service costs per call
	@exec setpriv --pdeathsig TERM $(PYTHON) -m signalbox_local.bench_edge

format: install ## Format the Python sources
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

install:
	@deploy/local/install

constraints: ## Pin the newest versions that pyproject.toml allows
	@deploy/local/pin

clean: down ## Remove everything that was built or installed here
	rm -rf .venv var build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
