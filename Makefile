# make demo    one adaptive run on the embedded default, into a fresh folder under runs/
# make test    the tests
# make lint    style, format and types
#
# Each makes .venv first, if it is not there or if pyproject.toml or constraints.txt changed.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test lint

demo: $(INSTALLED)
	$(BIN)/python -m experiments.adaptive --output_dir runs/demo-$$(date +%Y%m%d-%H%M%S)

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
		echo "Name another one like this: make PYTHON=python3.12 $(MAKECMDGOALS)"; \
		exit 1; \
	}
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@
