# make help lists what there is. CARGO_TARGET_DIR is honoured everywhere; by default it is target/ of this checkout.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
CARGO_TARGET_DIR ?= target
override CARGO_TARGET_DIR := $(abspath $(CARGO_TARGET_DIR))
export CARGO_TARGET_DIR

binaries := $(CARGO_TARGET_DIR)/debug
shipped := --package isthmus --package isthmus-gateway --package isthmus-region-agent
ARGS ?=

.PHONY: help demo test unit assumptions acceptance bench-smoke binaries tools

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: ## three regions on this machine with traffic and a live table; ARGS="--seconds 20 --json" goes to isthmus demo
	@tools/prerequisites build
	@tools/nats-server >/dev/null
	@$(CARGO) build --locked $(shipped)
	@"$(binaries)/isthmus" demo $(ARGS)

test: ## everything: Rust tests, what is assumed of NATS, acceptance scripts (about 20 minutes)
	@tools/prerequisites test
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory assumptions
	@$(MAKE) --no-print-directory acceptance

unit: tools ## the Rust tests of every crate, end-to-end tests among them
	@tools/prerequisites test
	@$(CARGO) build --locked --workspace --bins --tests
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --locked --workspace; \
	else \
		$(CARGO) test --locked --workspace; \
	fi

assumptions: tools ## what docs/assumptions-nats.md says of NATS, against a real nats-server
	@.tools/venv/bin/python3 tests/assumptions/run

acceptance: tools binaries ## the acceptance scripts against the shipped binaries; ARGS="01 04" runs these
	@tests/acceptance/run $(ARGS)

bench-smoke: tools ## replicated changes/s and lag for two regions (about a minute)
	@tools/prerequisites build
	@$(CARGO) build --locked $(shipped)
	@$(CARGO) run --locked --quiet --package isthmus-bench -- $(ARGS)

binaries:
	@tools/prerequisites test
	@$(CARGO) build --locked $(shipped)

tools:
	@tools/nats-server >/dev/null
	@tools/venv >/dev/null
