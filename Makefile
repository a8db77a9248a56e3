# `make demo` shows what flopscope does, `make test` checks that it does. Both make their own environment in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv installs in seconds what takes pip minutes; it is itself installed into the environment.
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python

.PHONY: demo test check page conformance bench bench-conventions bench-coverage bench-memory bench-onnx bench-relax bench-report bench-search clean

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "flopscope needs Python 3.11 or newer; set PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.installed: pyproject.toml | $(BIN)/uv
	$(INSTALL) -e .
	@touch $@

$(VENV)/.tested: pyproject.toml | $(BIN)/uv
	$(INSTALL) -e '.[test]'
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || $(BIN)/python -m playwright install chromium >/dev/null 2>&1 \
	    || echo "no Chromium could be had: the tests of flopscope report in a browser will be skipped"
	@touch $@

$(VENV)/.benched: pyproject.toml | $(BIN)/uv
	$(INSTALL) -e '.[bench]'
	@touch $@

DEMO := runs/demo

demo: $(VENV)/.installed  ## Analyse MobileNetV2, compare mobile networks, search for one, and train it beside two of them.
	$(BIN)/flopscope analyze torchvision:mobilenet_v2 --depth 2
	$(BIN)/flopscope compare torchvision:mobilenet_v2 torchvision:mobilenet_v3_small torchvision:mobilenet_v3_large \
	    torchvision:shufflenet_v2_x0_5 torchvision:shufflenet_v2_x1_0 torchvision:mnasnet0_5 torchvision:mnasnet1_0 \
	    torchvision:squeezenet1_0 torchvision:squeezenet1_1
	rm -rf $(DEMO)
	$(BIN)/python -m nas search small --out $(DEMO)/search
	$(BIN)/python -m nas train $(DEMO)/search --out $(DEMO)/found
	$(BIN)/python -m nas train mobilenet_v2:width=0.25 --out $(DEMO)/mobilenet_v2
	$(BIN)/python -m nas train shufflenet_v2:width=0.5 --out $(DEMO)/shufflenet_v2
	$(BIN)/python -m nas compare $(DEMO)/found $(DEMO)/mobilenet_v2 $(DEMO)/shufflenet_v2 --plot $(DEMO)/accuracy.png

test: $(VENV)/.tested  ## Run the tests. FLOPSCOPE_DATA may name a folder with published data.
	$(BIN)/python -m pytest -n auto

check: $(VENV)/.tested  ## Format, lint and types.
	$(BIN)/ruff format --check flopscope nas tests benchmarks
	$(BIN)/ruff check flopscope nas tests benchmarks
	$(BIN)/mypy

page: web/node_modules  ## Build the page of flopscope report from web/src (needs Node.js).
	cd web && npm run --silent check && npm run --silent build

web/node_modules: web/package.json web/package-lock.json
	cd web && npm ci --silent
	@touch $@

conformance: $(VENV)/.tested $(VENV)/.benched  ## Compare with all published numbers, other counters, and PyTorch's own sample inputs.
	$(BIN)/python -m tests.conformance.run --output conformance.md
	FLOPSCOPE_ALL=1 $(BIN)/python -m pytest tests/conformance/test_peers.py tests/conformance/test_torch_samples.py tests/frontends/onnx

bench: $(VENV)/.benched  ## Measure against the other counters.
	$(BIN)/python -m benchmarks.analyzer

bench-coverage: $(VENV)/.benched  ## Measure which models each counter can analyse. Takes hours, and resumes where it stopped.
	$(BIN)/python -m benchmarks.coverage

bench-conventions: $(VENV)/.benched  ## Measure by how much the other counters are off, and whether our conventions say so.
	$(BIN)/python -m benchmarks.conventions

bench-onnx: $(VENV)/.benched  ## Measure against other counters of ONNX models.
	$(BIN)/python -m benchmarks.onnx

bench-memory: $(VENV)/.benched  ## Measure predicted memory against real runs, forward passes and training steps.
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.memory --train

bench-relax: $(VENV)/.benched  ## Measure relaxed costs. FLOPSCOPE_DATA may name a folder with published tables.
	$(BIN)/python -m benchmarks.relax

bench-report: $(VENV)/.tested  ## Measure the page of flopscope report in a browser.
	$(BIN)/python -m benchmarks.report

bench-search: $(VENV)/.tested  ## Measure a search step, and the constrained search. FLOPSCOPE_DATA must name a folder with CIFAR-10.
	$(BIN)/python -m benchmarks.search_step
	$(BIN)/python -m benchmarks.constrained_darts

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
