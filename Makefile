# make run     the first result: builds everything, then runs a program in a fork
# make test    everything there is to check
# make bench   the figures
#
# Each does its own set-up on a fresh Debian 12 machine with cargo, gcc, make, Python 3 and
# /dev/kvm, and is quick the second time.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

RELEASE := target/release/zeroboot

.PHONY: help
help:
	@sed -n '1,3s/^# //p' Makefile
	@echo "also: install (PREFIX=/usr/local), soak (an hour), bench-quick, bench-report, bench-reset, bench-bindings, fuzz, guest, template, lint, header, clean"

.PHONY: run
run: template
	@echo
	@echo "zeroboot run -t python --timing 'print(6*7)'"
	@$(RELEASE) run -t python --timing 'print(6*7)'
	@echo
	@echo "The command is $(RELEASE); try: $(RELEASE) doctor"

# Library, header and command line.
.PHONY: build
build: setup
	cargo build --release --locked

# Packages that building and testing need; the guest's build scripts see to their own.
.PHONY: setup
setup:
	@.ci/setup

# The guest's kernel (some minutes the first time) and the image of its runtime.
.PHONY: guest
guest: setup
	@guest/kernel/build.sh > /dev/null
	@guest/rootfs/build.sh python > /dev/null

.PHONY: template
template: build guest
	@$(RELEASE) template build python

.PHONY: test
test: lint template
	@.ci/suites

.PHONY: soak
soak: template
	ZB_TEST_SOAK_SECONDS=3600 cargo test --release --locked --test soak -- --nocapture

# Coverage-guided, a million inputs for each parser and ten thousand where machines are made.
.PHONY: fuzz
fuzz: template
	@fuzz/run long

.PHONY: lint
lint: setup
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	shellcheck -x -P SCRIPTDIR install.sh guest/kernel/build.sh guest/rootfs/build.sh .ci/run .ci/setup .ci/suites fuzz/run bindings/*/*.sh

# The library, the header, zeroboot.pc and the command, under PREFIX; DESTDIR is for packages.
PREFIX := /usr/local
DESTDIR :=
.PHONY: install
install: build
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' ./install.sh

# Ways to run Python apart from the rest, ours and others', in some twenty minutes: the report is in
# target/bench. Nothing else should run meanwhile.
.PHONY: bench
bench: template
	@cargo bench --locked --bench compare

# The same in less than a minute, to see that it works.
.PHONY: bench-quick
bench-quick: template
	@cargo bench --locked --bench compare -- --quick

# And into docs/benchmark and README.md with it.
.PHONY: bench-report
bench-report: template
	@cargo bench --locked --bench compare -- --update-readme

# Ways to put a used machine's memory back, and what each costs.
.PHONY: bench-reset
bench-reset: template
	@cargo bench --locked --bench reset

# What a fork of a Firecracker snapshot costs.
.PHONY: bench-firecracker
bench-firecracker: setup
	@cargo bench --locked --bench firecracker

# What the wrappers add to a run.
.PHONY: bench-bindings
bench-bindings: template
	@PYTHONPATH=bindings/python ZEROBOOT_LIBRARY=target/release/libzeroboot.so python3 bindings/python/bench.py
	@bindings/node/build.sh > /dev/null && node bindings/node/bench.js
	@bindings/go/test.sh bench

# The committed header, after a change of src/ffi.
.PHONY: header
header: setup
	ZEROBOOT_UPDATE_HEADER=1 cargo test --locked --test c_api header

.PHONY: clean
clean:
	cargo clean
