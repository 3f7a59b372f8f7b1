# Two commands do everything on a machine with python3 (3.11+), make and pip: make compare, make test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CASE ?= mv33lv
ARGS ?=
OUT ?= out/$(CASE)

.PHONY: compare test lint data clean

compare: $(VENV)/.ready
	rm -rf $(OUT)
	$(BIN)/amm-opt compare $(CASE) --out $(OUT) $(ARGS)

test: lint
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

data: $(VENV)/.ready
	$(BIN)/python -m pip install -r data/requirements.txt
	$(BIN)/python -m pip install --no-deps simbench==1.6.3
	$(BIN)/python data/build_mv33lv.py

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'amm-opt needs Python 3.11 or newer')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) out
