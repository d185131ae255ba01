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
# The languages with a wrapper; each has a test.sh that does its own set-up.
BINDINGS := python node go

.PHONY: help
help:
	@sed -n '1,3s/^# //p' Makefile
	@echo "also: install (PREFIX=/usr/local), guest, template, lint, header, clean"

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
	ZB_TEST_THREADS_SECONDS=60 cargo test --workspace --locked
	python3 -m unittest discover -t guest/runtimes/python -s guest/runtimes/python/tests
	@for language in $(BINDINGS); do echo "== bindings/$$language"; bindings/$$language/test.sh; done

.PHONY: lint
lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	shellcheck -x -P SCRIPTDIR install.sh guest/kernel/build.sh guest/rootfs/build.sh .ci/run .ci/setup bindings/*/*.sh

# The library, the header, zeroboot.pc and the command, under PREFIX; DESTDIR is for packages.
PREFIX := /usr/local
DESTDIR :=
.PHONY: install
install: build
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' ./install.sh

.PHONY: bench
bench: template
	@cargo bench --locked --bench lifecycle

# The committed header, after a change of src/ffi.
.PHONY: header
header: setup
	ZEROBOOT_UPDATE_HEADER=1 cargo test --locked --test c_api header

.PHONY: clean
clean:
	cargo clean
