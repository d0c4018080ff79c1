# Hustings. `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
REQUIREMENTS := deploy/requirements/dev.txt

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Hustings needs Python 3.11 or newer; run 'make PYTHON=/path/to/python3.11 …'."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	  || { echo "Python could not make a virtual environment; install its venv module (Debian: python3-venv)."; exit 1; }
	@echo "Installing the pinned packages into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(REQUIREMENTS)
	@touch $@

.PHONY: install
install: $(STAMP) ## Make the virtual environment with pinned, hashed packages

# HUSTINGS_STACK=embedded|docker chooses how the system runs here; without it a fresh directory gets containers where
# Docker answers, and a used one stays as it is.
.PHONY: up
up: $(STAMP) ## Run the whole system here and print its addresses (SCALE="matching-worker=3", by containers)
	@$(BIN)/python -m deploy.stack up $(foreach one,$(SCALE),--scale $(one))

.PHONY: down
down: $(STAMP) ## Stop the system; its data stays
	@$(BIN)/python -m deploy.stack down

.PHONY: reset
reset: $(STAMP) ## Stop the system and wipe its data
	@$(BIN)/python -m deploy.stack reset $(if $(YES),--yes,)

.PHONY: status
status: $(STAMP) ## Show the processes of the running system
	@$(BIN)/python -m deploy.stack status

.PHONY: logs
logs: $(STAMP) ## Show the logs (NAME=signup FOLLOW=1), or write those of containers into a folder (TO=/tmp/logs)
	@$(BIN)/python -m deploy.stack logs $(NAME) $(if $(FOLLOW),-f,) $(if $(TO),--to "$(TO)",)

# The next four are for a system by containers.
.PHONY: finish-deploy
finish-deploy: $(STAMP) ## After a deploy: apply the migrations that waited for the old version to end
	@$(BIN)/python -m deploy.compose contract

.PHONY: backup
backup: $(STAMP) ## Write databases and topics into a new folder (TO=/backups/monday)
	@test -n "$(TO)" || { echo "Say where to: make backup TO=/backups/monday"; exit 1; }
	@$(BIN)/python -m deploy.backup save "$(TO)"

.PHONY: restore
restore: $(STAMP) ## Replace all data by a backup's (FROM=/backups/monday YES=1)
	@test -n "$(FROM)" || { echo "Say from where: make restore FROM=/backups/monday"; exit 1; }
	@$(BIN)/python -m deploy.backup restore "$(FROM)" $(if $(YES),--yes,)

.PHONY: rotate
rotate: $(STAMP) ## Renew secrets and restart the services (SECRET="internal links"; passwords, sessions)
	@test -n "$(SECRET)" || { echo "Say which: make rotate SECRET=links (or passwords, internal, sessions)"; exit 1; }
	@$(BIN)/python -m deploy.compose rotate $(SECRET)

.PHONY: images
images: $(STAMP) ## Build the images of the services (needs Docker)
	@$(BIN)/python -m deploy.images.build

.PHONY: base-images
base-images: $(STAMP) ## Make the base images here, where no registry can be reached (needs root on Debian)
	@$(BIN)/python -m deploy.images.base

.PHONY: demo
demo: $(STAMP) ## Send a crowd through the running system (PEOPLE=300 VOLUNTEERS=40 SEED=2017)
	@$(BIN)/python -m deploy.demo $(if $(PEOPLE),--prospects $(PEOPLE),) $(if $(VOLUNTEERS),--volunteers $(VOLUNTEERS),) $(if $(SEED),--seed $(SEED),)

.PHONY: test
test: $(STAMP) ## Pass every test, with a real Kafka, PostgreSQL and browser
	@deploy/browser.sh
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: faults
faults: $(STAMP) ## Break the system in every way we know (FAULT=broker_away SEED=7 PEOPLE=1000)
	@$(BIN)/python -m tests.faults run $(if $(FAULT),--fault $(FAULT),) $(if $(SEED),--seed $(SEED),) $(if $(PEOPLE),--people $(PEOPLE),)

.PHONY: campaign
campaign: $(STAMP) ## Rows and seeds until so many people have signed up (PEOPLE=100000 WALKERS=150); adds to the tally
	@$(BIN)/python -m tests.faults campaign $(if $(PEOPLE),--people $(PEOPLE),) $(if $(EACH),--each $(EACH),) $(if $(WALKERS),--walkers $(WALKERS),)

.PHONY: mutants
mutants: $(STAMP) ## Break the product on purpose; tests and ledger must notice (NAME="no_inbox relay_*" KIND=tests)
	@$(BIN)/python -m tests.faults.mutants $(NAME) $(if $(KIND),--kind $(KIND),)

.PHONY: containers
containers: $(STAMP) ## The tests of images and of the system by containers, and a part of the others on such servers
	@deploy/browser.sh
	@HUSTINGS_TEST_SERVERS=docker $(BIN)/python -m pytest tests/containers tests/contract/test_schema.py \
	  tests/component/kernel/test_backbone.py tests/component/kernel/test_relay.py $(ARGS)

.PHONY: unit
unit: $(STAMP) ## The tests without I/O
	@$(BIN)/python -m pytest tests/unit $(ARGS)

.PHONY: bench
bench: $(STAMP) ## Measure the speed against the libraries' own (ONLY=relay,4 ROUNDS=5 JSON=file FULL=1)
	@$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY),) $(if $(ROUNDS),--rounds $(ROUNDS),) $(if $(SECONDS),--seconds $(SECONDS),) $(if $(JSON),--json $(JSON),) $(if $(FULL),--full,)

.PHONY: lint
lint: $(STAMP) ## Format, lint, types, import rules, translations
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m shared.web.i18n check

.PHONY: format
format: $(STAMP) ## Format the code and sort its imports
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

.PHONY: check
check: lint test ## What continuous integration runs

.PHONY: contract
contract: $(STAMP) ## Generate the event catalogue, AsyncAPI document and JSON Schemas
	@$(BIN)/python -m deploy.contract
	@$(BIN)/python -m deploy.settings

.PHONY: requirements
requirements: $(STAMP) ## Compile the hashed requirements from pyproject.toml
	@$(BIN)/python -m deploy.requirements.compile

.PHONY: css
css: ## Compile the stylesheet (needs Node.js)
	@cd shared/web/styles && npm install --silent --no-package-lock --no-audit --no-fund && npm run --silent build
