# make demo   the whole loop on the simulated cell, ends with a report
# make test   all tests       make check   format, lint, types
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_NUM_THREADS ?= 1

.PHONY: demo test check format setup examples colcon clean

$(STAMP): pyproject.toml constraints.txt tools/setup.sh
	@bash tools/setup.sh $(VENV) $(PYTHON)
	@touch $@

setup: $(STAMP)

demo: $(STAMP)
	@$(BIN)/ate demo $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest $(ARGS)

check: $(STAMP)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(STAMP)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

examples: $(STAMP)
	@for example in examples/*.py; do echo "$$example"; $(BIN)/python $$example || exit 1; done

colcon: $(STAMP)
	@bash tools/colcon_build.sh $(VENV)

clean:
	rm -rf $(VENV) build install log
