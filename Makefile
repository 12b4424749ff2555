# sluicegate's commands. A fresh machine needs Python >= 3.10, Rust (rustup) and a C compiler; the rest is
# installed into .venv by the first command that wants it, and built again only when its sources changed.
#
#   make test PYTHON=python3.12    another interpreter: it gets a virtual environment of its own, .venv-3.12
#   make demo V=1                  show the commands

SHELL := /bin/bash
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # two suites at once on a small machine only find each other's noise
ifndef V
.SILENT:
endif

# --- which Python, which environment --------------------------------------------------------------------------

# The supported ones, oldest first: pyproject.toml's classifiers are the list. Free-threaded is the newest.
PYTHONS := $(shell sed -n 's/^.*"Programming Language :: Python :: \(3\.[0-9]*\)".*/python\1/p' pyproject.toml)
FREE_THREADED := $(lastword $(PYTHONS))t
reversed = $(if $1,$(call reversed,$(wordlist 2,$(words $1),$1)) $(firstword $1))

# PYTHON given: that interpreter, in its own environment (.venv-3.12 for python3.12). Not given: .venv, made by
# the first interpreter on PATH that is new enough and can make environments. Each environment has its own
# target directory, because a switch of interpreters builds PyO3 anew.
ifeq ($(PYTHON),)
  CANDIDATES := python3 $(call reversed,$(PYTHONS)) python
  VENV ?= .venv
  TARGET_DIR := target
else
  CANDIDATES := $(PYTHON)
  SUFFIX := $(patsubst python%,%,$(notdir $(PYTHON)))
  VENV ?= .venv-$(SUFFIX)
  TARGET_DIR := target/python-$(SUFFIX)
endif

BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip install
# Panics say where in the source they arose; where that lies on this machine is nobody's business.
REMAP = --remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=cargo --remap-path-prefix=$$(rustc --print sysroot)=rust
MATURIN = RUSTFLAGS="$$RUSTFLAGS $(REMAP)" VIRTUAL_ENV='$(abspath $(VENV))' $(BIN)/maturin
QUIET := $(if $(V),,--quiet)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
ifndef V
export PIP_QUIET := 1
endif
unexport PYTHONPATH PYTHONHOME
# The first process of a test run compiles what the others, some thousand of them, then only read.
unexport PYTHONDONTWRITEBYTECODE

# --- stamps: a recipe runs only when something it depends on is newer -------------------------------------------

MADE := $(VENV)/.made
TOOLS := $(VENV)/.tools
BUILT := $(VENV)/.built
PEERS := $(VENV)/.peers
# Folders too: their time changes when a file is taken away.
RUST_SOURCES := Cargo.toml Cargo.lock $(shell find src -type d -o -name '*.rs' -o -name Cargo.toml)

$(MADE):
	for one in $(CANDIDATES); do \
	    if "$$one" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then \
	        echo "== $(VENV): a virtual environment of $$("$$one" --version)"; \
	        rm -rf '$(VENV)' && "$$one" -m venv '$(VENV)' && break || exit 1; \
	    fi; \
	done; \
	if [ ! -x '$(PY)' ]; then \
	    echo 'sluicegate needs Python >= 3.10 with its venv module (on Debian: apt install python3-venv).' >&2; \
	    echo 'Looked for: $(CANDIDATES). To name another one: make PYTHON=/path/to/python3 ...' >&2; \
	    exit 1; \
	fi
	$(PIP) --upgrade 'pip>=25.1' # the first that knows --group
	touch $@

# The default environment has the tools of `make check` as well, the others what building and testing needs.
$(TOOLS): $(MADE) pyproject.toml
	echo "== $(VENV): tools"
	$(PIP) --prefer-binary $(if $(PYTHON),--group build --group test,--group all)
	touch $@

$(BUILT): $(TOOLS) $(RUST_SOURCES)
	command -v cargo >/dev/null || { echo 'sluicegate needs Rust: install it with rustup (rustup.rs)' >&2; exit 1; }
	echo "== $(VENV): building the extension in release mode"
	$(MATURIN) develop --release --locked --target-dir '$(TARGET_DIR)' $(QUIET)
	touch $@

# The peers are those of the extra `bench`; one that has no wheel for this interpreter is left out.
$(PEERS): $(BUILT)
	echo "== $(VENV): peers to measure against"
	set -o pipefail; $(PY) -c 'from importlib.metadata import requires as r; \
	    print(*[x.split(";")[0].strip() for x in r("sluicegate") if "bench" in x], sep="\n")' | \
	while read -r peer; do \
	    $(PIP) --only-binary :all: "$$peer" || echo "left out: $$peer" >&2; \
	done
	touch $@

# --- what people run --------------------------------------------------------------------------------------------

