# Every target sets up what it needs: .venv, with the versions of requirements.lock.
# Another Python: make PYTHON=python3.12 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# There while a set-up runs: a .venv that still has it was cut short, and is made anew.
UNFINISHED := $(VENV)/.unfinished

.DELETE_ON_ERROR:
.PHONY: help setup same-python demo lineage test check docs clean

help:
	@echo "make demo    train a small detector on the built-in shapes and score it"
	@echo "make lineage train the whole family small on the built-in set, and compare them"
	@echo "make test    run the checks and all tests"
	@echo "make check   ruff, mypy --strict and the import floors"
	@echo "make docs    build the pages of docs/ into build/site"
	@echo "make setup   make $(VENV) with the versions of requirements.lock (the others do this by themselves)"
	@echo "make clean   remove $(VENV) and the caches; runs/ and data/ stay"

setup: $(STAMP)

# Asked for a Python by name, do not go on quietly with another.
ifneq ($(origin PYTHON),file)
setup: same-python
endif

same-python: $(STAMP)
	@test "$$($(PYTHON) -V 2>&1)" = "$$($(BIN)/python -V)" || \
	{ echo 'error: $(VENV) was made with another Python than "$(PYTHON)"; "make clean" removes it' >&2; exit 1; }

demo: setup
	$(BIN)/detkit train demo
	$(BIN)/detkit eval runs/demo --voc07

# The family, oldest first, all from the same backbone. What is finished is not done again.
LINEAGE := rcnn sppnet fast_rcnn noc faster_rcnn faster_rcnn_alternating
LINEAGE_RUNS := $(addprefix runs/lineage/,$(LINEAGE))

lineage: setup
	$(BIN)/python tools/pretrain.py configs/lineage/faster_rcnn.yaml --steps 400 --side 48 --grid 3 \
		--run runs/lineage/pretrained
	set -e; for system in $(LINEAGE); do \
		$(BIN)/python tools/train.py configs/lineage/$$system.yaml --run runs/lineage/$$system; \
		$(BIN)/python tools/eval.py runs/lineage/$$system --voc07; \
	done
	$(BIN)/python tools/report.py $(LINEAGE_RUNS) --out runs/lineage/comparison

test: check
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) build dist *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find detkit tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes through uv, which reads the package index alone: pip also takes what lies in a local wheel folder.
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo 'error: "$(PYTHON)" is not Python 3.11 or newer; name one that is: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	{ echo 'error: "$(PYTHON)" comes without venv; install it (Debian, Ubuntu: apt install python3-venv)' >&2; exit 1; }
	@if test -e $(UNFINISHED) || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then rm -rf $(VENV); fi
	@mkdir -p $(VENV) && touch $(UNFINISHED)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint requirements.lock uv
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --requirement requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@mv $(UNFINISHED) $(STAMP)
	@touch $(STAMP)
