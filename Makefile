# `make help` lists what there is. CARGO_TARGET_DIR is honoured everywhere; by default it is target/ of this checkout.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

CARGO ?= cargo
CARGO_TARGET_DIR ?= target
override CARGO_TARGET_DIR := $(abspath $(CARGO_TARGET_DIR))
export CARGO_TARGET_DIR

shipped := --package isthmus --package isthmus-gateway --package isthmus-region-agent
# The parts of `make test` and the benchmark build the same, or dependencies would be built again with other features.
everything := --workspace --bins --tests
ARGS ?=
SEED ?=
N ?= 200
SECONDS ?= 300
TARGET ?=

.PHONY: help demo chaos test unit assumptions acceptance bench-smoke sim sim-many sim-planted fuzz release tools can-build can-test

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: can-build ## three regions on this machine with traffic and a live table; ARGS="--seconds 20 --json" goes to isthmus demo
	@tools/nats-server >/dev/null
	@$(CARGO) build --locked $(shipped)
	@"$(CARGO_TARGET_DIR)/debug/isthmus" demo $(ARGS)

chaos: can-build ## three regions under random faults, writes and reads, then a check; SECONDS=300, SEED=17 repeats a schedule, ARGS as for demo
	@tools/nats-server >/dev/null
	@$(CARGO) build --locked $(shipped)
	@"$(CARGO_TARGET_DIR)/debug/isthmus" chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

test: unit assumptions acceptance ## everything below: Rust tests, what is assumed of NATS, acceptance scripts

unit: can-test tools ## the Rust tests of every crate, those with real processes among them
	@$(CARGO) build --locked $(everything)
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --locked --workspace; \
	else \
		$(CARGO) test --locked --workspace --exclude isthmus-e2e && \
		$(CARGO) test --locked --package isthmus-e2e -- --test-threads 1; \
	fi

assumptions: can-test tools ## what docs/assumptions-nats.md says of NATS, against a real nats-server
	@.tools/venv/bin/python3 tests/assumptions/run $(ARGS)

acceptance: can-test tools ## the acceptance scripts against the shipped binaries; ARGS="01 04" runs these two
	@$(CARGO) build --locked $(everything)
	@tests/acceptance/check-runner
	@tests/acceptance/run $(ARGS)

bench-smoke: can-build ## replicated changes/s and lag for two regions; ARGS="--backlog 40000" for the drain of a backlog
	@tools/nats-server >/dev/null
	@$(CARGO) build --locked $(everything)
	@"$(CARGO_TARGET_DIR)/debug/isthmus-bench" $(ARGS)

sim: can-build ## one simulated set with its trace: SEED=42; ARGS="--faults cut,kill --level debug"
	@$(CARGO) build --locked --package isthmus-sim
	@"$(CARGO_TARGET_DIR)/debug/isthmus-sim" one $(or $(SEED),1) $(ARGS)

sim-many: can-build ## many simulated sets: N=200; ARGS="--from 1000 --faults lost-tail"
	@$(CARGO) build --locked --profile sim --package isthmus-sim
	@"$(CARGO_TARGET_DIR)/sim/isthmus-sim" many --count $(N) $(ARGS)

sim-planted: can-build ## plants one fault after the other: each must be found within N=200 seeds; ARGS="--only message-id"
	@$(CARGO) build --locked --profile sim --package isthmus-sim --features planted --bin isthmus-sim-planted
	@"$(CARGO_TARGET_DIR)/sim/isthmus-sim-planted" planted --count $(N) $(ARGS)

fuzz: can-build ## look for inputs that break a decoder; SECONDS=300 for each target, TARGET=frame runs this one
	@tools/fuzz $(SECONDS) $(TARGET)

release: can-build ## an archive of release binaries, configurations and completions in target/dist, with its SHA-256
	@tools/release

tools: ## nats-server and a NATS client for the scripts, in .tools/
	@tools/nats-server >/dev/null
	@tools/venv >/dev/null

can-build:
	@tools/prerequisites build

can-test:
	@tools/prerequisites test
