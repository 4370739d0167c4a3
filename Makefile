# Two commands for a newcomer: `make demo` and `make test`. All else is below them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Byte code is made where it is used (of all of PyTorch it would take half a minute), and kept, whatever the environment
# says: the tests start many processes, each of which would make it anew.
export PYTHONDONTWRITEBYTECODE :=
INSTALL := $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-compile
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder
TYPES := $(VENV)/types.txt
OUT := out

.PHONY: demo test test-all types suite bench page-test docs docs-test traces lint clean

demo: $(VENV)/.installed  ## install, compare the paper's policies on VGG-16 (256), say where figure and timeline lie
	@mkdir -p $(OUT)
	@$(BIN)/vdnnsim compare vgg16 --batch 256 --gpu titan-x-maxwell \
		--figure $(OUT)/vgg16.png --timeline $(OUT)/vgg16.json
	@echo "Open the timeline at https://ui.perfetto.dev (it stays on your machine)."

test: $(VENV)/.installed-for-lint  ## everything that CI runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory --keep-going --jobs 2 types suite; ended=$$?; cat $(TYPES); exit $$ended

test-all:  ## the same with every random example that properties were tuned on, which takes a minute more
	@VDNNSIM_TESTS=all $(MAKE) --no-print-directory test

types: $(VENV)/.installed-for-lint  # beside the installation of all else, or the tests; what it says is shown after them
	@$(BIN)/mypy > $(TYPES) 2>&1

suite: export OMP_NUM_THREADS := 1  # two processes of PyTorch with two threads each wait for each other
suite: $(VENV)/.installed-for-tests
	@$(PYTEST) --assert=plain || { echo "Once more what failed, with the values that were compared:"; $(PYTEST) --last-failed --last-failed-no-failures none; exit 1; }

bench: $(VENV)/.installed-for-tests  ## timings, each beside its limit
	$(BIN)/python -m pytest benchmarks --benchmark-columns=median,min,rounds --benchmark-sort=name -s

page-test: $(VENV)/.installed-for-tests  ## open pages in headless Chromium, use them, print them
	$(INSTALL) --editable '.[browser]'
	@command -v chromium > /dev/null || command -v google-chrome > /dev/null || apt-get install --yes chromium || \
		{ echo "page-test needs Chromium: apt-get install chromium"; exit 1; }
	$(BIN)/python -m pytest benchmarks/check_page.py

docs: $(VENV)/.installed  ## the documents as a site, in out/docs; any warning, as of a broken link, ends it
	$(INSTALL) --editable '.[docs]'
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html -c docs/site . $(OUT)/docs
	@echo "Open $(OUT)/docs/index.html; search works without a server."

docs-test: docs  ## use the site in headless Chromium: every page, every link, its search
	$(INSTALL) --editable '.[test,browser]'
	@command -v chromium chromium-browser google-chrome > /dev/null || apt-get install --yes chromium
	$(BIN)/python -m pytest benchmarks/check_site.py

traces: $(VENV)/.installed  ## regenerate every shipped trace that was built, not measured
	$(BIN)/python -m vdnnsim.builder --all --out traces

lint: $(VENV)/.installed-for-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(OUT) build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "vdnnsim needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --upgrade pip || true  # newer ones install a fifth faster; the old one does as well

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-for-lint: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[lint]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-for-tests: $(VENV)/.installed-for-lint
	@$(BIN)/python -m compileall -q vdnnsim experiments traces tests && \
		$(BIN)/python -c 'import pandas, matplotlib.figure, vdnnsim.cli.app' &  # compiled while pip is busy
	$(INSTALL) --no-build-isolation --editable '.[test]'
	@touch $@
