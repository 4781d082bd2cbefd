# Each target does its own set-up in .venv; nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin

.PHONY: setup demo test bench lock clean
.DEFAULT_GOAL := demo

$(BIN)/respfm: pyproject.toml envs/lock.txt
	@command -v $(PYTHON) >/dev/null || { echo '$(PYTHON) is not here; set PYTHON=<Python 3.11 or newer>' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "$(PYTHON) is too old, respfm needs Python 3.11 or newer; set PYTHON=<such a one>")'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r envs/lock.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

setup: $(BIN)/respfm

demo: $(BIN)/respfm
	$(BIN)/snakemake --cores $(CORES)
	@echo "Done: open results/demo/report.html"

test: $(BIN)/respfm
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile rules
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder --cov \
	  --cov-report=term

bench: $(BIN)/respfm
	$(BIN)/python benchmarks/run.py

# Exact versions and hashes of everything that pyproject.toml brings in; run it after changing a version there.
lock: $(BIN)/respfm
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --generate-hashes --no-annotate \
	  --quiet --custom-compile-command 'make lock' --output-file envs/lock.txt

clean:
	rm -rf results .snakemake
