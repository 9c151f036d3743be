# SPDX-License-Identifier: GPL-2.0-only
#
# Every target is one script, callable without make as well. Variables given
# on the command line reach the script through the environment.

# "make run SHELL=1" must not make 1 the shell of the recipes.
ifeq ($(origin SHELL),command line)
override RUN_SHELL := $(SHELL)
export RUN_SHELL
endif
override SHELL := /bin/bash

BUILD ?= $(CURDIR)/build
export BUILD
# Kernels other than the default one have folders of their own in it: scripts/lib.sh.
BUILDS = $(addprefix $(BUILD)/,$(shell awk '$$1 == "kernel" { print $$2 }' kernels.conf)) $(BUILD)

.DEFAULT_GOAL := help
.PHONY: help
help: ## this list
	@echo "Restricted DMA windows for Linux guests, $$(cat VERSION). Targets:"
	@echo
	@awk -F ' *## ' '/^[a-z-]+:.*## / { sub(":.*", "", $$1); \
		printf "  %-16s %s\n", $$1, $$2 } \
		/^##   / { printf "  %-16s %s\n", "", substr($$0, 6) }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo 'Variables:'
	@echo '  KERNEL=6.12      which kernel of kernels.conf; others than 6.12 in build/KERNEL'
	@echo '  BUILD=dir        where everything generated goes (default: build)'
	@echo '  JOBS=n           parallel compile jobs (default: all processors)'

.PHONY: tree
tree: ## prepare build/src/linux-KERNEL: hooks applied, overlay linked
##   KDIR=dir or TARBALL=file: another source than the Debian package
	@scripts/tree

.PHONY: refresh
refresh: ## regenerate patches/KERNEL from the hooks edited in that tree
##   P=NNNN: the edits belong to that patch, not to the last of the file
	@scripts/refresh

.PHONY: kernel
kernel: ## build the guest kernel (FLAVOUR=base or debug) in build/kernel/
	@scripts/kernel $(or $(FLAVOUR),base)

.PHONY: run
run: ## a guest whose backends see only their windows, and the proof
##   SHELL=1: an interactive shell in such a guest; NET=1: dpdk-testpmd, too
##   STOCK=1: Debian's own kernel and the module, in minutes; ARCH=arm64 or amd64
	@scripts/run

.PHONY: check
check: ## everything that is tested: lint, host tools, guests
##   T=name: only this test; logs and KTAP are kept in build/check/
	@scripts/check

.PHONY: check-all
check-all: ## check on each kernel of kernels.conf, and a table (hours)
##   goes on where it was interrupted; CELLS="6.12/base ...": only these
	@scripts/check-all

.PHONY: kunit
kunit: ## the pool's KUnit tests in a user-mode kernel, without a guest
##   two minutes the first time, seconds later
	@scripts/kunit

.PHONY: soak
soak: ## random tests with new seeds, and everything at once (long)
##   MINUTES=n: 10 by default, and 200 device trees at least; SEED=n: repeat a run
	@scripts/soak

.PHONY: mutants
mutants: ## break the code on purpose, see whether the tests notice (long)
##   M=GLOB: only these (scripts/mutants --list); results in build/mutants/
	@scripts/mutants

.PHONY: bench
bench: ## what DMA costs: mainline's pool, a window and neither, in one boot (long)
##   B="GUEST ...": only these (scripts/bench --list); results in build/bench/
	@scripts/bench

.PHONY: lint
lint: ## static checks: checkpatch, sparse, W=1, dt-schema, series ...
##   T="name ...": only these (scripts/lint --list); output in build/check/lint/
	@scripts/lint $(T)

.PHONY: series
series: ## write the git am-able series to build/series/KERNEL/
	@scripts/series

.PHONY: series-check
series-check: ## git am the series patch by patch, build after each (long)
	@scripts/series-check

.PHONY: install-into
install-into: ## KDIR=dir: put hooks and overlay into your own kernel tree
##   repeat it to update; FORCE=1 overwrites files edited since
	@scripts/install-into install

.PHONY: uninstall-from
uninstall-from: ## KDIR=dir: take them out again
	@scripts/install-into uninstall

.PHONY: vhost
vhost: ## build the host tools (vhost-user-guard)
	@$(MAKE) --no-print-directory -C tools/vhost O=$(abspath $(BUILD))/vhost

.PHONY: deb
deb: ## build Debian packages: dma-window-dkms, vhost-user-guard
##   in build/deb/; the first is for guests, the other for hosts
	@scripts/deb

.PHONY: tool
tool: ## build dma-window, which looks at windows and sizes them
	@$(MAKE) --no-print-directory -C tools/dma O=$(abspath $(BUILD))/dma

.PHONY: clean
clean: ## remove what was built; sources and downloads stay
	rm -rf $(foreach b,$(BUILDS),$(addprefix $b/,bench check check-all deb dma guest initramfs kernel \
		kunit log mutants packages run series series-check soak vhost))

.PHONY: distclean
distclean: clean ## remove sources, downloads and the compiler cache, too
	rm -rf $(foreach b,$(BUILDS),$(addprefix $b/,apt ccache dl src .apt-updated))
	-@rmdir $(BUILDS) 2>/dev/null || :
