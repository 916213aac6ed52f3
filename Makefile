# Each target installs what it needs first (scripts/setup).
.PHONY: help setup demo test test-quick lint fuzz faults soak bench-audit bench-push lab-down clean

help:
	@echo "make demo        a lab, the example's images, one deployment with its verdict"
	@echo "make demo STORY=promotion   canary passes, staging promotes, bad releases go back: about four minutes"
	@echo "make test        linters, unit tests, the report in a browser, tests on real lab hosts"
	@echo "make test-quick  linters, unit tests, one deployment"
	@echo "make lint        linters only"
	@echo "make fuzz        every parser against inputs gone wrong, FUZZ_SECONDS in all (60)"
	@echo "make faults      every fault in every stage of a deploy, FAULT_MINUTES of it (60)"
	@echo "make soak        SOAK_DEPLOYS (100) deploys and rollbacks, a fault in every fifth: what grows?"
	@echo "make setup       only install what is missing"
	@echo "make bench-push  how fast images reach hosts, beside other ways (about ten minutes)"
	@echo "make bench-audit how long audits take, beside Ansible gathering facts (about three minutes)"
	@echo "make lab-down    remove the demo's and the tests' labs, with their keys and secrets"
	@echo "make clean       remove caches and .venv"

setup:
	@scripts/setup

demo:
	@STORY='$(STORY)' scripts/demo

test:
	@scripts/test

test-quick:
	@scripts/test --quick

lint: setup
	@scripts/lint

# Guided by coverage where atheris has a build for this machine, else by hypothesis alone.
fuzz: setup
	@.venv/bin/pip install -qq --disable-pip-version-check --require-hashes -r requirements-fuzz.lock 2>/dev/null || true
	@.venv/bin/python scripts/fuzz

# On a lab of their own (docs/reliability.md).
faults: setup
	@scripts/faults matrix

soak: setup
	@scripts/faults soak

bench-push: setup
	.venv/bin/python bench/push.py

bench-audit: setup
	.venv/bin/python bench/audit.py

lab-down: setup
	for lab in default test test-2 test-3 test-4 test-bare faults; do .venv/bin/canaryctl lab down --purge --name $$lab; done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
