# `make demo` shows what Lanner does; `make test` is what CI runs. Both work on a fresh
# Debian or Ubuntu with git, make and rustup: `make setup` installs or names the rest.
#
# One profile (release) for everything: RocksDB takes minutes to compile, and once is enough.

CARGO ?= cargo
BUILD := --release --workspace --locked

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long promise bench peers docs wheel

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 11

setup: ## Install what the build needs, or say what to type
	@.ci/setup

demo: setup ## Build Lanner and run it on the small collection that ships with it
	@echo "Building. The first time that takes 20 minutes on two cores, most of them for RocksDB."
	$(CARGO) build $(BUILD) --bins
	$(CARGO) run --release --locked --quiet --bin lanner -- demo

test: setup ## Format check, lints, all tests (also of the Python package), documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(BUILD) --all-targets -- -D warnings
	$(CARGO) clippy --release --locked -p lanner-cli --no-default-features --all-targets -- -D warnings
	$(CARGO) build $(BUILD) --all-targets
	@.ci/embedded
	@skipped=$$(mktemp); trap 'rm -f $$skipped' EXIT; \
	LANNER_SKIPPED=$$skipped $(CARGO) test $(BUILD) || exit 1; \
	echo "tests skipped for lack of ../shared/data: $$(wc -l < $$skipped)"
	@.ci/setup python
	.ci/python test
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(BUILD) --no-deps --document-private-items

test-long: setup ## Campaigns that take minutes: faults, kills, damage, the grid of promised recall
	LANNER_CRASH_ROUNDS=100 $(CARGO) test $(BUILD) --test crash
	$(CARGO) test $(BUILD) -- --ignored --nocapture
	LANNER_SLOW_TESTS=1 .ci/python test -k nfcorpus

promise: setup ## Print the table of docs/promise.md, measured by the whole grid
	@table=$$(mktemp); trap 'rm -f $$table' EXIT; \
	LANNER_PROMISE_TABLE=$$table $(CARGO) test $(BUILD) --test promise -- --ignored --nocapture 1>&2; \
	status=$$?; cat $$table; exit $$status

bench: setup ## Measure the kernels
	$(CARGO) bench --workspace --locked

peers: ## Measure the peers quickly (benches/peers/README.md)
	benches/peers/run.sh run --quick

wheel: setup ## Build a wheel of the Python package into dist/
	@.ci/setup python
	.ci/python wheel

docs: setup ## Build the documentation of the crates and open it
	$(CARGO) doc $(BUILD) --no-deps --open
