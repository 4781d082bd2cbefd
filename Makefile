# Each target does its own set-up in .venv; nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin

.PHONY: demo test bench clean
.DEFAULT_GOAL := demo

$(BIN)/respfm: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("respfm needs Python 3.11 or newer; set PYTHON=..." if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(BIN)/respfm
	$(BIN)/snakemake --cores $(CORES)
	@echo "Done: open results/demo/report.html"

test: $(BIN)/respfm
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/python -m pytest

bench: $(BIN)/respfm
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[benchmark]'
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf results .snakemake
