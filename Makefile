# `make demo` shows a study from an empty checkout, `make test` runs every check. Paths are relative, so that the
# checkout may lie anywhere, also below a directory with a space in its name.

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types imports venv clean moved

# The first Python that is new enough and can make virtual environments.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && \
	echo "$$python" && break; done)
NO_PYTHON = Ladder needs Python 3.11 or newer with its venv module, and none was found. Install it (on Debian: \
	apt install python3 python3-venv), or name it: make PYTHON=/path/to/python3

# A virtual environment holds absolute paths: one that came along with a copied or moved checkout is made anew.
HERE = test -x .venv/bin/python && test "$$(cat .venv/checkout 2>/dev/null)" = "$$(pwd)"
MOVED := $(shell { $(HERE); } || echo moved)

# pip would compile file by file; compileall uses every core and leaves out the libraries' own tests. Its exit code counts
# for nothing: libraries ship files in the syntax of other Python versions, which nothing imports.
define install
	@$(HERE) || test -n "$(PYTHON)" || { echo "$(NO_PYTHON)" >&2; exit 1; }
	@$(HERE) || { "$(PYTHON)" -m venv --clear .venv && pwd > .venv/checkout; }
	@echo "Installing Ladder into .venv (half a minute where the packages are at hand)"
	@.venv/bin/python -m pip install -qq --no-compile --disable-pip-version-check -c constraints.txt -e ".[$(1)]"
	@$(if $(filter dev,$(1)),.venv/bin/python -m pip install -qq --no-compile --disable-pip-version-check --no-deps \
		-c constraints.txt openapi-python-client,:) # it wants an older typer, and runs with ours
	@.venv/bin/python -m compileall -qq -j 0 -x '/tests?/' .venv/lib || :
	@touch $@
endef

help:
	@echo "make demo [ARGS=--exit]  the whole system on this machine, on a small study of real images"
	@echo "make test                lint, types, import rules and all tests but the slow ones and those for a GPU"
	@echo "make lint | types | imports | format | venv | clean"

demo: .venv/local
	@.venv/bin/ladder demo $(ARGS)

# The tests include the migrations: up, down and up again on a real Postgres. Two processes share them, each with engines
# of its own; ARGS="-n 0" runs them in one.
test: lint types imports
	.venv/bin/python -m pytest -n logical --maxprocesses 2 --no-loadscope-reorder -m "not slow and not gpu" $(ARGS)

lint: .venv/dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .

types: .venv/dev
	.venv/bin/mypy

# Without its cache: that goes by the importing file alone and misses a module that has appeared since.
imports: .venv/dev
	.venv/bin/lint-imports --no-cache

format: .venv/dev
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

venv: .venv/dev

.venv/local: pyproject.toml constraints.txt $(MOVED)
	$(call install,local)

.venv/dev: pyproject.toml constraints.txt $(MOVED)
	$(call install,dev)
	@touch .venv/local

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
