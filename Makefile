# What people do with this project, each in one word. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

SWIFT ?= swift
PREFIX ?= /usr/local
# mount(8) looks for its helpers there only.
MOUNT_HELPERS ?= /sbin
# One release build serves the demo, the tests, the benchmarks and `make install`.
RELEASE := -c release --static-swift-stdlib
LINTED := $(wildcard Sources Tests Examples Benchmarks Fuzz) Package.swift
export SWIFT

.PHONY: help
help: ## Show this list.
	@echo "make TARGET, where TARGET is one of:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: dependencies-demo ## Make an image (or take IMAGE=file), show it, mount it read-only, check it.
	@$(SWIFT) build $(RELEASE) --product ext4
	@scripts/demo $(if $(IMAGE),'$(IMAGE)')

.PHONY: test
test: dependencies-test ## Run every test that is quick enough for every day.
	@scripts/test

.PHONY: test-all
test-all: dependencies-test ## Run every test, the slow ones too.
	@scripts/test --all

.PHONY: crash
crash: dependencies-test ## Crash volumes in 50,000 ways and more, as CI does; minutes.
	@$(SWIFT) build $(RELEASE) --product ext4
	@scripts/crash

.PHONY: crash-night
crash-night: dependencies-test ## The same with all pairs of operations and many triples; hours.
	@$(SWIFT) build $(RELEASE) --product ext4
	@scripts/crash --night

.PHONY: fuzz
fuzz: dependencies-fuzz ## Feed damaged volumes to the engine for FUZZ_SECONDS (120).
	@scripts/fuzz $(FUZZ_SECONDS)

.PHONY: tsan
tsan: dependencies-test ## Run the tests with many threads under the thread sanitizer.
	@scripts/tsan

.PHONY: soak
soak: dependencies-test ## Kill the mount's process 1,000 times under writers, and the power as often.
	@$(SWIFT) build $(RELEASE) --product ext4
	@$(SWIFT) build $(RELEASE) --product ext4-soak
	@scripts/soak $(SOAK_FAILURES)

.PHONY: check
check: lint test ## Format lint, build, and `make test`: what a change must pass.

.PHONY: lint
lint: ## Hold every Swift file against .swift-format.
	@$(SWIFT) format lint --strict --recursive $(LINTED)
	@echo "format: clean"

.PHONY: format
format: ## Put every Swift file into the format.
	@$(SWIFT) format --in-place --recursive $(LINTED)

.PHONY: build
build: dependencies-build ## Build everything for debugging.
	@$(SWIFT) build

.PHONY: release
release: dependencies-build ## Build everything optimised.
	@$(SWIFT) build $(RELEASE)

.PHONY: embedded
embedded: ## Compile the engine as Embedded Swift, for a machine without an operating system.
	@scripts/embedded

.PHONY: test-programs
test-programs: dependencies-programs ## Run real programs in a mount, their quick form; needs root.
	@$(SWIFT) build $(RELEASE) --product ext4
	@Tests/RealPrograms/run $(PROGRAMS)

.PHONY: test-programs-all
test-programs-all: dependencies-programs ## Run all of them in full: an hour and more.
	@$(SWIFT) build $(RELEASE) --product ext4
	@Tests/RealPrograms/run --all $(PROGRAMS)

.PHONY: test-boot
test-boot: dependencies-boot ## Boot a kernel in QEMU from images made here, and have it use others.
	@$(SWIFT) build $(RELEASE) --product ext4
	@scripts/boot

.PHONY: bench
bench: dependencies-bench ## Race the mount against fuse2fs and the kernel's ext4; needs root.
	@$(SWIFT) build $(RELEASE) --product ext4
	@Benchmarks/race
	@Benchmarks/read-speed

.PHONY: install
install: dependencies-build ## Install the command under PREFIX (/usr/local), and mount(8)'s helper.
	@$(SWIFT) build $(RELEASE) --product ext4
	install -D -s -m 0755 .build/release/ext4 '$(DESTDIR)$(PREFIX)/bin/ext4'
	install -D -m 0755 scripts/mount.fuse.ext4 '$(DESTDIR)$(MOUNT_HELPERS)/mount.fuse.ext4'

.PHONY: clean
clean: ## Remove what was built.
	rm -rf .build .build-*

dependencies-%:
	@scripts/install-dependencies $*
