# On a fresh Debian or Ubuntu, `make demo` or `make test` is all there is to type: each builds .venv first.
# The standalone torch comes from pip's index; a CPU-only one is smaller:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
INPUTS := pyproject.toml requirements.txt constraints-standalone.txt

# ComfyUI, and the Python that runs it: the one in its folder, else the one on the path.
COMFYUI     := $(or $(COMFYUI_PATH),$(HOME)/ComfyUI)
HOST_PYTHON ?= $(or $(firstword $(wildcard $(COMFYUI)/.venv/bin/python $(COMFYUI)/venv/bin/python)),$(PYTHON))

CHECK_VERSION := import sys; sys.exit(sys.version_info < (3, 10))

.PHONY: help demo test test-web test-host test-browser screenshots lint clean
help:
	@echo "make demo         generate videos with the built-in toy world into out/demo"
	@echo "make test         lint, then every test that needs neither a GPU nor minutes"
	@echo "make test-host    the same inside the real ComfyUI of COMFYUI_PATH, by default ~/ComfyUI"
	@echo "make test-browser the live stream and every workflow in a real browser, pictures in out/browser"
	@echo "make screenshots  run workflows/*.json on ComfyUI's canvas, pictures in out/screenshots"
	@echo "make lint         ruff only"
	@echo "make clean        remove builds, caches and the demo; keeps $(VENV) and the rest of out/"

demo: $(STAMP)
	$(BIN)/dummy-forcing demo --output out/demo

test: lint test-web
	$(BIN)/pytest -m "not heavy and not gpu"

# The modules of web/ that need no browser.
test-web:
	@if command -v node > /dev/null; then node --test tests/web/*.test.mjs; else echo "no Node.js: tests/web skipped"; fi

# ComfyUI's Python gets pytest if it has none; nothing else is installed there, and nothing of ours.
test-host:
	@if [ ! -f '$(COMFYUI)/main.py' ]; then \
	    echo "no ComfyUI at $(COMFYUI): host tests skipped"; \
	else \
	    set -e -x; \
	    '$(HOST_PYTHON)' -c 'import pytest' 2>/dev/null || '$(HOST_PYTHON)' -m pip install 'pytest>=8.1'; \
	    COMFYUI_PATH='$(COMFYUI)' '$(HOST_PYTHON)' -m pytest tests/host -m "not heavy and not gpu"; \
	fi

# These need Node.js and Chromium (Debian: apt-get install chromium nodejs npm), and run beside a ComfyUI of their own.
SERVED = COMFYUI_PATH='$(COMFYUI)' '$(HOST_PYTHON)' tests/host/server/comfy_server.py
test-browser:
	cd tools/canvas && npm install --no-audit --no-fund
	$(SERVED) --pack=tests/web/browser/numbered_stream node tests/web/browser/live.mjs {url} out/browser
	$(SERVED) node tests/web/browser/heads.mjs {url} out/browser/heads
	$(SERVED) --comfyui=--cache-lru=500 node tests/web/browser/results.mjs {url} out/browser/results
	$(SERVED) node tests/web/browser/compare.mjs {url} out/browser/compare
	$(SERVED) node tests/web/browser/numbers.mjs {url} out/browser/numbers
	$(SERVED) node tests/web/browser/errors.mjs {url} out/browser/errors
	$(SERVED) node tests/web/browser/languages.mjs {url} out/browser/languages
	$(SERVED) node tests/web/browser/templates.mjs {url} out/browser/templates

screenshots:
	cd tools/canvas && npm install --no-audit --no-fund
	$(SERVED) node tools/canvas/canvas_screenshots.mjs {url} out/screenshots workflows/*.json --queue

lint: $(STAMP)
	$(BIN)/ruff check .

clean:
	rm -rf out/demo build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -path './$(VENV)' -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

# The scripts of a virtual environment name its folder: in a moved or copied checkout they run another Python, or none.
VENV_IS_OURS := grep -qsF '$(CURDIR)/$(BIN)/' $(BIN)/pip && $(BIN)/python -c '$(CHECK_VERSION)'
ifneq ($(shell { $(VENV_IS_OURS); } 2>/dev/null && echo yes),yes)
.PHONY: $(STAMP)
endif

$(STAMP): $(INPUTS)
	@{ $(VENV_IS_OURS); } 2>/dev/null || { $(CREATE_VENV); }
	$(BIN)/python -m pip install --constraint constraints-standalone.txt --editable '.[standalone,test]'
	@touch $@

# Debian moves ensurepip to the python3-venv package; without it, a pip or virtualenv outside can still fill the venv.
define CREATE_VENV
$(PYTHON) -c '$(CHECK_VERSION)' || { \
    echo "make: dummy-forcing needs Python 3.10 or newer, and PYTHON=$(PYTHON) is not one." \
         "Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }; \
if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
    $(PYTHON) -m venv --clear $(VENV); \
else \
    { $(PYTHON) -m venv --clear --without-pip $(VENV) \
      && $(PYTHON) -m pip --python $(BIN)/python install pip; } 2>/dev/null \
    || $(PYTHON) -m virtualenv --clear $(VENV) 2>/dev/null \
    || { echo "make: cannot create $(VENV). Try: sudo apt-get install python3-venv" >&2; exit 1; }; \
fi
endef
