# One way to do each thing: demo, test, lint, bench, cpp. Every target sets up .venv from scratch when it has to.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SET_UP := $(VENV)/.set-up
FLEET := .venv-fleet
PEERS := .venv-peers
TRITON := .venv-triton
OPTIMUM := .venv-optimum
OPTIMUM_PINS := tests/export/diffharmony/optimum-constraints.txt
TRITON_PINS := tests/serving/triton-constraints.txt
PYTEST := $(BIN)/python -m pytest
# Workers of a parallel test run, each of up to 2 GB. They take whole files, whose tests share what they have built.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 8 ? n : 8)))
PARALLEL := --numprocesses $(JOBS) --max-worker-restart 0 --dist loadfile --no-loadscope-reorder
# Named, so that no other file is read for the few tests that run alone.
ALONE = $(shell grep -rl --include='test_*.py' 'mark\.alone' tests)
CPP_FILES = $(shell find benchmarks runtime tests -name '*.cpp' -o -name '*.hpp' -o -name '*.h')
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt

.PHONY: demo demo-video serve test test-fast test-serve test-fleet test-interop test-tensorrt-api cpp native native-wheel lint bench bench-guard bench-peers wheel docs clean

# NVIDIA's Python bindings of TensorRT, for the tests to read, in a separate folder: installed, they would overwrite those
# of a TensorRT that is there.
TENSORRT_API := 11.4.0.106
BINDINGS := $(VENV)/tensorrt-bindings/$(TENSORRT_API)

# torch by itself first: with its pinned CPU build there, nothing else asks for another. `dev` brings every tool.
$(SET_UP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) "torch==2.13.0"
	$(PIP) --editable ".[dev]"
	test "$$(uname)" != Linux || test -d $(BINDINGS) || \
		$(PIP) --no-deps --target $(BINDINGS) tensorrt-cu13-bindings==$(TENSORRT_API)
	touch $@

demo: $(SET_UP)
	$(BIN)/python -m harmonyrt.cli.demo

# Serves the shipped weights at http://127.0.0.1:8000, page included; PORT=0 takes any free port. Ctrl-C stops it.
PORT ?= 8000
SERVED := engines/phnet-128-fp32
serve: $(SET_UP)
	test -f $(SERVED)/manifest.json || $(BIN)/harmonyrt build phnet --sizes 128 --targets onnx openvino --output engines
	$(BIN)/harmonyrt serve $(SERVED) --port $(PORT)

# A short clip panned over the shipped example, harmonized; side by side, and a contact sheet.
demo-video: $(SET_UP)
	$(BIN)/python -m harmonyrt.cli.demo_video

