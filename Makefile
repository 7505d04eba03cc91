# `make test` installs what is missing and runs every test. `make` alone lists the targets.

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
MINUTES := 10

.PHONY: help run test soak lint fmt bench install

help:
	@echo 'make run      build and run the server'
	@echo 'make test     install what is missing, then run every test'
	@echo 'make soak     all that clients do and should not, for 10 minutes, or MINUTES=2: nobody misses anything, nothing remains'
	@echo 'make lint     check format, clippy and the links of the code map, warnings are errors'
	@echo 'make fmt      format the code'
	@echo 'make bench    measure this machine: up to 10 minutes; ARGS=--quick 2 minutes; ARGS="soketi=URL,pid=PID" beside others (docs/performance.md)'

run:
	cargo run --release

# Node and Python packages and Chromium, for the tests with real clients; Redis, for those of several nodes.
install:
	tests/clients/install.sh

# The release binary is built first: the client tests use it, and must not meet an old one.
test: install
	cargo build --release
	cargo test
	tests/on-redis.sh
	RESOUND_BIN='$(TARGET_DIR)/release/resound' tests/clients/run.sh
	$(MAKE) --no-print-directory soak MINUTES=1

# A test of its own (tests/soak/), which `cargo test` runs for some seconds against the debug binary.
soak:
	cargo build --release
	RESOUND_BIN='$(TARGET_DIR)/release/resound' SOAK_S=$$(($(MINUTES) * 60)) cargo test --test soak everybody -- --nocapture

lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::bare-urls' cargo doc --no-deps --lib

fmt:
	cargo fmt

bench:
	cargo build --release --bin resound --example floor --example performance
	'$(TARGET_DIR)/release/examples/performance' $(ARGS)
