PYTHON ?= python3
BIN    := .venv/bin
# one thread a process: small recurrent networks gain nothing from more, and two test workers share two cores
export OMP_NUM_THREADS ?= 1
# what Python compiles is kept: three commands read the tests, and that takes each ten seconds. pip compiles nothing (--no-compile), as
# of torch and the like most is never imported, and that takes forty.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: env demo test slow study interpreter theory lowest sanitize lint lock audit docs docs-quick docs-check docs-env clean

env: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt CMakeLists.txt $(wildcard lemode/kernels/csrc/*)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[test,dev,baselines,tune,onnx]'
	touch $@

demo: env
	$(BIN)/python examples/fitzhugh_nagumo.py

test: env
	$(BIN)/python -m pytest -n 2

# what takes long: compiled networks, long runs, and the properties on as many examples as they deserve
slow: env
	$(BIN)/python -m pytest -n 2 -m slow
	HYPOTHESIS_PROFILE=full $(BIN)/python -m pytest -n 2 tests/properties

# what takes longer still, and is in a benchmark or a gallery as well
study: env
	$(BIN)/python -m pytest -n 2 -m study

# the kernels for a GPU, compiled for one, and run by Triton's interpreter on the CPU. A gigabyte, so it is no part of .venv.
interpreter: env
	test -d build/triton/triton || $(BIN)/python -m pip install --quiet --no-compile --no-deps --target build/triton 'triton>=3.1'
	PYTHONPATH=build/triton $(BIN)/python -m pytest -n 2 -m slow tests/kernels/test_triton.py
	PYTHONPATH=build/triton TRITON_INTERPRET=1 $(BIN)/python -m pytest -n 2 tests/kernels/test_fused.py

# every proof: the scripts of theory/, each with its assertions
theory: env
	$(BIN)/python -m theory

# what pyproject.toml claims: lemode installed with the lowest versions of all it needs, and tests of what stands on each of them.
# Old packages warn of what newer ones have dropped.
lowest:
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	mkdir -p build && .venv-lowest/bin/python .ci/lowest.py test > build/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --no-compile -C build-dir=build/lowest -c constraints.txt -c build/lowest.txt '.[test]'
	.venv-lowest/bin/pytest -n 2 -p no:cacheprovider -W ignore::DeprecationWarning tests/test_ode.py tests/test_schemes.py \
		tests/test_lem.py tests/metrics tests/plots tests/test_readme.py tests/contracts/test_sklearn.py \
		tests/contracts/test_files.py

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# packaging/lock.txt: every package of the tests and the documentation, with hashes, as of today; Python 3.11 on Linux
lock: build/tools/bin/uv
	build/tools/bin/uv pip compile --quiet --upgrade pyproject.toml packaging/build.in -c constraints.txt --python-version 3.11 \
		--extra test --extra dev --extra baselines --extra tune --extra onnx --extra docs $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS),--torch-backend cpu) \
		--generate-hashes --custom-compile-command 'make lock' --no-emit-index-url --output-file packaging/lock.txt

# what is known against the packages of the lock
audit: build/tools/bin/uv
	sed 's/+cpu//' packaging/lock.txt > build/audit.txt
	build/tools/bin/pip-audit --strict --disable-pip --require-hashes -r build/audit.txt

build/tools/bin/uv:
	$(PYTHON) -m venv build/tools && build/tools/bin/python -m pip install --quiet uv pip-audit

# the core's own test and 1,000 drawn calls of its bridge on each instruction set, under the address and undefined behaviour sanitizers
sanitize: env
	cmake -S . -B build/sanitize -G Ninja -DLEMODE_SANITIZE=ON
	cmake --build build/sanitize
	build/sanitize/core_test
	for isa in avx512 avx2 baseline; do \
		LEMODE_ISA=$$isa LEMODE_CORE=build/sanitize/lemode_core.so ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libubsan.so)" \
		$(BIN)/python tests/contracts/fuzz_bridge.py 1000 || exit 1; \
	done

# the whole site, both galleries run from the real scripts; warnings are errors; no network once the packages are there
docs: docs-env
	rm -rf docs/_build docs/auto_examples docs/auto_theory
	MPLBACKEND=Agg $(BIN)/python -m sphinx -W -n --keep-going -j 2 -b html docs docs/_build/html

# the same pages and checks of every reference, with the scripts of the galleries shown and not run
docs-quick: docs-env
	rm -rf docs/_build/quick docs/auto_examples docs/auto_theory
	MPLBACKEND=Agg $(BIN)/python -m sphinx -W -n --keep-going -q -j 2 -D plot_gallery=0 -b html docs docs/_build/quick
	$(BIN)/python docs/check_site.py docs/_build/quick --links

# opens the built site in headless Chromium
docs-check:
	$(BIN)/python docs/check_site.py docs/_build/html

docs-env: .venv/.docs-installed

.venv/.docs-installed: .venv/.installed
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt $$($(BIN)/python docs/_ext/requirements.py)
	touch $@

clean:
	rm -rf .venv .venv-lowest build dist out docs/_build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