.PHONY: help build demo bench bench-goals bench-pythons bench-core docs
help: ## this list
	echo 'make TARGET, where TARGET is one of'
	sed -n 's/^\([a-z][a-z0-9-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | \
	    while IFS='|' read -r name text; do printf '  %-20s %s\n' "$$name" "$$text"; done

build: $(BUILT) ## the extension, built and installed into .venv

demo: $(BUILT) ## the demonstration; ARGS=--slow, ARGS="--queue stdlib" or ARGS=/some/folder
	$(PY) -m sluicegate demo $(ARGS)

bench: $(PEERS) ## sluicegate beside its peers; ARGS="--quick --json figures.json"
	$(PY) -m sluicegate bench $(ARGS)

bench-goals: $(PEERS) ## the rows that have a goal of ours, judged, every kind of refusal, and what a key weighs; ARGS="--quick --only async"
	$(PY) benches/python/goals.py $(ARGS)
	$(if $(ARGS),,$(PY) benches/python/refusals.py)
	$(if $(ARGS),,$(PY) benches/python/keyed_memory.py)
	$(if $(ARGS),,$(PY) benches/python/keyed_pauses.py)

# Names on PATH or paths, and a set of rows that shows each kind of object once.
BENCH_PYTHONS ?= $(PYTHONS) $(FREE_THREADED)
ROWS ?= put-get simple lifo priority get-refused put-refused put-get-timeout threads-1-1 threads-4-4 hand-off batches async async-timeout \
    thread-to-loop loop-to-thread crowd-get try-acquire try-acquire-threads acquire-async acquire-timeout credit credit-async