# Everything, in parallel; then the tests that need the machine for themselves. Skips for anything but a GPU, optimum or
# C++ are failures here.
test: $(SET_UP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(CPP_FILES)
	$(PYTEST) --strict-skips --without-fleet $(PARALLEL) -m "not alone and not browser and not triton"
	$(PYTEST) --strict-skips --without-fleet -m "alone and not browser and not triton" $(ALONE)

# While working: no builds that take long, no wheels, no C++.
test-fast: $(SET_UP)
	$(PYTEST) $(PARALLEL) -m "not slow and not alone and not browser and not triton"

# The page in a real Chromium, which comes from Debian by tests/serving/install_deps.sh; model repositories in a real
# Triton, in a separate environment, since its Python backend wants NumPy 1 (Python 3.10 to 3.12).
test-serve: $(SET_UP) $(TRITON)/.set-up
	sh tests/serving/install_deps.sh
	$(PYTEST) --strict-skips $(PARALLEL) -m "browser or triton" tests/serving

$(TRITON)/.set-up: pyproject.toml $(TRITON_PINS)
	test -x $(TRITON)/bin/python || $(PYTHON) -m venv $(TRITON)
	$(TRITON)/bin/python -m pip --quiet --disable-pip-version-check install --constraint $(TRITON_PINS) \
		nvidia-pytriton --editable .
	touch $@

# Hugging Face's optimum runs our folders, and exports the networks that we export, in a separate environment: it wants
# an older transformers. The import is first: tests are skipped where optimum is missing.
test-interop: $(OPTIMUM)/.set-up
	$(OPTIMUM)/bin/python -c "import optimum.onnxruntime"
	$(OPTIMUM)/bin/python -m pytest -k optimum tests/export/diffharmony/test_plain.py tests/export/diffharmony/test_optimum.py

$(OPTIMUM)/.set-up: pyproject.toml $(OPTIMUM_PINS)
	test -x $(OPTIMUM)/bin/python || $(PYTHON) -m venv $(OPTIMUM)
	$(OPTIMUM)/bin/python -m pip --quiet --disable-pip-version-check install --constraint $(OPTIMUM_PINS) torch
	$(OPTIMUM)/bin/python -m pip --quiet --disable-pip-version-check install --constraint $(OPTIMUM_PINS) \
		"optimum-onnx[onnxruntime]" diffusers pytest filelock --editable ".[build]"
	touch $@

# The Python API of TensorRT that we call, against NVIDIA's own bindings of every release that the table knows: small wheels.
# Those of 8.6 and 10.0 exist for CPython 3.10 to 3.12.
TENSORRT_BINDINGS = tensorrt-bindings==8.6.1 tensorrt-cu12-bindings==10.0.1 tensorrt-cu12-bindings==10.4.0 \
	tensorrt-cu13-bindings==10.16.1.11 tensorrt-cu13-bindings==11.1.0.106 tensorrt-cu13-bindings==11.2.1.2 \
	tensorrt-cu13-bindings==11.3.0.99
test-tensorrt-api: $(SET_UP)
	set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	for release in $(TENSORRT_BINDINGS); do \
		$(BIN)/python -m pip --quiet --disable-pip-version-check install --no-deps --target "$$folder/$${release##*=}" $$release; \
	done; \
	HARMONYRT_TENSORRT_BINDINGS=$$folder $(PYTEST) tests/runtime/backends/tensorrt/test_api.py

# Ray, a real S3 server, and an emulator of Google Cloud Storage, in a separate environment, without torch; then the server's own tests on Ray Serve.
test-fleet: $(FLEET)/.set-up
	$(FLEET)/bin/python -m pytest --strict-skips -W ignore::DeprecationWarning tests/fleet
	$(FLEET)/bin/python -m pytest --strict-skips -W ignore::DeprecationWarning --on-ray-serve tests/serving/test_v1.py \
		tests/serving/test_v2.py tests/serving/test_server.py

$(FLEET)/.set-up: pyproject.toml constraints.txt
	test -x $(FLEET)/bin/python || $(PYTHON) -m venv $(FLEET)
	$(FLEET)/bin/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt \
		--editable ".[fleet,openvino]" s3fs "moto[server]" gcsfs gcp-storage-emulator onnx pytest filelock httpx check-jsonschema yamllint
	touch $@

# libharmonyrt: builds, tests, sanitizes, fuzzes and installs it; Debian packages come by runtime/cpp/install_deps.sh.
cpp: $(SET_UP)
	sh runtime/cpp/check.sh $(BIN)/python

# Fused CPU kernels for engines built with --rewrites native, to build/native; tested, also under sanitizers. With the
# wheel of harmonyrt-native, tried in a fresh environment; `native-wheel` makes that alone.
native: $(SET_UP)
	sh runtime/native/check.sh $(BIN)/python

native-wheel: $(SET_UP)
	sh runtime/native/wheel.sh $(BIN)/python

lint: $(SET_UP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(CPP_FILES)
	$(BIN)/python tests/house/typecheck.py

# Tables and plots of docs/benchmarks.md and benchmarks/results/README.md from the committed runs.
bench: $(SET_UP)
	$(BIN)/python -m harmonyrt.benchmarks.report.tables

bench-guard: $(SET_UP)
	$(BIN)/python -m harmonyrt.benchmarks.report.guard

# Our engines against other CPU libraries in interleaved runs of 39.9 M at 256 px, into build/peers; needs a C++ compiler for
# torch.compile. The first time it builds, converts and compiles what it times.
bench-peers: $(SET_UP) $(PEERS)/.set-up
	$(BIN)/python -m harmonyrt.benchmarks.peers --peers-python $(PEERS)/bin/python --output build/peers $(PEERS_OPTIONS)

$(PEERS)/.set-up: pyproject.toml benchmarks/peers/constraints.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip --quiet --disable-pip-version-check install --constraint benchmarks/peers/constraints.txt torch
	$(PEERS)/bin/python -m pip --quiet --disable-pip-version-check install --constraint benchmarks/peers/constraints.txt \
		--editable . ncnn pnnx MNN ai-edge-litert litert-torch safetensors
	touch $@

# The wheel, into dist/, and a look at it from a fresh environment that has nothing but its plain dependencies.
wheel: $(SET_UP)
	rm -rf build/lib build/bdist.* build/wheel dist/*.whl  # setuptools packs what an older build left
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt dist/*.whl
	cd build && wheel/bin/harmonyrt --version && wheel/bin/harmonyrt doctor

# Guides and API reference, into build/site; warnings and broken links are errors.
docs: $(SET_UP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean --quiet

clean:
	rm -rf $(VENV) $(FLEET) $(TRITON) $(OPTIMUM) $(PEERS) build dist *.egg-info engines demo .pytest_cache .mypy_cache .ruff_cache
