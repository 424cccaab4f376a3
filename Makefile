# make demo: environment, install, train on the embedded world, pictures. make test: environment, install, tests.
# PIP_ARGS goes to pip: PIP_ARGS="--index-url https://download.pytorch.org/whl/cu126 --extra-index-url https://pypi.org/simple"
# picks a CUDA build of torch, .../whl/cpu the CPU build. Set CONSTRAINTS= (empty) to install the newest versions in range.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
PIP_ARGS ?=
BIN := $(VENV)/bin
PIP_CONSTRAINTS := $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

.PHONY: demo test lint clean

demo: $(VENV)/.demo
	$(BIN)/python -m inkwash demo --out demo-out

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.test
	$(BIN)/ruff check src tests tools benchmarks
	$(BIN)/lint-imports

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "Python 3.11 or newer is needed; name it with PYTHON=..." && exit 1)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install $(PIP_ARGS) $(PIP_CONSTRAINTS) -e .
	@touch $@

$(VENV)/.test: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install $(PIP_ARGS) $(PIP_CONSTRAINTS) -e '.[test]'
	$(BIN)/python -m pip install $(PIP_ARGS) -q --upgrade --target $(VENV)/openai-old 'openai<1'
	@touch $(VENV)/.demo $@

clean:
	rm -rf $(VENV) build src/*.egg-info demo-out
