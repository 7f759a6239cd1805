PYTHON ?= python3
BIN    := .venv/bin
# one thread a process: small recurrent networks gain nothing from more, and two test workers share two cores
export OMP_NUM_THREADS ?= 1

.PHONY: env demo test lint docs clean

env: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt CMakeLists.txt $(wildcard lemode/kernels/csrc/*)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,dev,baselines]'
	touch $@

demo: env
	$(BIN)/python examples/fitzhugh_nagumo.py

test: env
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build dist out docs/_build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
