SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
export ONLY

# Temporary files of tests stay in the checkout.
PYTEST := TMPDIR="$(CURDIR)/.local/tmp" .venv/bin/pytest

.PHONY: help demo test check bench soak fresh screenshot lock clean run-setup dev-setup

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

demo: run-setup ## a hub with real open data on 127.0.0.1:8000; Ctrl-C ends it
	@exec .venv/bin/hub demo

test: dev-setup ## every test, with branch coverage
	$(PYTEST) -n 2 --dist loadscope -m "not soak" --cov --cov-report=term --cov-fail-under=90

check: dev-setup ## lint, types, import contracts, tests that need no database
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PYTEST) -q -m "not db and not slow and not soak"

bench: dev-setup ## benchmarks; ONLY=query for a part
	@.venv/bin/python -m pip -q --disable-pip-version-check install --no-deps --require-hashes --only-binary :all: -r requirements-bench.lock
	.venv/bin/python -m tests.bench

soak: dev-setup ## the long runs
	.venv/bin/python -m tests.soak

fresh: ## demo and tests on a bare Debian in a chroot (root, minutes)
	@scripts/fresh

screenshot: dev-setup ## the pictures in docs/pictures, from a demo (which it starts if none runs); ONLY=map for one
	@.venv/bin/python scripts/screenshot.py $(ONLY)

lock: ## new lock files; UPGRADE=1 for newest versions
	@scripts/lock

clean: ## stop this checkout's clusters; remove .local, .venv and caches
	@scripts/clean

run-setup:
	@scripts/setup run

dev-setup:
	@scripts/setup dev
