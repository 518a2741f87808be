# A thin front: every target is one command that can be run without make as well.
.DEFAULT_GOAL := help
.PHONY: help setup demo check build test bench soak fuzz asan tsan clang lint format install clean

JOBS ?= $(shell nproc)
export JOBS

help: ## this list
	@echo "DVS: make TARGET [VARIABLE=VALUE]"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

demo: ## the dvk's examples between two nodes on this machine (scripts/demo; needs root)
	@scripts/demo

check: ## exactly what continuous integration runs (scripts/check)
	@.ci/run

setup: ## install what a bare Debian 12 needs (scripts/bootstrap)
	@scripts/bootstrap --with all

build: ## the release build, in build/release
	@scripts/bootstrap
	cmake --preset release
	cmake --build --preset release --parallel $(JOBS)

test: ## unit tests of the release build; TESTS=REGEX for some of all
	@$(MAKE) --no-print-directory build
	ctest --test-dir build/release --parallel $(JOBS) --output-on-failure $(if $(TESTS),-R '$(TESTS)',-L unit)

bench: ## the dvk measured beside its peers, into build/bench.json
	@$(MAKE) --no-print-directory build
	scripts/bench

soak: ## long campaigns: simulator, mutants, link cuts, moves; SEED= MINUTES= (scripts/soak)
	@scripts/soak $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

fuzz: ## every decoder and the ring reader, MINUTES=5 each; TARGETS= for some (scripts/fuzz)
	@scripts/fuzz --seconds $$((60 * $(or $(MINUTES),5))) $(if $(SEED),--seed $(SEED)) $(TARGETS)

asan: ## all tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/bootstrap
	cmake --preset asan
	cmake --build --preset asan --parallel $(JOBS)
	ctest --test-dir build/asan --parallel $(JOBS) --output-on-failure -LE '^(lint|mutation)$$'

tsan: ## tests of what threads and processes share, under ThreadSanitizer
	@scripts/check --stage tsan

clang: ## everything built with clang-16, and the unit tests run
	@scripts/bootstrap --with fuzz
	cmake --preset clang
	cmake --build --preset clang --parallel $(JOBS)
	ctest --test-dir build/clang --parallel $(JOBS) --output-on-failure -L unit

lint: ## layout, names, documentation, clang-tidy on what changed; FILES=all for all (scripts/lint)
	@scripts/lint $(FILES)

format: ## lay all code out as .clang-format says
	@scripts/bootstrap --with lint
	find include src sim tests examples bench fuzz -name '*.[ch]pp' -o -name '*.[ch]' | xargs clang-format-16 -i

install: ## dvsd, libdvk and its headers, to PREFIX=/usr/local (DESTDIR= for packages)
	@$(MAKE) --no-print-directory build
	cmake --install build/release --prefix $(or $(PREFIX),/usr/local)

clean: ## remove everything that was built
	rm -rf build