bench-pythons: $(MADE) ## one table, a column for each of BENCH_PYTHONS that is there; ROWS="put-get async" ARGS=--quick
	rm -rf target/bench && mkdir -p target/bench
	for one in $(BENCH_PYTHONS); do \
	    if "$$one" -c '' >/dev/null 2>&1; then \
	        $(MAKE) --no-print-directory PYTHON=$$one bench \
	            ARGS="--json target/bench/$${one##*/}.json $(addprefix --only ,$(ROWS)) $(ARGS)" || exit 1; \
	    else \
	        echo "skipped: $$one is not there"; \
	    fi; \
	done
	$(PY) benches/python/side_by_side.py --markdown target/bench/*.json

docs: $(BUILT) ## the guide's pictures, drawn anew from runs of what they show
	$(PIP) --group docs
	set -e; for each in docs/plots/*.py; do \
	    echo "== $$each"; \
	    $(PY) "$$each"; \
	done

bench-core: ## the Rust core alone (criterion)
	cargo bench --locked --package sluicegate-bench

# --- tests ------------------------------------------------------------------------------------------------------

.PHONY: test test-core test-python test-threads test-free-threaded test-all build-free-threaded
# The core's tests run while the extension is built, which keeps one processor busy; what they say comes after it.
test: $(TOOLS) ## Rust core, Python suite, and the suite on a free-threaded Python if there is one
	mkdir -p target
	$(MAKE) --no-print-directory test-core >target/test-core.log 2>&1 & core=$$!; \
	$(MAKE) --no-print-directory build build-free-threaded; built=$$?; \
	wait $$core; tested=$$?; \
	cat target/test-core.log; \
	[ $$built = 0 ] && [ $$tested = 0 ]
	$(MAKE) --no-print-directory test-python test-free-threaded

test-core: ## the Rust core's tests (no Python needed)
	echo '== cargo test: the core'
	cargo test --locked --quiet

# Several processes, and each file in one of them, in the order that conftest.py gives them. `SIDE_BY_SIDE=` runs them one after another,
# where output or a debugger is wanted.
SIDE_BY_SIDE := -n auto --dist loadfile --no-loadscope-reorder
test-python: $(BUILT) ## the Python suite; ARGS="-k cancel"
	echo "== pytest on $$($(PY) -c 'import sys; print(sys.version)')"
	$(PY) -m pytest $(SIDE_BY_SIDE) $(ARGS)

# Each test in several threads at once: what a free-threaded build is for, and what goes wrong there first.
# (Tests that cannot, signals for one, have had their turn in `test-python`.)
THREADS := 4
test-threads: $(BUILT) ## the Python suite, each test in several threads at once
	echo "== pytest, each test in $(THREADS) threads, on $$($(PY) -c 'import sys; print(sys.version)')"
	$(PY) -m pytest -q $(SIDE_BY_SIDE) --parallel-threads=$(THREADS) --skip-thread-unsafe=True $(ARGS)

on_free_threaded = if $(FREE_THREADED) -c '' >/dev/null 2>&1; then \
	    $(MAKE) --no-print-directory PYTHON=$(FREE_THREADED) $1; \
	else \
	    echo 'skipped: $(FREE_THREADED) is not on PATH'; \
	fi

build-free-threaded:
	$(call on_free_threaded,build)

test-free-threaded: ## both of the above on the newest free-threaded Python, where that is on PATH
	$(call on_free_threaded,test-python test-threads)

test-all: test ## `test`, and the Python suite on every supported Python on PATH
	for one in $(PYTHONS); do \
	    if "$$one" -c '' >/dev/null 2>&1; then \
	        $(MAKE) --no-print-directory PYTHON=$$one test-python || exit 1; \
	    else \
	        echo "skipped: $$one is not on PATH"; \
	    fi; \
	done

# A test run tries in short what the promises name in full: a million items, a thousand ends, 100,000 headers (the four tests of the parsers
# together). These are the files that look at the variables, or at what helpers.py makes of them.
LONG = $(shell grep -lwE 'SLUICEGATE_[A-Z_]+|STORM_ITEMS|ROUNDS|fair_storm' tests/python/test_*.py)
LONG_PARSERS := tests/python/test_http_addresses.py tests/python/test_http_limits.py
LONG_PYTEST = $(PY) -m pytest $(SIDE_BY_SIDE) --timeout=3600 -o faulthandler_timeout=3600
.PHONY: test-long
test-long: export PROPTEST_CASES ?= 5000
test-long: export SLUICEGATE_STORM_ITEMS ?= 1000000
test-long: export SLUICEGATE_CREDIT_STORM_SECONDS ?= 30
test-long: export SLUICEGATE_RATE_STORM_SECONDS ?= 3
test-long: export SLUICEGATE_SEMAPHORE_STORM_SECONDS ?= 30
test-long: export SLUICEGATE_KEYED_KEYS ?= 1000000
test-long: export SLUICEGATE_ROTATING_ADDRESSES ?= 1000000
test-long: export SLUICEGATE_PIPELINE_ITEMS ?= 1000000
test-long: export SLUICEGATE_PIPELINE_KILLS ?= 1000
test-long: $(BUILT) ## the tests that a test run does in short, with the promises' figures: storms, models (loom's too), parsers; not in CI
	echo "== cargo test: the core's properties, $$PROPTEST_CASES cases of each"
	cargo test --locked --quiet --test 'props_*' --test core_select --test core_semaphore_keyed
	LOOM_MAX_PREEMPTIONS=$${LOOM_MAX_PREEMPTIONS:-4} $(MAKE) --no-print-directory check-loom
	echo "== pytest with the figures of the promises, on $$($(PY) -c 'import sys; print(sys.version)')"
	SLUICEGATE_MODEL_EXAMPLES=$${SLUICEGATE_MODEL_EXAMPLES:-25000} $(LONG_PYTEST) $(LONG_PARSERS)
	SLUICEGATE_MODEL_EXAMPLES=$${SLUICEGATE_MODEL_EXAMPLES:-5000} $(LONG_PYTEST) $(filter-out $(LONG_PARSERS),$(LONG))

# --- checks -----------------------------------------------------------------------------------------------------

.PHONY: check check-house check-rust check-style check-types check-stubs check-docs check-oracles check-oracles-newest check-loom
# `check-docs` and `check-oracles` are parts of the suite, for running these alone: `make test` has run and counted them.
check: check-house check-rust check-style check-types check-stubs check-loom ## all of the following but check-docs and check-oracles, which are in the suite, and check-oracles-newest

check-house: $(TOOLS) ## no import circle, no long file, no old name; one list of Pythons, one of unsafe files, one sentence about it; licences
	for each in check_circles.py check_sizes.py check_unsafe.py check_old_name.py check_versions.py check_description.py 'licences.py --check'; do \
	    echo "== $$each"; \
	    $(PY) .ci/$$each || failed=1; \
	done; [ -z "$$failed" ]

check-rust: export PYO3_PYTHON = $(abspath $(PY))
check-rust: $(TOOLS) ## rustfmt, clippy (without the feature tokio too) and rustdoc, with warnings as errors
	echo '== cargo fmt'
	cargo fmt --all --check
	echo '== cargo clippy'
	cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
	echo '== cargo clippy, without default features'
	cargo clippy --locked --package sluicegate-py --no-default-features --quiet -- -D warnings
	echo '== cargo doc'
	RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --locked --workspace --no-deps --document-private-items --quiet

check-style: $(TOOLS) ## ruff: format and lint
	echo '== ruff'
	$(BIN)/ruff format --diff --quiet .
	$(BIN)/ruff check --quiet .

# The interpreter is given by PATH, because --verifytypes does not look at --pythonpath.
check-types: $(BUILT) ## pyright on package and tests, mypy on what is for both; every public name has a type
	echo '== pyright'
	PATH='$(abspath $(BIN))':"$$PATH" pyright
	echo '== mypy --strict on the types of chains'
	$(PY) -m mypy --config-file tests/python/typing/mypy.ini tests/python/typing/chains.py
	echo '== pyright --verifytypes sluicegate'
	PATH='$(abspath $(BIN))':"$$PATH" pyright --ignoreexternal --verifytypes sluicegate

check-stubs: $(BUILT) ## the stub beside the binary: docstrings, and names and signatures (stubtest)
	echo '== docstrings of the stub'
	$(PY) .ci/stubs.py --check
	$(PY) .ci/statistics.py --check
	echo '== stubtest'
	$(PY) -m mypy.stubtest sluicegate --concise --mypy-config-file pyproject.toml \
	    --allowlist tests/python/typing/stubtest.txt --ignore-unused-allowlist

check-docs: $(BUILT) ## the code blocks of README and docs
	echo '== code blocks of README and docs'
	$(PY) -m pytest -q tests/python/test_docs.py

# The oracle for "drop-in"; the suite itself fails if CPython's tests are there and none of them ran.
check-oracles: $(BUILT) ## CPython's own queue tests against our classes, counted
	echo "== CPython's queue tests"
	$(PY) -m pytest -q $(SIDE_BY_SIDE) tests/python/stdlib_queue

# The suite of a newer CPython runs on this interpreter too. Of those on PATH, the newest that ships it (some distributions leave it out).
check-oracles-newest: $(BUILT) ## CPython's tests of thread pools, of the newest Python on PATH that ships them, on this one
	for one in $(FREE_THREADED) $(call reversed,$(PYTHONS)); do \
	    tests=$$("$$one" -c 'import os, test.test_concurrent_futures as t; \
	        print(os.path.dirname(os.path.dirname(t.__file__)) if hasattr(t, "__path__") else "")' 2>/dev/null); \
	    if [ -n "$$tests" ]; then \
	        echo "== CPython's tests of thread pools, of $$("$$one" --version), on $$($(PY) --version)"; \
	        SLUICEGATE_CPYTHON_TESTS="$$tests" $(PY) -m pytest -q $(ARGS) tests/python/stdlib_queue/test_cpython_futures.py; \
	        exit; \
	    fi; \
	done; \
	echo 'skipped: no Python on PATH ships the package test.test_concurrent_futures (3.12 or newer)'

# Own target directory: the flag is part of every crate's build. Two or three preemptions find what models of this size can show (loom's own
# advice); each more multiplies the time, here by six. `make test-long` tries four.
check-loom: ## models of the wait list, over every interleaving (loom)
	echo '== loom'
	LOOM_MAX_PREEMPTIONS=$${LOOM_MAX_PREEMPTIONS:-3} RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom \
	    cargo test --locked --profile loom --quiet --test 'loom_*'

.PHONY: test-users
test-users: $(BUILT) ## other projects' own tests with our queues in the place of queue's; ARGS="kombu celery"; not in CI
	$(PY) tests/users/run.py --work target/users $(ARGS)

# --- packages ---------------------------------------------------------------------------------------------------

.PHONY: wheel sdist
wheel: $(TOOLS) ## a wheel in dist/, audited, then tested with no compiler and no source tree in reach
	echo '== wheel'
	rm -rf dist/new && mkdir -p dist/new
	$(MATURIN) build --release --locked --target-dir '$(TARGET_DIR)' --interpreter '$(abspath $(PY))' \
	    --compatibility pypi --auditwheel check --out dist/new $(QUIET)
	.ci/test-wheel '$(abspath $(PY))' dist/new/*.whl $(ARGS)
	mv dist/new/*.whl dist/ && rmdir dist/new

sdist: $(TOOLS) ## the source distribution in dist/, then installed from in an empty environment
	echo '== sdist'
	rm -rf dist/new && mkdir -p dist/new
	$(MATURIN) sdist --out dist/new
	.ci/test-sdist '$(abspath $(PY))' dist/new/*.tar.gz
	mv dist/new/*.tar.gz dist/ && rmdir dist/new

# --- the rest ---------------------------------------------------------------------------------------------------

.PHONY: stubs licences fmt clean
stubs: $(BUILT) ## the docstrings of the stub and the page of statistics, from the package itself
	$(PY) .ci/stubs.py
	$(PY) .ci/statistics.py

licences: $(TOOLS) ## LICENSES-THIRD-PARTY.txt, from Cargo.lock
	$(PY) .ci/licences.py

fmt: $(TOOLS) ## format Rust and Python, and mend what the linter can mend by itself
	cargo fmt --all
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format --quiet .

clean: ## remove everything that was built or installed here
	rm -rf target dist .venv .venv-* .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
	find python \( -name '_core.*.so' -o -name '_core.*.pyd' \) -delete
