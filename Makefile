# make demo   the whole loop on the simulated cell, ends with a report
# make test   all tests       make check   format, lint, types      make docs   the pages as a site
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_NUM_THREADS ?= 1
# Tests that only compute share the cores; the others run in real time and need them alone. Launched
# cells, many processes at once, go by clocks that a slow machine can keep up with, the demo too.
COMPUTE := $(addprefix tests/,train policy sim convert core description benchmarks)
COMPUTE += $(addprefix tests/,foreign export audit episodes)
LAUNCHED := tests/integration
SLOWLY := $(BIN)/python -m benchmarks.slowly auto

.PHONY: demo test check format setup examples docs colcon readers clean

$(STAMP): pyproject.toml constraints.txt tools/setup.sh
	@bash tools/setup.sh $(VENV) $(PYTHON)
	@touch $@

setup: $(STAMP)

demo: $(STAMP)
	@$(SLOWLY) $(BIN)/ate demo $(ARGS)

test: $(STAMP)
ifeq ($(filter -k% -m% tests/%,$(ARGS)),)
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(COMPUTE) $(ARGS)
	@$(BIN)/python -m pytest $(COMPUTE:%=--ignore=%) $(LAUNCHED:%=--ignore=%) $(ARGS)
	@$(SLOWLY) $(BIN)/python -m pytest $(LAUNCHED) $(ARGS)
else
	@$(if $(findstring $(LAUNCHED),$(ARGS)),$(SLOWLY)) $(BIN)/python -m pytest $(ARGS)
endif

check: $(STAMP)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(STAMP)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

examples: $(STAMP)
	@for example in examples/*.py; do echo "$$example"; $(BIN)/python $$example || exit 1; done

$(VENV)/.docs: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --no-build-isolation \
		-c $(firstword $(wildcard $(VENV)/constraints.txt) constraints.txt) -e ".[docs]"
	@touch $@

docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "site/index.html"

colcon: $(STAMP)
	@bash tools/colcon_build.sh $(VENV)

# The published readers of our exports; ATE_PUBLISHED_LOADERS names a folder with their checkouts.
readers:
	@bash tools/readers.sh .readers $(PYTHON)

clean:
	rm -rf $(VENV) site build install log
