# `make test` installs what is missing and runs every test. `make` alone lists the targets.

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help run test lint fmt bench install

help:
	@echo 'make run      build and run the server'
	@echo 'make test     install what is missing, then run every test'
	@echo 'make lint     check format, clippy and the links of the code map, warnings are errors'
	@echo 'make fmt      format the code'
	@echo 'make bench    measure memory, deliveries and triggers on this machine'

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

lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings -A rustdoc::bare-urls' cargo doc --no-deps --lib

fmt:
	cargo fmt

bench:
	cargo build --release
	cargo run --release --example bench
