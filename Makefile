# One word for each habit. `make env` makes .venv; everything else uses it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# Machine code of the usual kernels, package data that git ignores: by default for the processor at hand.
COMPILE := $(BIN)/cartalg compile --out generated/cartalg_kernels/objects cartalg/datasets/acetamide/config.yaml $(wildcard docs/examples/*.yaml)

.PHONY: help env demo docs test check test-all mutants generate bench figures wheel clean

help:
	@echo "make demo      the whole pipeline on shipped data, with plots and a report in demo/"
	@echo "make docs      the documentation as a site in site/, offline, with the atlas"
	@echo "make test      environment, lint, format, types, staleness of generated/, all tests"
	@echo "make check     the same without making the environment first"
	@echo "make test-all  everything, with the long campaign: all kernels compiled, proofs to rank 4"
	@echo "make mutants   faults planted one at a time, and the check that catches each: docs/reliability.md"
	@echo "make env       only the environment, .venv"
	@echo "make generate  derive the rules and write generated/ anew"
	@echo "make bench     time kernels and the potential beside their peers, on this machine"
	@echo "make figures   roofline, growth with rank and radial knots, into docs/images"
	@echo "make wheel     dist/, from the sources alone: nothing of an older build gets in"

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(COMPILE)
	touch $(STAMP)

demo: env
	$(BIN)/cartalg demo --output demo

docs: env
	$(BIN)/python docs/_site/build.py --out site --atlas-rank 3

test: env check

check:
	$(COMPILE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cartalg generate --check
	$(BIN)/pytest --numprocesses 2 $(PYTEST_FLAGS)

test-all: env
	$(MAKE) check PYTEST_FLAGS="-m ''"
	$(BIN)/cartalg prove --max-rank 4

mutants: env
	$(BIN)/python tests/mutants/campaign.py --write

wheel: env
	rm -rf build dist *.egg-info
	$(COMPILE) --level x86-64-v3 --level x86-64-v4
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	rm -rf build

generate: env
	$(BIN)/cartalg generate
	$(COMPILE)

bench: env
	$(BIN)/python tests/benchmarks/bench.py

figures: env
	$(BIN)/python tests/benchmarks/figures.py roofline growth knots

clean:
	rm -rf $(VENV) build dist *.egg-info demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
