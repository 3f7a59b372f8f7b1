# Two commands do everything on a machine with python3 (3.11+), make and pip: make compare, make test
# make test takes the newest releases of all dependencies, make test-oldest the lowest ones that pyproject.toml declares
PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
BIN := $(VENV)/bin
CASE ?= mv33lv
ARGS ?=
OUT ?= out/$(CASE)

.PHONY: compare test test-oldest newest lint wheel docs notebooks links data clean

compare: $(VENV)/.ready
	rm -rf $(OUT)
	$(BIN)/amm-opt compare $(CASE) --day-first --out $(OUT) $(ARGS)

test: newest lint
	$(BIN)/python -m pytest -n auto

test-oldest: $(OLDEST)/.ready
	$(OLDEST)/bin/python -m pytest -n auto

newest: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[dev]'

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel:
	$(PYTHON) .ci/wheel.py

# the site, in out/site: opens from disk (out/site/index.html), searches and shows mathematics without a network
docs: $(VENV)/.ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# runs the notebooks again and keeps what they print and draw
notebooks: $(VENV)/.ready
	$(BIN)/python benchmarks/pages/notebooks.py

# asks every address outside the project; needs a network, and is not part of the tests
links: $(VENV)/.ready
	$(BIN)/python benchmarks/pages/links.py

data: $(VENV)/.ready
	$(BIN)/python -m pip install -r data/requirements.txt
	$(BIN)/python -m pip install --no-deps simbench==1.6.3
	$(BIN)/python data/build_mv33lv.py
	$(BIN)/python -m pip install pandapower==3.5.6
	$(BIN)/python data/build_meshed.py

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'amm-opt needs Python 3.11 or newer')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

$(OLDEST)/.ready: pyproject.toml .ci/oldest.py
	rm -rf $(OLDEST)
	$(PYTHON) -m venv $(OLDEST)
	$(PYTHON) .ci/oldest.py > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/constraints.txt --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) out
