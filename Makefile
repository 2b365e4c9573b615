# Everything runs in .venv, which is made here when it is missing or its inputs changed.
PYTHON ?= python3
BIN := .venv/bin
BOOK := $(BIN)/python tools/book.py
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
NBVAL := $(PYTEST) --nbval-current-env --nbval-sanitize-with tests/book/nbval_sanitize.cfg

# One thread a process: numbers repeat, and parallel tests do not fight for cores.
test: export OMP_NUM_THREADS := 1
test: export MKL_NUM_THREADS := 1
test: export OPENBLAS_NUM_THREADS := 1
test: export PYTHONPATH := $(CURDIR)
test lab: export TRANSFORMERS_VERBOSITY := error

.DEFAULT_GOAL := help
.PHONY: help book test chapter lab figures lint clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: .venv/.installed  ## execute what changed and build the book into _build/html
	@$(BOOK) build

test: .venv/.installed  ## run every test, then every notebook
	$(PYTEST) tests
	@theory=$$($(BOOK) notebooks theory) && { test -z "$$theory" || $(NBVAL) --nbval $$theory; }
	@training=$$($(BOOK) notebooks training) && \
		{ test -z "$$training" || $(NBVAL) --nbval-lax $$training; }

chapter: .venv/.installed  ## NAME=01: execute that chapter and write its notebook
	@$(BOOK) chapter "$$NAME"

lab: .venv/.installed  ## open the chapters in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=chapters $(if $(filter 0,$(shell id -u)),--allow-root)

figures: .venv/.installed  ## write every figure of the book to _build/figures
	@$(BOOK) figures

lint: .venv/.installed  ## check style and the layers of the library
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

clean:  ## remove what was built; keeps .venv
	rm -rf _build

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is missing or older than Python 3.11: make PYTHON=/path/to/newer/python3"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[distill,book,dev]'
	@touch $@
