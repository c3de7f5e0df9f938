# make load    install into .venv, and load data/ into the embedded PostgreSQL
# make test    install what the tests need too, and run them: fewer cases of those much alike
# make test-all  run all tests at full size; of the fault matrix a third
# make faults  run the whole fault matrix alone
# make check   lint and types
# make docs    write the generated parts of the documentation anew
# make notebook  execute docs/explore.ipynb anew, on a star of data/
# make pictures  make the pictures of commands anew; takes tmux and chromium
# make site    build the documentation as a site, in build/site

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: load test test-all faults check docs notebook pictures site clean

load: $(VENV)/.installed
	$(BIN)/sparkify-bulk reload data

test: $(VENV)/.dev
	$(BIN)/pytest -n 2 --dist worksteal

test-all: $(VENV)/.dev
	$(BIN)/pytest -n 2 --dist worksteal --full

faults: $(VENV)/.dev
	$(BIN)/pytest -n 2 --dist worksteal tests/test_faults.py tests/test_cable.py tests/test_disk.py \
		tests/test_failover.py tests/test_pooler.py --full --all-cells $(FAULTS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py

notebook: $(VENV)/.dev
	$(BIN)/python docs/execute.py

pictures: $(VENV)/.dev
	$(BIN)/python docs/pictures.py

site: $(VENV)/.dev
	rm -rf build/site
	$(BIN)/sphinx-build --builder html --fail-on-warning --keep-going --quiet --fresh-env \
		--doctree-dir build/doctrees docs build/site

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[bench,cloud]' --group dev
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
