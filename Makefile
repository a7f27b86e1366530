# Two commands matter: `make demo` and `make test`. Both install what they need and ask nothing.

SHELL := /bin/bash
PYTHON := .venv/bin/python
LOCAL := $(PYTHON) -m signalbox_local

# Ends what it runs when make ends, of whatever. Listening to RTP on the wire takes a capability: whoever is not root gets that
# one from sudo, and nothing else.
ifeq ($(shell id -u),0)
RUN := setpriv --pdeathsig TERM --
else
RUN := sudo -n setpriv --reuid $(shell id -u) --regid $(shell id -g) --init-groups --inh-caps +net_raw \
	--ambient-caps +net_raw --pdeathsig TERM --
endif

.PHONY: help demo test check up down status bench bench-edge bench-peers bench-decide bench-inventory bench-routing bench-recording bench-sip bench-ivr loadtest loadtest-crosscheck loadtest-overload images test-images test-cluster format install docs constraints clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 17

demo: install ## Make real calls through a real cluster on this machine and show what happens
	@exec $(RUN) $(LOCAL) demo

test: install check ## Lint, types, import contracts, and all tests: what CI runs

check: ## As test, without installing anything
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	@echo mypy, and meanwhile the rest; $(PYTHON) -m mypy & mypy=$$!; \
	.venv/bin/lint-imports && PYTHON=$(PYTHON) proto/generate --check && \
	$(PYTHON) -m signalbox settings-doc --check docs/configuration.md && \
	$(PYTHON) -m signalbox cli-doc --check docs/cli.md; rest=$$?; \
	wait $$mypy && exit $$rest
	@exec $(RUN) .ci/tests $(PYTHON) -m pytest

up: install ## Start the cluster and leave it running
	@$(LOCAL) up

down: ## End the cluster that `make up` started
	@[ ! -x $(PYTHON) ] || $(LOCAL) down

status: install ## Show processes, rule versions and calls of the running cluster
	@$(LOCAL) status

bench: ## Run every bench-…, and write one table and the plots into docs/ (an hour and more; OPTIONS=--small to try, --full for ten million numbers)
	@deploy/local/install kamailio-sqlite-modules kamailio-python3-modules
	@exec $(RUN) $(PYTHON) -m signalbox_local.bench_all $(OPTIONS)

bench-edge: install ## Measure what asking the routing service costs per call
	@exec $(RUN) $(PYTHON) -m signalbox_local.bench_edge $(OPTIONS)

bench-peers: ## Measure the same calls through other ways to route them, beside ours
	@deploy/local/install kamailio-sqlite-modules kamailio-python3-modules
	@exec $(RUN) $(PYTHON) -m signalbox_local.bench_peers $(OPTIONS)

bench-decide: install ## Measure full decisions of one routing replica
	@exec $(RUN) $(PYTHON) -m signalbox_local.bench_decide $(OPTIONS)

bench-inventory: install ## Measure the search for numbers among ten millions
	@exec $(RUN) $(PYTHON) -m signalbox_local.bench_inventory $(OPTIONS)

bench-routing: ## Measure replicas with up to ten million numbers, beside Kamailio's own drouting
	@deploy/local/install kamailio-sqlite-modules
	@exec $(RUN) $(PYTHON) -m signalbox_local.bench_routing $(OPTIONS)

bench-recording: install ## Measure calls with and without recording up to the first lost packet, and the recorder
	@exec $(RUN) $(PYTHON) -m signalbox_local.bench_recording $(OPTIONS)

bench-sip: install ## Measure an answered call at the user agent of workers with voice
	@exec $(RUN) $(PYTHON) -m signalbox_local.bench_sip

bench-ivr: install ## Measure call flows of a worker with voice: set-ups a second, calls at once
	@exec $(RUN) $(PYTHON) -m signalbox_local.bench_ivr $(OPTIONS)

loadtest: install ## Put a busy hour on a cluster of this machine for three minutes, and judge it
	@exec $(RUN) $(PYTHON) -m loadtest $(OPTIONS)

loadtest-overload: install ## Put twice as many calls on a cluster as it takes, and see what becomes of them
	@exec $(RUN) $(PYTHON) -m loadtest.overload $(OPTIONS)

loadtest-crosscheck: install ## Make the same calls by SIPp and by the load test, in turns, and compare the figures
	@exec $(RUN) $(PYTHON) -m loadtest.crosscheck $(OPTIONS)

test-cluster: install ## Install the chart in a lab or KUBECONFIG's cluster; upgrade, kill and lose all of it under calls
	@exec $(RUN) $(PYTHON) -m signalbox_local.testcluster.main $(OPTIONS)

images: ## Build the images and show their sizes
	@deploy/images/build

test-images: install ## Make the demo's calls in containers of the images (as root)
	@exec $(RUN) $(LOCAL) test-images

format: install ## Format the Python sources
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

install:
	@deploy/local/install

docs: install ## Write the references of settings and commands
	$(PYTHON) -m signalbox settings-doc docs/configuration.md
	$(PYTHON) -m signalbox cli-doc docs/cli.md

constraints: ## Pin the newest versions that pyproject.toml allows
	@deploy/local/pin

clean: down ## Remove everything that was built or installed here
	rm -rf .venv var build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
