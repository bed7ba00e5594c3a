# What this project does, by name; `make help` lists it. The variables can be given in the environment or on the command line.

HOST ?= 127.0.0.1
PORT ?= 5042
DATA ?= .data
ARGS ?=
PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test check conformance bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n'; printf '  %s\n' 'HOST=$(HOST)  where the registry listens' 'PORT=$(PORT)  its port' \
		'DATA=$(DATA)  where Glance keeps what was pushed' 'PYTHON=$(PYTHON)  a Python 3.11 or newer' \
		'ARGS=  for test, conformance and bench: passed on'

run: $(VENV)/.run ## Start a Glance and the registry in front of it, on HOST:PORT; Ctrl-C ends both
	@exec $(BIN)/python -m devcloud up glance registry --host '$(HOST)' --port '$(PORT)' --data '$(DATA)'

test: $(VENV)/.test ## Install all that the tests need, and run all of them
	tests/prepare
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.test ## Check format, lint and types, and run the unit tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy registry_glance nova_hook nova_virt devcloud benchmarks tests
	$(BIN)/mypy -p docker_registry
	$(BIN)/python -m pytest tests/unit

conformance: $(VENV)/.test ## Run the OCI's own conformance suite and print passed, failed, skipped
	tests/prepare
	$(BIN)/python tests/conformance/run.py $(ARGS)

bench: $(VENV)/.test ## Measure, beside other registries where they are installed
	tests/prepare
	$(BIN)/python -m benchmarks.run $(ARGS)

clean: ## Remove what make made; DATA stays, unless ALL=1 (which also ends what is up there)
	rm -rf $(VENV) .tools build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
ifdef ALL
	$(PYTHON) -m devcloud down --data '$(DATA)'
	if [ -d '$(DATA)' ]; then cd '$(DATA)' && rm -rf glance registry log up.lock up.json; fi
else
	@if [ -d '$(DATA)/glance' ]; then echo 'kept what was pushed, in $(DATA)'; fi
endif

# A virtual environment; on a bare Debian or Ubuntu, root gets the package for it.
HAS_VENV = $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null
$(VENV)/.made:
	@if [ '$(PYTHON)' = python3 ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! $(HAS_VENV); then \
		echo 'Installing python3-venv'; \
		apt-get -qq update; \
		DEBIAN_FRONTEND=noninteractive apt-get -qq -y install python3-venv >/dev/null; \
	fi
	@$(HAS_VENV) || { echo 'No $(PYTHON) with its venv module here: install it (Debian: python3-venv)' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo '$(PYTHON) is older than 3.11: name a newer one, make PYTHON=python3.11 ...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml
	@echo 'Installing Glance and the registry into $(VENV), once; it takes a minute or two'
	$(PIP) install --editable '.[devcloud]'
	@touch $@

$(VENV)/.test: $(VENV)/.made pyproject.toml
	@echo 'Installing what the tests need into $(VENV), once; it takes a minute or two'
	$(PIP) install --editable '.[devcloud,test,nova,cloud]'
	@touch $(VENV)/.run $@
